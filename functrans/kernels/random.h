/* Random numbers from counters: Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", 2011). Element i of what a key gives is a function of key and i alone. */
#ifndef FUNCTRANS_RANDOM_H
#define FUNCTRANS_RANDOM_H

#include "common.h"

/* n elements from number `from` on of what the key gives. */
typedef void (*ft_draw_fn)(char *out, const uint32_t *key, uint64_t from, int64_t n);

#define FT_TURN(a, b, r) ((a) += (b), (b) = ((b) << (r) | (b) >> (32 - (r))) ^ (a))
#define FT_FOUR(a, b, r0, r1, r2, r3) \
    (FT_TURN(a, b, r0), FT_TURN(a, b, r1), FT_TURN(a, b, r2), FT_TURN(a, b, r3))

FT_INLINE void ft_threefry(uint32_t k0, uint32_t k1, uint32_t *x0, uint32_t *x1)
{
    uint32_t k2 = k0 ^ k1 ^ 0x1bd11bda, a = *x0 + k0, b = *x1 + k1;
    FT_FOUR(a, b, 13, 15, 26, 6);
    a += k1, b += k2 + 1;
    FT_FOUR(a, b, 17, 29, 16, 24);
    a += k2, b += k0 + 2;
    FT_FOUR(a, b, 13, 15, 26, 6);
    a += k0, b += k1 + 3;
    FT_FOUR(a, b, 17, 29, 16, 24);
    a += k1, b += k2 + 4;
    FT_FOUR(a, b, 13, 15, 26, 6);
    *x0 = a + k2, *x1 = b + k0 + 5;
}

int ft_run_random(const ft_step *s, ft_frame *f);
int ft_run_threefry(const ft_step *s, ft_frame *f);
int ft_run_sampler(const ft_step *s, ft_frame *f);

/* Draws of one element from its own stream, into out[i]; parameters of the distribution by pointer. */
typedef struct {
    int params;
    int64_t size;
    void (*run)(char *out, const uint32_t *key, uint64_t from, int64_t n, const char **param);
} ft_sampler;
extern const ft_sampler ft_gamma_f32, ft_gamma_f64, ft_loggamma_f32, ft_loggamma_f64, ft_poisson_f32,
    ft_poisson_f64, ft_binomial_f32, ft_binomial_f64;

#endif

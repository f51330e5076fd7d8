/* The driver of draws, and samplers that reject: these take what they need from a stream of their own for
 * each element, so the result depends on key and position alone. Compiled once: one result on all levels. */
#include "random.h"

#include "driver.h"
#include "fastmath_erfinv.h"
#include "specfun.h"

#define PIECE 4096                 /* elements of one chunk of draws */

typedef struct { const ft_step *s; ft_frame *f; int64_t pieces, piece; } draw_ctx;

static void draw_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const draw_ctx *c = ctx;
    const ft_step *s = c->s;
    int64_t n = s->shape[1], bytes = s->ints[0];
    char *out = FT_PTR(s, c->f, 0);
    const uint32_t *key = (const uint32_t *)FT_PTR(s, c->f, 1);
    for (int64_t i = lo; i < hi; i++) {
        int64_t row = i / c->pieces, at = (i % c->pieces) * c->piece;
        ((ft_draw_fn)s->kernel)(out + (row * n + at) * bytes, key + 2 * row, (uint64_t)at,
                                ft_lesser(c->piece, n - at));
    }
}

/* operands [out, keys], dense; shape [keys, n]; ints (bytes of an element). */
int ft_run_random(const ft_step *s, ft_frame *f)
{
    draw_ctx c = {s, f, (s->shape[1] + PIECE - 1) / PIECE, PIECE};
    ft_parallel(draw_pieces, &c, s->shape[0] * c.pieces, 1 + PIECE / (s->shape[1] + 1), s->cost);
    return FT_OK;
}

typedef void (*pairs_fn)(uint32_t *out, const uint32_t *key, const uint32_t *counter, int64_t n);

static void pair_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const draw_ctx *c = ctx;
    const ft_step *s = c->s;
    ((pairs_fn)s->kernel)((uint32_t *)FT_PTR(s, c->f, 0) + 2 * lo, (const uint32_t *)FT_PTR(s, c->f, 1) + 2 * lo,
                          (const uint32_t *)FT_PTR(s, c->f, 2) + 2 * lo, hi - lo);
}

/* operands [out, keys, counters], dense pairs; shape [n]. */
int ft_run_threefry(const ft_step *s, ft_frame *f)
{
    draw_ctx c = {s, f, 0, 0};
    ft_parallel(pair_pieces, &c, s->shape[0], PIECE, s->cost);
    return FT_OK;
}

static void sample_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const draw_ctx *c = ctx;
    const ft_step *s = c->s;
    const ft_sampler *k = s->kernel;
    int64_t n = s->shape[1];
    const uint32_t *key = (const uint32_t *)FT_PTR(s, c->f, 1);
    for (int64_t i = lo; i < hi; i++) {
        int64_t row = i / c->pieces, at = (i % c->pieces) * c->piece, skip = (row * n + at) * k->size;
        const char *param[2];
        for (int p = 0; p < k->params; p++)
            param[p] = FT_PTR(s, c->f, 2 + p) + skip;
        k->run(FT_PTR(s, c->f, 0) + skip, key + 2 * row, (uint64_t)at, ft_lesser(c->piece, n - at), param);
    }
}

/* operands [out, keys, parameters ...], dense, all of one dtype; shape [keys, n]. */
int ft_run_sampler(const ft_step *s, ft_frame *f)
{
    draw_ctx c = {s, f, (s->shape[1] + 255) / 256, 256};
    ft_parallel(sample_pieces, &c, s->shape[0] * c.pieces, 1 + 256 / (s->shape[1] + 1), s->cost);
    return FT_OK;
}

/* ----- streams ------------------------------------------------------------------------------------- */

typedef struct { uint32_t k0, k1; uint64_t at; } stream;

/* Uniform in (0, 1), 52 bits and a half. Positions of different elements are 2**20 draws apart. */
static double uniform(stream *s)
{
    uint32_t a = (uint32_t)(s->at >> 32), b = (uint32_t)s->at;
    s->at++;
    ft_threefry(s->k0, s->k1, &a, &b);
    return ((double)(((uint64_t)a << 32 | b) >> 12) + 0.5) * 0x1p-52;
}

static double normal(stream *s) { return 0x1.6a09e667f3bcdp+0 * ft_fast_erf_inv_f64(2 * uniform(s) - 1); }

/* Marsaglia & Tsang, "A simple method for generating gamma variables", 2000, for a >= 1. */
static double draw_gamma_from_1(stream *s, double a)
{
    double d = a - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = normal(s), v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        double u = uniform(s);
        if (u < 1 - 0.0331 * x * x * x * x || log(u) < 0.5 * x * x + d * (1 - v + log(v)))
            return d * v;
    }
}

/* A draw, or its logarithm. For a < 1 one of a + 1 times a uniform number to the power 1 / a. */
static double draw_gamma(stream *s, double a, int as_log)
{
    if (!(a > 0))
        return a == 0 ? (as_log ? -INFINITY : 0) : NAN;
    if (a == (double)INFINITY)
        return INFINITY;
    if (a >= 1) {
        double x = draw_gamma_from_1(s, a);
        return as_log ? log(x) : x;
    }
    double boost = log(uniform(s)) / a, x = draw_gamma_from_1(s, a + 1);
    return as_log ? log(x) + boost : x * exp(boost);
}

/* Hoermann, "The transformed rejection method for generating Poisson random variables", 1993 (PTRS); small
 * rates by going up the distribution. */
static double draw_poisson(stream *s, double rate)
{
    if (!(rate >= 0))
        return NAN;
    if (rate < 10) {
        double u = uniform(s), p = exp(-rate), k = 0;
        for (; u > p && k < 200; p *= rate / k) {
            u -= p;
            k++;
        }
        return k;
    }
    if (rate > 0x1p62)
        return rate;
    double l = log(rate), b = 0.931 + 2.53 * sqrt(rate), a = -0.059 + 0.02483 * b;
    double inverse = 1.1239 + 1.1328 / (b - 3.4), quick = 0.9277 - 3.6224 / (b - 2);
    for (;;) {
        double u = uniform(s) - 0.5, v = uniform(s), us = 0.5 - fabs(u);
        double k = floor((2 * a / us + b) * u + rate + 0.43);
        if (us >= 0.07 && v <= quick)
            return k;
        if (k < 0 || (us < 0.013 && v > us))
            continue;
        if (log(v * inverse / (a / (us * us) + b)) <= -rate + k * l - ft_log_gamma(k + 1))
            return k;
    }
}

/* Hoermann, "The generation of binomial random variates", 1993 (BTRS); few successes by going up. */
static double draw_binomial(stream *s, double n, double p)
{
    if (!(n >= 0) || !(p >= 0) || p > 1)
        return NAN;
    n = floor(n);
    if (p > 0.5)
        return n - draw_binomial(s, n, 1 - p);
    if (n * p < 10) {
        double u = uniform(s), odds = p / (1 - p), q = exp(n * log1p(-p)), k = 0;
        for (; u > q && k < n; q *= odds * (n - k + 1) / k) {
            u -= q;
            k++;
        }
        return k;
    }
    double spread = sqrt(n * p * (1 - p)), b = 1.15 + 2.53 * spread, a = -0.0873 + 0.0248 * b + 0.01 * p;
    double c = n * p + 0.5, quick = 0.92 - 4.2 / b, alpha = (2.83 + 5.1 / b) * spread;
    double odds = log(p / (1 - p)), mode = floor((n + 1) * p);
    double top = ft_log_gamma(mode + 1) + ft_log_gamma(n - mode + 1);
    for (;;) {
        double u = uniform(s) - 0.5, v = uniform(s), us = 0.5 - fabs(u);
        double k = floor((2 * a / us + b) * u + c);
        if (us >= 0.07 && v <= quick)
            return k;
        if (k < 0 || k > n)
            continue;
        if (log(v * alpha / (a / (us * us) + b))
                <= top - ft_log_gamma(k + 1) - ft_log_gamma(n - k + 1) + (k - mode) * odds)
            return k;
    }
}

#define SAMPLER(name, T, s, many, expr)                                                              \
    static void run_##name##_##s(char *out, const uint32_t *key, uint64_t from, int64_t n,            \
                                 const char **param)                                                  \
    {                                                                                                 \
        const T *x = (const T *)param[0], *y = (const T *)param[(many) - 1];                          \
        for (int64_t i = 0; i < n; i++) {                                                             \
            stream r = {key[0], key[1], (from + i) << 20};                                            \
            ((T *)out)[i] = (T)(expr);                                                                \
        }                                                                                             \
        (void)y;                                                                                      \
    }                                                                                                 \
    const ft_sampler ft_##name##_##s = {many, sizeof(T), run_##name##_##s};
#define SAMPLERS(name, many, expr) SAMPLER(name, float, f32, many, expr) SAMPLER(name, double, f64, many, expr)
SAMPLERS(gamma, 1, draw_gamma(&r, x[i], 0))
SAMPLERS(loggamma, 1, draw_gamma(&r, x[i], 1))
SAMPLERS(poisson, 1, draw_poisson(&r, x[i]))
SAMPLERS(binomial, 2, draw_binomial(&r, x[i], y[i]))

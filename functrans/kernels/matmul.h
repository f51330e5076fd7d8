/* Matrix products: own loops for any strides and types, and the BLAS functions for large ones. */
#ifndef FUNCTRANS_MATMUL_H
#define FUNCTRANS_MATMUL_H

#include "common.h"
#if defined(__FMA__)
#include <immintrin.h>
#endif

/* out[m, n] = sum over k of a[m, k] * b[k, n]; byte strides. */
typedef struct {
    int64_t m, n, k;
    int64_t om, on, am, ak, bk, bn;
} ft_mm;

typedef struct {
    int64_t size;
    /* scratch holds ft_mm_scratch bytes, 64-byte aligned */
    void (*run)(char *out, const char *a, const char *b, const ft_mm *d, char *scratch);
    int blas;                  /* 0 none, 1 single, 2 double */
} ft_matmul;

/* Fortran's BLAS with 32-bit integers, NULL until lib.load_blas() has run. */
typedef struct {
    void (*dgemm)(char *, char *, int *, int *, int *, double *, double *, int *, double *, int *,
                  double *, double *, int *);
    void (*sgemm)(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *,
                  float *, float *, int *);
    void (*dgemv)(char *, int *, int *, double *, double *, int *, double *, int *, double *,
                  double *, int *);
    void (*sgemv)(char *, int *, int *, float *, float *, int *, float *, int *, float *,
                  float *, int *);
} ft_blas_table;
extern ft_blas_table ft_blas;

/* A panel of b: k rows of two native vectors, at most this wide. */
#define FT_MM_PANEL 128
FT_INLINE int64_t ft_mm_scratch(int64_t k) { return k * FT_MM_PANEL; }

/* Exchanges the roles of a and b: out^T = b^T a^T. */
FT_INLINE ft_mm ft_mm_transposed(const ft_mm *d)
{
    return (ft_mm){d->n, d->m, d->k, d->on, d->om, d->bn, d->bk, d->ak, d->am};
}

/* c + a * b, fused where the level has it: on whole vectors and alike on scalars. */
#define FT_MAD_PLAIN(a, b, c) ((c) + (a) * (b))
#if defined(__AVX512F__)
#define FT_VMAD_f64(a, b, c) ((__typeof__(c))_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define FT_VMAD_f32(a, b, c) ((__typeof__(c))_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#elif defined(__FMA__)
#define FT_VMAD_f64(a, b, c) ((__typeof__(c))_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define FT_VMAD_f32(a, b, c) ((__typeof__(c))_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#else
#define FT_VMAD_f64 FT_MAD_PLAIN
#define FT_VMAD_f32 FT_MAD_PLAIN
#endif
#if defined(__FMA__)
#define FT_MAD_f64(a, b, c) __builtin_fma(a, b, c)
#define FT_MAD_f32(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FT_MAD_f64 FT_MAD_PLAIN
#define FT_MAD_f32 FT_MAD_PLAIN
#endif

#endif

/* Matrix products: loops for any strides and types, and packed ones for large float products. */
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

/* How far one chain of an output goes; the chains of later blocks of k are added in order. The same on
 * all levels, as bits depend on it. */
#define FT_MM_KC 256

/* Rows and vectors of a register tile: v4 has 32 vector registers. */
#if FT_VBYTES == 64
#define FT_MM_MR 8
#define FT_MM_NV 3
#else
#define FT_MM_MR 6
#define FT_MM_NV 2
#endif
#define FT_MM_NV_MAX 8         /* of a tile of one row */

/* A panel of b for the small products: k rows of two native vectors. */
#define FT_MM_SCRATCH (FT_MM_KC * 2 * 64)

/* What large float products are made of. b is packed into strips of nr columns, for each block of k
 * one after the other. */
typedef struct {
    int64_t mr, nr;
    void (*pack)(char *packed, const char *b, const ft_mm *d, int64_t block, int64_t strip);
    void (*block)(char *out, const char *a, const char *packed, const ft_mm *d, int64_t strip,
                  int64_t end, int add);
    /* the other way round: a packed into panels of mr rows, and tasks pack their strips of b */
    void (*pack_rows)(char *packed, const char *a, const ft_mm *d, int64_t block, int64_t panel);
    void (*strips)(char *out, const char *packed, const char *b, const ft_mm *d, int64_t panel,
                   int64_t end, int64_t strip, int64_t last, int add);
    /* at most FT_MM_FEW columns of b, any strides, k <= FT_MM_FEW_KC */
    void (*few)(char *out, const char *a, const char *b, const ft_mm *d, int add);
    void (*add)(char *out, const char *in, int64_t n, int64_t so, int64_t si);
} ft_gemm;
#define FT_MM_FEW 4
#define FT_MM_FEW_KC 1024

typedef struct {
    int64_t size;
    /* any shape and strides; scratch holds FT_MM_SCRATCH bytes, 64-byte aligned */
    void (*run)(char *out, const char *a, const char *b, const ft_mm *d, char *scratch);
    const ft_gemm *gemm;       /* NULL: not a float */
} ft_matmul;

/* Exchanges the roles of a and b: out^T = b^T a^T. */
FT_INLINE ft_mm ft_mm_transposed(const ft_mm *d)
{
    return (ft_mm){d->n, d->m, d->k, d->on, d->om, d->bn, d->bk, d->ak, d->am};
}

/* Parts of vectors: the first n of elements of `size` bytes (a constant). */
#if defined(__AVX512BW__)
#define FT_MASKED 1
#define FT_FIRST(n) (((uint64_t)1 << (n)) - 1)
#define FT_LOAD_PART(size, p, n) \
    ((size) == 4 ? _mm512_maskz_loadu_epi32((__mmask16)FT_FIRST(n), p) \
     : (size) == 8 ? _mm512_maskz_loadu_epi64((__mmask8)FT_FIRST(n), p) \
     : (size) == 2 ? _mm512_maskz_loadu_epi16((__mmask32)FT_FIRST(n), p) \
                   : _mm512_maskz_loadu_epi8((__mmask64)FT_FIRST(n), p))
#define FT_STORE_PART(size, p, n, x) \
    do { \
        if ((size) == 4) \
            _mm512_mask_storeu_epi32(p, (__mmask16)FT_FIRST(n), x); \
        else if ((size) == 8) \
            _mm512_mask_storeu_epi64(p, (__mmask8)FT_FIRST(n), x); \
        else if ((size) == 2) \
            _mm512_mask_storeu_epi16(p, (__mmask32)FT_FIRST(n), x); \
        else \
            _mm512_mask_storeu_epi8(p, (__mmask64)FT_FIRST(n), x); \
    } while (0)
#else
#define FT_MASKED 0
#endif

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

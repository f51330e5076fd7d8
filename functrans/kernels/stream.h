/* Stores that do not read the line first: included once per level. */
#ifndef FUNCTRANS_STREAM_H
#define FUNCTRANS_STREAM_H

#include "move.h"

#ifdef __SSE2__
#include <immintrin.h>

#if defined(__AVX512F__)
#define FT_STREAM(o, x) _mm512_stream_si512((__m512i *)(o), _mm512_loadu_si512(x))
#elif defined(__AVX__)
#define FT_STREAM(o, x) _mm256_stream_si256((__m256i *)(o), _mm256_loadu_si256((const __m256i *)(x)))
#else
#define FT_STREAM(o, x) _mm_stream_si128((__m128i *)(o), _mm_loadu_si128((const __m128i *)(x)))
#endif

static void ft_stream_line(char *out, const char *in, int64_t nbytes)
{
    int64_t head = ft_lesser(-(uintptr_t)out & 63, nbytes), i = head;
    memcpy(out, in, head);
    for (; i + 64 <= nbytes; i += 64)
        for (int j = 0; j < 64; j += FT_VBYTES)
            FT_STREAM(out + i + j, in + i + j);
    memcpy(out + i, in + i, nbytes - i);
}
#else
static void ft_stream_line(char *out, const char *in, int64_t nbytes)
{
    memcpy(out, in, nbytes);
}
#endif

/* An ft_copy_fn for lines of adjacent items. */
static void ft_stream(char *out, const char *in, int64_t n, int64_t m, int64_t so0, int64_t so1,
                      int64_t si0, int64_t si1)
{
    (void)si1;
    for (int64_t i = 0; i < n; i++)
        ft_stream_line(out + i * so0, in + i * si0, m * so1);
    ft_stream_end();
}

#endif

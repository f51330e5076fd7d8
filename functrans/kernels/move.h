/* Kernels that move elements without looking at them, by item size. */
#ifndef FUNCTRANS_MOVE_H
#define FUNCTRANS_MOVE_H

#include "common.h"

/* Two axes: `n` outer and `m` inner elements; byte strides of out and in. */
typedef void (*ft_copy_fn)(char *out, const char *in, int64_t n, int64_t m,
                           int64_t so0, int64_t so1, int64_t si0, int64_t si1);

/* n elements start, start + step, ... of a dtype, for iota. */
typedef void (*ft_iota_fn)(char *out, int64_t stride, int64_t n, int64_t start, int64_t step);

/* Before others may look at what was stored past the caches. */
FT_INLINE void ft_stream_end(void)
{
#ifdef __SSE__
    __builtin_ia32_sfence();
#endif
}

#define FT_TILE 16

#endif

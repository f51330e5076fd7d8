/* Kernels that move elements without looking at them, by item size. */
#ifndef FUNCTRANS_MOVE_H
#define FUNCTRANS_MOVE_H

#include "common.h"

/* Two axes: `n` outer and `m` inner elements; byte strides of out and in. */
typedef void (*ft_copy_fn)(char *out, const char *in, int64_t n, int64_t m,
                           int64_t so0, int64_t so1, int64_t si0, int64_t si1);

/* n elements start, start + step, ... of a dtype, for iota. */
typedef void (*ft_iota_fn)(char *out, int64_t stride, int64_t n, int64_t start, int64_t step);

/* Adjacent bytes, past the caches where the machine can: for what is too large to be read back from
 * them. Whoever calls it lets ft_stream_end() follow before others may look. */
typedef void (*ft_stream_fn)(char *out, const char *in, int64_t nbytes);

FT_INLINE void ft_stream_end(void)
{
#ifdef __SSE__
    __builtin_ia32_sfence();
#endif
}

#define FT_TILE 16

#endif

/* The position of the first extremum, nan counting as one, along the last axis of a step. */
#ifndef FUNCTRANS_ARG_H
#define FUNCTRANS_ARG_H

#include "abi.h"

#define FT_ARG_COLUMNS 64      /* lines side by side that are gone through together */

typedef struct {
    int64_t size;
    ft_loop_fn line;
    /* w <= FT_ARG_COLUMNS adjacent lines of n elements `stride` bytes apart; their results are `so` apart */
    void (*columns)(char *out, int64_t so, const char *x, int64_t stride, int64_t n, int64_t w);
} ft_arg;

int ft_run_argreduce(const ft_step *s, ft_frame *f);

#endif

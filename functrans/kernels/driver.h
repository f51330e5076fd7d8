/* The drivers: how a step walks its iteration space. Compiled once; the loops they call exist once
 * per instruction-set level. */
#ifndef FUNCTRANS_DRIVER_H
#define FUNCTRANS_DRIVER_H

#include "common.h"
#include "threads.h"

#define FT_MAXOPND 6          /* of elementwise steps: output, four inputs, parameters */

/* Walks the outer axes of some operands at once. */
typedef struct {
    int n, nop;               /* axes, operands */
    const int64_t *shape;
    const int64_t *st[FT_MAXOPND];
    char *p[FT_MAXOPND];
    int64_t at[FT_MAXDIM];
} ft_walk;

/* Sets w to the flat position `pos` of the first n axes. */
void ft_walk_start(ft_walk *w, const ft_step *s, ft_frame *f, int nop, int n, int64_t pos);

FT_INLINE void ft_walk_next(ft_walk *w)
{
    for (int d = w->n - 1; d >= 0; d--) {
        if (++w->at[d] < w->shape[d]) {
            for (int i = 0; i < w->nop; i++)
                w->p[i] += w->st[i][d];
            return;
        }
        for (int i = 0; i < w->nop; i++)
            w->p[i] -= w->st[i][d] * (w->shape[d] - 1);
        w->at[d] = 0;
    }
}

/* Elementwise steps by number of operands; the last axis is split between threads. */
int ft_run_ew2(const ft_step *s, ft_frame *f);
int ft_run_ew3(const ft_step *s, ft_frame *f);
int ft_run_ew4(const ft_step *s, ft_frame *f);
int ft_run_ew5(const ft_step *s, ft_frame *f);
/* The kernel sees each line of the last axis whole: cumulative and arg reductions. */
int ft_run_lines(const ft_step *s, ft_frame *f);

int ft_run_reduce(const ft_step *s, ft_frame *f);
int ft_run_matmul(const ft_step *s, ft_frame *f);
int ft_run_conv(const ft_step *s, ft_frame *f);
int ft_run_window(const ft_step *s, ft_frame *f);
int ft_run_window_pick(const ft_step *s, ft_frame *f);
int ft_run_window_put(const ft_step *s, ft_frame *f);

/* move.h: kernel is an ft_copy_fn. */
int ft_run_copy(const ft_step *s, ft_frame *f);
int ft_run_join(const ft_step *s, ft_frame *f);
int ft_run_iota(const ft_step *s, ft_frame *f);
int ft_run_dynslice(const ft_step *s, ft_frame *f);
int ft_run_dynupdate(const ft_step *s, ft_frame *f);

int ft_run_gather(const ft_step *s, ft_frame *f);
int ft_run_scatter(const ft_step *s, ft_frame *f);

int ft_run_group(const ft_step *s, ft_frame *f);

#endif

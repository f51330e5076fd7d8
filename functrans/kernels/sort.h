/* Sorting: what differs by dtype, one record each.
 *
 * A key is an unsigned integer of the element's size that orders as the elements do: -0 and 0 have one
 * key, all nans have the greatest. With `flip` all ones the order is reversed. */
#ifndef FUNCTRANS_SORT_H
#define FUNCTRANS_SORT_H

#include "common.h"

#define FT_SORT_SMALL 64           /* rows up to this length are sorted by counting who is less */
#define FT_PIVOTS 4                /* places that a row is parted around at most; ops/sort.py */

typedef struct {
    uint64_t least, most;          /* keys */
    int descends;                  /* somewhere an element is less than the one before */
    int signs;                     /* 1: there is a 0; 2: there is a -0 */
} ft_span;

typedef struct {
    int64_t size;
    void (*span)(const char *x, int64_t n, uint64_t flip, ft_span *span);
    void (*extent)(const char *x, int64_t n, ft_span *span);             /* least and most only */
    /* keys that tell -0 from 0, and back */
    void (*keys)(char *keys, const char *x, int64_t n);
    void (*values)(char *out, const char *keys, int64_t n);
    /* (key - least) >> shift in the high half, the position in the low half */
    void (*pack)(uint64_t *out, const char *x, int64_t from, int64_t n, uint64_t flip, uint64_t least,
                 int shift);
    uint64_t (*key)(const char *x, int64_t i);
    uint64_t (*load)(uint64_t *keys, const char *x, int64_t n);       /* gives the greatest */
    void (*tally)(const char *x, int64_t n, uint64_t pivot, int64_t *above, int64_t *equal);    /* adds */
    /* which of the n have keys from low to high: how many */
    int64_t (*within)(int32_t *at, const char *x, int64_t n, uint64_t low, uint64_t high);
    int (*zero)(const char *x, int64_t i);
    void (*small)(char *out, const char *x, int64_t n);
    void (*small_places)(int64_t *out, const char *x, int64_t n, uint64_t flip);
    /* positions in the sorted a of n elements before which m values belong */
    void (*search)(int64_t *out, const char *a, int64_t n, const char *v, int64_t m, int right);
} ft_sort;

int ft_run_sort(const ft_step *s, ft_frame *f);
int ft_run_argsort(const ft_step *s, ft_frame *f);
int ft_run_top_k(const ft_step *s, ft_frame *f);
int ft_run_argselect(const ft_step *s, ft_frame *f);
int ft_run_partition(const ft_step *s, ft_frame *f);
int ft_run_searchsorted(const ft_step *s, ft_frame *f);

#endif

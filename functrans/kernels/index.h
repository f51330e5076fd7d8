/* Gather and scatter: rows of an array by index tuples. */
#ifndef FUNCTRANS_INDEX_H
#define FUNCTRANS_INDEX_H

#include "common.h"

typedef struct {
    int64_t size;
    /* o[j] = o[j] op u[j] for one row */
    void (*row)(char *out, const char *update, int64_t n);
    /* the same for n rows of one element, at the positions at[]; negative ones are left out */
    void (*items)(char *out, const char *update, const int64_t *at, int64_t n);
    int sums;                  /* op is +: partial results from zeros can be added up */
} ft_scatter;

#endif

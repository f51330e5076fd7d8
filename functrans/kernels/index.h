/* Gather and scatter: rows of an array by index tuples. */
#ifndef FUNCTRANS_INDEX_H
#define FUNCTRANS_INDEX_H

#include "common.h"

/* o[j] = o[j] op u[j] for one row. */
typedef void (*ft_row_fn)(char *out, const char *update, int64_t n);

typedef struct {
    int64_t size;
    ft_row_fn row;
} ft_scatter;

#endif

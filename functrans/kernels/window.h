/* Windows that slide over an array: their sums and extrema, and where the extrema are. */
#ifndef FUNCTRANS_WINDOW_H
#define FUNCTRANS_WINDOW_H

#include "common.h"

#define FT_WINDOW_LINE 512     /* outputs of one line that are worked on together */

typedef struct {
    int64_t size;
    void (*start)(char *acc, int64_t n);
    /* acc[j] = acc[j] op x[j], x at any stride */
    void (*tap)(char *acc, const char *x, int64_t sx, int64_t n);
    /* where[j] = at + j * step if that x[j] is the first or beats acc[j] */
    void (*find)(char *acc, int64_t *where, const char *x, int64_t sx, int64_t n, int64_t at,
                 int64_t step);
    void (*store)(char *out, int64_t so, const char *acc, int64_t n);
    /* out[j] = from[where[j]], or 0;  to[where[j]] += in[j] */
    void (*pick)(char *out, int64_t so, const char *from, const int64_t *where, int64_t n);
    void (*put)(char *to, const char *in, const int64_t *where, int64_t n);
} ft_window;

#endif

/* Reductions: the kernels of one (operation, dtype) and the fixed tree that combines them.
 *
 * Order of a sum: blocks of FT_RED_BLOCK elements, each in FT_LANE_BYTES of lanes (element i in lane
 * i mod lanes), lanes folded by halves, blocks combined pairwise as a binary counter does. A part of
 * 2**k blocks is a subtree of that tree, so parts can go to threads without changing a bit. */
#ifndef FUNCTRANS_REDUCE_H
#define FUNCTRANS_REDUCE_H

#include "common.h"

#define FT_RED_BLOCK 1024      /* elements of a block along a line */
#define FT_RED_ROWS 64         /* rows of a block of columns */
#define FT_RED_PART 64         /* blocks of a part: what is computed without the driver */
#define FT_RED_WIDTH 1024      /* bytes of columns taken at once */
#define FT_RED_DEPTH 48        /* levels of the tree: 2**48 parts are more than memory holds */

typedef struct {
    int64_t size;
    /* n >= 1 elements, n <= FT_RED_BLOCK * FT_RED_PART, to *out */
    void (*run)(char *out, const char *x, int64_t stride, int64_t n);
    /* w adjacent columns of 1 <= rows <= FT_RED_ROWS * FT_RED_PART rows, to out[0..w) */
    void (*columns)(char *out, const char *x, int64_t stride, int64_t rows, int64_t w);
    /* acc[j] = acc[j] op x[j] */
    void (*merge)(char *acc, const char *x, int64_t w);
    void (*identity)(char *out);
} ft_reduce;

/* One element per lane: of equal extrema, and of nans, the one further left. */
#define FT_VPICK(mask, a, b) \
    ((__typeof__(a))(((mask) & (__typeof__(mask))(a)) | (~(mask) & (__typeof__(mask))(b))))
#define FT_VMAX(a, b) FT_VPICK(((a) >= (b)) | ((a) != (a)), a, b)
#define FT_VMIN(a, b) FT_VPICK(((a) <= (b)) | ((a) != (a)), a, b)

#endif

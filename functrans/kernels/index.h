/* Gather and scatter: rows of an array by index tuples. */
#ifndef FUNCTRANS_INDEX_H
#define FUNCTRANS_INDEX_H

#include "common.h"

/* What becomes of positions outside an axis: the nearest, row -1, or counted round the axis. */
enum { FT_CLIP, FT_LEAVE, FT_WRAP };

#define FT_INDEX_TYPES 8       /* i8 i16 i32 i64 u8 u16 u32 u64 */

typedef struct {
    /* n adjacent positions in an axis of `extent` > 0 elements, to negative ones of which `back` is added:
     * rows[j] = rows[j] * extent + position, or just the position if `first`; -1 stays -1. */
    void (*rows)(int64_t *rows, const void *at, int64_t n, int64_t extent, int64_t back, int mode,
                 int first);
    /* positions `step` bytes apart, as int64 */
    void (*read)(int64_t *out, const char *at, int64_t step, int64_t n);
} ft_index;

/* out[i] = x[rows[i]], rows of `bytes`; none is negative */
typedef void (*ft_pick_fn)(char *out, const char *x, const int64_t *rows, int64_t n, int64_t bytes);

typedef struct {
    int64_t size;
    const ft_index *index;     /* of each index type */
    ft_pick_fn pick;
} ft_gather;

typedef struct {
    int64_t size;
    const ft_index *index;
    /* o[rows[i]] = o[rows[i]] op u[from[i]] (u[i] where from is NULL) for n rows of `width` elements, of
     * which `count` are combined; `far`: they are hardly in a cache. */
    void (*put)(char *out, const char *update, const int64_t *rows, const int64_t *from, int64_t n,
                int64_t width, int64_t count, int far);
    int pieces;                /* updates may be combined in pieces: results from zeros can be added up, */
    int again;                 /* or from copies of the destination, as combining twice changes nothing */
} ft_scatter;

/* Updates of one row of an array, in order, at positions within it: at[d] are those of axis d, side by side.
 * ints: k, what becomes of those outside, whether negative ones count from the end, how many updates, the
 * k index types, the k extents, elements of an update. */
void ft_put_row(const ft_scatter *kernel, char *out, const char *updates, const char *const *at,
                const int64_t *ints);

#endif

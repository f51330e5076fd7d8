/* What is looked at in arrays of numbers: counts, sums, extremes and a histogram, in one pass. */
#ifndef FUNCTRANS_STATISTICS_H
#define FUNCTRANS_STATISTICS_H

#include "common.h"

/* A row of results. Only finite elements are in the sums, the extremes and the histogram. */
enum { FT_COUNT, FT_ZEROS, FT_BAD, FT_SUM, FT_SQUARES, FT_MOST, FT_MINUS_LEAST, FT_COLUMNS };

/* Buckets are TensorBoard's: limits +-1e-12 * 1.1^k up to 1e20, zero, and all above. An element is in the
 * first bucket whose limit is greater. */
#define FT_POWERS 774
#define FT_BUCKETS (2 * FT_POWERS + 2)

typedef struct {
    /* n <= FT_STAT_BLOCK elements, added to a row */
    void (*block)(double *row, const char *x, int64_t n);
    /* counts elements by bucket */
    void (*histogram)(uint32_t *counts, const char *x, int64_t n);
} ft_statistics;

#define FT_STAT_BLOCK 4096

/* Positive limits and an infinity; the place of the first one that is no less than the least double whose upper
 * bits, from FT_CELL_FIRST on, are those of the index. */
#define FT_CELL_SHIFT 48
#define FT_CELL_FIRST ((1023 - 41) << 4)
#define FT_CELLS ((41 + 68) << 4)
extern double ft_powers[FT_POWERS + 1];
extern uint16_t ft_cells[FT_CELLS];

int ft_run_statistics(const ft_step *s, ft_frame *f);

#endif

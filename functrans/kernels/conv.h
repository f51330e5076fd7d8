/* Convolutions: what the driver (conv.c) and the kernels of a type (conv_body.h) share.
 *
 * All have three spatial axes here; missing ones have extent 1. `k` counts taps, `u` runs over them. */
#ifndef FUNCTRANS_CONV_H
#define FUNCTRANS_CONV_H

#include "matmul.h"

typedef struct {
    int64_t images, cin, cout;                 /* of one group */
    int64_t n[3], k[3], o[3];                  /* extents of image, filter, output */
    int64_t s[3], d[3], lo[3];                 /* strides, dilation of the filter, padding before */
    int64_t xn, xc, xs[3], wo, wc, ws[3], on, oc, os[3];      /* byte strides */
    /* A part of padded images, packed: [channel][z][y][phase][x]. The last axis is split in phases by
     * `split`, so that what lies `split` apart is adjacent. */
    int64_t ext[2], split, phases, wide;       /* extents z, y; phases; elements of a phase */
    int64_t row, plane, channel;               /* elements from one y, z and channel to the next */
    int64_t b[4];                              /* output block of a task, of the wide form; its images */
} ft_conv_dims;

typedef struct {
    int64_t size, mr, nr;
    /* the part whose first element has the padded coordinates `from` */
    void (*part)(char *to, const char *x, const ft_conv_dims *c, int64_t channels, const int64_t *from);
    /* panel i of the filters, taps at byte offsets off[k] */
    void (*filters)(char *to, const char *w, const ft_conv_dims *c, const int64_t *off, int64_t taps,
                    int64_t i);
    /* one block of the output, b its extents */
    void (*wide)(char *out, const char *part, const char *filters, const ft_conv_dims *c,
                 const int64_t *off, int64_t taps, const int64_t *b, char *scratch);
    /* strip i of the filters of one channel: all positions, nr outputs adjacent */
    void (*lines)(char *to, const char *w, const ft_conv_dims *c, int64_t i);
    /* acc[row][nr] += the positions of the filter times the part, which rows read at rows[] */
    void (*deep)(char *acc, const char *part, const int64_t *rows, int64_t count, const char *lines,
                 const ft_conv_dims *c, int64_t strip);
    void (*add)(char *out, const char *in, int64_t n, int64_t so, int64_t si);
} ft_conv;

/* Of the wide form: a strip, and the sums of one whose pixels do not lie side by side in the output. */
#define FT_CONV_SLACK 256
#define FT_CONV_SCRATCH(c, panels) \
    ((FT_MM_KC * (c)->nr + 2 * FT_CONV_SLACK + (panels) * (c)->mr * (c)->nr) * (c)->size)

/* Keeps a compiler from seeing a loop of stores as a call of memset or memcpy. */
#define FT_NO_CALL(p) __asm__ volatile("" : : "r"(p) : "memory")

#endif

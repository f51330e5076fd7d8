/* Discrete Fourier transforms: how a step describes its plan, and the shuffles that the kernels need.
 *
 * Vectors hold the same element of several transforms ("lanes"), real and imaginary parts apart. A
 * transform of N points is done as one of three, which the plan (ops/fft.py) chooses by shape alone:
 *   LANES      Stockham's passes over vectors whose lanes are different lines of the batch;
 *   LINE       N = n1 n2: the n2 columns of length n1, twiddles, the n1 rows of length n2; lanes are
 *              adjacent columns, then adjacent rows, of one line;
 *   BLUESTEIN  a convolution of a length that has small factors, for N with a large prime factor.
 * No lane sees another, and no product is fused: the bits depend on the plan only, not on the width of
 * vectors or on threads. */
#ifndef FUNCTRANS_FFT_H
#define FUNCTRANS_FFT_H

#include <stdatomic.h>
#include <stdlib.h>

#include "driver.h"

enum { FT_FFT_LANES, FT_FFT_LINE, FT_FFT_BLUESTEIN };
enum { FT_FFT_C2C, FT_FFT_R2C, FT_FFT_C2R };

/* The step's ints. Operands: out, room for a line where there are few, x, tables. */
enum {
    FT_FFT_KIND, FT_FFT_BACKWARD, FT_FFT_N,
    FT_FFT_SCALE,                /* the bits of a double */
    FT_FFT_XSTEP, FT_FFT_YSTEP,  /* bytes from an element of a line to the next */
    FT_FFT_BY_LANES,             /* lanes are lines, the last axis of the step's shape */
    FT_FFT_ROOM,                 /* bytes that one line needs */
    FT_FFT_HALF,                 /* in the tables: exp(-2 pi i k / n) for k <= n / 4, n even and real */
    FT_FFT_PLAN                  /* of the complex transform: see ft_fft_* in fft_body.h */
};

#define FT_FFT_MAX_RADIX 64
#define FT_FFT_FEW 4             /* fewer lines than this share out the work of each */

#define FT_EVEN_2 0, 2
#define FT_ODD_2 1, 3
#define FT_LOW_2 0, 2
#define FT_HIGH_2 1, 3
#define FT_EVEN_4 0, 2, 4, 6
#define FT_ODD_4 1, 3, 5, 7
#define FT_LOW_4 0, 4, 1, 5
#define FT_HIGH_4 2, 6, 3, 7
#define FT_EVEN_8 0, 2, 4, 6, 8, 10, 12, 14
#define FT_ODD_8 1, 3, 5, 7, 9, 11, 13, 15
#define FT_LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define FT_HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define FT_EVEN_16 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define FT_ODD_16 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define FT_LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FT_HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

#endif

/* What all kernel sources share: C types, vector width of the level, loop hints. */
#ifndef FUNCTRANS_COMMON_H
#define FUNCTRANS_COMMON_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "abi.h"

#ifdef __clang__
#define FT_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define FT_IVDEP _Pragma("GCC ivdep")
#endif
#define FT_LIKELY(c) __builtin_expect(!!(c), 1)
#define FT_INLINE static inline __attribute__((always_inline, unused))

#define FT_MAXDIM 64

/* Native vector of the level in bytes. Results never depend on it: see FT_LANE_BYTES. */
#if defined(__AVX512F__)
#define FT_VBYTES 64
#elif defined(__AVX__)
#define FT_VBYTES 32
#else
#define FT_VBYTES 16
#endif

/* Logical lanes of a reduction, the same on every level: 16 f64 or 32 f32. */
#define FT_LANE_BYTES 128

FT_INLINE int64_t ft_lesser(int64_t a, int64_t b) { return a < b ? a : b; }

#endif

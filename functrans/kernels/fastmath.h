/* Vector math: elementary functions without branches, tables or calls, so that the compiler turns
 * a plain loop over them into vector code at every instruction-set level.
 *
 * ft_fast_<name>_f64(x) and ft_fast_<name>_f32(x) are right for every input: nan, infinities,
 * signed zeros, subnormal arguments and results. The one exception: sin, cos and tan of
 * |x| > FT_TRIG_FAR_*; FT_FAR_LOOP is the loop over those. tests/test_accuracy.py states and
 * asserts the errors.
 *
 * The same source gives the same bits on all levels with fused multiply-add. Without it (v2) every
 * step that relies on an exact product has a form that splits its factors instead.
 *
 * Methods: argument reduction after Cody & Waite, "Software Manual for the Elementary Functions",
 * and Muller, "Elementary Functions"; polynomials are minimax fits made for these intervals by a
 * Remez exchange (the comment above each is its error relative to the function).
 *
 * Left to the C library: lgamma, and where multiply-add is not fused erf (f64), erfc and pow. */
#ifndef FUNCTRANS_FASTMATH_H
#define FUNCTRANS_FASTMATH_H

#include "common.h"

FT_INLINE uint64_t ft_bits_f64(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
FT_INLINE double ft_from_f64(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }
FT_INLINE uint32_t ft_bits_f32(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
FT_INLINE float ft_from_f32(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FT_FUSED 1
#else
#define FT_FUSED 0
#endif

/* a * b + c, fused where the level has it. */
#if FT_FUSED
FT_INLINE double ft_ma_f64(double a, double b, double c) { return __builtin_fma(a, b, c); }
FT_INLINE float ft_ma_f32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
FT_INLINE double ft_ma_f64(double a, double b, double c) { return a * b + c; }
FT_INLINE float ft_ma_f32(float a, float b, float c) { return a * b + c; }
#endif

/* Where a function is computed for one number at a time (scalar programs), branches that are easy to foretell
 * save most of the work; in loops they would keep the compiler from making vector code. The value returned
 * early has the bits of the one that follows. */
#ifdef FT_ONE_BY_ONE
#define FT_EARLY(condition, value) if (condition) return (value)
#else
#define FT_EARLY(condition, value)
#endif

/* c0 + z (c1 + z (c2 + ...)), F being the multiply-add: the form with the fewest operations. From six
 * coefficients on the even and the odd ones are two such chains in z*z, which is one operation more and half
 * the time to wait for. */
#define FT_HORNER1(F, z, c) (c)
#define FT_HORNER2(F, z, c, ...) F(FT_HORNER1(F, z, __VA_ARGS__), z, c)
#define FT_HORNER3(F, z, c, ...) F(FT_HORNER2(F, z, __VA_ARGS__), z, c)
#define FT_HORNER4(F, z, c, ...) F(FT_HORNER3(F, z, __VA_ARGS__), z, c)
#define FT_HORNER5(F, z, c, ...) F(FT_HORNER4(F, z, __VA_ARGS__), z, c)
#define FT_HORNER6(F, z, c, ...) F(FT_HORNER5(F, z, __VA_ARGS__), z, c)
#define FT_HORNER7(F, z, c, ...) F(FT_HORNER6(F, z, __VA_ARGS__), z, c)
#define FT_HORNER8(F, z, c, ...) F(FT_HORNER7(F, z, __VA_ARGS__), z, c)
#define FT_HORNER9(F, z, c, ...) F(FT_HORNER8(F, z, __VA_ARGS__), z, c)
#define FT_HORNER10(F, z, c, ...) F(FT_HORNER9(F, z, __VA_ARGS__), z, c)
#define FT_HORNER11(F, z, c, ...) F(FT_HORNER10(F, z, __VA_ARGS__), z, c)
#define FT_HORNER12(F, z, c, ...) F(FT_HORNER11(F, z, __VA_ARGS__), z, c)
#define FT_HORNER13(F, z, c, ...) F(FT_HORNER12(F, z, __VA_ARGS__), z, c)
#define FT_HORNER14(F, z, c, ...) F(FT_HORNER13(F, z, __VA_ARGS__), z, c)
#define FT_HORNER15(F, z, c, ...) F(FT_HORNER14(F, z, __VA_ARGS__), z, c)
#define FT_HORNER16(F, z, c, ...) F(FT_HORNER15(F, z, __VA_ARGS__), z, c)
#define FT_HORNER17(F, z, c, ...) F(FT_HORNER16(F, z, __VA_ARGS__), z, c)
#define FT_HORNER18(F, z, c, ...) F(FT_HORNER17(F, z, __VA_ARGS__), z, c)
#define FT_HORNER19(F, z, c, ...) F(FT_HORNER18(F, z, __VA_ARGS__), z, c)
#define FT_HORNER20(F, z, c, ...) F(FT_HORNER19(F, z, __VA_ARGS__), z, c)
#define FT_EVEN_ODD(F, z, even, odd) \
    __extension__({ __typeof__(z) z_ = (z), y_ = z_ * z_; F(odd, z_, even); })
#define FT_POLY6(F, z, c0, c1, c2, c3, c4, c5) \
    FT_EVEN_ODD(F, z, FT_HORNER3(F, y_, c0, c2, c4), FT_HORNER3(F, y_, c1, c3, c5))
#define FT_POLY7(F, z, c0, c1, c2, c3, c4, c5, c6) \
    FT_EVEN_ODD(F, z, FT_HORNER4(F, y_, c0, c2, c4, c6), FT_HORNER3(F, y_, c1, c3, c5))
#define FT_POLY9(F, z, c0, c1, c2, c3, c4, c5, c6, c7, c8) \
    FT_EVEN_ODD(F, z, FT_HORNER5(F, y_, c0, c2, c4, c6, c8), FT_HORNER4(F, y_, c1, c3, c5, c7))
#define FT_POLY10(F, z, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9) \
    FT_EVEN_ODD(F, z, FT_HORNER5(F, y_, c0, c2, c4, c6, c8), FT_HORNER5(F, y_, c1, c3, c5, c7, c9))
#define FT_POLY11(F, z, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10) \
    FT_EVEN_ODD(F, z, FT_HORNER6(F, y_, c0, c2, c4, c6, c8, c10), FT_HORNER5(F, y_, c1, c3, c5, c7, c9))
#define FT_POLY12(F, z, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11) \
    FT_EVEN_ODD(F, z, FT_HORNER6(F, y_, c0, c2, c4, c6, c8, c10), \
                FT_HORNER6(F, y_, c1, c3, c5, c7, c9, c11))
#define FT_POLY20(F, z, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, \
                  c10, c11, c12, c13, c14, c15, c16, c17, c18, c19) \
    FT_EVEN_ODD(F, z, FT_HORNER10(F, y_, c0, c2, c4, c6, c8, c10, c12, c14, c16, c18), \
                FT_HORNER10(F, y_, c1, c3, c5, c7, c9, c11, c13, c15, c17, c19))

#include "fastmath_f64.h"
#include "fastmath_f32.h"

/* The same functions for any argument. */
#define FT_WHOLE(name)                                                              \
    FT_INLINE float ft_whole_##name##_f32(float x)                                  \
    {                                                                               \
        int far = (x > FT_TRIG_FAR_F32) | (x < -FT_TRIG_FAR_F32);                   \
        return far ? name##f(x) : ft_fast_##name##_f32(x);                          \
    }                                                                               \
    FT_INLINE double ft_whole_##name##_f64(double x)                                \
    {                                                                               \
        int far = (x > FT_TRIG_FAR_F64) | (x < -FT_TRIG_FAR_F64);                   \
        return far ? name(x) : ft_fast_##name##_f64(x);                             \
    }
FT_WHOLE(sin)
FT_WHOLE(cos)
FT_WHOLE(tan)

/* out[i] = whole(x[i]): pieces without a far argument by `fast`, which is `whole` without the
 * branch that keeps the compiler from making vector code. The bits are the same either way. */
#define FT_FAR_LOOP(fast, whole, limit, out, x, count)                              \
    for (int64_t from_ = 0, to_; from_ < (count); from_ = to_) {                    \
        to_ = ft_lesser(from_ + 512, (count));                                      \
        int far_ = 0;                                                               \
        for (int64_t i = from_; i < to_; i++)                                       \
            far_ |= ((x)[i] > (limit)) | ((x)[i] < -(limit));                       \
        if (FT_LIKELY(!far_)) {                                                     \
            FT_IVDEP                                                                \
            for (int64_t i = from_; i < to_; i++) (out)[i] = fast((x)[i]);          \
        } else {                                                                    \
            for (int64_t i = from_; i < to_; i++) (out)[i] = whole((x)[i]);         \
        }                                                                           \
    }

/* out[i] = fast(x[i]): pieces without extreme arguments by `near`, which has the same bits there and fewer
 * operations. `far_` collects sign bits, as integers, which costs next to nothing. */
#define FT_NEAR_LOOP(name, code, bits, out, x, count)                               \
    for (int64_t from_ = 0, to_; from_ < (count); from_ = to_) {                    \
        to_ = ft_lesser(from_ + 512, (count));                                      \
        bits far_ = 0;                                                              \
        for (int64_t i = from_; i < to_; i++)                                       \
            far_ |= ft_far_##name##_##code((x)[i]);                                 \
        if (FT_LIKELY(!(far_ >> (sizeof(bits) * 8 - 1)))) {                         \
            FT_IVDEP                                                                \
            for (int64_t i = from_; i < to_; i++) (out)[i] = ft_near_##name##_##code((x)[i]); \
        } else {                                                                    \
            FT_IVDEP                                                                \
            for (int64_t i = from_; i < to_; i++) (out)[i] = ft_fast_##name##_##code((x)[i]); \
        }                                                                           \
    }

#endif

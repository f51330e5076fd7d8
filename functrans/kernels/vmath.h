/* Float functions of the op table, generic over float and double.
 *
 * The table below is the one place that says which function computes an op: a line
 * FT_UNARY(cbrt, cbrtf, cbrt) would make ft_cbrt(x) call cbrtf or cbrt of the C library. */
#ifndef FUNCTRANS_VMATH_H
#define FUNCTRANS_VMATH_H

#include "fastmath.h"
#include "fastmath_erfinv.h"

/* The C library's lgamma writes the sign to a global: the reentrant ones do not race. */
FT_INLINE float ft_lgammaf(float x) { int sign; return lgammaf_r(x, &sign); }
FT_INLINE double ft_lgammad(double x) { int sign; return lgamma_r(x, &sign); }

#define FT_UNARY(name, f32, f64) \
    FT_INLINE float ft_##name##_f32(float x) { return f32(x); } \
    FT_INLINE double ft_##name##_f64(double x) { return f64(x); }
#define FT_BINARY(name, f32, f64) \
    FT_INLINE float ft_##name##_f32(float x, float y) { return f32(x, y); } \
    FT_INLINE double ft_##name##_f64(double x, double y) { return f64(x, y); }

FT_UNARY(exp, ft_fast_exp_f32, ft_fast_exp_f64)
FT_UNARY(exp2, ft_fast_exp2_f32, ft_fast_exp2_f64)
FT_UNARY(expm1, ft_fast_expm1_f32, ft_fast_expm1_f64)
FT_UNARY(log, ft_fast_log_f32, ft_fast_log_f64)
FT_UNARY(log2, ft_fast_log2_f32, ft_fast_log2_f64)
FT_UNARY(log10, ft_fast_log10_f32, ft_fast_log10_f64)
FT_UNARY(log1p, ft_fast_log1p_f32, ft_fast_log1p_f64)
FT_UNARY(sin, ft_whole_sin_f32, ft_whole_sin_f64)
FT_UNARY(cos, ft_whole_cos_f32, ft_whole_cos_f64)
FT_UNARY(tan, ft_whole_tan_f32, ft_whole_tan_f64)
FT_UNARY(asin, ft_fast_asin_f32, ft_fast_asin_f64)
FT_UNARY(acos, ft_fast_acos_f32, ft_fast_acos_f64)
FT_UNARY(atan, ft_fast_atan_f32, ft_fast_atan_f64)
FT_UNARY(sinh, ft_fast_sinh_f32, ft_fast_sinh_f64)
FT_UNARY(cosh, ft_fast_cosh_f32, ft_fast_cosh_f64)
FT_UNARY(tanh, ft_fast_tanh_f32, ft_fast_tanh_f64)
FT_UNARY(asinh, ft_fast_asinh_f32, ft_fast_asinh_f64)
FT_UNARY(acosh, ft_fast_acosh_f32, ft_fast_acosh_f64)
FT_UNARY(atanh, ft_fast_atanh_f32, ft_fast_atanh_f64)
FT_UNARY(erf, ft_fast_erf_f32, ft_fast_erf_f64)
FT_UNARY(erfc, ft_fast_erfc_f32, ft_fast_erfc_f64)
FT_UNARY(erf_inv, ft_fast_erf_inv_f32, ft_fast_erf_inv_f64)
FT_UNARY(cbrt, ft_fast_cbrt_f32, ft_fast_cbrt_f64)
FT_UNARY(logistic, ft_fast_logistic_f32, ft_fast_logistic_f64)
FT_UNARY(lgamma, ft_lgammaf, ft_lgammad)
FT_BINARY(pow, ft_fast_pow_f32, ft_fast_pow_f64)
FT_BINARY(atan2, ft_fast_atan2_f32, ft_fast_atan2_f64)
FT_BINARY(hypot, hypotf, hypot)
FT_BINARY(fmod, fmodf, fmod)
FT_BINARY(nextafter, nextafterf, nextafter)

/* One instruction each. */
FT_UNARY(sqrt, sqrtf, sqrt)
FT_UNARY(abs, fabsf, fabs)
FT_UNARY(floor, floorf, floor)
FT_UNARY(ceil, ceilf, ceil)
FT_UNARY(trunc, truncf, trunc)
FT_UNARY(rint, rintf, rint)
FT_BINARY(copysign, copysignf, copysign)

#define FT_CALL1(name, x) _Generic((x), float: ft_##name##_f32, double: ft_##name##_f64)(x)
#define FT_CALL2(name, x, y) _Generic((x), float: ft_##name##_f32, double: ft_##name##_f64)(x, y)

#define ft_exp(x) FT_CALL1(exp, x)
#define ft_exp2(x) FT_CALL1(exp2, x)
#define ft_expm1(x) FT_CALL1(expm1, x)
#define ft_log(x) FT_CALL1(log, x)
#define ft_log2(x) FT_CALL1(log2, x)
#define ft_log10(x) FT_CALL1(log10, x)
#define ft_log1p(x) FT_CALL1(log1p, x)
#define ft_sin(x) FT_CALL1(sin, x)
#define ft_cos(x) FT_CALL1(cos, x)
#define ft_tan(x) FT_CALL1(tan, x)
#define ft_asin(x) FT_CALL1(asin, x)
#define ft_acos(x) FT_CALL1(acos, x)
#define ft_atan(x) FT_CALL1(atan, x)
#define ft_sinh(x) FT_CALL1(sinh, x)
#define ft_cosh(x) FT_CALL1(cosh, x)
#define ft_tanh(x) FT_CALL1(tanh, x)
#define ft_asinh(x) FT_CALL1(asinh, x)
#define ft_acosh(x) FT_CALL1(acosh, x)
#define ft_atanh(x) FT_CALL1(atanh, x)
#define ft_erf(x) FT_CALL1(erf, x)
#define ft_erfc(x) FT_CALL1(erfc, x)
#define ft_erf_inv(x) FT_CALL1(erf_inv, x)
#define ft_cbrt(x) FT_CALL1(cbrt, x)
#define ft_lgamma(x) FT_CALL1(lgamma, x)
#define ft_logistic(x) FT_CALL1(logistic, x)
#define ft_sqrt(x) FT_CALL1(sqrt, x)
#define ft_abs(x) FT_CALL1(abs, x)
#define ft_floor(x) FT_CALL1(floor, x)
#define ft_ceil(x) FT_CALL1(ceil, x)
#define ft_trunc(x) FT_CALL1(trunc, x)
#define ft_rint(x) FT_CALL1(rint, x)
#define ft_pow(x, y) FT_CALL2(pow, x, y)
#define ft_atan2(x, y) FT_CALL2(atan2, x, y)
#define ft_hypot(x, y) FT_CALL2(hypot, x, y)
#define ft_fmod(x, y) FT_CALL2(fmod, x, y)
#define ft_nextafter(x, y) FT_CALL2(nextafter, x, y)
#define ft_copysign(x, y) FT_CALL2(copysign, x, y)

#define ft_isinf(x) (ft_abs(x) == (T)INFINITY)
#define ft_isfinite(x) (ft_abs(x) < (T)INFINITY)
#define ft_signbit(x) (ft_copysign((T)1, x) < 0)

/* nan wins; of equal ones (also -0.0 and 0.0) the first. */
#define ft_max(x, y) ((((y) > (x)) | ((y) != (y))) ? (y) : (x))
#define ft_min(x, y) ((((y) < (x)) | ((y) != (y))) ? (y) : (x))
/* nan loses. */
#define ft_fmax(x, y) ((((x) >= (y)) | ((y) != (y))) ? (x) : (y))
#define ft_fmin(x, y) ((((x) <= (y)) | ((y) != (y))) ? (x) : (y))

#define ft_floordiv(x, y) FT_CALL2(floordiv, x, y)
#define ft_mod(x, y) FT_CALL2(mod, x, y)
#define ft_logaddexp(x, y) FT_CALL2(logaddexp, x, y)
#define ft_powi(x, k) _Generic((x), float: ft_powi_f32, double: ft_powi_f64)(x, k)

/* Python's rules for floats, as NumPy has them: the remainder has the sign of the divisor, and the
 * quotient is the whole number next to (x - remainder) / y. */
#define FT_DIVISION(T, s) \
    FT_INLINE T ft_mod_##s(T x, T y) \
    { \
        T r = ft_fmod(x, y); \
        if (r == 0) \
            return y == 0 ? r : ft_copysign((T)0, y); \
        return (r < 0) != (y < 0) ? r + y : r; \
    } \
    FT_INLINE T ft_floordiv_##s(T x, T y) \
    { \
        if (y == 0) \
            return x / y; \
        T r = ft_fmod(x, y), q = (x - r) / y; \
        if (r != 0 && (r < 0) != (y < 0)) \
            q -= 1; \
        if (q == 0) \
            return ft_copysign((T)0, x / y); \
        T f = ft_floor(q); \
        return q - f > (T)0.5 ? f + 1 : f; \
    }
FT_DIVISION(float, f32)
FT_DIVISION(double, f64)

/* log(exp x + exp y), without branches; the difference of equal infinities is 0. */
#define FT_LOGADDEXP(T, s) \
    FT_INLINE T ft_logaddexp_##s(T x, T y) \
    { \
        T d = x == y ? 0 : x - y; \
        return (d > 0 ? x : y) + ft_fast_log1p_##s(ft_fast_exp_##s(-ft_abs_##s(d))); \
    }
FT_LOGADDEXP(float, f32)
FT_LOGADDEXP(double, f64)

/* x**k: squaring for small k, where it is within 4 ulps, else pow. */
FT_INLINE double ft_powi_f64(double x, int64_t k)
{
    uint64_t m = k < 0 ? -(uint64_t)k : (uint64_t)k;
    if (m > 8)
        return ft_pow_f64(x, (double)k);
    double r = 1, b = x;
    for (; m; m >>= 1, b *= b)
        if (m & 1)
            r *= b;
    if (k >= 0)
        return r;
    /* x**-k left the range, its inverse may not have */
    int lost = ft_abs_f64(r) < DBL_MIN || ft_abs_f64(r) > DBL_MAX;
    return lost ? ft_pow_f64(x, (double)k) : 1 / r;
}

FT_INLINE float ft_powi_f32(float x, int64_t k)
{
    return (float)ft_powi_f64(x, k);
}

#endif

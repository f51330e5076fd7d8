/* Complex functions of the op table, generic over the two types.
 *
 * Values are NumPy's: products are the plain formula, quotients Smith's, and the C library computes what it has.
 * Those of special operands are the array API standard's (docs/semantics.md). C's own * and / would call functions that look for
 * infinities behind nans. */
#ifndef FUNCTRANS_COMPLEXMATH_H
#define FUNCTRANS_COMPLEXMATH_H

#include <complex.h>

#include "vmath.h"

#define ft_real(x) (__real__(x))
#define ft_imag(x) (__imag__(x))
#define ft_complex(re, im) __builtin_complex(re, im)
#define ft_conj(x) ft_complex(__real__(x), -__imag__(x))

#define ft_cisinf(x) (isinf(__real__(x)) || isinf(__imag__(x)))
#define ft_cisfinite(x) (isfinite(__real__(x)) && isfinite(__imag__(x)))

/* By real part, then by imaginary part; false where a nan stands. */
#define ft_corder(x, y, sign) \
    ((__real__(x) != __real__(y) \
          ? ((__real__(x) sign __real__(y)) & !isnan(__imag__(x)) & !isnan(__imag__(y))) \
          : (__imag__(x) sign __imag__(y))))

/* A product has no difference beside its sum: of the pair GCC would make one fused instruction, whatever
 * -ffp-contract says, and only in some places.
 *
 * T: the type of the parts; C: the complex type; s: its code; f: the C library's suffix. */
#define FT_COMPLEX_FUNCTIONS(T, C, s, r, f) \
    FT_INLINE C ft_cmul_##s(C x, C y) \
    { \
        T a = __real__ x, b = __imag__ x, c = __real__ y, d = __imag__ y, minus = -b; \
        return ft_complex(a * c + minus * d, a * d + b * c); \
    } \
    FT_INLINE C ft_cdiv_##s(C x, C y) \
    { \
        T c = __real__ y, d = __imag__ y; \
        int first = ft_abs_##r(c) >= ft_abs_##r(d); \
        T big = first ? c : d, small = first ? d : c; \
        T a = first ? __real__ x : __imag__ x, b = first ? __imag__ x : __real__ x; \
        int zero = first & (big == 0); \
        T ratio = zero ? 0 : small / big; \
        T scale = 1 / (zero ? ft_abs_##r(big) : big + small * ratio); \
        T re = zero ? a : a + b * ratio; \
        T turned = first ? -a : a, other = first ? b : -b; \
        T im = zero ? b : other + turned * ratio; \
        return ft_complex(re * scale, im * scale); \
    } \
    FT_INLINE T ft_cabs_##s(C x) \
    { \
        T a = ft_abs_##r(__real__ x), b = ft_abs_##r(__imag__ x); \
        T big = a > b ? a : b, small = a > b ? b : a;      /* a nan reaches one of them */ \
        T ratio = small / (big == 0 ? 1 : big); \
        T size = big * sqrt##f(1 + ratio * ratio); \
        return ((a == (T)INFINITY) | (b == (T)INFINITY)) ? (T)INFINITY : size; \
    } \
    FT_INLINE C ft_csign_##s(C x) \
    { \
        T re = __real__ x, im = __imag__ x, m = hypot##f(re, im); \
        if (isinf(m)) { \
            if ((isinf(re) && isinf(im)) || isnan(re) || isnan(im)) \
                return ft_complex((T)NAN, (T)NAN); \
            return isinf(re) ? ft_complex(ft_copysign_##r(1, re), (T)0) \
                             : ft_complex((T)0, ft_copysign_##r(1, im)); \
        } \
        return m == 0 ? ft_complex((T)0, (T)0) : ft_complex(re / m, im / m); \
    } \
    FT_INLINE C ft_crint_##s(C x) \
    { \
        return ft_complex(ft_rint_##r(__real__ x), ft_rint_##r(__imag__ x)); \
    } \
    FT_INLINE C ft_cscaled_##s(C x, T by) \
    { \
        return ft_complex(__real__ x * by, __imag__ x * by); \
    } \
    FT_INLINE C ft_cexp2_##s(C x) \
    { \
        return cexp##f(ft_cscaled_##s(x, (T)M_LN2)); \
    } \
    FT_INLINE C ft_clog2_##s(C x) \
    { \
        return ft_cscaled_##s(clog##f(x), (T)M_LOG2E); \
    } \
    FT_INLINE C ft_clog10_##s(C x) \
    { \
        return ft_cscaled_##s(clog##f(x), (T)M_LOG10E); \
    } \
    /* exp(a) cos(b) - 1 without cancellation: cos(b) = 1 - 2 sin(b/2)**2. Where exp(a) is far \
     * from 1 there is none, and infinities and nan are exp's, as the array API standard says. */ \
    FT_INLINE C ft_cexpm1_##s(C x) \
    { \
        T a = __real__ x, b = __imag__ x; \
        if (!(ft_abs_##r(a) < 40 && ft_cisfinite(x))) { \
            C w = cexp##f(x); \
            return ft_complex(__real__ w - 1, __imag__ w); \
        } \
        T h = sin##f(b / 2); \
        return ft_complex(0 - 2 * h * h + expm1##f(a) * cos##f(b), exp##f(a) * sin##f(b));     /* +0 of -0 */ \
    } \
    /* |1 + x|**2 - 1 = a (2 + a) + b**2 is exact enough near 0 */ \
    FT_INLINE C ft_clog1p_##s(C x) \
    { \
        T a = __real__ x, b = __imag__ x, near = a * (2 + a) + b * b; \
        T re = ft_abs_##r(a) < (T)0.5 && ft_abs_##r(b) < (T)0.5 ? log1p##f(near) / 2 \
                                                                  : log##f(hypot##f(a + 1, b)); \
        return ft_complex(re, atan2##f(b, a + 1)); \
    } \
    FT_INLINE C ft_cpowi_##s(C x, int64_t k) \
    { \
        uint64_t m = k < 0 ? -(uint64_t)k : (uint64_t)k; \
        C one = ft_complex((T)1, (T)0), p = one; \
        if (m == 0) \
            return one; \
        if (k < 0 && x == 0) \
            return ft_complex((T)NAN, (T)NAN); \
        if (m > 64) \
            return cpow##f(x, ft_complex((T)k, (T)0)); \
        for (;; x = ft_cmul_##s(x, x)) { \
            if (m & 1) \
                p = p == one ? x : ft_cmul_##s(p, x); \
            if ((m >>= 1) == 0) \
                break; \
        } \
        return k < 0 ? ft_cdiv_##s(one, p) : p; \
    } \
    FT_INLINE C ft_cpow_##s(C x, C y) \
    { \
        T c = __real__ y, d = __imag__ y; \
        if (c == 0 && d == 0) \
            return ft_complex((T)1, (T)0); \
        if (x == 0) \
            return c > 0 ? ft_complex((T)0, (T)0) : ft_complex((T)NAN, (T)NAN); \
        if (d == 0 && c > -64 && c < 64 && c == (T)(int64_t)c) \
            return ft_cpowi_##s(x, (int64_t)c); \
        return cpow##f(x, y); \
    } \
    FT_LIBRARY(exp, C, s, f) FT_LIBRARY(log, C, s, f) FT_LIBRARY(sqrt, C, s, f) \
    FT_LIBRARY(sin, C, s, f) FT_LIBRARY(cos, C, s, f) FT_LIBRARY(tan, C, s, f) \
    FT_LIBRARY(asin, C, s, f) FT_LIBRARY(acos, C, s, f) FT_QUADRANT(atan, C, s, r, f) \
    FT_LIBRARY(sinh, C, s, f) FT_LIBRARY(cosh, C, s, f) FT_LIBRARY(tanh, C, s, f) \
    FT_LIBRARY(asinh, C, s, f) FT_LIBRARY(acosh, C, s, f) FT_QUADRANT(atanh, C, s, r, f)
#define FT_LIBRARY(name, C, s, f) \
    FT_INLINE C ft_c##name##_##s(C x) { return c##name##f(x); }
/* Odd, and of the conjugate the conjugate, to the last bit: glibc's two depend on the quadrant. */
#define FT_QUADRANT(name, C, s, r, f) \
    FT_INLINE C ft_c##name##_##s(C x) \
    { \
        C w = c##name##f(ft_complex(ft_abs_##r(__real__ x), ft_abs_##r(__imag__ x))); \
        return ft_complex(ft_copysign_##r(__real__ w, __real__ x), ft_copysign_##r(__imag__ w, __imag__ x)); \
    }

#undef I

FT_COMPLEX_FUNCTIONS(float, float _Complex, c64, f32, f)
FT_COMPLEX_FUNCTIONS(double, double _Complex, c128, f64, )

#define FT_CCALL(name, x) \
    _Generic((x), float _Complex: ft_##name##_c64, double _Complex: ft_##name##_c128)

#define ft_cmul(x, y) FT_CCALL(cmul, x)(x, y)
#define ft_cdiv(x, y) FT_CCALL(cdiv, x)(x, y)
#define ft_cpow(x, y) FT_CCALL(cpow, x)(x, y)
#define ft_cpowi(x, k) FT_CCALL(cpowi, x)(x, k)
#define ft_cabs(x) FT_CCALL(cabs, x)(x)
#define ft_csign(x) FT_CCALL(csign, x)(x)
#define ft_crint(x) FT_CCALL(crint, x)(x)
#define ft_cexp(x) FT_CCALL(cexp, x)(x)
#define ft_cexp2(x) FT_CCALL(cexp2, x)(x)
#define ft_cexpm1(x) FT_CCALL(cexpm1, x)(x)
#define ft_clog(x) FT_CCALL(clog, x)(x)
#define ft_clog2(x) FT_CCALL(clog2, x)(x)
#define ft_clog10(x) FT_CCALL(clog10, x)(x)
#define ft_clog1p(x) FT_CCALL(clog1p, x)(x)
#define ft_csqrt(x) FT_CCALL(csqrt, x)(x)
#define ft_csin(x) FT_CCALL(csin, x)(x)
#define ft_ccos(x) FT_CCALL(ccos, x)(x)
#define ft_ctan(x) FT_CCALL(ctan, x)(x)
#define ft_casin(x) FT_CCALL(casin, x)(x)
#define ft_cacos(x) FT_CCALL(cacos, x)(x)
#define ft_catan(x) FT_CCALL(catan, x)(x)
#define ft_csinh(x) FT_CCALL(csinh, x)(x)
#define ft_ccosh(x) FT_CCALL(ccosh, x)(x)
#define ft_ctanh(x) FT_CCALL(ctanh, x)(x)
#define ft_casinh(x) FT_CCALL(casinh, x)(x)
#define ft_cacosh(x) FT_CCALL(cacosh, x)(x)
#define ft_catanh(x) FT_CCALL(catanh, x)(x)

#endif

/* Vector math in single precision; see fastmath.h. What is hard to do well in single precision
 * (trigonometric functions, erfc, pow) is computed in double, with short polynomials. */
#ifndef FUNCTRANS_FASTMATH_F32_H
#define FUNCTRANS_FASTMATH_F32_H

/* ----- what fastmath_body.h needs to know --------------------------------------------------- */

#define FT_N(name) ft_##name##_f32
#define FT_P(name) FT_##name##_f32
#define FT_REAL float
#define FT_UINT uint32_t
#define FT_SQRT __builtin_sqrtf
#define FT_ABS __builtin_fabsf
#define FT_COPYSIGN __builtin_copysignf
#define FT_SHIFT 23
#define FT_BIAS 127
#define FT_LIFT 24
#define FT_MAGIC 0x1.8p23f
#define FT_SIGN 0x80000000u
#define FT_MANTISSA 0x007fffffu
#define FT_HALF_MASK 0xfffff000u
#define FT_ONE 0x3f800000u
#define FT_SQRT_HALF 0x3f3504f3u
#define FT_MIN_NORMAL 0x1p-126f
#define FT_HUGE 0x1p120f
#define FT_EPS 0x1p-23f
#define FT_TINY 0x1p-13f
#define FT_EXP_MAX 88.75f
#define FT_EXP_MIN -104.5f
#define FT_EXP_NEAR 87.0f
#define FT_EXP2_MAX 128.0f
#define FT_EXP2_MIN -151.0f
#define FT_EXPM1_FLAT 20.0f
#define FT_COSH_MAX 89.5f
#define FT_TANH_FLAT 10.0f
#define FT_ERF_FLAT 3.95f
#define FT_LOG2E 0x1.715476p+0f
#define FT_LN2 0x1.62e43p-1f
#define FT_LN2_HI 0x1.62e8p-1f
#define FT_LN2_LO -0x1.e8082ep-16f
#define FT_LOG2E_HI 0x1.716p+0f
#define FT_LOG2E_LO -0x1.7135a8p-13f
#define FT_LOG10E_HI 0x1.bccp-2f
#define FT_LOG10E_LO -0x1.09d5b2p-15f
#define FT_LOG10_2_HI 0x1.344p-2f
#define FT_LOG10_2_LO 0x1.3509f8p-18f
#define FT_PIO4_HI 0x1.921fb6p-1f
#define FT_PIO4_LO -0x1.777a5cp-26f
#define FT_TAN_PIO8 0x1.a8279ap-2f
#define FT_TAN_3PIO8 0x1.3504f4p+1f

/* 2^-26 */
#define FT_EM1_f32(z) FT_HORNER4(ft_ma_f32, z, 0x1.5554b6p-3f, 0x1.5555bap-5f, 0x1.1223ecp-7f, \
    0x1.6c54eap-10f)
/* 2^-29 */
#define FT_EXP2_f32(z) FT_POLY6(ft_ma_f32, z, 0x1.62e430p-1f, 0x1.ebfbdcp-3f, 0x1.c6aee8p-5f, \
    0x1.3b2d4ep-7f, 0x1.5f3e80p-10f, 0x1.41fb64p-13f)
/* 2^-26 */
#define FT_SINHC_f32(z) FT_HORNER2(ft_ma_f32, z, 0x1.5554aep-3f, 0x1.122886p-7f)
/* 2^-34 */
#define FT_COSHC_f32(z) FT_HORNER3(ft_ma_f32, z, 0x1.000000p-1f, 0x1.55547ep-5f, \
    0x1.6d9848p-10f)
/* 2^-30 */
#define FT_LOG_f32(z) FT_HORNER3(ft_ma_f32, z, 0x1.55557ap-1f, 0x1.995e9ap-2f, 0x1.31e69ap-2f)
/* 2^-30 */
#define FT_TANH_f32(z) FT_HORNER5(ft_ma_f32, z, -0x1.555548p-2f, 0x1.110c98p-3f, \
    -0x1.b90fbep-5f, 0x1.58668ep-6f, -0x1.963d34p-8f)
/* 2^-26 */
#define FT_ATAN_f32(z) FT_HORNER4(ft_ma_f32, z, -0x1.555452p-2f, 0x1.99246ep-3f, \
    -0x1.1c3354p-3f, 0x1.49c7aep-4f)
/* 2^-28 */
#define FT_ASIN_f32(z) FT_HORNER5(ft_ma_f32, z, 0x1.5555c8p-3f, 0x1.3301e6p-4f, 0x1.747e28p-5f, \
    0x1.8c2948p-6f, 0x1.596c74p-5f)
/* 2^-30 */
#define FT_ERF_f32(z) FT_POLY7(ft_ma_f32, z, 0x1.06eba8p-3f, -0x1.81273ep-2f, 0x1.ce2cf8p-4f, \
    -0x1.b7f90ep-6f, 0x1.5405b2p-8f, -0x1.a3f6fep-11f, 0x1.496a24p-14f)
/* 2^-36 */
#define FT_ERFT_f32(z) FT_POLY9(ft_ma_f32, z, 0x1.d97fc0p+0f, 0x1.51c9b0p+1f, 0x1.afabb4p-1f, \
    0x1.547f30p-5f, -0x1.494c84p-7f, 0x1.084780p-9f, -0x1.332eb0p-12f, 0x1.82ec48p-16f, \
    -0x1.d59232p-23f)
/* 2^-7 */
#define FT_CBRT_f32(z) FT_HORNER5(ft_ma_f32, z, 0x1.80621ap+0f, -0x1.6641aap-1f, 0x1.f2c724p-3f, \
    -0x1.51acd2p-5f, 0x1.585580p-9f)

#include "fastmath_body.h"

#undef FT_N
#undef FT_P
#undef FT_REAL
#undef FT_UINT
#undef FT_SQRT
#undef FT_ABS
#undef FT_COPYSIGN
#undef FT_SHIFT
#undef FT_BIAS
#undef FT_LIFT
#undef FT_MAGIC
#undef FT_SIGN
#undef FT_MANTISSA
#undef FT_HALF_MASK
#undef FT_ONE
#undef FT_SQRT_HALF
#undef FT_MIN_NORMAL
#undef FT_HUGE
#undef FT_EPS
#undef FT_TINY
#undef FT_EXP_MAX
#undef FT_EXP_MIN
#undef FT_EXP_NEAR
#undef FT_EXP2_MAX
#undef FT_EXP2_MIN
#undef FT_EXPM1_FLAT
#undef FT_COSH_MAX
#undef FT_TANH_FLAT
#undef FT_ERF_FLAT
#undef FT_LOG2E
#undef FT_LN2
#undef FT_LN2_HI
#undef FT_LN2_LO
#undef FT_LOG2E_HI
#undef FT_LOG2E_LO
#undef FT_LOG10E_HI
#undef FT_LOG10E_LO
#undef FT_LOG10_2_HI
#undef FT_LOG10_2_LO
#undef FT_PIO4_HI
#undef FT_PIO4_LO
#undef FT_TAN_PIO8
#undef FT_TAN_3PIO8

/* ----- polynomials of the functions below --------------------------------------------------- */

/* 2^-27 */
#define FT_SIN_f32(z) FT_HORNER4(ft_ma_f64, z, -0x1.55554bc3eb9fcp-3, 0x1.110ed2c45b5a4p-7, \
    -0x1.9f6fda73d5fdfp-13, 0x1.5dbbd1c18ac21p-19)
/* 2^-28 */
#define FT_SINQ_f32(z) FT_HORNER3(ft_ma_f64, z, -0x1.55554521a68eep-3, 0x1.110739036ac5dp-7, \
    -0x1.9943314b13f3ap-13)
/* 2^-33 */
#define FT_COSQ_f32(z) FT_HORNER3(ft_ma_f64, z, 0x1.55554a0e6ffe9p-5, -0x1.6c0c31d00e0fbp-10, \
    0x1.99eb0fde1cb23p-16)
/* 2^-30 */
#define FT_ERF_WIDE_f32(z) FT_POLY7(ft_ma_f64, z, 0x1.06eba7f24a4fcp-3, -0x1.81273de94658ep-2, \
    0x1.ce2cf7403da47p-4, -0x1.b7f90d17877c9p-6, 0x1.5405b20eb9926p-8, -0x1.a3f6fe76c219ep-11, \
    0x1.496a23988313fp-14)
/* 2^-32 */
#define FT_ERFC_f32(z) FT_POLY10(ft_ma_f64, z, 0x1.40c522d6cc2c4p+0, -0x1.15c084a4e1a3fp-3, \
    -0x1.85a14272084d0p-5, 0x1.09835f74dcf25p-3, -0x1.e88d07b48a00cp-4, 0x1.17cb9a2b82ca8p-4, \
    -0x1.8533d1f6f3ac0p-6, 0x1.4992e48971b99p-9, 0x1.dd636bb46be91p-10, -0x1.73a620e17128fp-11)
/* 2^-44 */
#define FT_LOGD_f32(z) FT_POLY6(ft_ma_f64, z, 0x1.fffffffffff0dp+0, 0x1.5555555675812p-1, \
    0x1.99999622a8c33p-2, 0x1.24943bc553b9ap-2, 0x1.c61fc51325c68p-3, 0x1.91a36ecaf3a37p-3)
/* 2^-29 */
#define FT_EXP2D_f32(z) FT_POLY7(ft_ma_f64, z, 0x1.00000002626e9p+0, 0x1.62e430c839a0bp-1, \
    0x1.ebfbdad9d8ee0p-3, 0x1.c6aed456716b0p-5, 0x1.3b2dbd5417f6bp-7, 0x1.5f459b4aa1935p-10, \
    0x1.41d2724c751eap-13)
/* 2^-26 */
#define FT_EM1D_f32(z) FT_HORNER4(ft_ma_f64, z, 0x1.5554b67707fd9p-3, 0x1.5555baf793745p-5, \
    0x1.1223ebbbeb630p-7, 0x1.6c54ea7128581p-10)

/* ----- sin, cos, tan: in double, far arguments as in fastmath_f64.h ------------------------- */

#if FT_FUSED
#define FT_TRIG_FAR_F32 0x1p30f
#else
#define FT_TRIG_FAR_F32 0x1p22f
#endif

FT_INLINE double ft_reduce_pi_f32(double x, double q, double unit)
{
#if FT_FUSED
    double t = ft_ma_f64(-q, 0x1.921fb54442d18p+1 * unit, x);
    return ft_ma_f64(-q, 0x1.1a62633145c07p-53 * unit, t);
#else
    return ((x - q * (0x1.921fb548p+1 * unit)) + q * (0x1.de973dc8p-30 * unit))
        + q * (0x1.9d9cceb8p-61 * unit);
#endif
}

FT_INLINE float ft_sin_turned_f32(double r, double magic)
{
    double z = r * r, y = ft_ma_f64(r * z, FT_SIN_f32(z), r);
    return (float)ft_from_f64(ft_bits_f64(y) ^ (ft_bits_f64(magic) << 63));
}

FT_INLINE float ft_fast_sin_f32(float x)
{
    double magic = ft_ma_f64(x, 0x1.45f306dc9c883p-2, 0x1.8p52);
    float y = ft_sin_turned_f32(ft_reduce_pi_f32(x, magic - 0x1.8p52, 1), magic);
    return x == 0 ? x : y;
}

FT_INLINE float ft_fast_cos_f32(float x)
{
    double magic = ft_ma_f64(x, 0x1.45f306dc9c883p-2, 0.5) + 0x1.8p52;
    return ft_sin_turned_f32(ft_reduce_pi_f32(x, (magic - 0x1.8p52) - 0.5, 1), magic);
}

FT_INLINE float ft_fast_tan_f32(float x)
{
    double magic = ft_ma_f64(x, 0x1.45f306dc9c883p-1, 0x1.8p52);
    double r = ft_reduce_pi_f32(x, magic - 0x1.8p52, 0.5), z = r * r;
    double s = ft_ma_f64(r * z, FT_SINQ_f32(z), r);
    double c = ft_ma_f64(z, ft_ma_f64(z, FT_COSQ_f32(z), -0.5), 1.0);
    int swap = (ft_bits_f64(magic) & 1) != 0;
    float y = (float)((swap ? -c : s) / (swap ? s : c));
    return x == 0 ? x : y;
}

/* ----- erfc and pow, in double: see fastmath_f64.h ------------------------------------------ */

#if FT_FUSED
FT_INLINE float ft_fast_erfc_f32(float x)
{
    double a = ft_magnitude_f64(x), r, l, v = x;
    double near0 = (1 - v) - v * FT_ERF_WIDE_f32(v * v);
    FT_EARLY(a < 1, (float)near0);
    a = a > 10.5 ? 10.5 : a;
    double inverse = 1 / ((a + 3) * (1 + 2 * a)), t = (a - 3) * (1 + 2 * a) * inverse;
    uint64_t code;
    ft_reduce_exp_f64(-a * a, &r, &l, &code);
    double e = 1 + ft_ma_f64(r * r, ft_ma_f64(r, FT_EM1D_f32(r), 0.5), r);
    double far = FT_ERFC_f32(t) * (a + 3) * inverse * e
        * ft_from_f64((code - 1023) << 52);
    double y = ft_magnitude_f64(v) < 1 ? near0 : v < 0 ? 2 - far : far;
    return (float)y;
}

/* log2(2**k m) and exp2(p), for pow. */
FT_INLINE double ft_log2_wide_f32(double m, double k)
{
    double f = m - 1, s = f / (2 + f), z = s * s;
    return ft_ma_f64(s * FT_LOGD_f32(z), 0x1.71547652b82fep+0, k);
}

FT_INLINE double ft_exp2_wide_f32(double p)
{
    double n = ft_near_f64(p), r = p - n;
    return FT_EXP2D_f32(r) * ft_two_to_f64(n);
}

FT_INLINE float ft_fast_pow_f32(float x, float y)
{
#ifdef FT_ONE_BY_ONE
    if ((x > 0) & (x < INFINITY) & (ft_magnitude_f32(y) < 0x1p40f)) {
        double m, k = ft_split_normal_f64(x, &m), p = y * ft_log2_wide_f32(m, k);
        if (ft_magnitude_f64(p) < 200)
            return (float)ft_exp2_wide_f32(p);
    }
#endif
    double a = ft_magnitude_f64(x), m, k = ft_split_f64(a, &m), log2x = ft_log2_wide_f32(m, k);
    log2x = a == 0 ? -INFINITY : a == INFINITY ? a : log2x;
    double e = y > 0x1p40f ? 0x1p40 : y;                  /* enough, and not 0 * inf: 1**inf is 1 */
    double p = (e < -0x1p40 ? -0x1p40 : e) * log2x;
    p = p > 200 ? 200 : p;
    p = p < -200 ? -200 : p;
    double result = ft_exp2_wide_f32(p);
    double half = 0.5 * y;
    int whole = __builtin_rint(y) == y, odd = whole & (__builtin_rint(half) != half);
    double signed_ = ft_signed_as_f64(result, x);
    result = odd ? signed_ : result;
    result = ((x < 0) & (a < INFINITY) & !whole) ? NAN : result;
    result = ((x != x) | (y != y)) ? NAN : result;
    return (float)(((x == 1) | (y == 0)) ? 1 : result);
}
#else
FT_INLINE float ft_fast_erfc_f32(float x) { return erfcf(x); }
FT_INLINE float ft_fast_pow_f32(float x, float y) { return powf(x, y); }
#endif

#endif

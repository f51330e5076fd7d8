/* Vector math in double precision; see fastmath.h. */
#ifndef FUNCTRANS_FASTMATH_F64_H
#define FUNCTRANS_FASTMATH_F64_H

/* ----- what fastmath_body.h needs to know --------------------------------------------------- */

#define FT_N(name) ft_##name##_f64
#define FT_P(name) FT_##name##_f64
#define FT_REAL double
#define FT_UINT uint64_t
#define FT_SQRT __builtin_sqrt
#define FT_ABS __builtin_fabs
#define FT_COPYSIGN __builtin_copysign
#define FT_SHIFT 52
#define FT_BIAS 1023
#define FT_LIFT 54
#define FT_MAGIC 0x1.8p52
#define FT_SIGN 0x8000000000000000u
#define FT_MANTISSA 0x000fffffffffffffu
#define FT_HALF_MASK 0xffffffff00000000u
#define FT_ONE 0x3ff0000000000000u
#define FT_SQRT_HALF 0x3fe6a09e667f3bcdu
#define FT_MIN_NORMAL 0x1p-1022
#define FT_HUGE 0x1p1000
#define FT_EPS 0x1p-52
#define FT_TINY 0x1p-28
#define FT_EXP_MAX 710.0
#define FT_EXP_MIN -746.0
#define FT_EXP_NEAR 708.0
#define FT_EXP2_MAX 1024.0
#define FT_EXP2_MIN -1076.0
#define FT_EXPM1_FLAT 40.0
#define FT_COSH_MAX 710.6
#define FT_TANH_FLAT 22.0
#define FT_ERF_FLAT 5.95
#define FT_LOG2E 0x1.71547652b82fep+0
#define FT_LN2 0x1.62e42fefa39efp-1
#define FT_LN2_HI 0x1.62e42fefa4p-1
#define FT_LN2_LO -0x1.8432a1b0e2634p-43
#define FT_LOG2E_HI 0x1.71547p+0
#define FT_LOG2E_LO 0x1.94ae0bf85ddf4p-22
#define FT_LOG10E_HI 0x1.bcb7bp-2
#define FT_LOG10E_LO 0x1.526e50e32a6abp-26
#define FT_LOG10_2_HI 0x1.34413509f8p-2
#define FT_LOG10_2_LO -0x1.80433b83b532ap-44
#define FT_PIO4_HI 0x1.921fb54442d18p-1
#define FT_PIO4_LO 0x1.1a62633145c07p-55
#define FT_TAN_PIO8 0x1.a827999fcef32p-2
#define FT_TAN_3PIO8 0x1.3504f333f9de6p+1

/* 2^-55 */
#define FT_EM1_f64(z) FT_POLY9(ft_ma_f64, z, 0x1.555555555553ep-3, 0x1.5555555553ae1p-5, \
    0x1.1111111118e13p-7, 0x1.6c16c17a10c85p-10, 0x1.a01a01716582dp-13, 0x1.a019b358d6e52p-16, \
    0x1.71de97d1f97c1p-19, 0x1.2897b4051a663p-22, 0x1.ae48fa95e5c23p-26)
/* 2^-58 */
#define FT_EXP2_f64(z) FT_POLY11(ft_ma_f64, z, 0x1.62e42fefa39efp-1, 0x1.ebfbdff82c5a4p-3, \
    0x1.c6b08d7049fe8p-5, 0x1.3b2ab6fba00f8p-7, 0x1.5d87fe78cd721p-10, 0x1.4309130ee0219p-13, \
    0x1.ffcbfba98388bp-17, 0x1.62bfc7897ea5cp-20, 0x1.b5267ca7790c2p-24, 0x1.e61b73e5957e9p-28, \
    0x1.e79c51dd16fdcp-32)
/* 2^-62 */
#define FT_SINHC_f64(z) FT_HORNER5(ft_ma_f64, z, 0x1.5555555555559p-3, 0x1.111111110f67dp-7, \
    0x1.a01a01affb512p-13, 0x1.71ddf81627ec6p-19, 0x1.af5f3342f05efp-26)
/* 2^-58 */
#define FT_COSHC_f64(z) FT_HORNER5(ft_ma_f64, z, 0x1.000000000000cp-1, 0x1.555555554feedp-5, \
    0x1.6c16c185e6908p-10, 0x1.a01995f31e537p-16, 0x1.28b0d78b4840bp-22)
/* 2^-59 */
#define FT_LOG_f64(z) FT_POLY7(ft_ma_f64, z, 0x1.5555555555593p-1, 0x1.999999997fb34p-2, \
    0x1.24924942175fbp-2, 0x1.c71c51e82f6dfp-3, 0x1.74664621a3f24p-3, 0x1.39a0f604e51cdp-3, \
    0x1.2f0d85593f2fbp-3)
/* 2^-55 */
#define FT_TANH_f64(z) FT_POLY10(ft_ma_f64, z, -0x1.5555555555454p-2, 0x1.11111110fd7dbp-3, \
    -0x1.ba1ba1a99590ap-5, 0x1.664f450ca29c8p-6, -0x1.226dca5c0e7d4p-7, 0x1.d6c3c0aca41bcp-9, \
    -0x1.7cdc8cebc5878p-10, 0x1.2f19e2d20965bp-11, -0x1.b59285afa44dep-13, \
    0x1.a27ac7ed510e0p-15)
/* 2^-59 */
#define FT_ATAN_f64(z) FT_POLY11(ft_ma_f64, z, -0x1.555555555553cp-2, 0x1.999999999572fp-3, \
    -0x1.24924922a638bp-3, 0x1.c71c70e365fc8p-4, -0x1.745cf8923514dp-4, 0x1.3b11140f9f3d0p-4, \
    -0x1.10eb7fb7072acp-4, 0x1.df0c1c8f037efp-5, -0x1.9cc480758e0cfp-5, 0x1.37b1a565a2521p-5, \
    -0x1.251bbe432a24bp-6)
/* 2^-56 */
#define FT_ASIN_f64(z) FT_POLY12(ft_ma_f64, z, 0x1.5555555555390p-3, 0x1.333333336e78cp-4, \
    0x1.6db6db427eb2fp-5, 0x1.f1c72c37c0edep-6, 0x1.6e89f45a4e02cp-6, 0x1.1c6be04272b46p-6, \
    0x1.c6fdda8e3c74fp-7, 0x1.8ec2685c532cbp-7, 0x1.abd3e8d5b39bdp-8, 0x1.3ff1d78b6dbfap-6, \
    -0x1.09cf2690656b3p-6, 0x1.056c2ef5428adp-5)
/* 2^-57 */
#define FT_ERF_f64(z) FT_POLY12(ft_ma_f64, z, 0x1.06eba8214db68p-3, -0x1.812746b0379bdp-2, \
    0x1.ce2f21a040d14p-4, -0x1.b82ce311fa8c4p-6, 0x1.565bccf92a44dp-8, -0x1.c02db03db5ac0p-11, \
    0x1.f9a2baa6033ffp-14, -0x1.f4ca4d43729f3p-17, 0x1.b97fd23c49ee1p-20, \
    -0x1.5c071d795d9e4p-23, 0x1.d71ad059f680fp-27, -0x1.abad954ae96b8p-31)
/* 2^-55 */
#define FT_ERFT_f64(z) FT_POLY20(ft_ma_f64, z, 0x1.d97fbf27aa2a1p+0, 0x1.51c9b0006c23dp+1, \
    0x1.afabc11a28f48p-1, 0x1.5477f09ca42eep-5, -0x1.48c9d4098a781p-7, 0x1.033f690481aaep-9, \
    -0x1.f1b4754157d49p-13, -0x1.b8c8b0e060f64p-16, 0x1.c779854e743ffp-16, \
    -0x1.41ded7a56a6a3p-17, 0x1.11eb396db40c8p-19, -0x1.0eeaa0168579fp-23, \
    -0x1.d427b33014560p-24, 0x1.f3440ad9afea8p-25, -0x1.2acaabd25ef56p-26, \
    0x1.f1ee6201f6b44p-29, -0x1.26b017a86c041p-31, 0x1.db05e383ecd25p-35, \
    -0x1.d421399ba96d9p-39, 0x1.a961ec4c408adp-44)
/* 2^-8 */
#define FT_CBRT_f64(z) FT_POLY6(ft_ma_f64, z, 0x1.99716b49f9146p+0, -0x1.e4ee71a3f5c01p-1, \
    0x1.d48730bdb5858p-2, -0x1.f60c01357cf66p-4, 0x1.0fd874a84695cp-6, -0x1.cffbe90dfd7c4p-11)

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

/* 2^-62; one chain, which is more exact near pi/2 */
#define FT_SIN_f64(z) FT_HORNER8(ft_ma_f64, z, -0x1.5555555555555p-3, 0x1.11111111110c1p-7, \
    -0x1.a01a01a014888p-13, 0x1.71de3a528651bp-19, -0x1.ae6454caa7093p-26, \
    0x1.6123cafb81475p-33, -0x1.ae43117538ddbp-41, 0x1.8828543f38de4p-49)
/* 2^-58 */
#define FT_SINQ_f64(z) FT_POLY6(ft_ma_f64, z, -0x1.5555555555548p-3, 0x1.111111110f7c5p-7, \
    -0x1.a01a019bfc62ep-13, 0x1.71de356669b05p-19, -0x1.ae5e596970a9dp-26, \
    0x1.5d8f7861bd31fp-33)
/* 2^-64 */
#define FT_COSQ_f64(z) FT_POLY6(ft_ma_f64, z, 0x1.555555555554bp-5, -0x1.6c16c16c14f83p-10, \
    0x1.a01a019c82d39p-16, -0x1.27e4f7e9ab668p-22, 0x1.1ee9d6f1238e5p-29, \
    -0x1.8fa4326bfddc8p-37)
/* 2^-56 */
#define FT_ERFC_f64(z) FT_POLY20(ft_ma_f64, z, 0x1.40c522d7e4987p+0, -0x1.15c084bb9e900p-3, \
    -0x1.85a15c58aa7a8p-5, 0x1.098366a5b4f82p-3, -0x1.e88b803a45078p-4, 0x1.17ca2877ba225p-4, \
    -0x1.8574c40d628ddp-6, 0x1.4b884ee2271cfp-9, 0x1.ef1bde24a3c48p-10, -0x1.98db6fb562341p-11, \
    -0x1.b9126276b2f24p-14, 0x1.065d9b930f894p-13, 0x1.4bde05a7f58b8p-18, \
    -0x1.51a7fedc7e3c7p-16, -0x1.78b6c58299a4cp-21, 0x1.d8e6ef6a2fdabp-19, \
    0x1.1cf0736e0793bp-22, -0x1.5afa474d07fbcp-21, -0x1.7071ceb3d0bdbp-26, \
    0x1.236d5ad8d3e2ep-24)
/* 2^-66, of log2 */
#define FT_LOG2T_f64(z) FT_POLY7(ft_ma_f64, z, 0x1.2776c50ef9d26p-1, 0x1.a61762a75921bp-2, \
    0x1.484b1421e160ep-2, 0x1.0c9a63bcd66cap-2, 0x1.c69f95d1e12d6p-3, 0x1.87afd65658cd7p-3, \
    0x1.85f1f2bacb7eap-3)

/* ----- sin, cos, tan ---------------------------------------------------------------------------
 * Arguments beyond FT_TRIG_FAR need the reduction by hundreds of bits of pi that the C library has:
 * whoever runs a loop over these functions gives elements with ft_trig_far(x) to it instead. */

#if FT_FUSED
#define FT_TRIG_FAR_F64 0x1p30
#else
#define FT_TRIG_FAR_F64 0x1p22
#endif

/* r + l = x - q pi * unit, for multiples q of 1/2. Products with the first piece of pi are exact:
 * by fused multiply-add, else because the piece is short. */
FT_INLINE double ft_reduce_pi_f64(double x, double q, double unit, double *l)
{
#if FT_FUSED
    const double p1 = 0x1.921fb54442d18p+1 * unit, p2 = 0x1.1a62633145c07p-53 * unit;
    const double p3 = -0x1.f1976b7ed8fbcp-109 * unit;
    double t = ft_ma_f64(-q, p1, x), first = x - ft_ma_f64(q, p1, t);
    double u = q * p2, u_low = ft_ma_f64(q, p2, -u), r = t - u;
    *l = (ft_ma_f64(-q, p3, (t - r) - u) - u_low) + first;
    return r;
#else
    const double p1 = 0x1.921fb548p+1 * unit, p2 = -0x1.de973dc8p-30 * unit;
    const double p3 = -0x1.9d9cceb8p-61 * unit, p4 = -0x1.1fc8f8cbb5bf7p-92 * unit;
    double t = x - q * p1, first = x - (q * p1 + t);
    double u = t - q * p2, second = (t - u) - q * p2;
    double v = u - q * p3, third = (u - v) - q * p3;
    double low = ((first + second) + third) - q * p4, r = v + low;
    *l = (v - r) + low;
    return r;
#endif
}

/* sin(r + l) for |r| <= pi/2, with the sign bit turned when the whole number k, which is in the low
 * bits of `magic`, is odd. The derivative by l only has to vanish at pi/2. */
FT_INLINE double ft_sin_turned_f64(double r, double l, double magic)
{
    double z = r * r, low = l * ft_ma_f64(z, -0x1.9f02f6222c72p-2, 1.0);
#if FT_FUSED
    low = ft_ma_f64(r * ft_ma_f64(r, r, -z), -0.13, low);     /* what z lost, by the slope */
#endif
    double y = ft_ma_f64(r * z, FT_SIN_f64(z), low) + r;
    return ft_from_f64(ft_bits_f64(y) ^ (ft_bits_f64(magic) << 63));
}

FT_INLINE double ft_fast_sin_f64(double x)
{
    double magic = ft_ma_f64(x, 0x1.45f306dc9c883p-2, 0x1.8p52), l;
    double r = ft_reduce_pi_f64(x, magic - 0x1.8p52, 1, &l);
    double y = ft_sin_turned_f64(r, l, magic);
    return x == 0 ? x : y;
}

/* cos(x) = sin(x + pi/2). */
FT_INLINE double ft_fast_cos_f64(double x)
{
    double magic = ft_ma_f64(x, 0x1.45f306dc9c883p-2, 0.5) + 0x1.8p52, l;
    double r = ft_reduce_pi_f64(x, (magic - 0x1.8p52) - 0.5, 1, &l);
    return ft_sin_turned_f64(r, l, magic);
}

/* sin/cos, each to some bits more than a double; a turn by pi/2 swaps them. */
FT_INLINE double ft_fast_tan_f64(double x)
{
    double magic = ft_ma_f64(x, 0x1.45f306dc9c883p-1, 0x1.8p52), l;
    double r = ft_reduce_pi_f64(x, magic - 0x1.8p52, 0.5, &l), z = r * r;
    double odd_part = ft_ma_f64(r * z, FT_SINQ_f64(z), l);
    double s = r + odd_part, s_low = (r - s) + odd_part;
    double half = 0.5 * z, top = 1 - half;
    double even_part = ft_ma_f64(z * z, FT_COSQ_f64(z), ((1 - top) - half) - r * l);
    double c = top + even_part, c_low = (top - c) + even_part;
    int swap = (ft_bits_f64(magic) & 1) != 0;
    double over = swap ? -c : s, over_low = swap ? -c_low : s_low;
    double under = swap ? s : c, under_low = swap ? s_low : c_low;
#if FT_FUSED
    double inverse = 1 / under, q = over * inverse;
    double rest = ft_ma_f64(-q, under, over) + ft_ma_f64(-q, under_low, over_low);
    q = ft_ma_f64(rest, inverse, q);
#else
    double q = over / under;
    q += (over_low - q * under_low) / under;
#endif
    return x == 0 ? x : q;
}

/* ----- erfc ------------------------------------------------------------------------------------
 * From 1 on exp(-x*x) g(t) / (1 + 2x) with t = (x - 3)/(x + 3), after Shepherd and Laframboise,
 * "Chebyshev approximation of (1 + 2x) exp(x*x) erfc x" (1981). */

#if FT_FUSED
FT_INLINE double ft_fast_erfc_f64(double x)
{
    double a = ft_magnitude_f64(x), r, l;
    uint64_t code;
    double near0 = (1 - x) - x * FT_ERF_f64(x * x);
    FT_EARLY(a < 1, near0);
    a = a > 28 ? 28 : a;
    /* a*a = h*h + (a - h)(a + h), the square of the short h being exact */
    double h = ft_from_f64(ft_bits_f64(a) & 0xfffffffff8000000u);
    ft_reduce_exp_f64(-h * h, &r, &l, &code);
    double rest = l - (a - h) * (a + h), sum = r + rest;
    double e = 1 + ft_expm1_near0_f64(sum, (r - sum) + rest);
    double far = ft_scale_f64(e * FT_ERFC_f64((a - 3) / (a + 3)) / (1 + 2 * a), code);
    return ft_magnitude_f64(x) < 1 ? near0 : x < 0 ? 2 - far : far;
}
#else
FT_INLINE double ft_fast_erf_f64(double x) { return erf(x); }
FT_INLINE double ft_fast_erfc_f64(double x) { return erfc(x); }
#endif

/* ----- pow -------------------------------------------------------------------------------------
 * exp2(y log2 x), the logarithm as a sum hi + rest of 65 good bits: with s = f / (2 + f) it is
 * c s + c/3 s**3 + s**5 (...), of which the first two terms and their sum need twice the digits. */

#if FT_FUSED
/* log2(2**k m) */
FT_INLINE double ft_log2_sum_f64(double m, double k, double *rest)
{
    const double c = 0x1.71547652b82fep+1, c_low = 0x1.777d0ffda0d24p-55;
    const double third = 0x1.ec709dc3a03fdp-1, third_low = 0x1.d27f05548af0cp-55;
    double f = m - 1, d = 2 + f, d_low = f - (d - 2), inverse = 1 / d, s = f * inverse;
    double s_low = ft_ma_f64(-s, d_low, ft_ma_f64(-s, d, f)) * inverse;
    double z = s * s, z_low = ft_ma_f64(s, s, -z), cube = s * z;
    double cube_low = ft_ma_f64(s, z_low, ft_ma_f64(s, z, -cube));
    double a = s * c, a_low = ft_ma_f64(s, c, -a), b = cube * third, b_low = ft_ma_f64(cube, third, -b);
    double sum = a + b, hi = k + sum;
    double low = ft_ma_f64(cube, third_low, s * c_low);
    low = ft_ma_f64(s_low, ft_ma_f64(c * z, 1 + z, c), low);      /* by the slope c / (1 - z) */
    low = ft_ma_f64(cube_low, third, low) + (a_low + b_low);
    low += ((a - sum) + b) + ((k - hi) + sum);
    *rest = ft_ma_f64(cube * z, FT_LOG2T_f64(z), low);
    return hi;
}

/* The exponent of the result, and what is to be added to it, 0.1 at most. */
FT_INLINE double ft_pow_exponent_f64(double y, double hi, double rest, double *low)
{
    double p = y * hi;
    *low = ft_ma_f64(y, rest, ft_ma_f64(y, hi, -p));
    return p;
}

/* exp2(p + low) 2**-n, n being in `code`. */
FT_INLINE double ft_exp2_sum_f64(double p, double low, uint64_t *code)
{
    double r = (p - ft_near_product_f64(p + low, 1, code)) + low;
    return ft_ma_f64(r, FT_EXP2_f64(r), 1.0);
}

FT_INLINE double ft_fast_pow_f64(double x, double y)
{
    double m, k, hi, p, rest, low;
    uint64_t code;
#ifdef FT_ONE_BY_ONE
    if (!(ft_far_log_f64(x) >> 63) & (ft_magnitude_f64(y) < 0x1p80)) {
        k = ft_split_normal_f64(x, &m);
        hi = ft_log2_sum_f64(m, k, &rest);
        p = ft_pow_exponent_f64(y, hi, rest, &low);
        if (ft_magnitude_f64(p) < 1000) {
            double result = ft_exp2_sum_f64(p, low, &code);
            return result * ft_from_f64((code - 1023) << 52);
        }
    }
#endif
    double a = ft_magnitude_f64(x);
    k = ft_split_f64(a, &m);
    hi = ft_log2_sum_f64(m, k, &rest);
    hi = a == 0 ? -INFINITY : a == INFINITY ? a : hi;
    double e = y > 0x1p80 ? 0x1p80 : y;                   /* enough, and not 0 * inf: 1**inf is 1 */
    e = e < -0x1p80 ? -0x1p80 : e;
    p = ft_pow_exponent_f64(e, hi, rest, &low);
    low = ft_magnitude_f64(p) < 1100 ? low : 0;
    p = p > 1100 ? 1100 : p;
    p = p < -1100 ? -1100 : p;
    double result = ft_exp2_sum_f64(p, low, &code);
    result = ft_scale_f64(result, code);
    double half = 0.5 * y;
    int whole = __builtin_rint(y) == y, odd = whole & (__builtin_rint(half) != half);
    double signed_ = ft_signed_as_f64(result, x);
    result = odd ? signed_ : result;
    result = ((x < 0) & (a < INFINITY) & !whole) ? NAN : result;
    result = ((x != x) | (y != y)) ? NAN : result;
    return ((x == 1) | (y == 0)) ? 1 : result;
}
#else
FT_INLINE double ft_fast_pow_f64(double x, double y) { return pow(x, y); }
#endif

#endif

/* The functions whose method is the same in float and double: included once by fastmath_f64.h and
 * once by fastmath_f32.h, which define the type FT_REAL, its layout and the polynomials FT_P(...).
 * Ternaries here become vector selects: both sides are computed, nothing traps. */

#define FT_MA FT_N(ma)
#define FT_NAN ((FT_REAL)NAN)
#define FT_INF ((FT_REAL)INFINITY)

FT_INLINE FT_REAL FT_N(magnitude)(FT_REAL x)
{
    return FT_ABS(x);
}

/* |x| with the sign of s. */
FT_INLINE FT_REAL FT_N(signed_as)(FT_REAL x, FT_REAL s)
{
    return FT_COPYSIGN(x, s);
}

/* The nearest whole number, for |x| below a quarter of FT_MAGIC = 1.5 * 2**FT_SHIFT. */
FT_INLINE FT_REAL FT_N(near)(FT_REAL x)
{
    return (x + FT_MAGIC) - FT_MAGIC;
}

/* 2**n for whole n within the normal exponents: the sum has n + bias in its low bits. */
FT_INLINE FT_REAL FT_N(two_to)(FT_REAL n)
{
    return FT_N(from)(FT_N(bits)(n + (FT_MAGIC + FT_BIAS)) << FT_SHIFT);
}

/* The whole number nearest to a * b, and `code`: the bits of that plus FT_MAGIC + 2 FT_BIAS. */
FT_INLINE FT_REAL FT_N(near_product)(FT_REAL a, FT_REAL b, FT_UINT *code)
{
    FT_REAL t = FT_MA(a, b, FT_MAGIC + 2 * FT_BIAS);
    *code = FT_N(bits)(t);
    return t - (FT_MAGIC + 2 * FT_BIAS);
}

/* p * 2**n in two factors, so that results may be subnormal (rounded once more) or overflow: the
 * low bits of code/2 are those of n/2 + FT_BIAS, the high bits fall off. */
FT_INLINE FT_REAL FT_N(scale)(FT_REAL p, FT_UINT code)
{
    FT_UINT half = code >> 1;
    return p * FT_N(from)(half << FT_SHIFT) * FT_N(from)((code - half) << FT_SHIFT);
}

/* ----- exponentials: x = n ln 2 + r + l ------------------------------------------------------- */

FT_INLINE FT_REAL FT_N(reduce_exp)(FT_REAL x, FT_REAL *r, FT_REAL *l, FT_UINT *code)
{
    FT_REAL n = FT_N(near_product)(x, FT_LOG2E, code);
    FT_REAL t = FT_MA(-n, FT_LN2_HI, x);          /* exact: FT_LN2_HI is short */
    *r = FT_MA(-n, FT_LN2_LO, t);
    *l = FT_MA(-n, FT_LN2_LO, t - *r);
    return n;
}

/* exp(r + l) - 1 for |r| <= ln(2)/2. */
FT_INLINE FT_REAL FT_N(expm1_near0)(FT_REAL r, FT_REAL l)
{
    return FT_MA(r * r, FT_MA(r, FT_P(EM1)(r), (FT_REAL)0.5), l) + r;
}

/* exp(x) where neither x nor the result is extreme: one factor is enough. */
FT_INLINE FT_REAL FT_N(exp_moderate)(FT_REAL x)
{
    FT_REAL r, l;
    FT_UINT code;
    FT_N(reduce_exp)(x, &r, &l, &code);
    FT_REAL s = FT_N(from)((code - FT_BIAS) << FT_SHIFT);
    return FT_MA(FT_N(expm1_near0)(r, l), s, s);  /* s (1 + ...), rounded once either way */
}

/* The sign bit of the result is set unless |x| < FT_EXP_NEAR, where one factor is enough: for
 * FT_NEAR_LOOP. */
FT_INLINE FT_UINT FT_N(far_exp)(FT_REAL x)
{
    return (FT_N(bits)(x) & ~FT_SIGN) + (FT_SIGN - FT_N(bits)(FT_EXP_NEAR));
}

FT_INLINE FT_REAL FT_N(near_exp)(FT_REAL x)
{
    return FT_N(exp_moderate)(x);
}

FT_INLINE FT_REAL FT_N(fast_exp)(FT_REAL x)
{
    FT_REAL r, l;
    FT_UINT code;
    FT_EARLY(!(FT_N(far_exp)(x) >> (sizeof(x) * 8 - 1)), FT_N(exp_moderate)(x));
    x = x > FT_EXP_MAX ? FT_EXP_MAX : x;
    x = x < FT_EXP_MIN ? FT_EXP_MIN : x;
    FT_N(reduce_exp)(x, &r, &l, &code);
    return FT_N(scale)(1 + FT_N(expm1_near0)(r, l), code);
}

FT_INLINE FT_REAL FT_N(fast_exp2)(FT_REAL x)
{
    x = x > FT_EXP2_MAX ? FT_EXP2_MAX : x;
    x = x < FT_EXP2_MIN ? FT_EXP2_MIN : x;
    FT_UINT code;
    FT_REAL r = x - FT_N(near_product)(x, 1, &code);
    return FT_N(scale)(FT_MA(r, FT_P(EXP2)(r), 1), code);
}

FT_INLINE FT_REAL FT_N(fast_expm1)(FT_REAL x)
{
    FT_REAL r, l, a = x;
    FT_UINT code;
    a = a > FT_EXP_MAX ? FT_EXP_MAX : a;
    a = a < -FT_EXPM1_FLAT ? -FT_EXPM1_FLAT : a;
    FT_N(reduce_exp)(a, &r, &l, &code);
    FT_REAL s = FT_N(from)((code - (FT_BIAS + 1)) << FT_SHIFT);   /* half: 2**1024 is no number */
    FT_REAL y = 2 * FT_MA(FT_N(expm1_near0)(r, l), s, s - (FT_REAL)0.5);
    return FT_N(magnitude)(x) < FT_EPS / 4 ? x : y;
}

FT_INLINE FT_REAL FT_N(fast_logistic)(FT_REAL x)
{
    FT_REAL e = FT_N(fast_exp)(-FT_N(magnitude)(x));
    return (x < 0 ? e : 1) / (1 + e);
}

/* ----- hyperbolic functions: with c = cosh r and s = sinh r, no division is needed --------------
 * 2 sinh(n ln 2 + r) = c (2**n - 2**-n) + s (2**n + 2**-n), and cosh with both signs turned. */

FT_INLINE void FT_N(hyperbolic)(FT_REAL a, FT_REAL *sinh_, FT_REAL *cosh_)
{
    FT_REAL r, l;
    FT_UINT code;
    a = a > FT_COSH_MAX ? FT_COSH_MAX : a;
    FT_REAL n = FT_N(reduce_exp)(a, &r, &l, &code), z = r * r;
    FT_REAL s = FT_MA(r * z, FT_P(SINHC)(z), l) + r;
    FT_REAL c = z * FT_P(COSHC)(z);               /* cosh(r) - 1 */
    FT_REAL up = FT_N(from)((code - (FT_BIAS + 2)) << FT_SHIFT);
    FT_REAL down = FT_N(two_to)(-2 - (n > FT_SHIFT ? FT_SHIFT : n));
    FT_REAL sum = up + down, sum_low = (up - sum) + down;
    FT_REAL gap = up - down, gap_low = (up - gap) - down;
    *sinh_ = 2 * (FT_MA(c, gap, FT_MA(s, sum, gap_low)) + gap);
    *cosh_ = 2 * (FT_MA(c, sum, FT_MA(s, gap, sum_low)) + sum);
}

FT_INLINE FT_REAL FT_N(fast_sinh)(FT_REAL x)
{
    FT_REAL s, c, a = FT_N(magnitude)(x);
    FT_N(hyperbolic)(a, &s, &c);
    return a < FT_TINY ? x : FT_N(signed_as)(s, x);
}

FT_INLINE FT_REAL FT_N(fast_cosh)(FT_REAL x)
{
    FT_REAL s, c;
    FT_N(hyperbolic)(FT_N(magnitude)(x), &s, &c);
    return c;
}

FT_INLINE FT_REAL FT_N(fast_tanh)(FT_REAL x)
{
    FT_REAL a = FT_N(magnitude)(x), z = a * a;
    FT_REAL near0 = FT_MA(a * z, FT_P(TANH)(z), a);
    FT_EARLY(a < (FT_REAL)0.55, FT_N(signed_as)(near0, x));
    FT_REAL e = FT_N(exp_moderate)(2 * (a > FT_TANH_FLAT ? FT_TANH_FLAT : a));
    FT_REAL y = 1 - 2 / (e + 1);
    return FT_N(signed_as)(a < (FT_REAL)0.55 ? near0 : y, x);
}

/* ----- logarithms: x = 2**k m with sqrt(1/2) <= m < sqrt(2) ----------------------------------- */

FT_INLINE FT_REAL FT_N(split)(FT_REAL x, FT_REAL *m)
{
    int small = x < FT_MIN_NORMAL;                /* subnormal: scale by 2**FT_LIFT */
    FT_REAL y = small ? x * FT_N(from)((FT_UINT)(FT_LIFT + FT_BIAS) << FT_SHIFT) : x;
    FT_UINT u = FT_N(bits)(y) + (FT_ONE - FT_SQRT_HALF);
    *m = FT_N(from)((u & FT_MANTISSA) + FT_SQRT_HALF);
    /* the exponent field, put under the exponent of 2**FT_SHIFT, reads as that plus k + bias */
    FT_REAL base = FT_N(from)((FT_UINT)(FT_BIAS + FT_SHIFT) << FT_SHIFT);
    FT_REAL k = FT_N(from)((u >> FT_SHIFT) | FT_N(bits)(base));
    return k - (small ? base + (FT_BIAS + FT_LIFT) : base + FT_BIAS);
}

/* The same of normal numbers. */
FT_INLINE FT_REAL FT_N(split_normal)(FT_REAL x, FT_REAL *m)
{
    FT_UINT u = FT_N(bits)(x) + (FT_ONE - FT_SQRT_HALF);
    FT_REAL base = FT_N(from)((FT_UINT)(FT_BIAS + FT_SHIFT) << FT_SHIFT);
    *m = FT_N(from)((u & FT_MANTISSA) + FT_SQRT_HALF);
    return FT_N(from)((u >> FT_SHIFT) | FT_N(bits)(base)) - (base + FT_BIAS);
}

/* log(1 + f) = f - h + t, with h = f*f/2; |f| < 0.42. */
FT_INLINE FT_REAL FT_N(log_parts)(FT_REAL f, FT_REAL *h)
{
    FT_REAL s = f / (2 + f), z = s * s;
    *h = (FT_REAL)0.5 * f * f;
    return s * FT_MA(z, FT_P(LOG)(z), *h);
}

/* y unless log(x) is infinite or not real. */
FT_INLINE FT_REAL FT_N(log_edges)(FT_REAL x, FT_REAL y)
{
    y = x > 0 ? y : x == 0 ? -FT_INF : FT_NAN;
    return x == FT_INF ? x : y;
}

/* log of normal numbers above 0; the sign bit of the first is set for other arguments. */
FT_INLINE FT_UINT FT_N(far_log)(FT_REAL x)
{
    FT_UINT u = FT_N(bits)(x);
    return u | (u - FT_N(bits)(FT_MIN_NORMAL)) | (FT_N(bits)(FT_INF) - 1 - u);
}

FT_INLINE FT_REAL FT_N(near_log)(FT_REAL x)
{
    FT_REAL m, h, k = FT_N(split_normal)(x, &m), f = m - 1, t = FT_N(log_parts)(f, &h);
    return k * FT_LN2_HI - ((h - FT_MA(k, FT_LN2_LO, t)) - f);
}

FT_INLINE FT_REAL FT_N(fast_log)(FT_REAL x)
{
    FT_EARLY(!(FT_N(far_log)(x) >> (sizeof(x) * 8 - 1)), FT_N(near_log)(x));
    FT_REAL m, h, k = FT_N(split)(x, &m), f = m - 1;
    FT_REAL t = FT_N(log_parts)(f, &h);
    FT_REAL y = k * FT_LN2_HI - ((h - FT_MA(k, FT_LN2_LO, t)) - f);
    return FT_N(log_edges)(x, y);
}

/* log1p for -1/2 < x < 2**(FT_BIAS/2), and which arguments are others. */
FT_INLINE FT_UINT FT_N(far_log1p)(FT_REAL x)
{
    FT_UINT u = FT_N(bits)(x + (FT_REAL)0.5);
    return u | (u - FT_N(bits)(FT_MIN_NORMAL)) | (((FT_UINT)(FT_BIAS + FT_BIAS / 2 - 1) << FT_SHIFT) - u);
}

FT_INLINE FT_REAL FT_N(near_log1p)(FT_REAL x)
{
    FT_REAL one_x = 1 + x;
    FT_REAL lost = x > 1 ? 1 - (one_x - x) : x - (one_x - 1);
    FT_REAL m, k = FT_N(split_normal)(one_x, &m);
    FT_REAL f = FT_MA(lost, FT_N(two_to)(-k), m - 1), h, t = FT_N(log_parts)(f, &h);
    FT_REAL y = k * FT_LN2_HI - ((h - FT_MA(k, FT_LN2_LO, t)) - f);
    return FT_N(magnitude)(x) < FT_EPS / 4 ? x : y;
}

FT_INLINE FT_REAL FT_N(fast_log1p)(FT_REAL x)
{
    FT_EARLY(!(FT_N(far_log1p)(x) >> (sizeof(x) * 8 - 1)), FT_N(near_log1p)(x));
    FT_REAL u = 1 + x, m, h, k = FT_N(split)(u, &m);
    FT_REAL lost = x > 1 ? 1 - (u - x) : x - (u - 1);
    /* what 1 + x lost, in units of m; beyond 2**FT_BIAS/2 it no longer matters */
    FT_REAL back = k > FT_BIAS / 2 ? -(FT_REAL)(FT_BIAS / 2) : -k;
    FT_REAL f = FT_MA(lost, FT_N(two_to)(back), m - 1);
    FT_REAL t = FT_N(log_parts)(f, &h);
    FT_REAL y = k * FT_LN2_HI - ((h - FT_MA(k, FT_LN2_LO, t)) - f);
    return FT_N(magnitude)(x) < FT_EPS / 4 ? x : FT_N(log_edges)(u, y);
}

/* hi + lo = log(1 + f) / log(base), the reciprocal of log(base) given as a short and a long part:
 * the leading part of the logarithm is cut short too, so that the leading product is exact. */
FT_INLINE FT_REAL FT_N(log_based)(FT_REAL f, FT_REAL c_hi, FT_REAL c_lo, FT_REAL *lo)
{
    FT_REAL h, t = FT_N(log_parts)(f, &h);
    FT_REAL a = FT_N(from)(FT_N(bits)(f - h) & FT_HALF_MASK);
    FT_REAL b = ((f - a) - h) + t;
    *lo = FT_MA(a + b, c_lo, b * c_hi);
    return a * c_hi;
}

FT_INLINE FT_REAL FT_N(fast_log2)(FT_REAL x)
{
    FT_REAL m, lo, k = FT_N(split)(x, &m);
    FT_REAL hi = FT_N(log_based)(m - 1, FT_LOG2E_HI, FT_LOG2E_LO, &lo), y = k + hi;
    return FT_N(log_edges)(x, ((k - y) + hi + lo) + y);
}

FT_INLINE FT_REAL FT_N(fast_log10)(FT_REAL x)
{
    FT_REAL m, lo, k = FT_N(split)(x, &m);
    FT_REAL hi = FT_N(log_based)(m - 1, FT_LOG10E_HI, FT_LOG10E_LO, &lo);
    FT_REAL big = k * FT_LOG10_2_HI, y = big + hi;
    return FT_N(log_edges)(x, (FT_MA(k, FT_LOG10_2_LO, lo) + ((big - y) + hi)) + y);
}

FT_INLINE FT_REAL FT_N(fast_asinh)(FT_REAL x)
{
    FT_REAL a = FT_N(magnitude)(x), z = a * a;
    int big = a > 4 / FT_EPS;
    FT_REAL y = FT_N(fast_log1p)(big ? a : a + z / (1 + FT_SQRT(1 + z)));
    return FT_N(signed_as)(big ? y + FT_LN2 : y, x);
}

FT_INLINE FT_REAL FT_N(fast_acosh)(FT_REAL x)
{
    FT_REAL t = x - 1;
    int big = x > 4 / FT_EPS;
    FT_REAL y = FT_N(fast_log1p)(big ? x : t + FT_SQRT(FT_MA(t, t, 2 * t)));
    return x < 1 ? FT_NAN : big ? y + FT_LN2 : y;
}

FT_INLINE FT_REAL FT_N(fast_atanh)(FT_REAL x)
{
    FT_REAL a = FT_N(magnitude)(x);
    return FT_N(signed_as)((FT_REAL)0.5 * FT_N(fast_log1p)(2 * a / (1 - a)), x);
}

/* 2**(3q) m with 1 <= m < 8: m**(-1/3) by a polynomial and one step of third order, then one Newton
 * step on the cube root itself. */
FT_INLINE FT_REAL FT_N(fast_cbrt)(FT_REAL x)
{
    FT_REAL a = FT_N(magnitude)(x), m, k = FT_N(split)(a, &m);
    FT_REAL q = FT_N(near)((k - 1) * (FT_REAL)(1.0 / 3));
    m *= FT_N(two_to)(k - 3 * q);                 /* now in [0.7, 5.7) */
    FT_REAL r = FT_P(CBRT)(m), e = FT_MA(-m * r, r * r, 1);
    FT_REAL c = FT_MA(FT_MA(e, (FT_REAL)(14.0 / 81), (FT_REAL)(2.0 / 9)), e, (FT_REAL)(1.0 / 3));
    r = FT_MA(r * e, c, r);
    FT_REAL square = r * r, y = m * square;
    y = FT_MA(FT_MA(-y * y, y, m), square * (FT_REAL)(1.0 / 3), y);
    y = FT_N(signed_as)(y * FT_N(two_to)(q), x);
    return a == 0 ? x : a < FT_INF ? y : x;
}

/* ----- inverse trigonometric functions -------------------------------------------------------- */

/* s + p is asin(a) for a <= 1/2, and beyond asin(sqrt((1 - a)/2)) = pi/4 - asin(a)/2. */
FT_INLINE FT_REAL FT_N(asin_parts)(FT_REAL a, FT_REAL *p)
{
    int big = a > (FT_REAL)0.5;
    FT_REAL half = (1 - a) * (FT_REAL)0.5, z = big ? half : a * a, s = FT_SQRT(half);
    s = big ? s : a;
    *p = s * z * FT_P(ASIN)(z);
    return s;
}

FT_INLINE FT_REAL FT_N(fast_asin)(FT_REAL x)
{
    FT_REAL p, a = FT_N(magnitude)(x), s = FT_N(asin_parts)(a, &p);
    FT_REAL y = a > (FT_REAL)0.5 ? 2 * FT_PIO4_HI - (2 * s + (2 * p - 2 * FT_PIO4_LO)) : s + p;
    return FT_N(signed_as)(y, x);
}

FT_INLINE FT_REAL FT_N(fast_acos)(FT_REAL x)
{
    FT_REAL p, a = FT_N(magnitude)(x), s = FT_N(asin_parts)(a, &p);
    FT_REAL middle = 2 * FT_PIO4_HI - (x - (2 * FT_PIO4_LO - FT_N(signed_as)(p, x)));
    FT_REAL left = 4 * FT_PIO4_HI - (2 * s + (2 * p - 4 * FT_PIO4_LO));
    return a > (FT_REAL)0.5 ? (x > 0 ? 2 * (s + p) : left) : middle;
}

/* p + t = atan(t) for |t| <= tan(pi/8). */
FT_INLINE FT_REAL FT_N(atan_tail)(FT_REAL t)
{
    FT_REAL z = t * t;
    return t * z * FT_P(ATAN)(z);
}

FT_INLINE FT_REAL FT_N(fast_atan)(FT_REAL x)
{
    FT_REAL a = FT_N(magnitude)(x);
    int far = a > FT_TAN_3PIO8, middle = a > FT_TAN_PIO8;
    FT_REAL t = (far ? -1 : middle ? a - 1 : a) / (far ? a : middle ? a + 1 : 1);
    FT_REAL j = far ? 2 : middle ? 1 : 0;
    FT_REAL y = (j * FT_PIO4_HI + t) + FT_MA(j, FT_PIO4_LO, FT_N(atan_tail)(t));
    return FT_N(signed_as)(y, x);
}

/* j pi/4 +- atan(t): t is the ratio of smaller to larger, above tan(pi/8) turned by pi/4. */
FT_INLINE FT_REAL FT_N(fast_atan2)(FT_REAL y, FT_REAL x)
{
    FT_REAL ay = FT_N(magnitude)(y), ax = FT_N(magnitude)(x);
    int swap = ay > ax, left = FT_N(signed_as)(1, x) < 0;
    FT_REAL a = swap ? ax : ay, b = swap ? ay : ax;
    FT_REAL shrink = b > FT_HUGE ? (FT_REAL)0.25 : 1;      /* a + b must not overflow */
    a *= shrink;
    b *= shrink;
    int equal = (a == b) & (b > 0);                        /* infinities too */
    int middle = (a > FT_TAN_PIO8 * b) | equal;
    FT_REAL over = equal ? 0 : middle ? a - b : a;
    FT_REAL under = middle ? a + b : b;
    FT_REAL t = over / (b == 0 ? 1 : under);
    FT_REAL j = middle ? 1 : 0;
    j = swap ? 2 - j : j;
    j = left ? 4 - j : j;
    FT_REAL sign = swap ? (FT_REAL)-1 : 1;
    sign = left ? -sign : sign;
    FT_REAL low = FT_MA(j, FT_PIO4_LO, sign * FT_N(atan_tail)(t));
    FT_REAL r = FT_MA(j, FT_PIO4_HI, sign * t) + low;
    r = ((ax != ax) | (ay != ay)) ? FT_NAN : r;
    return FT_N(signed_as)(r, y);
}

/* ----- error function --------------------------------------------------------------------------
 * Near 0 a series; from 1 on 1 - exp(-p), p fitting -log(erfc(x)) where it counts. */

#if FT_FUSED || FT_SHIFT == 23
FT_INLINE FT_REAL FT_N(fast_erf)(FT_REAL x)
{
    FT_REAL a = FT_N(magnitude)(x);
    FT_REAL near0 = FT_MA(a, FT_P(ERF)(a * a), a);
    FT_EARLY(a < 1, FT_N(signed_as)(near0, x));
    FT_REAL u = (a > FT_ERF_FLAT ? FT_ERF_FLAT : a) - 1;
    FT_REAL y = 1 - FT_N(exp_moderate)(-(FT_P(ERFT)(u)));
    return FT_N(signed_as)(a < 1 ? near0 : y, x);
}
#endif

#undef FT_MA
#undef FT_NAN
#undef FT_INF

/* Special functions where SciPy's formulas lose more than a few digits of the last place: by polynomials over
 * short intervals (fits.h). Each has a condition that says where it holds; elsewhere SciPy is called.
 *
 * What is large in an exponent is computed in two parts, as exp multiplies its error by it. */
#ifndef FUNCTRANS_SPECIAL_FITS_H
#define FUNCTRANS_SPECIAL_FITS_H

#include "fits.h"

FT_INLINE double ft_fit_value(const double *rows, int terms, double first, double per, double x)
{
    double u = (x - first) * per;
    int i = (int)u;
    const double *c = rows + (int64_t)i * terms;
    double t = 2 * (u - i) - 1, value = c[terms - 1];
    for (int k = terms - 2; k >= 0; k--)
        value = value * t + c[k];
    return value;
}

#define FT_FIT(name, first, x) \
    ft_fit_value(&ft_fit_##name[0][0], FT_FIT_##name##_TERMS, first, FT_FIT_##name##_PER, x)

FT_INLINE double ft_fit_series(const double *c, int n, double t)
{
    double value = c[n - 1];
    while (--n)
        value = value * t + c[n - 1];
    return value;
}

#define FT_WITHIN(x, low, high) ((x) >= (low) && (x) < (high))

static double ft_near_expi(double x)           /* 1 <= x < 700 */
{
    return exp(x) / x * (x < 8 ? FT_FIT(expi, 1, x) : FT_FIT(expi_far, 0, 8 / x * (1 - 0x1p-53)));
}

/* F(x) / x, even; from 8 on its asymptotic series, DLMF 7.12. */
static double ft_dawsn_by_x(double x)
{
    if (x < 8)
        return FT_FIT(dawsn, 0, x);
    double y = 0.5 / (x * x), sum = 1;
    for (int k = 19; k > 0; k--)
        sum = 1 + (2 * k - 1) * y * sum;
    return y * sum;
}

static double ft_near_dawsn(double x) { return x * ft_dawsn_by_x(fabs(x)); }       /* |x| < 1e150 */

static double ft_near_erfi(double x)           /* |x| < 26 */
{
    double square = x * x, rest = fma(x, x, -square), large = exp(square);
    return (large + large * rest) * x * (ft_dawsn_by_x(fabs(x)) * 1.1283791670955125739);
}

/* Li2(1 - x) for 1.5 <= x < 1e300: by its logarithm; from 30 on by that of 1 / x, DLMF 25.12.4. */
static double ft_near_spence(double x)
{
    double v = log(x);
    if (x < 30)
        return v * FT_FIT(spence, 0.375, v);
    double u = 1 / x, power = 1, sum = 0;
    for (int k = 1; k < 14; k++) {
        power *= u;
        sum += power / (k * k);
    }
    return (sum - v * log1p(-u)) - 1.6449340668482264365 - 0.5 * v * v;
}

static double ft_near_k0(double x) { return FT_FIT(k0, 0.5, x); }                   /* 0.5 <= x < 2 */
static double ft_near_k0e(double x) { return exp(x) * FT_FIT(k0, 0.5, x); }
static double ft_near_y0(double x) { return FT_FIT(y0, 1, x); }                     /* 1 <= x < 4 */
static double ft_near_i1e(double x) { return x * FT_FIT(i1, 0, fabs(x)); }          /* |x| < 8 */
static double ft_near_i1(double x) { return exp(fabs(x)) * ft_near_i1e(x); }
static double ft_near_log_ndtr(double x) { return FT_FIT(log_ndtr, -2, x); }        /* -2 <= x < 4 */

/* For 0 <= x < 100: which of Ai, Ai', Bi, Bi' (0 ... 3); from 10 on by their series, DLMF 9.7. */
static double ft_near_airy(int which, double x)
{
    if (x < 2)
        return which == 0 ? FT_FIT(ai, 0, x) : which == 1 ? FT_FIT(aip, 0, x)
             : which == 2 ? FT_FIT(bi, 0, x) : FT_FIT(bip, 0, x);
    /* 2/3 x^1.5 in two parts */
    double s = sqrt(x), s_rest = fma(-s, s, x) / (2 * s), p = x * s, p_rest = fma(x, s, -p) + x * s_rest;
    double z = p * (2.0 / 3), rest = fma(p, 2.0 / 3, -z) + (p * 3.7007434154171883e-17 + p_rest * (2.0 / 3));
    double large = exp(which < 2 ? -z : z), value;
    large += large * (which < 2 ? -rest : rest);
    if (x < 10)
        value = which == 0 ? FT_FIT(ai_scaled, 2, x) : which == 1 ? FT_FIT(aip_scaled, 2, x)
              : which == 2 ? FT_FIT(bi_scaled, 2, x) : FT_FIT(bip_scaled, 2, x);
    else {
        double t = 1 / z, root = sqrt(s);
        value = ft_fit_series(which & 1 ? ft_series_aip : ft_series_ai, 22, which < 2 ? -t : t)
              * (which & 1 ? root : 1 / root) * 0.56418958354775628695;
        value *= which == 0 ? 0.5 : which == 1 ? -0.5 : 1;
    }
    return large * value;
}

#endif

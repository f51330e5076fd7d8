/* Special functions: SciPy's, and those that SciPy has not.
 *
 * The addresses of SciPy's are known when the first plan needs them (lib.pyx, load_special): it exports them
 * to Cython, as functions of doubles (the last argument is Cython's). Which ones, the op table says:
 * ft_sp2(name, x, y) in an expression is a call of scipy.special.cython_special.name, FT_SP_name its number
 * (the generator writes these, and includes this file where they are needed). */
#ifndef FUNCTRANS_SPECIAL_H
#define FUNCTRANS_SPECIAL_H

#include <complex.h>
#include <stddef.h>

#include "common.h"
#include "special_fits.h"
#include "specfun.h"

extern void *ft_special[FT_SPECIALS];

#define ft_sp1(f, x) (((double (*)(double, int))ft_special[FT_SP_##f])((double)(x), 0))
#define ft_sp2(f, x, y) \
    (((double (*)(double, double, int))ft_special[FT_SP_##f])((double)(x), (double)(y), 0))
#define ft_sp3(f, x, y, z) (((double (*)(double, double, double, int))ft_special[FT_SP_##f])( \
    (double)(x), (double)(y), (double)(z), 0))
#define ft_sp4(f, x, y, z, w) (((double (*)(double, double, double, double, int))ft_special[FT_SP_##f])( \
    (double)(x), (double)(y), (double)(z), (double)(w), 0))
/* Functions that write several results: the i-th. */
#define ft_sp1of2(f, i, x) ft_sp1_two(ft_special[FT_SP_##f], i, (double)(x))
#define ft_sp1of4(f, i, x) ft_sp1_four(ft_special[FT_SP_##f], i, (double)(x))
#define ft_sp2of4(f, i, x, y) ft_sp2_four(ft_special[FT_SP_##f], i, (double)(x), (double)(y))
/* Functions of a whole number (NaN for others) and a double; spherical ones take options, NULL for none. */
#define ft_sp1whole(f, n, x) (ft_sp_is_whole((double)(n)) ? \
    ((double (*)(ptrdiff_t, double, int))ft_special[FT_SP_##f])((ptrdiff_t)(n), (double)(x), 0) : (double)NAN)
#define ft_sp1round(f, n, x) (ft_sp_is_whole((double)(n)) ? \
    ((double (*)(ptrdiff_t, double, int, void *))ft_special[FT_SP_##f])((ptrdiff_t)(n), (double)(x), 0, 0) \
    : (double)NAN)
#define ft_sp1complex(f, x) \
    (((double _Complex (*)(double _Complex, int))ft_special[FT_SP_##f])((double _Complex)(x), 0))

FT_INLINE double ft_sp1_two(void *f, int i, double x)
{
    double out[2];
    ((void (*)(double, double *, double *))f)(x, &out[0], &out[1]);
    return out[i];
}

FT_INLINE double ft_sp1_four(void *f, int i, double x)
{
    double out[4];
    ((void (*)(double, double *, double *, double *, double *))f)(x, &out[0], &out[1], &out[2], &out[3]);
    return out[i];
}

FT_INLINE double ft_sp2_four(void *f, int i, double x, double y)
{
    double out[4];
    ((void (*)(double, double, double *, double *, double *, double *))f)(x, y, &out[0], &out[1], &out[2],
                                                                          &out[3]);
    return out[i];
}

FT_INLINE int ft_sp_is_whole(double n)
{
    return n == rint(n) && fabs(n) < 1e5;
}

/* ----- zeta functions -------------------------------------------------------------------------------- */

/* B_2j / (2j)! of the Euler-Maclaurin formula. */
static const double ft_euler_maclaurin[13] = {
    8.3333333333333333333e-2, -1.3888888888888888889e-3, 3.3068783068783068783e-5,
    -8.2671957671957671958e-7, 2.0876756987868098979e-8, -5.2841901386874931848e-10,
    1.3382536530684678833e-11, -3.3896802963225828668e-13, 8.5860620562778445641e-15,
    -2.1748686985580618730e-16, 5.5090028283602295153e-18, -1.3954464685812523341e-19,
    3.5347070396294674717e-21};

/* The sum of (n + q)^-s over n >= 0, and its derivative by s: some terms, then the Euler-Maclaurin formula
 * (DLMF 25.11.28, and its continuation to 0 < s < 1). */
static double ft_zeta_sum(double s, double q, double *slope)
{
    double sum = 0, by_s = 0, a = q;
    for (int n = 0; n < 10 || a <= 10; n++, a += 1) {
        double term = pow(a, -s);
        sum += term;
        by_s -= term == 0 ? 0 : term * log(a);
    }
    double l = log(a), power = pow(a, -s), t = pow(a, 1 - s) / (s - 1);
    /* the rest from a on: its integral, half of the first term, and corrections */
    sum += t + 0.5 * power;
    if (t != 0)
        by_s -= t * (l + 1 / (s - 1)) + 0.5 * power * l;
    double factor = s * power / a, moved = (1 - s * l) * power / a;       /* and its derivative */
    for (int j = 0; j < 13 && power != 0; j++) {
        t = moved * ft_euler_maclaurin[j];
        by_s += t;
        sum += factor * ft_euler_maclaurin[j];
        if (fabs(factor) < 1e-15 * fabs(sum) && fabs(t) < 1e-17 * fabs(by_s))
            break;
        double u = s + 2 * j + 1, grow = u * (u + 1) / (a * a);
        moved = moved * grow + factor * (2 * u + 1) / (a * a);
        factor *= grow;
    }
    *slope = by_s;
    return sum;
}

/* Hurwitz's function with SciPy's values at the edges. */
static double ft_sp_hurwitz(double s, double q, int slope)
{
    double by_s, sum;
    if (s == 1)
        return slope ? -INFINITY : INFINITY;
    if (s < 1)
        return NAN;
    if (q <= 0) {
        if (q == floor(q))
            return slope ? NAN : INFINITY;
        if (s != floor(s) || slope)
            return NAN;                   /* a power of a negative number */
        if (q < -20) {                    /* all of ..., q - 1, q, q + 1, ... but those below q */
            double f = q - floor(q), sign = fmod(s, 2) == 0 ? 1 : -1;
            return ft_zeta_sum(s, f, &by_s)
                + sign * (ft_zeta_sum(s, 1 - f, &by_s) - ft_zeta_sum(s, 1 - q, &by_s));
        }
    }
    if (s != s || q != q)
        return NAN;
    if (s == INFINITY)
        return q > 1 ? 0 : q == 1 ? !slope : slope ? -log(q) * INFINITY : INFINITY;
    if (q == INFINITY)
        return 0;
    sum = ft_zeta_sum(s, q, &by_s);
    return slope ? by_s : sum;
}

#define ft_sp_zeta(s, q) ft_sp_hurwitz((double)(s), (double)(q), 0)
#define ft_sp_zeta_slope(s, q) ft_sp_hurwitz((double)(s), (double)(q), 1)

/* Riemann's function on the whole line, by reflection where s < -1/2 (DLMF 25.4.1), or its derivative. */
static double ft_sp_riemann(double s, int slope)
{
    double by_s, sum;
    if (s != s || s == -INFINITY)
        return NAN;
    if (s == 1)
        return slope ? -INFINITY : INFINITY;
    if (s == INFINITY)
        return slope ? 0 : 1;
    if (s >= -0.5) {
        sum = ft_zeta_sum(s, 1, &by_s);
        return slope ? by_s : sum;
    }
    /* zeta(s) = 2 (2 pi)^(s-1) sin(pi s / 2) gamma(1 - s) zeta(1 - s) */
    sum = ft_zeta_sum(1 - s, 1, &by_s);
    double half = fmod(s, 4) * 0.5 * M_PI, scale = exp((s - 1) * log(2 * M_PI) + ft_log_gamma(1 - s)) * 2;
    double wave = s == 2 * floor(s / 2) ? 0 : sin(half);
    if (!slope)
        return wave == 0 ? 0 : scale * wave * sum;
    return scale * (sum * (0.5 * M_PI * cos(half) + wave * (log(2 * M_PI) - ft_psi(1 - s))) - wave * by_s);
}

#define ft_sp_riemann_zeta(s) ft_sp_riemann((double)(s), 0)
#define ft_sp_riemann_zeta_slope(s) ft_sp_riemann((double)(s), 1)

/* Derivatives of digamma: (-1)^(n+1) n! zeta(n + 1, x) (DLMF 5.15.2). */
static double ft_sp_polygamma_of(double n, double x)
{
    if (n == 0)
        return ft_sp1(psi, x);
    if (!(n > 0) || n != floor(n) || n == INFINITY)
        return NAN;
    double value = ft_sp1(gamma, n + 1) * ft_sp_hurwitz(n + 1, x, 0);
    return fmod(n, 2) == 1 ? value : -value;
}

#define ft_sp_polygamma(n, x) ft_sp_polygamma_of((double)(n), (double)(x))

/* ----- derivatives of incomplete functions by their parameters ---------------------------------------- */

/* The derivative of P(a, x) by a: see ft_gamma_slope. */
static double ft_sp_gammainc_slope_of(double a, double x)
{
    if (a != a || x != x || a <= 0 || x < 0)
        return NAN;
    if (x == 0 || x == INFINITY)
        return 0;
    double lx = log(x), density = exp(a * lx - x - ft_log_gamma(a));
    return density == 0 ? 0 : -density * ft_gamma_slope(a, lx);
}

#define ft_sp_gammainc_slope(a, x) ft_sp_gammainc_slope_of((double)(a), (double)(x))

/* The continued fraction of I_x(a, b) (DLMF 8.17.22), 1 / (1 + d1 / (1 + d2 / ...)), by Lentz's method, and
 * the logarithmic derivative of it by a (which = 0) or b. */
static double ft_beta_fraction(double a, double b, double x, int which)
{
    double c = 1, dc = 0, d = 0, dd = 0, slope = 0;
    for (double m = 0; m < 100000; m++) {
        for (int odd = 1; odd >= 0; odd--) {
            double k, dk, low;                /* the next coefficient and its derivative */
            if (odd) {
                low = (a + 2 * m) * (a + 2 * m + 1);
                k = -(a + m) * (a + b + m) * x / low;
                dk = which ? -(a + m) * x / low
                    : k * (1 / (a + m) + 1 / (a + b + m) - 1 / (a + 2 * m) - 1 / (a + 2 * m + 1));
            } else {
                double n = m + 1;
                low = (a + 2 * n - 1) * (a + 2 * n);
                k = n * (b - n) * x / low;
                dk = which ? n * x / low : -k * (1 / (a + 2 * n - 1) + 1 / (a + 2 * n));
            }
            double e = 1 + k * d, de = dk * d + k * dd;
            double g = 1 + k / c, dg = dk / c - k * dc / (c * c);
            if (e == 0 || g == 0)
                return NAN;
            d = 1 / e, dd = -de * d * d;
            c = g, dc = dg;
            double step = dc / c + dd / d;
            slope += step;
            if (!odd && fabs(c * d - 1) < 1e-16 && fabs(step) < 1e-16 * (fabs(slope) + 1))
                return -slope;
        }
    }
    return -slope;
}

/* The derivative of I_x(a, b) by a; of its logarithm it is log x - psi(a) + psi(a + b) - 1/a + ... for the
 * fraction, which converges fast for x < (a + 1) / (a + b + 2); else from 1 - I_{1-x}(b, a). */
static double ft_sp_betainc_slope_of(double a, double b, double x)
{
    if (!(a > 0) || !(b > 0) || !(x >= 0 && x <= 1) || a == INFINITY || b == INFINITY)
        return NAN;
    if (x == 0 || x == 1)
        return 0;
    double both = ft_psi(a + b);
    if (x < (a + 1) / (a + b + 2)) {
        double value = ft_sp3(betainc, a, b, x);
        return value == 0 ? 0 : value * (log(x) - ft_psi(a) + both - 1 / a + ft_beta_fraction(a, b, x, 0));
    }
    double value = ft_sp3(betaincc, a, b, x);
    return value == 0 ? 0 : -value * (log(x) - ft_psi(a) + both + ft_beta_fraction(b, a, 1 - x, 1));
}

#define ft_sp_betainc_slope(a, b, x) ft_sp_betainc_slope_of((double)(a), (double)(b), (double)(x))

/* ----- Lambert's W ------------------------------------------------------------------------------------- */

/* The k-th solution of w exp(w) = z, by Halley's method (Corless et al. 1996, "On the Lambert W function",
 * 4.20 for the start, 4.22 near the branch point, 5.9). */
static double _Complex ft_sp_lambertw_of(double _Complex z, int64_t k)
{
    double re = creal(z), im = cimag(z);
    if (re != re || im != im)
        return NAN;
    if (re == INFINITY && im == 0)
        return z + 2 * M_PI * (double)k * _Complex_I;
    if (z == 0)
        return k == 0 ? z : -INFINITY;
    double _Complex w, p;
    int near = cabs(z + exp(-1)) < 0.3;
    if (near && (k == 0 || (k == -1 && (im >= 0 || signbit(im) == 0)) || (k == 1 && im < 0))) {
        p = csqrt(2 * (exp(1) * z + 1));
        if (k != 0)
            p = -p;
        w = -1 + p * (1 + p * (-1.0 / 3 + p * 11.0 / 72));
    } else if (k == 0 && cabs(z) < 3 && re > -0.3) {
        w = clog(1 + z);
    } else if (k == -1 && im == 0 && re < 0 && re > -0.3679) {
        double l = log(-re);
        w = l - log(-l);
    } else {
        p = clog(z) + 2 * M_PI * (double)k * _Complex_I;
        w = p - clog(p);
    }
    for (int n = 0; n < 60; n++) {
        double _Complex e = cexp(creal(w) < 0 ? w : -w);
        double _Complex f, step;
        if (creal(w) < 0) {
            f = w * e - z;
            step = f / (e * (w + 1) - (w + 2) * f / (2 * w + 2));
        } else {
            f = w - z * e;
            step = f / (w + 1 - (w + 2) * f / (2 * w + 2));
        }
        if (!(cabs(step) < INFINITY))
            break;
        w -= step;
        if (cabs(step) <= 1e-15 * cabs(w))
            break;
    }
    return w;
}

#define ft_sp_lambertw(z, k) ft_sp_lambertw_of((double _Complex)(z), k)

#endif

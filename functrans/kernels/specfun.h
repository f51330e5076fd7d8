/* Functions of the gamma family that samplers and their derivatives need, for one number at a time. */
#ifndef FUNCTRANS_SPECFUN_H
#define FUNCTRANS_SPECFUN_H

#include "common.h"

FT_INLINE double ft_log_gamma(double x)
{
    int sign;
    return lgamma_r(x, &sign);
}

/* The derivative of log gamma for x > 0: up to x >= 10 by psi(x) = psi(x + 1) - 1 / x, then the asymptotic
 * series (Abramowitz & Stegun 6.3.18). */
FT_INLINE double ft_psi(double x)
{
    double shift = 0;
    for (; x < 10; x += 1)
        shift -= 1 / x;
    double z = 1 / (x * x);
    double tail = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132
        - z * (691.0 / 32760 - z / 12))))));
    return shift + log(x) - 0.5 / x - tail;
}

/* d log x / d a of the quantile x of a gamma distribution with shape a: how a draw moves with the shape
 * when its place in the distribution is kept (Figurnov, Mohamed, Mnih, "Implicit reparameterization
 * gradients", 2018): -(dP/da) / (x p), where P is the distribution function and p its density. With P as a
 * power series (A & S 6.5.29), or 1 - P as a continued fraction (6.5.31), x p divides out. */
static double ft_gamma_slope(double a, double lx)
{
    if (!(a > 0) || lx != lx)
        return NAN;
    if (lx == (double)-INFINITY)
        return INFINITY;
    double x = exp(lx);
    if (a > 1e5) {        /* Cornish & Fisher: x = a + z sqrt(a) + (z^2 - 1) / 3 + (z^3 - 7 z) / (36 sqrt(a)) */
        double r = sqrt(a), z = (x - a) / r;
        for (int i = 0; i < 4; i++)
            z = (x - a - (z * z - 1) / 3 - (z * z * z - 7 * z) / (36 * r)) / r;
        return (1 + z / (2 * r) - (z * z * z - 7 * z) / (72 * r * a)) / x;
    }
    if (x < a + 1) {
        double sum = 1, slope = 0, term = 1, d = 0;
        for (double n = 1; n < 20000; n++) {
            term *= x / (a + n);
            d -= 1 / (a + n);
            sum += term;
            slope += term * d;
            if (term * (1 - d) < 1e-17 * sum)
                break;
        }
        return -(sum * (lx - ft_psi(a + 1)) + slope) / a;
    }
    /* Lentz's method on f = 1 / (b0 - 1 (1 - a) / (b1 - ...)), and its derivative by a; both as ratios */
    double b = x + 1 - a, h = 1 / b, c = 1e300, d = 1 / b, dh = d * d, dc = 0, dd = d * d;
    for (double n = 1; n < 20000; n++) {
        double an = n * (a - n), dan = n;
        b += 2;
        double e = an * d + b, de = dan * d + an * dd - 1;
        double g = b + an / c, dg = -1 + dan / c - an * dc / (c * c);
        d = 1 / e, dd = -de * d * d;
        c = g, dc = dg;
        double ratio = c * d, dratio = dc * d + c * dd;
        dh = dh * ratio + h * dratio;
        h *= ratio;
        if (fabs(ratio - 1) < 1e-16 && fabs(dratio) < 1e-16)
            break;
    }
    return h * (lx - ft_psi(a)) + dh;
}

#endif

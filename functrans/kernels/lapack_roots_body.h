/* Template of lapack_types.h: square roots and logarithms of matrices, by their Schur forms. Real matrices
 * stay real: one with an eigenvalue on the negative axis has no real principal root, and gives NaN. */

/* z f z' in place of f. work: n n. */
static void FT_NAME(turn_back)(int n, const T *z, T *f, T *work)
{
    FT_NAME(product)("NN", n, n, n, 1, z, n, f, n, 0, work, n);
    FT_NAME(product)("NC", n, n, n, 1, work, n, z, n, 0, f, n);
}

/* A Schur form t becomes its square root, by halves (Deadman, Higham and Ralha 2013; blocks of 2: Higham
 * 1987, "Computing real square roots of a real matrix"). Counts in *failed what has none, in *close the
 * pairs of eigenvalues whose roots have a sum of nearly 0. */
static void FT_NAME(triangular_root)(int n, T *t, int ldt, int *failed, int *close)
{
    if (n == 0)
        return;
    if (n == 1) {
#if FT_COMPLEX
        *t = (T)csqrt(*t);
#else
        *failed += !(*t >= 0);
        *t = (T)sqrt(*t);
#endif
        return;
    }
#if !FT_COMPLEX
    if (n == 2 && t[1] != 0) {
        double re = t[0], im = sqrt(fabs(t[1])) * sqrt(fabs(t[ldt])), size = hypot(re, im);
        double root = re >= 0 ? sqrt((re + size) / 2) : im / sqrt(2 * (size - re));
        t[0] = t[ldt + 1] = (T)root;
        t[1] = (T)(t[1] / (2 * root));
        t[ldt] = (T)(t[ldt] / (2 * root));
        return;
    }
#endif
    int i = FT_NAME(half)(n, t, ldt);
    T *right = t + (int64_t)i * ldt;
    FT_NAME(triangular_root)(i, t, ldt, failed, close);
    FT_NAME(triangular_root)(n - i, right + i, ldt, failed, close);
    *close += FT_NAME(triangular_sylvester)(i, n - i, t, ldt, right + i, ldt, right, ldt);
}

/* Whether r r is t up to rounding: a singular matrix may have no root. work: n n. */
static int FT_NAME(is_root)(int n, const T *r, const T *t, T *work)
{
    int64_t nn = (int64_t)n * n;
    FT_NAME(product)("NN", n, n, n, 1, r, n, r, n, 0, work, n);
    for (int64_t i = 0; i < nn; i++)
        work[i] -= t[i];
    double eps = EPS, size = FT_NAME(norm)(n, r);
    return size * size * eps < 1e-2 * FT_NAME(norm)(n, t) && FT_NAME(norm)(n, work) <= n * size * size * eps;
}

/* In place of a, by rows: the transposed matrix has the transposed root. */
int FT_NAME(sqrtm)(const int64_t *ints, char **p)
{
    int n = (int)ints[0], failed = 0, close = 0;
    T *a = (T *)p[0];
    size_t nn = (size_t)n * (size_t)n;
    T *z = (T *)ft_space_take((3 * nn + 1) * sizeof(T));
    if (!z)
        return FT_EMEM;
    T *t = z + nn, *work = t + nn;
    int code = FT_NAME(schur_form)(n, a, z);
    if (code == FT_OK) {
        memcpy(t, a, nn * sizeof(T));
        FT_NAME(triangular_root)(n, a, n, &failed, &close);
        if (failed || (close && FT_NAME(norm)(n, t) > 0 && !FT_NAME(is_root)(n, a, t, work)))
            FT_NAME(fill_nan)(a, (int64_t)nn);
        else
            FT_NAME(turn_back)(n, z, a, work);
    }
    ft_space_give((char *)z);
    return code;
}

/* a^(2^-k) - 1 without cancellation (Al-Mohy 2012, "A more accurate Briggs method for the logarithm"). */
static double _Complex FT_NAME(root_minus_1)(double _Complex a, int k)
{
    if (k == 0)
        return a - 1;
    if (creal(a) <= 0) {
        a = csqrt(a);
        k--;
    }
    double _Complex rest = a - 1, product = 1;
    for (int i = 0; i < k; i++) {
        a = csqrt(a);
        product *= 1 + a;
    }
    return rest / product;
}

/* Into r: f of the diagonal of t and of its blocks of 2, and f of the pairs beside it between single
 * eigenvalues. f is the logarithm (power 0), or its argument's power less 1, the power being 2^-k (Higham
 * and Lin 2011, "A Schur-Pade algorithm for fractional powers of a matrix"). */
static void FT_NAME(exact_diagonal)(int n, const T *t, T *r, int power, int k)
{
    double p = ldexp(1, -k);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i * (n + 1);
        double _Complex x = t[at], f;
#if !FT_COMPLEX
        if (i + 1 < n && t[at + 1] != 0) {
            double im = sqrt(fabs(t[at + 1])) * sqrt(fabs(t[at + n]));
            x += im * I;
            f = power ? FT_NAME(root_minus_1)(x, k) : clog(x);
            double slope = im == 0 ? 0 : cimag(f) / im;
            r[at] = r[at + n + 1] = (T)creal(f);
            r[at + 1] = (T)(slope * t[at + 1]);
            r[at + n] = (T)(slope * t[at + n]);
            i++;
            continue;
        }
#endif
        f = power ? FT_NAME(root_minus_1)(x, k) : clog(x);
        r[at] = (T)f;
        if (i + 1 == n || (!FT_COMPLEX && i + 2 < n && t[at + n + 2] != 0))
            continue;
        double _Complex y = t[at + n + 1], gap = y - x, z = gap / (y + x), slope;
        if (gap == 0)
            slope = power ? p * cpow(x, p - 1) : 1 / x;
        else if (cabs(x) < cabs(y) / 2 || cabs(y) < cabs(x) / 2 || cabs(gap) > cabs(y + x))
            slope = ((power ? FT_NAME(root_minus_1)(y, k) : clog(y)) - f) / gap;
        else {
            double turns = ceil((cimag(clog(y) - clog(x)) - M_PI) / (2 * M_PI));
            double _Complex w = catanh(z) + M_PI * I * turns;
            slope = power ? cexp(p / 2 * (clog(y) + clog(x))) * 2 * csinh(p * w) / gap : 2 * w / gap;
        }
        r[at + n] = (T)(slope * t[at + n]);
    }
}

/* Points and weights of Gauss and Legendre in [0, 1]. */
static void FT_NAME(gauss)(int m, double *points, double *weights)
{
    for (int i = 0; i < m; i++) {
        double x = cos(M_PI * (i + 0.75) / (m + 0.5)), slope = 1;
        for (int turn = 0; turn < 8; turn++) {         /* Newton's method from a close start */
            double p = 1, before = 0;
            for (int k = 1; k <= m; k++) {
                double next = ((2 * k - 1) * x * p - (k - 1) * before) / k;
                before = p;
                p = next;
            }
            slope = m * (before - x * p) / (1 - x * x);
            x -= p / slope;
        }
        points[i] = (1 + x) / 2;
        weights[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

/* How many roots to take of the Schur form t (in place, e with it if it is not NULL), and the degree of the
 * approximant for what is left: Al-Mohy and Higham 2012, "Improved inverse scaling and squaring algorithms
 * for the matrix logarithm". work: n n + 4 n. -1: no logarithm. */
static int FT_NAME(roots_for_log)(int n, T *t, T *e, int *degree, T *work)
{
    static const double theta[] = {1.59e-5, 2.31e-3, 1.94e-2, 6.21e-2, 1.28e-1, 2.06e-1, 2.88e-1};
    int s = 0, failed = 0, close = 0, spare = 0, first = 0;
    int64_t nn = (int64_t)n * n;
    double farthest = 0;
    for (int64_t i = 0; i < n; i++) {                  /* as many as the eigenvalues need */
        int64_t at = i * (n + 1);
        double _Complex x = t[at];
        int64_t below = at + 1, right = at + n;        /* of a block of 2 both members serve */
        if (i + 1 == n || t[below] == 0) {
            below = at - n;
            right = at - 1;
        }
        if (!FT_COMPLEX && below >= 0 && below < nn && t[below] != 0)
            x += sqrt(SIZE(t[below])) * sqrt(SIZE(t[right])) * I;
        if (!(cabs(x) > 0) || (!FT_COMPLEX && cimag(x) == 0 && creal(x) < 0))
            return -1;
        int k = 0;
        for (; cabs(x - 1) > theta[6]; k++)
            x = csqrt(x);
        if (k > first)
            first = k;
        farthest = fmax(farthest, cabs(x - 1));
    }
    for (;; s++) {
        T *rest = work, *vectors = work + nn;
        int again = 0;
        if (s >= first) {
            memcpy(rest, t, (size_t)nn * sizeof(T));
            for (int64_t i = 0; i < n; i++)
                rest[i * (n + 1)] -= 1;
            double d2 = sqrt(FT_NAME(power_norm)(n, rest, 2, vectors)),
                   d3 = cbrt(FT_NAME(power_norm)(n, rest, 3, vectors)), small = fmax(d2, d3);
            if (s == first && small <= theta[1]) {
                *degree = small <= theta[0] ? 1 : 2;
                return s;
            }
            double d4 = pow(FT_NAME(power_norm)(n, rest, 4, vectors), 0.25), a3 = fmax(d3, d4);
            if (a3 <= theta[6]) {
                int m = 3;
                while (a3 > theta[m - 1])
                    m++;
                if (m <= 6) {
                    *degree = m;
                    return s;
                }
                again = a3 / 2 <= theta[4] && spare++ < 2;  /* one more root saves two degrees */
            }
            double d5 = pow(FT_NAME(power_norm)(n, rest, 5, vectors), 0.2), eta = fmin(a3, fmax(d4, d5));
            if (eta <= theta[6] && !again) {
                *degree = eta <= theta[5] ? 6 : 7;
                return s;
            }
            if (!isfinite(eta) || s > 200)
                return -1;
        }
        FT_NAME(triangular_root)(n, t, n, &failed, &close);
        if (failed)
            return -1;
        if (e)                                         /* r de + de r = e */
            FT_NAME(triangular_sylvester)(n, n, t, n, t, n, e, n);
    }
}

/* x becomes m^-1 x, or x m^-1 where `right`, by the factors of m. */
static void FT_NAME(by_factors)(int n, T *m, int *pivots, T *x, int right)
{
    typedef void solve(char *, int *, int *, T *, int *, int *, T *, int *, int *);
    typedef void triangular(char *, char *, char *, char *, int *, int *, T *, T *, int *, T *, int *);
    int info = 0;
    T one = 1;
    if (!right) {
        CALL(FT_GETRS, solve *)("N", &n, &n, m, &n, pivots, x, &n, &info);
        return;
    }
    CALL(FT_TRSM, triangular *)("R", "U", "N", "N", &n, &n, &one, m, &n, x, &n);
    CALL(FT_TRSM, triangular *)("R", "L", "N", "U", &n, &n, &one, m, &n, x, &n);
    for (int64_t i = n - 1; i >= 0; i--) {
        int64_t other = pivots[i] - 1;
        for (int64_t j = 0; other != i && j < n; j++) {
            T value = x[i * n + j];
            x[i * n + j] = x[other * n + j];
            x[other * n + j] = value;
        }
    }
}

/* Of a by rows, logm(a), or its derivative in direction e. ints: n, whether it is the derivative. Operands:
 * the result in place of e or a, and for the derivative a (destroyed). */
int FT_NAME(logm)(const int64_t *ints, char **p)
{
    typedef void factor(int *, int *, T *, int *, int *, int *);
    int n = (int)ints[0], pairs = (int)ints[1], m = 0, info = 0;
    size_t nn = (size_t)n * (size_t)n;
    T *out = (T *)p[0], *t = (T *)p[pairs], *e = pairs ? out : NULL;
    if (n == 0)
        return FT_OK;
    T *z = (T *)ft_space_take((6 * nn + 4 * (size_t)n) * sizeof(T) + (size_t)n * sizeof(int));
    if (!z)
        return FT_EMEM;
    T *first = z + nn, *sum = first + nn, *q = sum + nn, *x = q + nn, *work = x + nn;
    int *pivots = (int *)(work + nn + 4 * (size_t)n);
    int code = FT_NAME(schur_form)(n, t, z), s = -1;
    if (code == FT_OK && t[0] == t[0]) {
        memcpy(first, t, nn * sizeof(T));
        if (pairs) {
            FT_NAME(product)("CN", n, n, n, 1, z, n, e, n, 0, work, n);
            FT_NAME(product)("NN", n, n, n, 1, work, n, z, n, 0, e, n);
        }
        s = FT_NAME(roots_for_log)(n, t, e, &m, work);
    }
    if (s >= 0) {                                      /* the sum of w (1 + x r)^-1 r, r = t - 1 */
        double points[7], weights[7];
        FT_NAME(gauss)(m, points, weights);
        for (int i = 0; i < n; i++)
            t[(int64_t)i * (n + 1)] -= 1;
        FT_NAME(exact_diagonal)(n, first, t, 1, s);
        memset(sum, 0, nn * sizeof(T));
        for (int k = 0; k < m; k++) {
            for (size_t i = 0; i < nn; i++)
                q[i] = (R)points[k] * t[i];
            for (int64_t i = 0; i < n; i++)
                q[i * (n + 1)] += 1;
            memcpy(x, pairs ? e : t, nn * sizeof(T));
            CALL(FT_GETRF, factor *)(&n, &n, q, &n, pivots, &info);
            FT_NAME(by_factors)(n, q, pivots, x, 0);
            if (pairs)
                FT_NAME(by_factors)(n, q, pivots, x, 1);
            for (size_t i = 0; i < nn; i++)
                sum[i] += (R)weights[k] * x[i];
        }
        for (size_t i = 0; i < nn; i++)
            out[i] = (R)ldexp(1, s) * sum[i];
        if (!pairs)
            FT_NAME(exact_diagonal)(n, first, out, 0, 0);
        FT_NAME(turn_back)(n, z, out, work);
    } else {
        FT_NAME(fill_nan)(out, (int64_t)nn);
    }
    ft_space_give((char *)z);
    return code;
}

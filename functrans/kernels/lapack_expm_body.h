/* Template of lapack_types.h: the exponential of a matrix, and its derivative in a direction, by scaling
 * and squaring (Al-Mohy and Higham 2009, "A new scaling and squaring algorithm for the matrix
 * exponential").
 *
 * With a derivative every matrix is a pair (x, dx), dx behind x, and a product is (x y, dx y + x dy):
 * that is the algorithm of Al-Mohy and Higham 2009, "Computing the Frechet derivative of the matrix
 * exponential". */

/* z = x y + add z, of matrices or pairs; add: 0 or 1. */
static void FT_NAME(times)(int n, int pairs, const T *x, const T *y, R add, T *z)
{
    int64_t nn = (int64_t)n * n;
    FT_NAME(product)("NN", n, n, n, 1, x, n, y, n, add, z, n);
    if (pairs) {
        FT_NAME(product)("NN", n, n, n, 1, x + nn, n, y, n, add, z + nn, n);
        FT_NAME(product)("NN", n, n, n, 1, x, n, y + nn, n, 1, z + nn, n);
    }
}

/* The largest sum of sizes of a column. */
static double FT_NAME(norm)(int n, const T *x)
{
    double most = 0;
    for (int64_t j = 0; j < n; j++) {
        double sum = 0, lanes[4] = {0};
        int64_t i = 0;
        for (; i + 4 <= n; i += 4)
            for (int k = 0; k < 4; k++)
                lanes[k] += SIZE(x[i + k + j * n]);
        for (; i < n; i++)
            sum += SIZE(x[i + j * n]);
        sum += (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
        if (!(sum <= most))                           /* NaN stays */
            most = sum;
    }
    return most;
}

/* An estimate of the norm of x^k (Higham 1988), from products with vectors. work: 4 n. */
static double FT_NAME(power_norm)(int n, const T *x, int k, T *work)
{
    typedef void times(const char *, int *, int *, T *, const T *, int *, T *, int *, T *, T *, int *);
#if FT_COMPLEX
    typedef void fn(int *, T *, T *, R *, int *, int *);
#else
    typedef void fn(int *, T *, T *, int *, R *, int *, int *);
#endif
    int kase = 0, save[3] = {0, 0, 0}, step = 1;
    T one = 1, zero = 0, *v = work, *at = work + n, *other = work + 2 * n;
    R found = 0;
#if !FT_COMPLEX
    int *signs = (int *)(work + 3 * n);
#endif
    for (;;) {
#if FT_COMPLEX
        CALL(FT_LACN2, fn *)(&n, v, at, &found, &kase, save);
#else
        CALL(FT_LACN2, fn *)(&n, v, at, signs, &found, &kase, save);
#endif
        if (kase == 0)
            break;
        for (int i = 0; i < k; i++) {
            CALL(FT_GEMV, times *)(kase == 1 ? "N" : "C", &n, &n, &one, x, &n, at, &step, &zero, other,
                                   &step);
            memcpy(at, other, (size_t)n * sizeof(T));
        }
    }
    return found;
}

/* How often to halve a (further) so that the approximant of degree m is accurate, a being multiplied by
 * `scale`: from the norm of |a|^(2m+1). sizes: |a|; work: 2 n. */
static int FT_NAME(more_halvings)(int n, const R *sizes, double scale, double norm, int m, R *work)
{
    typedef void times(const char *, int *, int *, R *, const R *, int *, R *, int *, R *, R *, int *);
    double most = 1, unit = EPS / 2, coefficient = unit;
    R *x = work, *y = work + n, by = (R)(1 / norm), zero = 0;
    int step = 1;
    if (!(norm > 0))
        return 0;
    for (int j = 0; j < n; j++)
        x[j] = 1;
    for (int i = 0; i < 2 * m + 1; i++) {
        ((times *)ft_lapack[FT_GEMV][FT_TYPE & 1])("T", &n, &n, &by, sizes, &n, x, &step, &zero, y, &step);
        R *swap = x;
        x = y;
        y = swap;
    }
    most = 0;
    for (int j = 0; j < n; j++)
        most = fmax(most, x[j]);
    for (int i = 1; i <= m; i++)                       /* (2m choose m) (2m+1)! */
        coefficient *= (double)(m + i) / i;
    for (int i = 2; i <= 2 * m + 1; i++)
        coefficient *= i;
    double more = log2(most) + 2 * m * log2(norm * scale) - log2(coefficient);
    return more > 0 ? (int)ceil(more / (2 * m)) : 0;
}

/* z = sum of c[i] x[i] plus c0 I, of matrices or pairs; z may be x[0]. */
static void FT_NAME(combination)(int n, int pairs, int terms, const T *const *x, const double *c, double c0,
                                 T *z)
{
    int64_t nn = (int64_t)n * n, all = (1 + pairs) * nn;
    for (int64_t lo = 0; lo < all; lo += 512) {        /* in pieces that stay in cache */
        int64_t hi = ft_lesser(lo + 512, all);
        for (int k = 0; k < terms; k++) {
            const T *from = x[k];
            R by = (R)c[k];
            for (int64_t i = lo; i < hi && k == 0; i++)
                z[i] = by * from[i];
            for (int64_t i = lo; i < hi && k > 0; i++)
                z[i] += by * from[i];
        }
    }
    for (int64_t i = 0; i < n; i++)
        z[i * (n + 1)] += (R)c0;
}

/* x becomes q^-1 x, of matrices or pairs; q is destroyed. pivots: n. */
static void FT_NAME(divide)(int n, int pairs, T *q, T *x, int *pivots)
{
    typedef void factor(int *, int *, T *, int *, int *, int *);
    typedef void solve(char *, int *, int *, T *, int *, int *, T *, int *, int *);
    int info = 0;
    int64_t nn = (int64_t)n * n;
    CALL(FT_GETRF, factor *)(&n, &n, q, &n, pivots, &info);
    CALL(FT_GETRS, solve *)("N", &n, &n, q, &n, pivots, x, &n, &info);
    if (pairs) {
        FT_NAME(product)("NN", n, n, n, -1, q + nn, n, x, n, 1, x + nn, n);
        CALL(FT_GETRS, solve *)("N", &n, &n, q, &n, pivots, x + nn, &n, &info);
    }
}

/* The degree of the Pade approximant for 2^base a, or 0 where there is none, and how often to halve a for it
 * (to double it, where this is negative). work: 4 n; sizes: n n. */
static int FT_NAME(degree)(int n, int pairs, int base, T *const *x, int *halvings, T *work, R *sizes)
{
    /* up to which norm degrees 3, 5, ... are accurate: in single and double precision, and for pairs */
#define NORM_ROOT(x, k, p) pow(FT_NAME(power_norm)(n, x, k, work), 1.0 / (p))
    static const double single[] = {4.258730016922831e-1, 1.880152677804762, 3.925724783138660},
                        value[] = {1.495585217958292e-2, 2.539398330063230e-1, 9.504178996162932e-1,
                                   2.097847961257068, 4.25},
                        pair[] = {1.08e-2, 2.00e-1, 7.83e-1, 1.78, 4.25};
    int one_precision = sizeof(R) == 4;
    const double *theta = one_precision ? single : pairs ? pair : value;
    double norm = FT_NAME(norm)(n, x[0]), whole = ldexp(1, base), d4 = pow(FT_NAME(norm)(n, x[2]), 0.25),
           d6 = pow(FT_NAME(norm)(n, x[3]), 1.0 / 6), eta = fmax(d4, d6), d8, d10;
    R *sums = (R *)work;
    *halvings = -base;
    for (int64_t i = 0; i < (int64_t)n * n; i++)
        sizes[i] = (R)SIZE(x[0][i]);
    for (int i = 0; i < 2; i++)
        if (eta * whole < theta[i] && !FT_NAME(more_halvings)(n, sizes, whole, norm, 3 + 2 * i, sums))
            return 3 + 2 * i;
    d8 = NORM_ROOT(x[2], 2, 8);
    eta = fmax(d6, d8);
    for (int i = 2; i < 4 - one_precision; i++)
        if (eta * whole < theta[i] && !FT_NAME(more_halvings)(n, sizes, whole, norm, 3 + 2 * i, sums))
            return 3 + 2 * i;
    int m = one_precision ? 7 : 13;
    double last = one_precision ? theta[2] : theta[4];
    if (one_precision)
        d10 = INFINITY;
    else
        d10 = NORM_ROOT(x[1], 5, 10);
    eta = fmin(eta, fmax(d8, d10));
    if (!isfinite(eta) || !isfinite(norm))
        return 0;
    int s = eta * whole > last ? (int)ceil(log2(eta / last)) : -base;
    *halvings = s + FT_NAME(more_halvings)(n, sizes, ldexp(1, -s), norm, m, sums);
    return m;
#undef NORM_ROOT
}

/* Odd and even part of the approximant's numerator in w[0] and w[1]; the even one less the odd one is its
 * denominator. x: a, a^2, a^4, a^6. The three places of w change theirs. */
static void FT_NAME(pade)(int n, int pairs, int m, T *const *x, T **w)
{
    double b[14];
    b[0] = 1;
    for (int i = 1; i <= m; i++)                       /* over b[0]: (2m-i)! m! / ((2m)! (m-i)! i!) */
        b[i] = b[i - 1] * (m - i + 1) / ((double)i * (2 * m - i + 1));
    if (m == 13) {
        const T *powers[] = {x[3], x[2], x[1]};
        double odd[] = {b[13], b[11], b[9]}, even[] = {b[12], b[10], b[8]}, low_odd[] = {b[7], b[5], b[3]},
               low_even[] = {b[6], b[4], b[2]};
        FT_NAME(combination)(n, pairs, 3, powers, even, 0, w[0]);
        FT_NAME(combination)(n, pairs, 3, powers, low_even, b[0], w[1]);
        FT_NAME(times)(n, pairs, x[3], w[0], 1, w[1]);
        FT_NAME(combination)(n, pairs, 3, powers, odd, 0, w[0]);
        FT_NAME(combination)(n, pairs, 3, powers, low_odd, b[1], w[2]);
        FT_NAME(times)(n, pairs, x[3], w[0], 1, w[2]);
        FT_NAME(times)(n, pairs, x[0], w[2], 0, w[0]);
        return;
    }
    if (m == 9)
        FT_NAME(times)(n, pairs, x[2], x[2], 0, w[1]);
    const T *all_powers[] = {w[1], x[3], x[2], x[1]}, **powers = all_powers + 4 - m / 2;
    double odd[4], even[4];
    for (int k = 0; k < m / 2; k++) {
        odd[k] = b[m - 2 * k];
        even[k] = b[m - 1 - 2 * k];
    }
    FT_NAME(combination)(n, pairs, m / 2, powers, odd, b[1], w[2]);
    FT_NAME(times)(n, pairs, x[0], w[2], 0, w[0]);
    FT_NAME(combination)(n, pairs, m / 2, powers, even, b[0], w[1]);
}

static void FT_NAME(powers)(int n, int pairs, T *const *x)
{
    FT_NAME(times)(n, pairs, x[0], x[0], 0, x[1]);
    FT_NAME(times)(n, pairs, x[1], x[1], 0, x[2]);
    FT_NAME(times)(n, pairs, x[2], x[1], 0, x[3]);
}

/* out = x' (not conjugated). */
static void FT_NAME(transposed)(int n, const T *x, T *out)
{
    for (int64_t j0 = 0; j0 < n; j0 += 8)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = j0; j < j0 + 8 && j < n; j++)
                out[i + j * n] = x[j + i * n];
}

/* Whether all elements with i > j (below), or else i < j, are 0. */
static int FT_NAME(triangular_by)(int n, const T *x, int below)
{
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = below ? j + 1 : 0; i < (below ? n : j); i++)
            if (x[i + j * n] != 0)
                return 0;
    return 1;
}

/* Of the exponential x of 2^-k t, t upper triangular, the diagonal and what is beside it, without the errors
 * that squaring makes larger. */
static void FT_NAME(exact_exponentials)(int n, const T *t, int k, T *x)
{
    double scale = ldexp(1, -k);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i * (n + 1);
        double _Complex a = t[at] * scale;
        x[at] = (T)cexp(a);
        if (i + 1 == n)
            continue;
        double _Complex b = t[at + n + 1] * scale, gap = (b - a) / 2, slope = cexp((a + b) / 2);
        if (cabs(gap) > 1)
            slope = (cexp(b) - cexp(a)) / (2 * gap);
        else if (gap != 0)
            slope *= csinh(gap) / gap;
        x[at + n] = (T)(slope * t[at + n] * scale);
    }
}

/* Of a by rows, expm(a), or its derivative in direction e. ints: n, whether pairs. Operands: the result, a,
 * e. The transposed matrix that LAPACK sees has the transposed exponential. */
int FT_NAME(expm)(const int64_t *ints, char **p)
{
    int n = (int)ints[0], pairs = (int)ints[1], s = 0, base = 0;
    size_t nn = (size_t)n * (size_t)n, all = (1 + (size_t)pairs) * nn;
    T *out = (T *)p[0];
    if (n == 0)
        return FT_OK;
    const T *a = (const T *)p[1];
    int flip = !pairs && FT_NAME(triangular_by)(n, a, 0),
        upper = flip || (!pairs && FT_NAME(triangular_by)(n, a, 1));
    size_t many = 7 * all + (upper ? nn : 0) + 4 * (size_t)n;
    T *block = (T *)ft_space_take(many * sizeof(T) + (size_t)n * sizeof(int));
    if (!block)
        return FT_EMEM;
    T *x[4], *w[3], *work = block + 7 * all, *t = work + 4 * n;
    int *pivots = (int *)(block + many);
    for (int i = 0; i < 4; i++)
        x[i] = block + (size_t)i * all;
    for (int i = 0; i < 3; i++)
        w[i] = block + (size_t)(4 + i) * all;
    if (flip)
        FT_NAME(transposed)(n, a, x[0]);
    else
        memcpy(x[0], a, nn * sizeof(T));
    if (upper)
        memcpy(t, x[0], nn * sizeof(T));
    if (pairs)
        memcpy(x[0] + nn, p[2], nn * sizeof(T));
    int m = 0;
    if (FT_NAME(finite)(x[0], (int64_t)nn)) {
        int most = sizeof(R) == 4 ? 12 : 64;           /* larger ones have powers that overflow */
        double norm = FT_NAME(norm)(n, x[0]);
        if (norm > ldexp(1, most)) {
            base = ilogb(norm) - most + 1;
            for (size_t i = 0; i < all; i++)
                x[0][i] *= (R)ldexp(1, -base);
        }
        FT_NAME(powers)(n, pairs, x);
        m = FT_NAME(degree)(n, pairs, base, x, &s, work, (R *)w[0]);
    }
    if (m == 0) {
        FT_NAME(fill_nan)(out, (int64_t)nn);
        ft_space_give((char *)block);
        return FT_OK;
    }
    static const int order[] = {1, 2, 4, 6};
    for (int k = 0; k < (s < 0 ? 1 : 4) && s; k++) {
        R scale = (R)ldexp(1, -s * order[k]);
        for (size_t i = 0; i < all; i++)
            x[k][i] *= scale;
    }
    if (s < 0)                                         /* it was only the norm that was large */
        FT_NAME(powers)(n, pairs, x);
    FT_NAME(pade)(n, pairs, m, x, w);
    T *u = w[0], *v = w[1];
    for (size_t i = 0; i < all; i++) {
        T odd = u[i];
        u[i] = v[i] + odd;
        v[i] -= odd;
    }
    FT_NAME(divide)(n, pairs, v, u, pivots);
    s += base;
    if (upper)
        FT_NAME(exact_exponentials)(n, t, s, u);
    while (s > 0) {
        FT_NAME(times)(n, pairs, u, u, 0, v);
        T *swap = u;
        u = v;
        v = swap;
        s--;
        if (upper)
            FT_NAME(exact_exponentials)(n, t, s, u);
    }
    if (flip)
        FT_NAME(transposed)(n, u, out);
    else
        memcpy(out, pairs ? u + nn : u, nn * sizeof(T));
    ft_space_give((char *)block);
    return FT_OK;
}

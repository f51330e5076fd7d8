/* Template of lapack_types.h: Schur forms, and Sylvester's equation by them. Matrices lie by columns. */

/* c [m, n] = alpha op(a) op(b) + beta c; ops: "N" or "C" of each. */
static void FT_NAME(product)(const char *ops, int m, int n, int k, R alpha, const T *a, int lda, const T *b,
                             int ldb, R beta, T *c, int ldc)
{
    typedef void fn(const char *, const char *, int *, int *, int *, T *, const T *, int *, const T *,
                    int *, T *, T *, int *);
    T by = alpha, keep = beta;
    if (m && n)
        CALL(FT_GEMM, fn *)(ops, ops + 1, &m, &n, &k, &by, a, &lda, b, &ldb, &keep, c, &ldc);
}

static int FT_NAME(finite)(const T *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(creal(x[i])) || !isfinite(cimag(x[i])))
            return 0;
    return 1;
}

/* a becomes its Schur form t, upper triangular or, if real, with standard blocks of 2, and z its unitary
 * matrix: a = z t z'. NaN without convergence. FT_OK or FT_EMEM. */
static int FT_NAME(schur_form)(int n, T *a, T *z)
{
    int info = 0, query = -1, found = 0, length;
    int64_t all = (int64_t)n * n;
    T size, *work;
    if (n == 0)
        return FT_OK;
#if FT_COMPLEX
    typedef void fn(char *, char *, void *, int *, T *, int *, int *, T *, T *, int *, T *, int *, R *,
                    int *, int *);
    CALL(FT_GEES, fn *)("V", "N", NULL, &n, a, &n, &found, &size, z, &n, &size, &query, NULL, NULL, &info);
#else
    typedef void fn(char *, char *, void *, int *, T *, int *, int *, T *, T *, T *, int *, T *, int *, int *,
                    int *);
    CALL(FT_GEES, fn *)("V", "N", NULL, &n, a, &n, &found, &size, &size, z, &n, &size, &query, NULL, &info);
#endif
    length = FT_NAME(length)(size);
    work = malloc(((size_t)length + 2 * (size_t)n) * sizeof(T));
    if (!work)
        return FT_EMEM;
    T *w = work + length;
    int finite = FT_NAME(finite)(a, all);              /* LAPACK may not end with NaN */
    if (finite) {
#if FT_COMPLEX
        CALL(FT_GEES, fn *)("V", "N", NULL, &n, a, &n, &found, w, z, &n, work, &length, (R *)(w + n), NULL,
                            &info);
#else
        CALL(FT_GEES, fn *)("V", "N", NULL, &n, a, &n, &found, w, w + n, z, &n, work, &length, NULL, &info);
#endif
    }
    free(work);
    if (info || !finite) {
        FT_NAME(fill_nan)(a, all);
        FT_NAME(fill_nan)(z, all);
    }
    return FT_OK;
}

/* t in place of a, z. */
int FT_NAME(schur)(const int64_t *ints, char **p)
{
    return FT_NAME(schur_form)((int)ints[0], (T *)p[0], (T *)p[1]);
}

/* t and z in place, so that the eigenvalues of the mask come first. Of a conjugate pair either will do. */
int FT_NAME(schur_order)(const int64_t *ints, char **p)
{
    int n = (int)ints[0], count = 0, length = n > 0 ? n : 1, info = 0;
    T *t = (T *)p[0], *z = (T *)p[1];
    const char *mask = p[2];
    R sizes[2];
    if (n == 0 || t[0] != t[0])
        return FT_OK;
    T *work = malloc((3 * (size_t)n + 1) * sizeof(T) + (2 * (size_t)n + 1) * sizeof(int));
    if (!work)
        return FT_EMEM;
    int *chosen = (int *)(work + 3 * n + 1);
    for (int i = 0; i < n; i++)
        chosen[i] = mask[i] != 0;
#if FT_COMPLEX
    typedef void fn(char *, char *, int *, int *, T *, int *, T *, int *, T *, int *, R *, R *, T *, int *,
                    int *);
    CALL(FT_TRSEN, fn *)("N", "V", chosen, &n, t, &n, z, &n, work, &count, sizes, sizes + 1, work + n,
                         &length, &info);
#else
    typedef void fn(char *, char *, int *, int *, T *, int *, T *, int *, T *, T *, int *, R *, R *, T *,
                    int *, int *, int *, int *);
    CALL(FT_TRSEN, fn *)("N", "V", chosen, &n, t, &n, z, &n, work, work + n, &count, sizes, sizes + 1,
                         work + 2 * n, &length, chosen + n, &length, &info);
#endif
    if (info) {                                        /* eigenvalues too close to change places */
        FT_NAME(fill_nan)(t, (int64_t)n * n);
        FT_NAME(fill_nan)(z, (int64_t)n * n);
    }
    free(work);
    return FT_OK;
}

/* Where to halve a Schur form: not within a block of 2. */
static int FT_NAME(half)(int n, const T *t, int ldt)
{
    int i = n / 2;
    return i + (!FT_COMPLEX && t[i + (int64_t)(i - 1) * ldt] != 0);
}

/* x in place of c [m, n]: a x + x b = c for Schur forms a and b, by halves so that products of matrices do
 * most of it (Jonsson and Kagstrom 2002). Whether some pair of eigenvalues had a sum of nearly 0. */
static int FT_NAME(triangular_sylvester)(int m, int n, const T *a, int lda, const T *b, int ldb, T *c,
                                         int ldc)
{
    typedef void fn(char *, char *, int *, int *, int *, const T *, int *, const T *, int *, T *, int *, R *,
                    int *);
    if (m <= 32 && n <= 32) {
        int plus = 1, info = 0;
        R scale = 1;
        if (m == 0 || n == 0)
            return 0;
        CALL(FT_TRSYL, fn *)("N", "N", &plus, &m, &n, a, &lda, b, &ldb, c, &ldc, &scale, &info);
        for (int64_t j = 0; scale != 1 && j < n; j++)
            for (int64_t i = 0; i < m; i++)
                c[i + j * ldc] /= scale;
        return info != 0;
    }
    int close;
    if (m >= n) {
        int i = FT_NAME(half)(m, a, lda), rest = m - i;
        const T *right = a + (int64_t)i * lda;
        close = FT_NAME(triangular_sylvester)(rest, n, right + i, lda, b, ldb, c + i, ldc);
        FT_NAME(product)("NN", i, n, rest, -1, right, lda, c + i, ldc, 1, c, ldc);
        return FT_NAME(triangular_sylvester)(i, n, a, lda, b, ldb, c, ldc) | close;
    }
    int i = FT_NAME(half)(n, b, ldb), rest = n - i;
    const T *right = b + (int64_t)i * ldb;
    T *last = c + (int64_t)i * ldc;
    close = FT_NAME(triangular_sylvester)(m, i, a, lda, b, ldb, c, ldc);
    FT_NAME(product)("NN", m, rest, i, -1, c, ldc, right, ldb, 1, last, ldc);
    return FT_NAME(triangular_sylvester)(m, rest, a, lda, right + i, ldb, last, ldc) | close;
}

/* x [m, n] in place of c, a [m, m] and b [n, n] (destroyed), all by rows: a x + x b = c. In LAPACK's eyes
 * b' x' + x' a' = c'. ints: m, n, whether b is a. */
int FT_NAME(sylvester)(const int64_t *ints, char **p)
{
    int m = (int)ints[0], n = (int)ints[1], same = (int)ints[2];
    T *c = (T *)p[0], *a = (T *)p[1], *b = same ? a : (T *)p[2];
    if (m == 0 || n == 0)
        return FT_OK;
    size_t mm = (size_t)m * (size_t)m, nn = same ? 0 : (size_t)n * (size_t)n;
    T *za = (T *)ft_space_take((mm + nn + (size_t)m * (size_t)n) * sizeof(T));
    if (!za)
        return FT_EMEM;
    T *zb = same ? za : za + mm, *work = za + mm + nn;
    int code = FT_NAME(schur_form)(m, a, za);
    if (code == FT_OK && !same)
        code = FT_NAME(schur_form)(n, b, zb);
    if (code == FT_OK) {
        FT_NAME(product)("CN", n, m, n, 1, zb, n, c, n, 0, work, n);
        FT_NAME(product)("NN", n, m, m, 1, work, n, za, m, 0, c, n);
        FT_NAME(triangular_sylvester)(n, m, b, n, a, m, c, n);
        FT_NAME(product)("NN", n, m, n, 1, zb, n, c, n, 0, work, n);
        FT_NAME(product)("NC", n, m, m, 1, work, n, za, m, 0, c, n);
    }
    ft_space_give((char *)za);
    return code;
}

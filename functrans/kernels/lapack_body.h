/* Template of lapack_types.h: the decompositions of one matrix. */

/* The first number of an optimal work space, as a query returns it. */
static int FT_NAME(length)(T work)
{
    return (int)(R)work + 1;
}

static void FT_NAME(fill_nan)(T *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (R)NAN;
}

/* In place on a [n, n]: its lower triangle, which LAPACK sees as the upper one of the transpose. */
int FT_NAME(cholesky)(const int64_t *ints, char **p)
{
    typedef void fn(char *, int *, T *, int *, int *);
    int n = (int)ints[0], info = 0;
    T *a = (T *)p[0];
    CALL(FT_POTRF, fn *)("U", &n, a, &n, &info);
    if (info)
        FT_NAME(fill_nan)(a, (int64_t)n * n);
    for (int64_t i = 0; i < n; i++)
        memset(a + i * n + i + 1, 0, (size_t)(n - i - 1) * sizeof(T));
    return FT_OK;
}

/* The permutation of the rows, in place of a (columns of m contiguous) the factors, exchanges (from 0). */
int FT_NAME(lu)(const int64_t *ints, char **p)
{
    typedef void fn(int *, int *, T *, int *, int *, int *);
    int m = (int)ints[0], n = (int)ints[1], info = 0, k = m < n ? m : n;
    int64_t *perm = (int64_t *)p[0];
    int32_t *pivots = (int32_t *)p[2];
    CALL(FT_GETRF, fn *)(&m, &n, (T *)p[1], &m, (int *)pivots, &info);
    for (int i = 0; i < m; i++)
        perm[i] = i;
    for (int i = 0; i < k; i++) {
        int64_t other = perm[--pivots[i]];
        perm[pivots[i]] = perm[i];
        perm[i] = other;
    }
    return FT_OK;
}

/* op(a) x = b in place of x [n, k], for a triangular a [n, n] by rows, or by columns; op 0: a, 1: its
 * transpose, 2: its conjugate transpose. BLAS solves the transposed system, x' op(a)' = b'. */
static void FT_NAME(triangular)(T *a, int by_columns, int lower, int op, int unit, T *x, int n, int k)
{
    typedef void fn(char *, char *, char *, char *, int *, int *, T *, T *, int *, T *, int *);
    T one = 1;
    int conjugated = FT_COMPLEX && by_columns && op == 2;
    char *transposed = by_columns ? (op == 0 ? "T" : "N") : op == 0 ? "N" : op == 1 ? "T" : "C";
    if (n == 0 || k == 0)
        return;
    if ((int64_t)n * n * k <= 1024) {                  /* not worth a call */
        int64_t row = by_columns == (op == 0) ? 1 : n, col = by_columns == (op == 0) ? n : 1;
        int down = lower == (op == 0);
        for (int64_t s = 0; s < n; s++) {
            int64_t j = down ? s : n - 1 - s, end = down ? n : j;
            T by = a[j * (n + 1)];
            for (int64_t c = 0; c < k && !unit; c++)
                x[j * k + c] /= op == 2 ? CONJ(by) : by;
            for (int64_t i = down ? j + 1 : 0; i < end; i++) {
                T f = a[i * row + j * col];
                f = op == 2 ? CONJ(f) : f;
                for (int64_t c = 0; c < k; c++)
                    x[i * k + c] -= f * x[j * k + c];
            }
        }
        return;
    }
    if (conjugated)
        for (int64_t i = 0; i < (int64_t)n * k; i++)
            x[i] = CONJ(x[i]);
    CALL(FT_TRSM, fn *)("R", lower == by_columns ? "L" : "U", transposed, unit ? "U" : "N", &k, &n, &one,
                        a, &n, x, &k);
    if (conjugated)
        for (int64_t i = 0; i < (int64_t)n * k; i++)
            x[i] = CONJ(x[i]);
}

int FT_NAME(triangular_solve)(const int64_t *ints, char **p)
{
    FT_NAME(triangular)((T *)p[1], (int)ints[2], (int)ints[3], (int)ints[4], (int)ints[5], (T *)p[0],
                        (int)ints[0], (int)ints[1]);
    return FT_OK;
}

/* out [n, k], lu, perm, b [n, k]: by the factors of a[perm] = l u. */
int FT_NAME(lu_solve)(const int64_t *ints, char **p)
{
    int n = (int)ints[0], k = (int)ints[1], by_columns = (int)ints[2], op = (int)ints[3];
    T *out = (T *)p[0], *lu = (T *)p[1];
    const int64_t *perm = (const int64_t *)p[2];
    const T *b = (const T *)p[3];
    size_t row = (size_t)k * sizeof(T);
    if (op == 0) {
        for (int64_t i = 0; i < n; i++)
            memcpy(out + i * k, b + perm[i] * k, row);
        FT_NAME(triangular)(lu, by_columns, 1, 0, 1, out, n, k);
        FT_NAME(triangular)(lu, by_columns, 0, 0, 0, out, n, k);
        return FT_OK;
    }
    T *work = malloc((size_t)n * row + 1);
    if (!work)
        return FT_EMEM;
    memcpy(work, b, (size_t)n * row);
    FT_NAME(triangular)(lu, by_columns, 0, op, 0, work, n, k);
    FT_NAME(triangular)(lu, by_columns, 1, op, 1, work, n, k);
    for (int64_t i = 0; i < n; i++)
        memcpy(out + perm[i] * k, work + i * k, row);
    free(work);
    return FT_OK;
}

/* q [m, k] by columns, r [k, n] by rows; destroys a, whose columns are contiguous. k: all m when full. */
int FT_NAME(qr)(const int64_t *ints, char **p)
{
    typedef void factor(int *, int *, T *, int *, T *, T *, int *, int *);
    typedef void form(int *, int *, int *, T *, int *, T *, T *, int *, int *);
    int m = (int)ints[0], n = (int)ints[1], k = (int)ints[2], least = m < n ? m : n, info = 0, query = -1;
    T *q = (T *)p[0], *r = (T *)p[1], *a = (T *)p[2], lengths[2];
    CALL(FT_GEQRF, factor *)(&m, &n, a, &m, q, &lengths[0], &query, &info);
    CALL(FT_ORGQR, form *)(&m, &k, &least, q, &m, a, &lengths[1], &query, &info);
    int length = FT_NAME(length)(lengths[0]), other = FT_NAME(length)(lengths[1]);
    if (other > length)
        length = other;
    T *work = malloc(((size_t)length + (size_t)least + 1) * sizeof(T));
    if (!work)
        return FT_EMEM;
    T *tau = work + length;
    CALL(FT_GEQRF, factor *)(&m, &n, a, &m, tau, work, &length, &info);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < n; j++)
            r[i * n + j] = i <= j ? a[j * m + i] : 0;
    for (int64_t j = 0; j < k; j++) {
        if (j < n)
            memcpy(q + j * m, a + j * m, (size_t)m * sizeof(T));
        else
            memset(q + j * m, 0, (size_t)m * sizeof(T));
    }
    CALL(FT_ORGQR, form *)(&m, &k, &least, q, &m, tau, work, &length, &info);
    free(work);
    return FT_OK;
}

/* w, and in place of a (all of it, by rows) the eigenvectors: row i is the i-th. LAPACK reads the lower
 * triangle of columns, as NumPy lets it, so that the vectors have NumPy's signs. */
int FT_NAME(eigh)(const int64_t *ints, char **p)
{
    int n = (int)ints[0], info = 0, query = -1, n_int = 0;
    char *job = ints[1] ? "V" : "N";
    R *w = (R *)p[0];
    T *a = (T *)p[1], size;
#if FT_COMPLEX
    typedef void fn(char *, char *, int *, T *, int *, R *, T *, int *, R *, int *, int *, int *, int *);
    R real_size;
    CALL(FT_SYEVD, fn *)(job, "L", &n, a, &n, w, &size, &query, &real_size, &query, &n_int, &query, &info);
    int length = FT_NAME(length)(size), n_real = (int)real_size + 1;
#else
    typedef void fn(char *, char *, int *, T *, int *, R *, T *, int *, int *, int *, int *);
    CALL(FT_SYEVD, fn *)(job, "L", &n, a, &n, w, &size, &query, &n_int, &query, &info);
    int length = FT_NAME(length)(size), n_real = 0;
#endif
    char *work = malloc((size_t)length * sizeof(T) + (size_t)n_real * sizeof(R)
                        + (size_t)n_int * sizeof(int) + 1);
    if (!work)
        return FT_EMEM;
    R *real_work = (R *)(work + (size_t)length * sizeof(T));
    int *int_work = (int *)(real_work + n_real);
    int64_t all = (int64_t)n * n;
    int finite = 1;                /* LAPACK may not end with NaN */
    for (int64_t i = 0; FT_COMPLEX && i < all; i++)     /* the columns are those of the conjugate */
        a[i] = CONJ(a[i]);
    for (int64_t i = 0; i < all && finite; i++)
        finite = isfinite(creal(a[i])) && isfinite(cimag(a[i]));
    if (finite) {
#if FT_COMPLEX
        CALL(FT_SYEVD, fn *)(job, "L", &n, a, &n, w, (T *)work, &length, real_work, &n_real, int_work,
                             &n_int, &info);
#else
        CALL(FT_SYEVD, fn *)(job, "L", &n, a, &n, w, (T *)work, &length, int_work, &n_int, &info);
#endif
    }
    if (info || !finite) {
        FT_NAME(fill_nan)(a, all);
        for (int i = 0; i < n; i++)
            w[i] = (R)NAN;
    }
    free(work);
    return FT_OK;
}

/* s, a [m, n] (destroyed), u [m, ku], vh [kv, n]; all by columns. */
int FT_NAME(svd)(const int64_t *ints, char **p)
{
    int m = (int)ints[0], n = (int)ints[1], least = m < n ? m : n, info = 0, query = -1;
    char *job = ints[2] == 0 ? "N" : ints[2] == 1 ? "S" : "A";
    int ku = ints[2] == 2 ? m : least, kv = ints[2] == 2 ? n : least, none = 0;
    R *s = (R *)p[0];
    T *a = (T *)p[1], size, *u = ints[2] ? (T *)p[2] : &size, *vh = ints[2] ? (T *)p[3] : &size;
    size_t k = (size_t)least, big = (size_t)(m > n ? m : n);
    size_t n_real = FT_COMPLEX ? 5 * k * k + 5 * k + 2 * big * k + 2 * k * k + k : 0;
    (void)none, (void)ku;
#if FT_COMPLEX
    typedef void fn(char *, int *, int *, T *, int *, R *, T *, int *, T *, int *, T *, int *, R *, int *,
                    int *);
    CALL(FT_GESDD, fn *)(job, &m, &n, a, &m, s, u, &m, vh, &kv, &size, &query, NULL, &none, &info);
#else
    typedef void fn(char *, int *, int *, T *, int *, R *, T *, int *, T *, int *, T *, int *, int *, int *);
    CALL(FT_GESDD, fn *)(job, &m, &n, a, &m, s, u, &m, vh, &kv, &size, &query, &none, &info);
#endif
    int length = FT_NAME(length)(size);
    char *work = malloc((size_t)length * sizeof(T) + n_real * sizeof(R) + 8 * k * sizeof(int) + 1);
    if (!work)
        return FT_EMEM;
    R *real_work = (R *)(work + (size_t)length * sizeof(T));
    int *int_work = (int *)(real_work + n_real);
    int finite = 1;
    for (int64_t i = 0; i < (int64_t)m * n && finite; i++)
        finite = isfinite(creal(a[i])) && isfinite(cimag(a[i]));
    if (finite) {
#if FT_COMPLEX
        CALL(FT_GESDD, fn *)(job, &m, &n, a, &m, s, u, &m, vh, &kv, (T *)work, &length, real_work, int_work,
                             &info);
#else
        CALL(FT_GESDD, fn *)(job, &m, &n, a, &m, s, u, &m, vh, &kv, (T *)work, &length, int_work, &info);
#endif
    }
    if (info || !finite) {
        for (int i = 0; i < least; i++)
            s[i] = (R)NAN;
        if (ints[2]) {
            FT_NAME(fill_nan)(u, (int64_t)m * ku);
            FT_NAME(fill_nan)(vh, (int64_t)n * kv);
        }
    }
    free(work);
    (void)real_work;
    return FT_OK;
}

/* Eigenvalues, a (destroyed), and left and right eigenvectors where ints asks for them, all complex;
 * columns are contiguous. */
int FT_NAME(eig)(const int64_t *ints, char **p)
{
    typedef R _Complex C;
    int n = (int)ints[0], left = (int)ints[1], right = (int)ints[2], info = 0, query = -1;
    C *w = (C *)p[0];
    T *a = (T *)p[1], size;
    C *out[2] = {left ? (C *)p[2] : NULL, right ? (C *)p[2 + left] : NULL};
    size_t nn = (size_t)n * (size_t)n;
    char *jl = left ? "V" : "N", *jr = right ? "V" : "N";
#if FT_COMPLEX
    typedef void fn(char *, char *, int *, T *, int *, T *, T *, int *, T *, int *, T *, int *, R *, int *);
    R real_size;
    CALL(FT_GEEV, fn *)(jl, jr, &n, a, &n, w, out[0], &n, out[1], &n, &size, &query, &real_size, &info);
    int length = FT_NAME(length)(size);
    T *work = malloc(((size_t)length + 1) * sizeof(T) + 2 * (size_t)n * sizeof(R));
    if (!work)
        return FT_EMEM;
#else
    typedef void fn(char *, char *, int *, T *, int *, T *, T *, T *, int *, T *, int *, T *, int *, int *);
    CALL(FT_GEEV, fn *)(jl, jr, &n, a, &n, &size, &size, &size, &n, &size, &n, &size, &query, &info);
    int length = FT_NAME(length)(size);
    T *work = malloc(((size_t)length + 2 * (size_t)n + 2 * nn + 1) * sizeof(T));
    if (!work)
        return FT_EMEM;
    T *wr = work + length, *wi = wr + n, *v[2] = {wi + n, wi + n + nn};
#endif
    int finite = 1;
    for (size_t i = 0; i < nn && finite; i++)
        finite = isfinite(creal(a[i])) && isfinite(cimag(a[i]));
    if (finite) {
#if FT_COMPLEX
        CALL(FT_GEEV, fn *)(jl, jr, &n, a, &n, w, out[0], &n, out[1], &n, work, &length,
                            (R *)(work + length), &info);
#else
        CALL(FT_GEEV, fn *)(jl, jr, &n, a, &n, wr, wi, v[0], &n, v[1], &n, work, &length, &info);
        for (int64_t j = 0; j < n; j++)
            w[j] = wr[j] + wi[j] * (C)I;
        for (int side = 0; side < 2; side++) {
            if (!out[side])
                continue;
            for (int64_t j = 0; j < n; j++) {
                const T *re = v[side] + j * n, *im = re + n;
                C *to = out[side] + j * n;
                if (wi[j] == 0) {
                    for (int64_t i = 0; i < n; i++)
                        to[i] = re[i];
                } else {                    /* a pair of columns is a pair of conjugates */
                    for (int64_t i = 0; i < n; i++) {
                        to[i] = re[i] + im[i] * (C)I;
                        to[n + i] = re[i] - im[i] * (C)I;
                    }
                    j++;
                }
            }
        }
#endif
    }
    if (info || !finite) {
        for (int64_t i = 0; i < n; i++)
            w[i] = (R)NAN;
        for (int side = 0; side < 2; side++)
            for (size_t i = 0; out[side] && i < nn; i++)
                out[side][i] = (R)NAN;
    }
    free(work);
    return FT_OK;
}

/* x: b by columns of max(m, n) in, the solutions out; a [m, n] by columns (destroyed); singular values; rank.
 * ints: m, n, the number of columns of b, and the bits of the double below which, times the greatest one,
 * singular values count as 0. */
int FT_NAME(lstsq)(const int64_t *ints, char **p)
{
    int m = (int)ints[0], n = (int)ints[1], k = (int)ints[2], least = m < n ? m : n, ld = m < n ? n : m;
    int info = 0, query = -1, rank = 0, n_int = 0, finite = 1;
    T *x = (T *)p[0], *a = (T *)p[1], size;
    R *s = (R *)p[2], rcond, real_size = 0;
    double bits;
    memcpy(&bits, &ints[3], sizeof bits);
    rcond = (R)bits;
#if FT_COMPLEX
    typedef void fn(int *, int *, int *, T *, int *, T *, int *, R *, R *, int *, T *, int *, R *, int *, int *);
    CALL(FT_GELSD, fn *)(&m, &n, &k, a, &m, x, &ld, s, &rcond, &rank, &size, &query, &real_size, &n_int, &info);
#else
    typedef void fn(int *, int *, int *, T *, int *, T *, int *, R *, R *, int *, T *, int *, int *, int *);
    CALL(FT_GELSD, fn *)(&m, &n, &k, a, &m, x, &ld, s, &rcond, &rank, &size, &query, &n_int, &info);
#endif
    int length = FT_NAME(length)(size), n_real = (int)real_size + 1;
    char *work = malloc((size_t)length * sizeof(T) + (size_t)n_real * sizeof(R) + (size_t)n_int * sizeof(int) + 1);
    if (!work)
        return FT_EMEM;
    R *real_work = (R *)(work + (size_t)length * sizeof(T));
    int *int_work = (int *)(real_work + n_real);
    for (int64_t i = 0; i < (int64_t)m * n && finite; i++)
        finite = isfinite(creal(a[i])) && isfinite(cimag(a[i]));
    for (int64_t i = 0; i < (int64_t)ld * k && finite; i++)
        finite = i % ld >= m || (isfinite(creal(x[i])) && isfinite(cimag(x[i])));
    if (finite) {
#if FT_COMPLEX
        CALL(FT_GELSD, fn *)(&m, &n, &k, a, &m, x, &ld, s, &rcond, &rank, (T *)work, &length, real_work,
                             int_work, &info);
#else
        CALL(FT_GELSD, fn *)(&m, &n, &k, a, &m, x, &ld, s, &rcond, &rank, (T *)work, &length, int_work, &info);
#endif
    }
    if (info || !finite) {
        FT_NAME(fill_nan)(x, (int64_t)ld * k);
        for (int i = 0; i < least; i++)
            s[i] = (R)NAN;
        rank = 0;
    }
    *(int64_t *)p[3] = rank;
    free(work);
    (void)real_work;
    return FT_OK;
}

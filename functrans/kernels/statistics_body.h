/* Template: included once per dtype, with T, FT_NAME(part), FT_SQUARE(a, c): a * a + c on vectors of doubles.
 * Results are the same on every level: lanes of both loops are fixed, and a fused square is that of a float,
 * which is exact. */
#define FT_LOOK_BYTES 64
#define VEC FT_NAME(vec)
#define IVEC FT_NAME(ivec)
#define IN FT_NAME(in)
#define WIDE FT_NAME(wide)
#define I FT_NAME(int)
#define PER ((int)(FT_VBYTES / sizeof(T)))
#define NVEC (FT_LOOK_BYTES / FT_VBYTES)
#define LANES (FT_LOOK_BYTES / (int)sizeof(T))
#define PER_WIDE ((int)(FT_VBYTES / sizeof(double)))
#define TURN 16
#define NWIDE (TURN / PER_WIDE)

typedef FT_INT I;
typedef T VEC __attribute__((vector_size(FT_VBYTES), aligned(sizeof(T)), may_alias));
typedef I IVEC __attribute__((vector_size(FT_VBYTES), aligned(sizeof(T)), may_alias));
typedef double WIDE __attribute__((vector_size(FT_VBYTES), aligned(sizeof(double)), may_alias));
typedef T IN __attribute__((vector_size(FT_VBYTES / 8 * sizeof(T)), aligned(sizeof(T)), may_alias));

/* One element after the other, where some are not finite. */
static void FT_NAME(slowly)(double *row, const T *x, int64_t n)
{
    double s = 0, q = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = (double)x[i];
        if (!(fabs(v) <= DBL_MAX)) {
            row[FT_BAD] += 1;
            continue;
        }
        row[FT_ZEROS] += v == 0;
        s += v;
        q += v * v;
        row[FT_MOST] = v > row[FT_MOST] ? v : row[FT_MOST];
        row[FT_MINUS_LEAST] = -v > row[FT_MINUS_LEAST] ? -v : row[FT_MINUS_LEAST];
    }
    row[FT_SUM] += s;
    row[FT_SQUARES] += q;
}

static void FT_NAME(block)(double *row, const char *p, int64_t n)
{
    const T *x = (const T *)p;
    double s[TURN] = {0}, q[TURN] = {0};
    I zeros[LANES] = {0}, none = 0;
    T most[LANES], least[LANES];
    int64_t i = 0;
    for (int j = 0; j < LANES; j++)
        most[j] = least[j] = x[0];
    if (n >= TURN) {
        WIDE sums[NWIDE], squares[NWIDE];
        VEC hi[NVEC], lo[NVEC];
        IVEC found[NVEC];
        for (int v = 0; v < NWIDE; v++)
            sums[v] = squares[v] = (WIDE){0};
        for (int v = 0; v < NVEC; v++) {
            hi[v] = lo[v] = *(const VEC *)(x + v * PER);
            found[v] = (IVEC){0};
        }
        for (; i + TURN <= n; i += TURN) {
            for (int v = 0; v < NWIDE; v++) {
                WIDE a = __builtin_convertvector(*(const IN *)(x + i + v * PER_WIDE), WIDE);
                sums[v] += a;
                squares[v] = FT_SQUARE(a, squares[v]);
            }
            for (int u = 0; u < TURN / PER; u++) {
                int v = u % NVEC;
                VEC a = *(const VEC *)(x + i + u * PER);
                found[v] -= a == 0;
                hi[v] = FT_VPICK(a > hi[v], a, hi[v]);
                lo[v] = FT_VPICK(a < lo[v], a, lo[v]);
            }
        }
        memcpy(s, sums, sizeof s);
        memcpy(q, squares, sizeof q);
        memcpy(zeros, found, sizeof zeros);
        memcpy(most, hi, sizeof most);
        memcpy(least, lo, sizeof least);
    }
    for (; i < n; i++) {
        int j = (int)(i % LANES);
        double a = (double)x[i];
        s[i % TURN] += a;
        q[i % TURN] += a * a;
        zeros[j] += x[i] == 0;
        most[j] = x[i] > most[j] ? x[i] : most[j];
        least[j] = x[i] < least[j] ? x[i] : least[j];
    }
    for (int h = TURN / 2; h; h /= 2)
        for (int j = 0; j < h; j++) {
            s[j] += s[j + h];
            q[j] += q[j + h];
        }
    row[FT_COUNT] += (double)n;
    if (!(q[0] <= DBL_MAX)) {               /* something is not finite, or has too large a square */
        FT_NAME(slowly)(row, x, n);
        return;
    }
    row[FT_SUM] += s[0];
    row[FT_SQUARES] += q[0];
    for (int j = 0; j < LANES; j++) {
        none += zeros[j];
        most[0] = most[j] > most[0] ? most[j] : most[0];
        least[0] = least[j] < least[0] ? least[j] : least[0];
    }
    row[FT_ZEROS] += (double)none;
    row[FT_MOST] = most[0] > row[FT_MOST] ? most[0] : row[FT_MOST];
    row[FT_MINUS_LEAST] = -(double)least[0] > row[FT_MINUS_LEAST] ? -(double)least[0] : row[FT_MINUS_LEAST];
}

static void FT_NAME(histogram)(uint32_t *counts, const char *p, int64_t n)
{
    const T *x = (const T *)p;
    for (int64_t i = 0; i < n; i++) {
        double v = (double)x[i], a = fabs(v);
        if (!(a <= DBL_MAX))
            continue;
        int64_t bits;
        memcpy(&bits, &a, sizeof bits);
        int64_t cell = (bits >> FT_CELL_SHIFT) - FT_CELL_FIRST;
        cell = cell < 0 ? 0 : cell > FT_CELLS - 1 ? FT_CELLS - 1 : cell;
        int64_t k = ft_cells[cell], below = v < 0;      /* a cell has no more than one limit inside */
        k += (ft_powers[k] <= a) & !(below & (ft_powers[k] == a));
        counts[FT_POWERS + 1 - below + (below ? -k : k)]++;
    }
}

static const ft_statistics FT_NAME(kernel) = {FT_NAME(block), FT_NAME(histogram)};

#undef FT_LOOK_BYTES
#undef VEC
#undef IVEC
#undef IN
#undef WIDE
#undef I
#undef PER
#undef NVEC
#undef LANES
#undef PER_WIDE
#undef TURN
#undef NWIDE

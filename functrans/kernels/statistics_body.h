/* Template: included once per dtype, with T, FT_NAME(part). Results are the same on every level: lanes of
 * both loops are fixed. */
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
#define WIDE_LANES 16
#define NWIDE (WIDE_LANES / PER_WIDE)

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
    I zeros[LANES] = {0}, bad = 0;
    T most[LANES], least[LANES];
    int64_t i = 0;
    row[FT_COUNT] += (double)n;
    for (int j = 0; j < LANES; j++)
        most[j] = least[j] = x[0];
    if (n >= LANES) {
        VEC hi[NVEC], lo[NVEC];
        IVEC none[NVEC], outside[NVEC];
        for (int v = 0; v < NVEC; v++) {
            hi[v] = lo[v] = *(const VEC *)(x + v * PER);
            none[v] = outside[v] = (IVEC){0};
        }
        for (; i + LANES <= n; i += LANES)
            for (int v = 0; v < NVEC; v++) {
                VEC a = *(const VEC *)(x + i + v * PER);
                none[v] += a == 0;
                outside[v] |= (a - a) != 0;         /* nan of an infinity */
                hi[v] = FT_VMAX(hi[v], a);
                lo[v] = FT_VMIN(lo[v], a);
            }
        I found[LANES];
        memcpy(zeros, none, sizeof zeros);
        memcpy(found, outside, sizeof found);
        memcpy(most, hi, sizeof most);
        memcpy(least, lo, sizeof least);
        for (int j = 0; j < LANES; j++)
            bad |= found[j];
    }
    for (; i < n; i++) {
        int j = (int)(i % LANES);
        zeros[j] -= x[i] == 0;
        bad |= (x[i] - x[i]) != 0;
        most[j] = x[i] > most[j] ? x[i] : most[j];
        least[j] = x[i] < least[j] ? x[i] : least[j];
    }
    if (bad) {
        FT_NAME(slowly)(row, x, n);
        return;
    }
    int64_t none_at_all = 0;
    for (int j = 0; j < LANES; j++) {
        none_at_all -= zeros[j];
        most[0] = most[j] > most[0] ? most[j] : most[0];
        least[0] = least[j] < least[0] ? least[j] : least[0];
    }
    row[FT_ZEROS] += (double)none_at_all;
    row[FT_MOST] = most[0] > row[FT_MOST] ? most[0] : row[FT_MOST];
    row[FT_MINUS_LEAST] = -(double)least[0] > row[FT_MINUS_LEAST] ? -(double)least[0] : row[FT_MINUS_LEAST];

    double s[WIDE_LANES] = {0}, q[WIDE_LANES] = {0};
    i = 0;
    if (n >= WIDE_LANES) {
        WIDE sums[NWIDE], squares[NWIDE];
        for (int v = 0; v < NWIDE; v++)
            sums[v] = squares[v] = (WIDE){0};
        for (; i + WIDE_LANES <= n; i += WIDE_LANES)
            for (int v = 0; v < NWIDE; v++) {
                WIDE a = __builtin_convertvector(*(const IN *)(x + i + v * PER_WIDE), WIDE);
                sums[v] += a;
                squares[v] += a * a;
            }
        memcpy(s, sums, sizeof s);
        memcpy(q, squares, sizeof q);
    }
    for (; i < n; i++) {
        double a = (double)x[i];
        s[i % WIDE_LANES] += a;
        q[i % WIDE_LANES] += a * a;
    }
    for (int h = WIDE_LANES / 2; h; h /= 2)
        for (int j = 0; j < h; j++) {
            s[j] += s[j + h];
            q[j] += q[j + h];
        }
    row[FT_SUM] += s[0];
    row[FT_SQUARES] += q[0];
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
#undef WIDE_LANES
#undef NWIDE

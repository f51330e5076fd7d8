/* Template: what large float products are made of; part of matmul_body.h, with its macros.
 *
 * The scheme is that of Goto and van de Geijn with the roles turned: all of b (or as much of it as
 * fits the cache) is packed into strips as wide as a register tile, by all threads. Then each task
 * packs a few rows of a at a time, which stay in the first-level cache, and runs along the strips of
 * its columns, which stay in the second. So a product has two joins, and tasks write apart. */
#define NR (FT_MM_NV * PER)

static void FT_NAME(pack_strip)(char *packed, const char *b, const ft_mm *d, int64_t block,
                                int64_t strip)
{
    int64_t k0 = block * FT_MM_KC, kc = ft_lesser(FT_MM_KC, d->k - k0), j = strip * NR;
    int64_t strips = (d->n + NR - 1) / NR;
    T *to = (T *)packed + k0 * strips * NR + strip * kc * NR;
    FT_NAME(pack)(to, NR, b + k0 * d->bk + j * d->bn, ft_lesser(NR, d->n - j), kc, d->bn, d->bk);
}

static void FT_NAME(pack_rows)(char *packed, const char *a, const ft_mm *d, int64_t block, int64_t panel)
{
    int64_t k0 = block * FT_MM_KC, kc = ft_lesser(FT_MM_KC, d->k - k0), i = panel * FT_MM_MR;
    int64_t panels = (d->m + FT_MM_MR - 1) / FT_MM_MR;
    T *to = (T *)packed + k0 * panels * FT_MM_MR + panel * kc * FT_MM_MR;
    FT_NAME(pack)(to, FT_MM_MR, a + k0 * d->ak + i * d->am, ft_lesser(FT_MM_MR, d->m - i), kc, d->am,
                  d->ak);
}

static __attribute__((noinline)) void FT_NAME(micro)(char *out, int64_t om, const T *a, const T *b,
                                                     int64_t kc, int add)
{
    for (int r = 0; r < FT_MM_MR; r++)              /* there when the sums are */
        for (int v = 0; v < FT_MM_NV; v++)
            __builtin_prefetch(out + r * om + v * FT_VBYTES, 1);
    FT_NAME(tile)(out, om, SIZE, (const char *)a, SIZE, FT_MM_MR * SIZE, (const char *)b, NR * SIZE,
                  kc, NR, FT_MM_MR, FT_MM_NV, add);
}

FT_INLINE void FT_NAME(edge_rows)(char *out, int64_t om, int64_t on, const T *a, const T *b,
                                  int64_t kc, int64_t w, int64_t m, int nv, int add)
{
#define EDGE(rows) \
    FT_NAME(tile)(out, om, on, (const char *)a, SIZE, FT_MM_MR * SIZE, (const char *)b, NR * SIZE, \
                  kc, w, rows, nv, add)
#define THEN(rows) \
    if (m >= rows) { \
        EDGE(rows); \
        m -= rows; \
        out += rows * om; \
        a += rows; \
    }
    if (m == FT_MM_MR) {
        EDGE(FT_MM_MR);
        return;
    }
    THEN(4)
    THEN(2)
    THEN(1)
#undef EDGE
#undef THEN
}

/* A tile at the edge, or of an output that has no unit stride. */
static __attribute__((noinline)) void FT_NAME(edge)(char *out, int64_t om, int64_t on, const T *a,
                                                    const T *b, int64_t kc, int64_t w, int64_t m,
                                                    int add)
{
    if (w <= PER)
        FT_NAME(edge_rows)(out, om, on, a, b, kc, w, m, 1, add);
#if FT_MM_NV > 2
    else if (w <= 2 * PER)
        FT_NAME(edge_rows)(out, om, on, a, b, kc, w, m, 2, add);
#endif
    else
        FT_NAME(edge_rows)(out, om, on, a, b, kc, w, m, FT_MM_NV, add);
}

/* d->m rows of a times the strips strip .. end of b; out is that of column 0. */
static void FT_NAME(block)(char *out, const char *a, const char *packed, const ft_mm *d,
                           int64_t strip, int64_t end, int add)
{
    T panel[FT_MM_KC * FT_MM_MR] __attribute__((aligned(64)));
    int64_t strips = (d->n + NR - 1) / NR;
    for (int64_t k0 = 0; k0 < d->k; k0 += FT_MM_KC, add = 1) {
        int64_t kc = ft_lesser(FT_MM_KC, d->k - k0);
        const T *b = (const T *)packed + k0 * strips * NR;
        for (int64_t i = 0; i < d->m; i += FT_MM_MR) {
            int64_t m = ft_lesser(FT_MM_MR, d->m - i);
            FT_NAME(pack)(panel, FT_MM_MR, a + i * d->am + k0 * d->ak, m, kc, d->am, d->ak);
            for (int64_t s = strip; s < end; s++) {
                int64_t w = ft_lesser(NR, d->n - s * NR);
                char *o = out + i * d->om + s * NR * d->on;
                if (m == FT_MM_MR && w == NR && d->on == SIZE)
                    FT_NAME(micro)(o, d->om, panel, b + s * kc * NR, kc, add);
                else
                    FT_NAME(edge)(o, d->om, d->on, panel, b + s * kc * NR, kc, w, m, add);
            }
        }
    }
}

/* The panels panel .. end of a, which is packed, times the strips strip .. last of b; out is that of row
 * and column 0. */
static void FT_NAME(strips)(char *out, const char *packed, const char *b, const ft_mm *d, int64_t panel,
                            int64_t end, int64_t strip, int64_t last, int add)
{
    T own[FT_MM_KC * NR] __attribute__((aligned(64)));
    int64_t panels = (d->m + FT_MM_MR - 1) / FT_MM_MR;
    for (int64_t k0 = 0; k0 < d->k; k0 += FT_MM_KC, add = 1) {
        int64_t kc = ft_lesser(FT_MM_KC, d->k - k0);
        const T *a = (const T *)packed + k0 * panels * FT_MM_MR;
        for (int64_t s = strip; s < last; s++) {
            int64_t w = ft_lesser(NR, d->n - s * NR);
            FT_NAME(pack)(own, NR, b + k0 * d->bk + s * NR * d->bn, w, kc, d->bn, d->bk);
            for (int64_t p = panel; p < end; p++) {
                int64_t m = ft_lesser(FT_MM_MR, d->m - p * FT_MM_MR);
                char *o = out + p * FT_MM_MR * d->om + s * NR * d->on;
                if (m == FT_MM_MR && w == NR && d->on == SIZE)
                    FT_NAME(micro)(o, d->om, a + p * kc * FT_MM_MR, own, kc, add);
                else
                    FT_NAME(edge)(o, d->om, d->on, a + p * kc * FT_MM_MR, own, kc, w, m, add);
            }
        }
    }
}

/* ----- few columns: the matrix is read once and in place ------------------------------------- */

/* Lanes of one dot product here: more rows at once instead of more lanes, as k may be short. */
#define FEW_LANES ((int)(64 / sizeof(T)))
#define FEW_VECS (64 / FT_VBYTES)
#define FEW_STRIDE (FT_MM_FEW_KC + FEW_LANES)    /* of a copied column; the last lanes are its rest */
#define BITS __typeof__(_Generic((T)0, float: (int32_t)0, double: (int64_t)0))
#define MASK FT_NAME(mask)
typedef BITS MASK __attribute__((vector_size(FT_VBYTES), aligned(sizeof(T)), may_alias));

/* `rows` rows times `cols` copied columns (constants where it is called). */
FT_INLINE void FT_NAME(few_tile)(char *out, int64_t om, int64_t on, const char *a, int64_t am,
                                 const T *b, int64_t kc, int rows, int cols, int add)
{
    VEC acc[8][FEW_VECS];
    QUAD lane[16 / sizeof(T)];
    for (int r = 0; r < rows * cols; r++)
        for (int v = 0; v < FEW_VECS; v++)
            acc[r][v] = (VEC){0};
    int64_t k = 0;
    for (; k + FEW_LANES <= kc; k += FEW_LANES)
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < FEW_VECS; v++) {
                VEC x = *(const VEC *)(a + r * am + (k + v * PER) * SIZE);
                for (int c = 0; c < cols; c++)
                    acc[r * cols + c][v] = FT_VMAD(
                        x, *(const VEC *)(b + c * FEW_STRIDE + k + v * PER), acc[r * cols + c][v]);
            }
    if (k < kc) {
        /* The last lanes of a full load, the others cleared on both sides (zero times infinity is not
         * a number), or a padded copy of a short row. */
        BITS mask[64 / sizeof(T)];
        T rest[64 / sizeof(T)];
        for (int j = 0; j < FEW_LANES; j++)
            mask[j] = (BITS)-(j >= FEW_LANES - (kc - k));
        for (int r = 0; r < rows; r++) {
            const T *x = (const T *)(a + r * am) + kc - FEW_LANES;
            if (kc < FEW_LANES) {
                for (int j = 0; j < FEW_LANES; j++)
                    rest[j] = 0;
                for (int64_t j = 0; j < kc; j++)
                    rest[FEW_LANES - kc + j] = x[FEW_LANES - kc + j];
                x = rest;
            }
            for (int v = 0; v < FEW_VECS; v++) {
                VEC y = (VEC)(*(const MASK *)(x + v * PER) & *(const MASK *)(mask + v * PER));
                for (int c = 0; c < cols; c++)
                    acc[r * cols + c][v] = FT_VMAD(
                        y, *(const VEC *)(b + c * FEW_STRIDE + FT_MM_FEW_KC + v * PER),
                        acc[r * cols + c][v]);
            }
        }
    }
    /* The lanes are added by halves; from four on, those of four dot products at once. */
    QUAD four[8], sum[2];
    for (int r = 0; r < 8; r++) {
        four[r] = (QUAD){0};
        if (r < rows * cols) {
            memcpy(lane, acc[r], 64);
            four[r] = FEW_LANES == 16 ? (lane[0] + lane[2]) + (lane[1] + lane[FEW_LANES / 4 - 1])
                                      : lane[0] + lane[1];
        }
    }
    for (int g = 0; g < (rows * cols + 3) / 4; g++) {
        QUAD t[4];
        FT_NAME(four)((T *)t, 4, (const char *)(four + 4 * g), 4 * SIZE);
        sum[g] = (t[0] + t[2]) + (t[1] + t[3]);
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            T *o = (T *)(out + r * om + c * on);
            T v = sum[(r * cols + c) / 4][(r * cols + c) % 4];
            *o = add ? FT_ADD(*o, v) : v;
        }
}

FT_INLINE void FT_NAME(few_rows)(char *out, const char *a, const T *b, const ft_mm *d, int cols,
                                 int add)
{
    T line[FT_MM_FEW_KC] __attribute__((aligned(64)));
    int64_t i = 0;
    int rows = FT_VBYTES == 16 ? 1 : cols == 1 ? 8 : cols == 2 ? 4 : 2;
    if (d->ak == SIZE)
        for (; i + rows <= d->m; i += rows)
            FT_NAME(few_tile)(out + i * d->om, d->om, d->on, a + i * d->am, d->am, b, d->k, rows, cols,
                              add);
    for (; i < d->m; i++) {
        const char *p = a + i * d->am;
        if (d->ak != SIZE)
            p = (const char *)FT_NAME(line)(p, d->ak, d->k, line);
        FT_NAME(few_tile)(out + i * d->om, d->om, d->on, p, 0, b, d->k, 1, cols, add);
    }
}

static void FT_NAME(few_dots)(char *out, const char *a, const char *b, const ft_mm *d, int add)
{
    T columns[FT_MM_FEW][FEW_STRIDE] __attribute__((aligned(64)));
    int64_t whole = d->k / FEW_LANES * FEW_LANES;
    for (int64_t c = 0; c < d->n; c++) {
        T *to = columns[c], *rest = to + FT_MM_FEW_KC;
        for (int64_t k = 0; k < whole; k++)
            to[k] = *(const T *)(b + k * d->bk + c * d->bn);
        for (int64_t j = FEW_LANES - 1, k = d->k - 1; j >= 0; j--, k--)
            rest[j] = k >= whole ? *(const T *)(b + k * d->bk + c * d->bn) : 0;
    }
    if (d->n == 1)
        FT_NAME(few_rows)(out, a, columns[0], d, 1, add);
    else if (d->n == 2)
        FT_NAME(few_rows)(out, a, columns[0], d, 2, add);
    else if (d->n == 3)
        FT_NAME(few_rows)(out, a, columns[0], d, 3, add);
    else
        FT_NAME(few_rows)(out, a, columns[0], d, 4, add);
}

/* Adjacent rows of a are vectors: columns of the transposed product. */
FT_INLINE void FT_NAME(few_wide)(char *out, const char *a, const char *b, const ft_mm *d, int rows,
                                 int nv, int add)
{
    int64_t i = 0;
#define ACROSS(vecs) \
    for (; i + vecs * PER <= d->m; i += vecs * PER) \
        FT_NAME(tile)(out + i * d->om, d->on, d->om, b, d->bn, d->bk, a + i * SIZE, d->ak, d->k, \
                      vecs * PER, rows, vecs, add);
    ACROSS(nv)
    if (nv > 4) {
        ACROSS(4)
    }
    ACROSS(2)
    ACROSS(1)
#undef ACROSS
    if (i == d->m)
        return;
    /* The rest lies at the end of a vector that overlaps rows which are done: reading beyond the
     * last row could fault. */
    T line[FT_MM_FEW][FT_VBYTES / sizeof(T)];
    int64_t from = d->m >= PER ? i + PER - d->m : 0, count = d->m - i;
    if (d->m >= PER)
        FT_NAME(tile)((char *)line, sizeof line[0], SIZE, b, d->bn, d->bk, a + (d->m - PER) * SIZE,
                      d->ak, d->k, PER, rows, 1, 0);
    else
        for (int r = 0; r < rows; r++)
            for (int64_t j = 0; j < count; j++) {
                T v = 0;
                for (int64_t k = 0; k < d->k; k++)
                    v = FT_MAD(*(const T *)(b + r * d->bn + k * d->bk),
                               *(const T *)(a + (i + j) * SIZE + k * d->ak), v);
                line[r][j] = v;
            }
    for (int r = 0; r < rows; r++)
        for (int64_t j = 0; j < count; j++) {
            T *o = (T *)(out + (i + j) * d->om + r * d->on);
            *o = add ? FT_ADD(*o, line[r][from + j]) : line[r][from + j];
        }
}

static void FT_NAME(few)(char *out, const char *a, const char *b, const ft_mm *d, int add)
{
    if (d->am != SIZE || (d->ak == SIZE && d->m < 8)) {
        FT_NAME(few_dots)(out, a, b, d, add);
        return;
    }
    for (int64_t k = 0; k < d->k; k += FT_MM_KC, add = 1) {
        ft_mm part = *d;
        part.k = ft_lesser(FT_MM_KC, d->k - k);
        const char *pa = a + k * d->ak, *pb = b + k * d->bk;
        if (d->n == 1)
            FT_NAME(few_wide)(out, pa, pb, &part, 1, 8, add);
        else if (d->n == 2)
            FT_NAME(few_wide)(out, pa, pb, &part, 2, 4, add);
        else if (d->n == 3)
            FT_NAME(few_wide)(out, pa, pb, &part, 3, FT_VBYTES == 64 ? 4 : 2, add);
        else
            FT_NAME(few_wide)(out, pa, pb, &part, 4, FT_VBYTES == 64 ? 4 : 2, add);
    }
}

static void FT_NAME(add)(char *out, const char *in, int64_t n, int64_t so, int64_t si)
{
    for (int64_t i = 0; i < n; i++)
        *(T *)(out + i * so) = FT_ADD(*(T *)(out + i * so), *(const T *)(in + i * si));
}

static const ft_gemm FT_NAME(gemm) = {FT_MM_MR, NR, FT_NAME(pack_strip), FT_NAME(block),
                                      FT_NAME(pack_rows), FT_NAME(strips), FT_NAME(few), FT_NAME(add)};

#undef NR
#undef FEW_LANES
#undef FEW_VECS
#undef FEW_STRIDE
#undef BITS
#undef MASK

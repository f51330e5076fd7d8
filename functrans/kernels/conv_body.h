/* Template: convolutions of one type; part of matmul_body.h, with its macros.
 *
 * The wide form has pixels of the output in lanes: filters are the packed a of a product, and b is
 * read from the packed image, in place if there are few filters, else in strips. The deep form, for
 * filters larger than the output (the derivative of the filters), has outputs' channels in lanes and
 * runs along the positions of the filter. As in products, one chain covers at most FT_MM_KC. */
#define NR (FT_MM_NV * PER)
#define FEW 2                      /* filters that the deep form takes one by one */
#define DOT_LANES ((int64_t)(64 / sizeof(T)))
#define DOT_VECS (64 / FT_VBYTES)
#define WIDTH(n) (((n) + DOT_LANES - 1) / DOT_LANES * DOT_LANES)
#define BITS FT_NAME(conv_bits)
typedef int64_t BITS __attribute__((vector_size(FT_VBYTES), aligned(sizeof(T)), may_alias));

/* Rows of images are short: a call of memset or memcpy for each would take longer than they. Zeros are
 * whole vectors; what follows the row is written later, or is slack. */
FT_INLINE void FT_NAME(conv_zeros)(T *row, int64_t n)
{
    for (int64_t i = 0; i < n; i += PER) {
        *(VEC *)(row + i) = (VEC){0};
        FT_NO_CALL(row);
    }
}

FT_INLINE void FT_NAME(conv_copy)(T *to, const T *in, int64_t n)
{
    int64_t i = 0;
    for (; i + PER <= n; i += PER) {
        *(VEC *)(to + i) = *(const VEC *)(in + i);
        FT_NO_CALL(to);
    }
    for (; i + 4 <= n; i += 4) {
        *(QUAD *)(to + i) = *(const QUAD *)(in + i);
        FT_NO_CALL(to);
    }
    for (; i < n; i++) {
        to[i] = in[i];
        FT_NO_CALL(to);
    }
}

static void FT_NAME(conv_part)(char *to, const char *x, const ft_conv_dims *c, int64_t channels,
                               const int64_t *from)
{
    const int64_t step = c->split, n = c->n[2], sx = c->xs[2] * step;
    for (int64_t ch = 0; ch < channels; ch++, x += c->xc)
        for (int64_t z = 0; z < c->ext[0]; z++)
            for (int64_t y = 0; y < c->ext[1]; y++) {
                T *row = (T *)to + ch * c->channel + z * c->plane + y * c->row;
                int64_t iz = from[0] + z, iy = from[1] + y;
                if (iz < 0 || iz >= c->n[0] || iy < 0 || iy >= c->n[1]) {
                    FT_NAME(conv_zeros)(row, c->row);
                    continue;
                }
                const char *line = x + iz * c->xs[0] + iy * c->xs[1];
                for (int64_t p = 0; p < c->phases; p++, row += c->wide) {
                    int64_t at = from[2] + p, lo = at < 0 ? (step - 1 - at) / step : 0;
                    int64_t hi = at < n ? (n - at + step - 1) / step : 0;
                    lo = ft_lesser(lo, c->wide);
                    hi = hi < lo ? lo : ft_lesser(hi, c->wide);
                    const char *in = line + at * c->xs[2];
                    if (lo || hi < c->wide)
                        FT_NAME(conv_zeros)(row, c->wide);
                    if (sx == SIZE)
                        FT_NAME(conv_copy)(row + lo, (const T *)in + lo, hi - lo);
                    else
                        for (int64_t i = lo; i < hi; i++)
                            row[i] = *(const T *)(in + i * sx);
                }
            }
}

/* [block of k][panel][k][row]: each block of taps has all its panels together. */
static void FT_NAME(conv_filters)(char *to, const char *w, const ft_conv_dims *c, const int64_t *off,
                                  int64_t taps, int64_t i)
{
    int64_t panels = (c->cout + FT_MM_MR - 1) / FT_MM_MR, m = ft_lesser(FT_MM_MR, c->cout - i * FT_MM_MR);
    w += i * FT_MM_MR * c->wo;
    for (int64_t k0 = 0; k0 < taps; k0 += FT_MM_KC) {
        int64_t kc = ft_lesser(FT_MM_KC, taps - k0);
        T *o = (T *)to + (k0 * panels + i * kc) * FT_MM_MR;
        for (int64_t k = 0, n; k < kc; k += n, o += n * FT_MM_MR) {
            const int64_t *at = off + k0 + k;
            int64_t step = k + 1 < kc ? at[1] - at[0] : SIZE;
            for (n = 1; k + n < kc && at[n] == at[n - 1] + step; n++)
                ;
            FT_NAME(pack)(o, FT_MM_MR, w + at[0], m, n, c->wo, step);
        }
    }
}

/* ----- wide ---------------------------------------------------------------------------------- */

/* A tile that reads the packed image in place: tap k lies off[k] elements from x. */
FT_INLINE void FT_NAME(conv_tile)(char *out, int64_t oc, int64_t os, const T *a, const T *x,
                                  const int64_t *off, int64_t kc, int64_t w, int rows, int nv, int add)
{
    VEC acc[FT_MM_MR][FT_MM_NV_MAX];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = (VEC){0};
    for (int64_t k = 0; k < kc; k++, a += FT_MM_MR) {
        const VEC *b = (const VEC *)(x + off[k]);
        VEC bv[FT_MM_NV_MAX];
        for (int v = 0; v < nv; v++)
            bv[v] = b[v];
        for (int r = 0; r < rows; r++) {
            VEC f = a[r] - (VEC){0};
            for (int v = 0; v < nv; v++)
                acc[r][v] = FT_VMAD(f, bv[v], acc[r][v]);
        }
    }
    FT_NAME(put)(out, oc, os, acc, w, rows, nv, add);
}

/* Lines of the output below each other, `along` apart in the image, for one filter: one line alone would
 * wait for its own sums. */
FT_INLINE void FT_NAME(conv_band)(char *out, int64_t down, const T *a, const T *x, int64_t along,
                                  const int64_t *off, int64_t kc, int64_t w, int lines, int nv, int add)
{
    VEC acc[FT_MM_MR][FT_MM_NV_MAX];
    for (int r = 0; r < lines; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = (VEC){0};
    for (int64_t k = 0; k < kc; k++, a += FT_MM_MR) {
        VEC f = a[0] - (VEC){0};
        for (int r = 0; r < lines; r++)
            for (int v = 0; v < nv; v++)
                acc[r][v] = FT_VMAD(f, ((const VEC *)(x + off[k] + r * along))[v], acc[r][v]);
    }
    FT_NAME(put)(out, down, SIZE, acc, w, lines, nv, add);
}

static __attribute__((noinline)) void FT_NAME(conv_bands)(char *out, int64_t down, const T *a, const T *x,
                                                          int64_t along, const int64_t *off, int64_t kc,
                                                          int64_t n, int add)
{
    int64_t i = 0;
    for (; n - i > PER; i += 2 * PER)
        FT_NAME(conv_band)(out + i * SIZE, down, a, x + i, along, off, kc, ft_lesser(2 * PER, n - i), 4, 2,
                           add);
    if (i < n)
        FT_NAME(conv_band)(out + i * SIZE, down, a, x + i, along, off, kc, n - i, 4, 1, add);
}

/* One line of the output, for at most FT_MM_MR filters. */
FT_INLINE void FT_NAME(conv_line)(char *out, int64_t oc, int64_t os, const T *a, const T *x,
                                  const int64_t *off, int64_t kc, int64_t n, int rows, int nv, int add)
{
    int64_t i = 0;
    for (; n - i >= nv * PER; i += nv * PER)
        FT_NAME(conv_tile)(out + i * os, oc, os, a, x + i, off, kc, nv * PER, rows, nv, add);
    for (; n - i > PER; i += 2 * PER)
        FT_NAME(conv_tile)(out + i * os, oc, os, a, x + i, off, kc, ft_lesser(2 * PER, n - i), rows, 2,
                           add);
    if (i < n)
        FT_NAME(conv_tile)(out + i * os, oc, os, a, x + i, off, kc, n - i, rows, 1, add);
}

static __attribute__((noinline)) void FT_NAME(conv_few)(char *out, int64_t oc, int64_t os, const T *a,
                                                        const T *x, const int64_t *off, int64_t kc,
                                                        int64_t n, int64_t rows, int add)
{
    const int wide = FT_VBYTES == 64 ? 3 : 2;
#define ROWS(count, vectors) \
    case count: FT_NAME(conv_line)(out, oc, os, a, x, off, kc, n, count, vectors, add); break;
    switch (rows) {
    ROWS(1, 4)
    ROWS(2, 4)
    ROWS(3, wide)
    ROWS(4, wide)
    ROWS(5, wide)
    ROWS(6, wide)
#if FT_MM_MR > 6
    ROWS(7, wide)
    ROWS(8, wide)
#endif
    }
#undef ROWS
}

FT_INLINE void FT_NAME(conv_rows)(char *out, int64_t oc, int64_t os, const T *a, const T *b, int64_t kc,
                                  int64_t w, int64_t m, int nv, int add)
{
#define STEP(count) \
    if (m >= count) { \
        FT_NAME(tile)(out, oc, os, (const char *)a, SIZE, FT_MM_MR * SIZE, (const char *)b, NR * SIZE, \
                      kc, w, count, nv, add); \
        m -= count; \
        out += count * oc; \
        a += count; \
    }
    STEP(FT_MM_MR)
    STEP(4)
    STEP(2)
    STEP(1)
#undef STEP
}

static __attribute__((noinline)) void FT_NAME(conv_full)(char *out, int64_t oc, const T *a, const T *b,
                                                         int64_t kc, int add)
{
    FT_NAME(tile)(out, oc, SIZE, (const char *)a, SIZE, FT_MM_MR * SIZE, (const char *)b, NR * SIZE, kc,
                  NR, FT_MM_MR, FT_MM_NV, add);
}

static __attribute__((noinline)) void FT_NAME(conv_edge)(char *out, int64_t oc, int64_t os, const T *a,
                                                         const T *b, int64_t kc, int64_t w, int64_t m,
                                                         int add)
{
    if (w <= PER)
        FT_NAME(conv_rows)(out, oc, os, a, b, kc, w, m, 1, add);
#if FT_MM_NV > 2
    else if (w <= 2 * PER)
        FT_NAME(conv_rows)(out, oc, os, a, b, kc, w, m, 2, add);
#endif
    else
        FT_NAME(conv_rows)(out, oc, os, a, b, kc, w, m, FT_MM_NV, add);
}

/* A run of adjacent pixels of a strip: where it is in the packed image, in the strip and in the output. */
typedef struct {
    int64_t from, at, n;
    char *out;
} FT_NAME(run);

static void FT_NAME(conv_wide)(char *out, const char *part, const char *filters, const ft_conv_dims *c,
                               const int64_t *off, int64_t taps, const int64_t *b, char *scratch)
{
    const T *x = (const T *)part, *f = (const T *)filters;
    const int64_t panels = (c->cout + FT_MM_MR - 1) / FT_MM_MR;
    const int64_t down = c->s[0] * c->plane, along = c->s[1] * c->row, rows = b[0] * b[1] * b[3];
    const int64_t next = c->cin * c->channel;
    if (panels == 1) {
        for (int64_t r = 0; r < rows; r++) {
            int64_t z = r / b[1], y = r % b[1];
            if (c->cout == 1 && c->os[2] == SIZE && b[1] - y >= 4) {
                for (int64_t k = 0; k < taps; k += FT_MM_KC)
                    FT_NAME(conv_bands)(out + z * c->os[0] + y * c->os[1], c->os[1], f + k * FT_MM_MR,
                                        x + z * down + y * along, along, off + k,
                                        ft_lesser(FT_MM_KC, taps - k), b[2], k > 0);
                r += 3;
                continue;
            }
            char *o = out + z * c->os[0] + y * c->os[1];
            const T *line = x + z * down + y * along;
            for (int64_t k = 0; k < taps; k += FT_MM_KC)
                FT_NAME(conv_few)(o, c->oc, c->os[2], f + k * FT_MM_MR, line, off + k,
                                  ft_lesser(FT_MM_KC, taps - k), b[2], c->cout, k > 0);
        }
        return;
    }
    T *strip = (T *)scratch, *sums = strip + FT_MM_KC * NR + FT_CONV_SLACK;
    FT_NAME(run) runs[NR];
    for (int64_t r = 0, i = 0; r < rows;) {
        /* the next NR pixels: pixel i of line r and so on */
        int count = 0, whole = c->os[2] == SIZE;
        int64_t w = 0;
        while (w < NR && r < rows) {
            int64_t y = r % b[1], z = r / b[1] % b[0], q = r / b[1] / b[0], n = ft_lesser(NR - w, b[2] - i);
            char *o = out + q * c->on + z * c->os[0] + y * c->os[1] + i * c->os[2];
            whole &= count == 0 || o == runs[0].out + w * SIZE;
            runs[count++] = (FT_NAME(run)){q * next + z * down + y * along + i, w, n, o};
            w += n;
            i += n;
            if (i == b[2]) {
                i = 0;
                r++;
            }
        }
        for (int64_t k0 = 0; k0 < taps; k0 += FT_MM_KC) {
            int64_t kc = ft_lesser(FT_MM_KC, taps - k0);
            const T *panel = f + k0 * panels * FT_MM_MR;
            if (count == 1 && w == NR)
                for (int64_t k = 0; k < kc; k++)
                    memcpy(strip + k * NR, x + runs[0].from + off[k0 + k], NR * SIZE);
            else
                /* whole vectors: what they write beyond a run is written again by what follows */
                for (int64_t k = 0; k < kc; k++)
                    for (int j = 0; j < count; j++) {
                        const T *in = x + runs[j].from + off[k0 + k];
                        T *to = strip + k * NR + runs[j].at;
                        for (int64_t v = 0; v < runs[j].n; v += PER)
                            *(VEC *)(to + v) = *(const VEC *)(in + v);
                    }
            for (int64_t p = 0; p < panels; p++, panel += kc * FT_MM_MR) {
                int64_t m = ft_lesser(FT_MM_MR, c->cout - p * FT_MM_MR);
                char *o = runs[0].out + p * FT_MM_MR * c->oc;
                if (whole && w == NR && m == FT_MM_MR) {
                    FT_NAME(conv_full)(o, c->oc, panel, strip, kc, k0 > 0);
                } else if (whole) {
                    FT_NAME(conv_edge)(o, c->oc, SIZE, panel, strip, kc, w, m, k0 > 0);
                } else if (m == FT_MM_MR && w > NR - PER) {
                    FT_NAME(conv_full)((char *)(sums + p * FT_MM_MR * NR), NR * SIZE, panel, strip, kc,
                                       k0 > 0);
                } else {
                    FT_NAME(conv_edge)((char *)(sums + p * FT_MM_MR * NR), NR * SIZE, SIZE, panel, strip, kc,
                                       (w + PER - 1) / PER * PER, m, k0 > 0);
                }
            }
        }
        if (whole)
            continue;
        for (int64_t q = 0; q < c->cout; q++)
            for (int j = 0; j < count; j++) {
                char *to = runs[j].out + q * c->oc;
                const T *in = sums + q * NR + runs[j].at;
                int64_t v = 0, n = runs[j].n;
                if (c->os[2] == SIZE)
                    for (; v < n; v += PER)
                        FT_NAME(put_part)((VEC *)(to + v * SIZE), *(const VEC *)(in + v),
                                          ft_lesser(PER, n - v), 0);
                for (to += v * c->os[2]; v < n; v++, to += c->os[2])
                    *(T *)to = in[v];
            }
    }
}

/* ----- deep ---------------------------------------------------------------------------------- */

/* Columns of a strip: whole vectors. */
#define COLUMNS(m) (((m) + PER - 1) / PER * PER)

static void FT_NAME(conv_lines)(char *to, const char *w, const ft_conv_dims *c, int64_t i)
{
    int64_t m = ft_lesser(NR, c->cout - i * NR), n = c->k[2], wide = COLUMNS(m);
    w += i * NR * c->wo;
    if (m <= FEW) {                 /* lines as they are, ended by zeros; see conv_dot */
        for (int64_t j = 0; j < m; j++)
            for (int64_t z = 0; z < c->k[0]; z++)
                for (int64_t y = 0; y < c->k[1]; y++, to += WIDTH(n) * SIZE) {
                    const char *p = w + j * c->wo + z * c->ws[0] + y * c->ws[1];
                    for (int64_t x = 0; x < n; x++)
                        ((T *)to)[x] = *(const T *)(p + x * c->ws[2]);
                    memset(to + n * SIZE, 0, (WIDTH(n) - n) * SIZE);
                }
        return;
    }
    for (int64_t z = 0; z < c->k[0]; z++)
        for (int64_t y = 0; y < c->k[1]; y++, to += n * wide * SIZE)
            FT_NAME(pack)((T *)to, wide, w + z * c->ws[0] + y * c->ws[1], m, n, c->wo, c->ws[2]);
}

/* One filter's plane times the part, along the lines of both: for so few filters that vectors across
 * them would be empty. Sums lie in 64 bytes of lanes on every level. */
FT_INLINE void FT_NAME(conv_dot)(char *acc, const T *x, const int64_t *at, const T *b, int64_t lines,
                             int64_t line, int64_t n, int rows)
{
    VEC sum[4][DOT_VECS];
    T mask[64 / sizeof(T)], lane[64 / sizeof(T)];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < DOT_VECS; v++)
            sum[r][v] = (VEC){0};
    int64_t whole = n / DOT_LANES * DOT_LANES;
    memset(mask, 0, sizeof mask);
    memset(mask, -1, (n - whole) * SIZE);
    for (int64_t y = 0; y < lines; y++, b += WIDTH(n), x += line) {
        for (int64_t i = 0; i < whole; i += DOT_LANES)
            for (int v = 0; v < DOT_VECS; v++) {
                VEC w = *(const VEC *)(b + i + v * PER);
                for (int r = 0; r < rows; r++)
                    sum[r][v] = FT_VMAD(w, *(const VEC *)(x + at[r] + i + v * PER), sum[r][v]);
            }
        if (whole < n)
            for (int v = 0; v < DOT_VECS; v++) {
                VEC w = *(const VEC *)(b + whole + v * PER);
                for (int r = 0; r < rows; r++) {
                    const BITS *in = (const BITS *)(x + at[r] + whole + v * PER);
                    VEC seen = (VEC)(*in & *(const BITS *)(mask + v * PER));
                    sum[r][v] = FT_VMAD(w, seen, sum[r][v]);
                }
            }
    }
    for (int r = 0; r < rows; r++) {
        memcpy(lane, sum[r], 64);
        for (int h = DOT_LANES / 2; h; h /= 2)
            for (int j = 0; j < h; j++)
                lane[j] = FT_ADD(lane[j], lane[j + h]);
        T *o = (T *)(acc + r * NR * SIZE);
        *o = FT_ADD(*o, lane[0]);
    }
}

static void FT_NAME(conv_dots)(char *acc, const T *x, const int64_t *at, int64_t count, const T *b,
                               const ft_conv_dims *c, int64_t filters)
{
    int64_t n = c->k[2], some = n >= 16 * FT_MM_KC ? 1 : 16 * FT_MM_KC / n, line = c->d[1] * c->row;
    for (int64_t j = 0; j < filters; j++, acc += SIZE)
        for (int64_t z = 0; z < c->k[0]; z++)
            for (int64_t y = 0; y < c->k[1]; y += some) {
                int64_t lines = ft_lesser(some, c->k[1] - y), r = 0;
                const T *p = x + z * c->d[0] * c->plane + y * line;
                for (; r + 4 <= count; r += 4)
                    FT_NAME(conv_dot)(acc + r * NR * SIZE, p, at + r, b, lines, line, n, 4);
                for (; r < count; r++)
                    FT_NAME(conv_dot)(acc + r * NR * SIZE, p, at + r, b, lines, line, n, 1);
                b += lines * WIDTH(n);
            }
}

/* Lines y .. y + count of one plane of the filter. */
FT_INLINE void FT_NAME(deep_tile)(char *acc, const T *x, const int64_t *at, const T *b, int64_t lines,
                                  int64_t line, int64_t n, int rows, int nv)
{
    VEC sum[FT_MM_MR][FT_MM_NV_MAX];
    const T *a[FT_MM_MR];
    for (int r = 0; r < rows; r++) {
        a[r] = x + at[r];
        for (int v = 0; v < nv; v++)
            sum[r][v] = (VEC){0};
    }
    for (int64_t y = 0; y < lines; y++) {
        for (int64_t i = 0; i < n; i++, b += nv * PER) {
            VEC bv[FT_MM_NV_MAX];
            for (int v = 0; v < nv; v++)
                bv[v] = ((const VEC *)b)[v];
            for (int r = 0; r < rows; r++) {
                VEC f = a[r][i] - (VEC){0};
                for (int v = 0; v < nv; v++)
                    sum[r][v] = FT_VMAD(f, bv[v], sum[r][v]);
            }
        }
        for (int r = 0; r < rows; r++)
            a[r] += line;
    }
    FT_NAME(put)(acc, NR * SIZE, SIZE, sum, nv * PER, rows, nv, 1);
}

FT_INLINE void FT_NAME(deep_rows)(char *acc, const T *x, const int64_t *at, int64_t count, const T *b,
                                  int64_t lines, int64_t line, int64_t n, int nv)
{
    for (; count >= FT_MM_MR; count -= FT_MM_MR, at += FT_MM_MR, acc += FT_MM_MR * NR * SIZE)
        FT_NAME(deep_tile)(acc, x, at, b, lines, line, n, FT_MM_MR, nv);
#define STEP(rows) \
    if (count >= rows) { \
        FT_NAME(deep_tile)(acc, x, at, b, lines, line, n, rows, nv); \
        count -= rows; \
        at += rows; \
        acc += rows * NR * SIZE; \
    }
    STEP(4)
    STEP(2)
    STEP(1)
#undef STEP
}

static void FT_NAME(conv_deep)(char *acc, const char *part, const int64_t *at, int64_t count,
                               const char *lines, const ft_conv_dims *c, int64_t strip)
{
    int64_t w = ft_lesser(NR, c->cout - strip * NR), n = c->k[2];
    int64_t some = n >= FT_MM_KC ? 1 : FT_MM_KC / n, line = c->d[1] * c->row;
    const T *b = (const T *)lines;
    if (w <= FEW) {
        FT_NAME(conv_dots)(acc, (const T *)part, at, count, b, c, w);
        return;
    }
    for (int64_t z = 0; z < c->k[0]; z++)
        for (int64_t y = 0; y < c->k[1]; y += some) {
            int64_t ys = ft_lesser(some, c->k[1] - y);
            for (int64_t i = 0; i < n; i += FT_MM_KC) {
                int64_t ni = ft_lesser(FT_MM_KC, n - i);
                const T *x = (const T *)part + z * c->d[0] * c->plane + y * line + i;
                if (w <= PER)
                    FT_NAME(deep_rows)(acc, x, at, count, b, ys, line, ni, 1);
#if FT_MM_NV > 2
                else if (w <= 2 * PER)
                    FT_NAME(deep_rows)(acc, x, at, count, b, ys, line, ni, 2);
#endif
                else
                    FT_NAME(deep_rows)(acc, x, at, count, b, ys, line, ni, FT_MM_NV);
                b += ys * ni * COLUMNS(w);
            }
        }
}

static void FT_NAME(conv_add)(char *out, const char *in, int64_t n, int64_t so, int64_t si)
{
    for (int64_t i = 0; i < n; i++)
        *(T *)(out + i * so) = FT_ADD(*(T *)(out + i * so), *(const T *)(in + i * si));
}

static const ft_conv FT_NAME(conv) = {sizeof(T), FT_MM_MR, NR, FT_NAME(conv_part), FT_NAME(conv_filters),
                                      FT_NAME(conv_wide), FT_NAME(conv_lines), FT_NAME(conv_deep),
                                      FT_NAME(conv_add)};

#undef NR
#undef FEW
#undef DOT_LANES
#undef DOT_VECS
#undef WIDTH
#undef BITS
#undef COLUMNS

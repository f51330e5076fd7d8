/* Template: transforms of lines and of batches by the passes of fft_passes.h, which it includes.
 *
 * Plans of a complex transform of N points, offsets counting T's in the tables w:
 *   {LANES, N, offset, radices...}                radices: their number, then they
 *   {LINE, N, n1, n2, offset1, offset2, first, within, radices1..., radices2...}
 *     exp(-2 pi i j k / N) for column j and row k is first[j / L][k] * within[k][j % L], L = FT_WIDE
 *   {BLUESTEIN, N, m, chirp, spectrum, plan of m points...} */
#include "fft_passes.h"

#define FT_WIDE (64 / FT_SIZE)

/* ----- one line of adjacent complex numbers ------------------------------------------------------- */

typedef struct {
    const int64_t *plan;
    const T *w, *x;
    T *y, scale;
    CV *z;                       /* rows: blocks of FT_V of them, each with its n2 columns */
    int swap;                    /* backward: real and imaginary parts change places */
    const char *ahead;           /* the next line, or NULL */
    _Atomic int *code;
} FT_NAME(line);

FT_INLINE CV FT_NAME(swapped)(CV a, int swap)
{
    return swap ? (CV){a.i, a.r} : a;
}

static void FT_NAME(columns)(void *ctx, int64_t lo, int64_t hi)
{
    const FT_NAME(line) *c = ctx;
    const int64_t *p = c->plan, n1 = p[2], n2 = p[3];
    const T *within = c->w + p[7];
    CV *a = aligned_alloc(64, 2 * (size_t)n1 * sizeof(CV) + (-2 * (size_t)n1 * sizeof(CV) & 63));
    if (!a) {
        atomic_store(c->code, FT_EMEM);
        return;
    }
    int far = n1 * n2 > 32768;       /* not in the cache: fetch what the next block reads */
    int64_t share = (2 * FT_SIZE * n1 * FT_V + 63) & ~63;
    for (int64_t b = lo; b < hi; b++) {
        int64_t j = b * FT_V, count = ft_lesser(FT_V, n2 - j);
        if (c->ahead)                /* what comes next arrives meanwhile */
            for (int64_t i = b * share; i < ft_lesser((b + 1) * share, 2 * FT_SIZE * n1 * n2); i += 64) {
                __builtin_prefetch(c->ahead + i, 0, 2);
                __builtin_prefetch((char *)c->y + i, 1, 2);
            }
        for (int64_t i = 0; i < n1; i++) {
            const T *at = c->x + 2 * (i * n2 + j);
            if (far)
                for (int k = 0; k < 2 * FT_VBYTES; k += 64)
                    __builtin_prefetch((const char *)(at + 2 * FT_V) + k, 0, 2);
            a[i] = FT_NAME(swapped)(FT_NAME(load_some)(at, count), c->swap);
        }
        CV *f = FT_NAME(lanes)(p + 8, n1, a, a + n1, c->w + p[4]);
        const T *first = c->w + p[6] + 2 * n1 * (j / FT_WIDE), *w = within + j % FT_WIDE;
        for (int64_t k = 0; k < n1; k += FT_V) {
            VEC re[FT_V], im[FT_V];
            for (int64_t v = 0; v < FT_V; v++) {
                CV t = {{0}, {0}};
                if (k + v < n1) {
                    const T *step = w + 2 * FT_WIDE * (k + v), *base = first + 2 * (k + v);
                    VEC wr = AT(step), wi = AT(step + FT_WIDE);
                    VEC tr = wr * base[0] - wi * base[1], ti = wr * base[1] + wi * base[0];
                    t = f[k + v];
                    t = (CV){t.r * tr - t.i * ti, t.r * ti + t.i * tr};
                }
                re[v] = t.r;
                im[v] = t.i;
            }
            FT_NAME(flip)(re);
            FT_NAME(flip)(im);
            CV *to = c->z + k / FT_V * n2 + j;
            for (int64_t v = 0; v < count; v++)
                to[v] = (CV){re[v], im[v]};
        }
    }
    free(a);
}

static void FT_NAME(rows)(void *ctx, int64_t lo, int64_t hi)
{
    const FT_NAME(line) *c = ctx;
    const int64_t *p = c->plan, n1 = p[2], n2 = p[3];
    CV *spare = aligned_alloc(64, (size_t)n2 * sizeof(CV) + (-(size_t)n2 * sizeof(CV) & 63));
    if (!spare) {
        atomic_store(c->code, FT_EMEM);
        return;
    }
    for (int64_t b = lo; b < hi; b++) {
        int64_t count = ft_lesser(FT_V, n1 - b * FT_V);
        CV *f = FT_NAME(lanes)(p + 9 + p[8], n2, c->z + b * n2, spare, c->w + p[5]);
        for (int64_t k = 0; k < n2; k++)
            FT_NAME(store_some)(c->y + 2 * (k * n1 + b * FT_V),
                                FT_NAME(swapped)(TIMES(f[k], c->scale), c->swap), count);
    }
    free(spare);
}

/* y = scale times the transform of x, which may be the same array; room as ops/fft.py says. */
static void FT_NAME(transform)(const int64_t *p, const T *w, const T *x, T *y, int swap, T scale,
                               const char *ahead, char *room, double cost, _Atomic int *code)
{
    int64_t n = p[1];
    CV *z = (CV *)room;
    if (p[0] == FT_FFT_LANES) {
        for (int64_t j = 0; j < n; j++)
            z[j] = (CV){{x[2 * j + swap]}, {x[2 * j + !swap]}};
        CV *f = FT_NAME(lanes)(p + 3, n, z, z + n, w + p[2]);
        for (int64_t j = 0; j < n; j++) {
            y[2 * j + swap] = f[j].r[0] * scale;
            y[2 * j + !swap] = f[j].i[0] * scale;
        }
    } else if (p[0] == FT_FFT_LINE) {
        FT_NAME(line) c = {p, w, x, y, scale, z, swap, ahead, code};
        ft_parallel(FT_NAME(columns), &c, (p[3] + FT_V - 1) / FT_V, 1 + p[3] / FT_V / 32, cost / 2);
        ft_parallel(FT_NAME(rows), &c, (p[2] + FT_V - 1) / FT_V, 1 + p[2] / FT_V / 32, cost / 2);
    } else {
        int64_t m = p[2];
        T *a = (T *)room;
        const T *chirp = w + p[3], *spectrum = w + p[4];
        room += (2 * m * FT_SIZE + 63) & ~63;
        for (int64_t j = 0; j < n; j++) {
            T re = x[2 * j + swap], im = x[2 * j + !swap], cr = chirp[2 * j], ci = chirp[2 * j + 1];
            a[2 * j] = re * cr - im * ci;
            a[2 * j + 1] = re * ci + im * cr;
        }
        memset(a + 2 * n, 0, (size_t)(m - n) * 2 * FT_SIZE);
        FT_NAME(transform)(p + 5, w, a, a, 0, 1, NULL, room, cost / 2, code);
        for (int64_t j = 0; j < m; j++) {
            T re = a[2 * j], im = a[2 * j + 1];
            a[2 * j] = re * spectrum[2 * j] - im * spectrum[2 * j + 1];
            a[2 * j + 1] = re * spectrum[2 * j + 1] + im * spectrum[2 * j];
        }
        FT_NAME(transform)(p + 5, w, a, a, 1, 1, NULL, room, cost / 2, code);
        for (int64_t j = 0; j < n; j++) {
            T re = a[2 * j] * scale, im = a[2 * j + 1] * scale, cr = chirp[2 * j], ci = chirp[2 * j + 1];
            y[2 * j + swap] = re * cr - im * ci;
            y[2 * j + !swap] = re * ci + im * cr;
        }
    }
}

/* ----- real transforms of even n, by a complex one of half the points --------------------------------- */

/* z_j = x_2j + i x_2j+1: the transforms of even and of odd points are the Hermitian parts of its own. */
#define FT_APART(C, x, h, w)                                                                             \
    do {                                                                                                 \
        C r0 = (x)[0], r1 = (x)[1];                                                                      \
        (x)[0] = r0 + r1;                                                                                \
        (x)[2 * (h)] = r0 - r1;                                                                          \
        (x)[1] = (x)[2 * (h) + 1] = (C){0};                                                              \
        for (int64_t k = 1; 2 * k <= (h); k++) {                                                         \
            C *a = (x) + 2 * k, *b = (x) + 2 * ((h) - k);                                                \
            C er = (a[0] + b[0]) * (T)0.5, ei = (a[1] - b[1]) * (T)0.5;                                  \
            C or = (a[1] + b[1]) * (T)0.5, oi = (b[0] - a[0]) * (T)0.5;                                  \
            C tr = or * (w)[2 * k] - oi * (w)[2 * k + 1], ti = or * (w)[2 * k + 1] + oi * (w)[2 * k];    \
            a[0] = er + tr;                                                                              \
            a[1] = ei + ti;                                                                              \
            b[0] = er - tr;                                                                              \
            b[1] = ti - ei;                                                                              \
        }                                                                                                \
    } while (0)

/* The way back, times 2. */
#define FT_TOGETHER(C, x, h, w)                                                                          \
    do {                                                                                                 \
        C r0 = (x)[0], r1 = (x)[2 * (h)];                                                                \
        (x)[0] = r0 + r1;                                                                                \
        (x)[1] = r0 - r1;                                                                                \
        for (int64_t k = 1; 2 * k <= (h); k++) {                                                         \
            C *a = (x) + 2 * k, *b = (x) + 2 * ((h) - k);                                                \
            C er = a[0] + b[0], ei = a[1] - b[1], dr = a[0] - b[0], di = a[1] + b[1];                    \
            C or = dr * (w)[2 * k] + di * (w)[2 * k + 1], oi = di * (w)[2 * k] - dr * (w)[2 * k + 1];    \
            a[0] = er - oi;                                                                              \
            a[1] = ei + or;                                                                              \
            b[0] = er + oi;                                                                              \
            b[1] = or - ei;                                                                              \
        }                                                                                                \
    } while (0)

/* ----- one line of a step ---------------------------------------------------------------------------- */

typedef struct {
    const ft_step *s;
    ft_frame *f;
    const int64_t *ints;
    const T *w;
    T scale;
    int64_t xs, ys;              /* from element to element, and from line to line of lanes */
    int64_t xl, yl;
    int nop;                     /* operands that move: y, room for few lines, x */
    _Atomic int code;
} FT_NAME(job);

static void FT_NAME(one_line)(FT_NAME(job) *c, const char *x, char *y, const char *ahead, char *room,
                              double cost)
{
    const int64_t *ints = c->ints, *p = ints + FT_FFT_PLAN, n = ints[FT_FFT_N];
    int64_t kind = ints[FT_FFT_KIND], both = 2 * FT_SIZE, kept = n / 2 + 1;
    int even = n % 2 == 0, packed = kind != FT_FFT_C2C && even;
    int x_dense = c->xs == (kind == FT_FFT_R2C ? FT_SIZE : both);
    int y_dense = c->ys == (kind == FT_FFT_C2R ? FT_SIZE : both);
    T *in = (T *)room, *out = in;
    room += ((n + 2) * both + 63) & ~63;
    if (kind == FT_FFT_R2C) {
        if (packed && x_dense)
            in = (T *)x;
        else
            for (int64_t j = 0; j < n; j++) {
                in[packed ? j : 2 * j] = *(const T *)(x + j * c->xs);
                if (!packed)
                    in[2 * j + 1] = 0;
            }
    } else if (kind == FT_FFT_C2R) {
        for (int64_t k = 0; k < kept; k++)
            memcpy(in + 2 * k, x + k * c->xs, both);
        if (packed)
            FT_TOGETHER(T, in, n / 2, c->w + ints[FT_FFT_HALF]);
        else {
            in[1] = 0;
            for (int64_t k = 1; k < kept; k++) {
                in[2 * (n - k)] = in[2 * k];
                in[2 * (n - k) + 1] = -in[2 * k + 1];
            }
        }
    } else if (x_dense)
        in = (T *)x;
    else
        for (int64_t j = 0; j < n; j++)
            memcpy(in + 2 * j, x + j * c->xs, both);
    if (y_dense && (packed || kind == FT_FFT_C2C))
        out = (T *)y;
    FT_NAME(transform)(p, c->w, in, out, (int)ints[FT_FFT_BACKWARD], c->scale, ahead, room, cost, &c->code);
    if (kind == FT_FFT_R2C && packed)
        FT_APART(T, out, n / 2, c->w + ints[FT_FFT_HALF]);
    if (out == (T *)y)
        return;
    if (kind == FT_FFT_C2R)
        for (int64_t j = 0; j < n; j++)
            *(T *)(y + j * c->ys) = out[packed ? j : 2 * j];
    else {
        if (kind == FT_FFT_R2C && !packed)
            out[1] = 0;
        for (int64_t k = 0; k < (kind == FT_FFT_C2C ? n : kept); k++)
            memcpy(y + k * c->ys, out + 2 * k, both);
    }
}

static void FT_NAME(some_lines)(void *ctx, int64_t lo, int64_t hi)
{
    FT_NAME(job) *c = ctx;
    char *room = aligned_alloc(64, (c->ints[FT_FFT_ROOM] + 63) & ~63);
    ft_walk w;
    if (!room) {
        atomic_store(&c->code, FT_EMEM);
        return;
    }
    ft_walk_start(&w, c->s, c->f, c->nop, c->s->ndim, lo);
    for (int64_t u = lo; u < hi; u++) {
        char *y = w.p[0], *x = w.p[c->nop - 1];
        if (u + 1 < hi)
            ft_walk_next(&w);
        FT_NAME(one_line)(c, x, y, u + 1 < hi ? w.p[c->nop - 1] : NULL, room, 0);
    }
    free(room);
}

/* ----- lines as lanes --------------------------------------------------------------------------------- */

/* Element j of `count` lines into vector j * apart, for the n real elements of lines. */
static void FT_NAME(gather)(VEC *to, int64_t apart, const char *x, int64_t line, int64_t step, int64_t n,
                            int64_t count)
{
    int64_t j = 0;
    if (line == FT_SIZE && count == FT_V)
        for (; j < n; j++)
            to[j * apart] = AT(x + j * step);
    else if (step == FT_SIZE)
        for (; j + FT_V <= n; j += FT_V) {
            VEC a[FT_V];
            for (int64_t v = 0; v < FT_V; v++)
                a[v] = v < count ? (VEC)AT(x + v * line + j * step) : (VEC){0};
            FT_NAME(flip)(a);
            for (int64_t v = 0; v < FT_V; v++)
                to[(j + v) * apart] = a[v];
        }
    for (; j < n; j++) {
        VEC a = {0};
        for (int64_t v = 0; v < count; v++)
            a[v] = *(const T *)(x + v * line + j * step);
        to[j * apart] = a;
    }
}

static void FT_NAME(scatter)(char *y, int64_t line, int64_t step, const VEC *from, int64_t apart, int64_t n,
                             int64_t count)
{
    int64_t j = 0;
    if (line == FT_SIZE && count == FT_V)
        for (; j < n; j++)
            AT(y + j * step) = from[j * apart];
    else if (step == FT_SIZE)
        for (; j + FT_V <= n; j += FT_V) {
            VEC a[FT_V];
            for (int64_t v = 0; v < FT_V; v++)
                a[v] = from[(j + v) * apart];
            FT_NAME(flip)(a);
            for (int64_t v = 0; v < count; v++)
                AT(y + v * line + j * step) = a[v];
        }
    for (; j < n; j++)
        for (int64_t v = 0; v < count; v++)
            *(T *)(y + v * line + j * step) = from[j * apart][v];
}

/* The same of complex elements, whose two parts are the vectors of a CV. */
static void FT_NAME(gather_complex)(CV *to, const char *x, int64_t line, int64_t step, int64_t n, int64_t count)
{
    if (line == 2 * FT_SIZE)
        for (int64_t j = 0; j < n; j++)
            to[j] = FT_NAME(load_some)((const T *)(x + j * step), count);
    else if (step == 2 * FT_SIZE)            /* a real line of twice the length */
        FT_NAME(gather)((VEC *)to, 1, x, line, FT_SIZE, 2 * n, count);
    else {
        FT_NAME(gather)(&to->r, 2, x, line, step, n, count);
        FT_NAME(gather)(&to->i, 2, x + FT_SIZE, line, step, n, count);
    }
}

static void FT_NAME(scatter_complex)(char *y, int64_t line, int64_t step, const CV *from, int64_t n,
                                     int64_t count)
{
    if (line == 2 * FT_SIZE)
        for (int64_t j = 0; j < n; j++)
            FT_NAME(store_some)((T *)(y + j * step), from[j], count);
    else if (step == 2 * FT_SIZE)
        FT_NAME(scatter)(y, line, FT_SIZE, (const VEC *)from, 1, 2 * n, count);
    else {
        FT_NAME(scatter)(y, line, step, &from->r, 2, n, count);
        FT_NAME(scatter)(y + FT_SIZE, line, step, &from->i, 2, n, count);
    }
}

/* `count` lines, z having room for 2 (N + 1) vectors. */
static void FT_NAME(lines_as_lanes)(const FT_NAME(job) *c, const char *x, char *y, int64_t count, CV *z)
{
    const int64_t *ints = c->ints, *p = ints + FT_FFT_PLAN, n = ints[FT_FFT_N], points = p[1];
    int64_t kind = ints[FT_FFT_KIND], kept = n / 2 + 1, swap = ints[FT_FFT_BACKWARD];
    int packed = kind != FT_FFT_C2C && n % 2 == 0;
    const T *half = c->w + ints[FT_FFT_HALF];
    if (kind == FT_FFT_R2C) {
        FT_NAME(gather)((VEC *)z, packed ? 1 : 2, x, c->xl, c->xs, n, count);
        if (!packed)
            for (int64_t j = 0; j < n; j++)
                z[j].i = (VEC){0};
    } else if (kind == FT_FFT_C2R) {
        FT_NAME(gather_complex)(z, x, c->xl, c->xs, kept, count);
        if (packed)
            FT_TOGETHER(VEC, (VEC *)z, n / 2, half);
        else {
            z[0].i = (VEC){0};
            for (int64_t k = 1; k < kept; k++)
                z[n - k] = (CV){z[k].r, -z[k].i};
        }
    } else
        FT_NAME(gather_complex)(z, x, c->xl, c->xs, n, count);
    if (swap)
        for (int64_t j = 0; j < points; j++)
            z[j] = (CV){z[j].i, z[j].r};
    CV *f = FT_NAME(lanes)(p + 3, points, z, z + points + 1, c->w + p[2]);
    if (swap || c->scale != 1)
        for (int64_t j = 0; j < points; j++)
            f[j] = FT_NAME(swapped)(TIMES(f[j], c->scale), (int)swap);
    if (kind == FT_FFT_C2R)
        FT_NAME(scatter)(y, c->yl, c->ys, (const VEC *)f, packed ? 1 : 2, n, count);
    else {
        if (packed)
            FT_APART(VEC, (VEC *)f, points, half);
        else if (kind == FT_FFT_R2C)
            f[0].i = (VEC){0};
        FT_NAME(scatter_complex)(y, c->yl, c->ys, f, kind == FT_FFT_C2C ? n : kept, count);
    }
}

static void FT_NAME(some_lanes)(void *ctx, int64_t lo, int64_t hi)
{
    FT_NAME(job) *c = ctx;
    const ft_step *s = c->s;
    int last = s->ndim - 1;
    int64_t lines = s->shape[last], blocks = (lines + FT_WIDE - 1) / FT_WIDE;
    CV *z = aligned_alloc(64, ((2 * (size_t)c->ints[FT_FFT_PLAN + 1] + 2) * sizeof(CV) + 63) & ~(size_t)63);
    ft_walk w;
    if (!z) {
        atomic_store(&c->code, FT_EMEM);
        return;
    }
    ft_walk_start(&w, s, c->f, c->nop, last, lo / blocks);
    for (int64_t u = lo, b = lo % blocks; u < hi; u++) {
        for (int64_t at = b * FT_WIDE; at < ft_lesser((b + 1) * FT_WIDE, lines); at += FT_V)
            FT_NAME(lines_as_lanes)(c, w.p[c->nop - 1] + at * c->xl, w.p[0] + at * c->yl,
                                    ft_lesser(FT_V, lines - at), z);
        if (++b == blocks) {
            b = 0;
            if (u + 1 < hi)
                ft_walk_next(&w);
        }
    }
    free(z);
}

/* ----- the step ---------------------------------------------------------------------------------------- */

static int FT_NAME(run)(const ft_step *s, ft_frame *f)
{
    FT_NAME(job) c = {.s = s, .f = f, .ints = s->ints, .nop = s->nopnd - 1,
                      .w = (const T *)FT_PTR(s, f, s->nopnd - 1),
                      .xs = s->ints[FT_FFT_XSTEP], .ys = s->ints[FT_FFT_YSTEP]};
    int64_t lines = 1;
    int last = s->ndim - 1;
    double scale;
    memcpy(&scale, s->ints + FT_FFT_SCALE, sizeof scale);
    c.scale = (T)scale;
    for (int d = 0; d < s->ndim; d++)
        lines *= s->shape[d];
    if (lines == 0)
        return FT_OK;
    if (s->ints[FT_FFT_BY_LANES]) {
        int64_t blocks = lines / s->shape[last] * ((s->shape[last] + FT_WIDE - 1) / FT_WIDE);
        c.xl = s->opnd[c.nop - 1].strides[last];
        c.yl = s->opnd[0].strides[last];
        ft_parallel(FT_NAME(some_lanes), &c, blocks, 1 + blocks / 64, s->cost);
    } else if (lines < FT_FFT_FEW) {
        ft_walk w;
        ft_walk_start(&w, s, f, c.nop, s->ndim, 0);
        for (int64_t u = 0; u < lines; u++, u < lines ? ft_walk_next(&w) : (void)0)
            FT_NAME(one_line)(&c, w.p[2], w.p[0], NULL, w.p[1], s->cost / (double)lines);
    } else
        ft_parallel(FT_NAME(some_lines), &c, lines, 1 + lines / 64, s->cost);
    return atomic_load(&c.code);
}

#undef FT_APART
#undef FT_TOGETHER
#undef FT_WIDE
#undef FT_PASS
#undef FT_V
#undef FT_SHUFFLE
#undef VEC
#undef CV
#undef AT
#undef ADD
#undef SUB
#undef TIMES
#undef SUB_I
#undef ADD_I

/* The driver of sliding windows: goes through lines of the output, and for each through the positions
 * of the window that lie inside the array. */
#include "window.h"

#include "driver.h"

enum { REDUCE, PICK, PUT };

typedef struct {
    const ft_step *s;
    const ft_window *kernel;
    int nd, kind;
    /* per axis: extents of the array, of the window and of the output; strides, dilation, padding */
    const int64_t *n, *k, *o, *by, *dilation, *lo;
    const int64_t *so, *sx;
    char *out;
    const char *x, *other;         /* what is picked from or put */
    int64_t flat[FT_MAXDIM];       /* elements from one index of the array to the next */
    int64_t pieces;                /* of a line of the output */
    int64_t each, slab;            /* of a task that may run beside others: lines, bytes it writes */
} windows;

/* Of outputs 0 .. n: those whose position j * by + at is inside an axis of extent `extent`. */
static int64_t inside(int64_t n, int64_t at, int64_t by, int64_t extent, int64_t *first)
{
    int64_t lo = at < 0 ? (by - 1 - at) / by : 0, hi = at < extent ? (extent - at + by - 1) / by : 0;
    *first = lo;
    return (hi < n ? hi : n) - lo;
}

static void run_line(const windows *w, int64_t line, int64_t piece)
{
    char acc[FT_WINDOW_LINE * 8] __attribute__((aligned(64)));
    int64_t where[FT_WINDOW_LINE], at[FT_MAXDIM], u[FT_MAXDIM] = {0};
    int last = w->nd - 1;
    int64_t start = piece * FT_WINDOW_LINE, n = ft_lesser(FT_WINDOW_LINE, w->o[last] - start);
    int64_t size = w->kernel->size, out = start * w->so[last], flat_out = line * w->o[last] + start;
    for (int d = last - 1; d >= 0; d--) {
        at[d] = line % w->o[d];
        line /= w->o[d];
        out += at[d] * w->so[d];
    }
    w->kernel->start(acc, n);
    if (w->kind != REDUCE)
        for (int64_t j = 0; j < n; j++)
            where[j] = -1;
    for (;;) {
        int64_t x = 0, flat = 0;
        int ok = 1;
        for (int d = 0; d < last; d++) {
            int64_t i = at[d] * w->by[d] + u[d] * w->dilation[d] - w->lo[d];
            ok &= i >= 0 && i < w->n[d];
            x += i * w->sx[d];
            flat += i * w->flat[d];
        }
        for (int64_t k = 0; ok && k < w->k[last]; k++) {
            int64_t i = start * w->by[last] + k * w->dilation[last] - w->lo[last], j;
            int64_t m = inside(n, i, w->by[last], w->n[last], &j);
            if (m <= 0)
                continue;
            i += j * w->by[last];
            const char *p = w->x + x + i * w->sx[last];
            if (w->kind == REDUCE)
                w->kernel->tap(acc + j * size, p, w->by[last] * w->sx[last], m);
            else
                w->kernel->find(acc + j * size, where + j, p, w->by[last] * w->sx[last], m, flat + i,
                                w->by[last]);
        }
        int d = last - 1;
        while (d >= 0 && ++u[d] == w->k[d])
            u[d--] = 0;
        if (d < 0)
            break;
    }
    if (w->kind == REDUCE)
        w->kernel->store(w->out + out, w->so[last], acc, n);
    else if (w->kind == PICK)
        w->kernel->pick(w->out + out, w->so[last], w->other, where, n);
    else
        w->kernel->put(w->out, w->other + flat_out * size, where, n);
}

static void run_lines(void *ctx, int64_t lo, int64_t hi)
{
    const windows *w = ctx;
    for (int64_t u = lo; u < hi; u++)
        run_line(w, u / w->pieces, u % w->pieces);
}

/* Windows overlap: what one task writes is apart from all others', and in order. */
static void run_slabs(void *ctx, int64_t lo, int64_t hi)
{
    const windows *w = ctx;
    memset(w->out + lo * w->slab, 0, (hi - lo) * w->slab);
    run_lines(ctx, lo * w->each * w->pieces, hi * w->each * w->pieces);
}

static int run(const ft_step *s, ft_frame *f, int kind)
{
    int nd = s->ndim;
    windows w = {.s = s, .kernel = s->kernel, .nd = nd, .kind = kind,
                 .n = s->ints, .k = s->ints + nd, .o = s->shape, .by = s->ints + 2 * nd,
                 .dilation = s->ints + 3 * nd, .lo = s->ints + 4 * nd,
                 .so = s->opnd[0].strides, .sx = s->opnd[1].strides,
                 .out = FT_PTR(s, f, 0), .x = FT_PTR(s, f, 1),
                 .other = kind == REDUCE ? NULL : FT_PTR(s, f, 2)};
    int64_t lines = 1, at = 1;
    for (int d = nd - 1; d >= 0; d--) {
        w.flat[d] = at;
        at *= w.n[d];
        if (d < nd - 1)
            lines *= w.o[d];
    }
    w.pieces = (w.o[nd - 1] + FT_WINDOW_LINE - 1) / FT_WINDOW_LINE;
    double each = s->cost / ((double)lines * (double)w.pieces + 1);
    if (kind != PUT) {
        ft_parallel(run_lines, &w, lines * w.pieces, each > 5e3 ? 1 : (int64_t)(5e3 / (each + 1)) + 1,
                    s->cost);
        return FT_OK;
    }
    int64_t slabs = 1;
    w.each = lines;
    w.slab = at * w.kernel->size;
    for (int d = 0; d < nd - 1 && w.k[d] == 1 && w.by[d] == 1 && w.lo[d] == 0 && w.o[d] == w.n[d]; d++) {
        slabs *= w.o[d];
        w.each /= w.o[d];
        w.slab /= w.n[d];
    }
    each *= (double)w.each;
    ft_parallel(run_slabs, &w, slabs, each > 5e3 ? 1 : (int64_t)(5e3 / (each + 1)) + 1, s->cost);
    return FT_OK;
}

/* Operands out, x (and what is picked from or put, contiguous); shape: the output's, or that of what is
 * put. ints, one per axis each: extents of x and of the window, strides, dilation, padding before. */
int ft_run_window(const ft_step *s, ft_frame *f) { return run(s, f, REDUCE); }
int ft_run_window_pick(const ft_step *s, ft_frame *f) { return run(s, f, PICK); }
int ft_run_window_put(const ft_step *s, ft_frame *f) { return run(s, f, PUT); }

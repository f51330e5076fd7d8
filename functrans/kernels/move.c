/* Drivers of the moving steps: copies of any strides, iota, slices at run-time positions. */
#include "move.h"

#include <stdlib.h>

#include "driver.h"

typedef struct { int64_t n, out, in; } axis;

/* A copy whose last two axes are one plane; the planes before are walked. */
typedef struct {
    ft_copy_fn fn;
    char *out;
    const char *in;
    int n;                     /* outer axes */
    axis ax[FT_MAXDIM];
    axis row, item;            /* the plane */
    int64_t rows, pieces;      /* rows of a piece of the plane; pieces */
} copy_plan;

static void run_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const copy_plan *c = ctx;
    for (int64_t u = lo; u < hi; u++) {
        int64_t i = (u % c->pieces) * c->rows, at = u / c->pieces;
        char *out = c->out + i * c->row.out;
        const char *in = c->in + i * c->row.in;
        for (int d = c->n - 1; d >= 0; d--) {
            out += (at % c->ax[d].n) * c->ax[d].out;
            in += (at % c->ax[d].n) * c->ax[d].in;
            at /= c->ax[d].n;
        }
        c->fn(out, in, ft_lesser(c->rows, c->row.n - i), c->item.n,
              c->row.out, c->item.out, c->row.in, c->item.in);
    }
}

static int64_t size_of(int64_t stride) { return stride < 0 ? -stride : stride; }

static axis take(copy_plan *c, int i)
{
    axis a = c->ax[i];
    for (c->n--; i < c->n; i++)
        c->ax[i] = c->ax[i + 1];
    return a;
}

/* Whatever the order of the axes: items are the axis closest in the output, rows the one closest in
 * the input (a transpose), else the next axis. */
static int copy_nd(const ft_step *s, char *out, const char *in)
{
    copy_plan c;
    const int64_t *so = s->opnd[0].strides, *si = s->opnd[1].strides;
    int64_t count = 1;
    c.fn = (ft_copy_fn)s->kernel;
    c.out = out;
    c.in = in;
    c.n = 0;
    for (int d = 0; d < s->ndim; d++) {
        axis a = {s->shape[d], so[d], si[d]};
        count *= a.n;
        if (a.n == 1)
            continue;
        if (c.n && c.ax[c.n - 1].out == a.n * a.out && c.ax[c.n - 1].in == a.n * a.in) {
            a.n *= c.ax[c.n - 1].n;         /* the two are one axis */
            c.n--;
        }
        c.ax[c.n++] = a;
    }
    if (count == 0)
        return FT_OK;
    c.row = c.item = (axis){1, 0, 0};
    if (c.n) {
        int best = c.n - 1;
        for (int d = c.n - 2; d >= 0; d--)
            if (size_of(c.ax[d].out) < size_of(c.ax[best].out))
                best = d;
        c.item = take(&c, best);
    }
    if (c.n) {
        int best = c.n - 1;
        for (int d = c.n - 2; d >= 0; d--)
            if (c.ax[d].in != 0 && size_of(c.ax[d].in) < size_of(c.ax[best].in))
                best = d;
        c.row = take(&c, best);
    }
    c.rows = 1 + 16384 / c.item.n;
    c.rows += -c.rows & (FT_TILE - 1);
    c.pieces = (c.row.n + c.rows - 1) / c.rows;
    int64_t piece = ft_lesser(c.rows, c.row.n) * c.item.n, planes = count / (c.row.n * c.item.n);
    if (c.row.n == 1 && c.item.n > 65536) {     /* one long line: cut it into rows for the threads */
        int64_t cut = 16384, whole = c.item.n / cut;
        axis rest = {c.item.n - whole * cut, c.item.out, c.item.in};
        if (rest.n)
            for (int64_t p = 0; p < planes; p++) {
                copy_plan tail = c;
                tail.out += whole * cut * c.item.out;
                tail.in += whole * cut * c.item.in;
                tail.item = rest;
                tail.rows = tail.pieces = 1;
                run_pieces(&tail, p, p + 1);
            }
        c.row = (axis){whole, cut * c.item.out, cut * c.item.in};
        c.item.n = cut;
        c.rows = 1;
        c.pieces = whole;
        piece = cut;
    }
    ft_parallel(run_pieces, &c, planes * c.pieces, 1 + 16384 / piece, s->cost);
    return FT_OK;
}

/* Little work on two axes, without a plan. */
static int copy_plane(const ft_step *s, char *out, const char *in, axis row, axis item)
{
    if (row.n > 1 && (item.n == 1 || size_of(row.out) < size_of(item.out))) {
        axis t = row;
        row = item;
        item = t;
    }
    if (row.out == item.n * item.out && row.in == item.n * item.in) {
        item.n *= row.n;
        row = (axis){1, 0, 0};
    }
    ((ft_copy_fn)s->kernel)(out, in, row.n, item.n, row.out, item.out, row.in, item.in);
    return FT_OK;
}

static int copy(const ft_step *s, char *out, const char *in)
{
    const int64_t *n = s->shape, *so = s->opnd[0].strides, *si = s->opnd[1].strides;
    int d = s->ndim - 1;
    if (d < 0 || d > 1 || s->cost >= FT_PARALLEL_NS)
        return copy_nd(s, out, in);
    if (d)
        return copy_plane(s, out, in, (axis){n[0], so[0], si[0]}, (axis){n[1], so[1], si[1]});
    ((ft_copy_fn)s->kernel)(out, in, 1, n[0], 0, so[0], 0, si[0]);
    return FT_OK;
}

int ft_run_copy(const ft_step *s, ft_frame *f) { return copy(s, FT_PTR(s, f, 0), FT_PTR(s, f, 1)); }

/* Lines made of pieces. shape: lines, items of a line; per source its strides from line to line and
 * within a line; ints: where each piece ends in the line. */
int ft_run_join(const ft_step *s, ft_frame *f)
{
    int64_t begin = 0;
    const ft_operand *o = s->opnd;
    if (s->cost < FT_PARALLEL_NS) {
        for (int i = 1; i < s->nopnd; begin = s->ints[i++ - 1])
            copy_plane(s, FT_PTR(s, f, 0) + begin * o->strides[1], FT_PTR(s, f, i),
                       (axis){s->shape[0], o->strides[0], o[i].strides[0]},
                       (axis){s->ints[i - 1] - begin, o->strides[1], o[i].strides[1]});
        return FT_OK;
    }
    for (int i = 1; i < s->nopnd; i++) {
        int64_t shape[2] = {s->shape[0], s->ints[i - 1] - begin};
        ft_operand opnd[2] = {s->opnd[0], s->opnd[i]};
        ft_step piece = *s;
        piece.nopnd = 2;
        piece.shape = shape;
        piece.opnd = opnd;
        piece.cost = s->cost * (double)shape[1] / (double)s->shape[1];
        copy_nd(&piece, FT_PTR(s, f, 0) + begin * s->opnd[0].strides[1], FT_PTR(s, f, i));
        begin = s->ints[i - 1];
    }
    return FT_OK;
}

/* Where a window of extent `size` starts in an axis of extent `extent`. */
static int64_t clamp_start(int64_t start, int64_t extent, int64_t size)
{
    return start > extent - size ? extent - size : start < 0 ? 0 : start;
}

static int64_t window(const ft_step *s, ft_frame *f, const int64_t *strides)
{
    int64_t at = 0;
    for (int d = 0; d < s->ndim; d++)
        at += strides[d] * clamp_start(*(const int64_t *)FT_PTR(s, f, 2 + d), s->ints[d], s->shape[d]);
    return at;
}

int ft_run_dynslice(const ft_step *s, ft_frame *f)
{
    return copy(s, FT_PTR(s, f, 0), FT_PTR(s, f, 1) + window(s, f, s->opnd[1].strides));
}

int ft_run_dynupdate(const ft_step *s, ft_frame *f)
{
    return copy(s, FT_PTR(s, f, 0) + window(s, f, s->opnd[0].strides), FT_PTR(s, f, 1));
}

typedef struct {
    const ft_step *s;
    ft_frame *f;
} step_ctx;

static void iota_rows(void *ctx, int64_t lo, int64_t hi)
{
    const ft_step *s = ((step_ctx *)ctx)->s;
    int last = s->ndim - 1, along = (int)s->ints[0];
    ft_walk w;
    ft_walk_start(&w, s, ((step_ctx *)ctx)->f, 1, last, lo);
    for (int64_t i = lo; i < hi; i++) {
        ((ft_iota_fn)s->kernel)(w.p[0], s->opnd[0].strides[last], s->shape[last],
                                along == last ? 0 : w.at[along], along == last);
        if (i + 1 < hi)
            ft_walk_next(&w);
    }
}

int ft_run_iota(const ft_step *s, ft_frame *f)
{
    int64_t rows = 1, n = s->shape[s->ndim - 1];
    for (int d = 0; d < s->ndim - 1; d++)
        rows *= s->shape[d];
    step_ctx c = {s, f};
    if (rows && n)
        ft_parallel(iota_rows, &c, rows, 1 + 16384 / n, s->cost);
    return FT_OK;
}

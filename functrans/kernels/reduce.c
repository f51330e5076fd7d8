/* The driver of reductions: picks lines or columns, and deals outputs or parts to threads. */
#include "reduce.h"

#include <stdlib.h>

#include "driver.h"

typedef struct { int64_t n, out, in; } axis;

typedef struct {
    const ft_reduce *k;
    char *out;
    const char *in;
    int nkept, nred;               /* outer kept and outer reduced axes */
    axis kept[FT_MAXDIM], red[FT_MAXDIM];
    axis column, line;             /* adjacent columns taken together (n = 1: none); innermost reduced */
    int64_t width, tiles;          /* columns of a tile; tiles */
    int64_t length, pieces;        /* reduced elements of a part along `line`; such parts */
    int64_t parts;                 /* of one output: outer reduced positions times pieces */
    int64_t group;                 /* parts a task takes when the parts of one output are dealt */
    int64_t item;                  /* then: which item, and where its tasks put their results */
    char *partial;
} plan;

static void compute_part(const plan *r, const char *x, int64_t q, int64_t w, char *buf)
{
    int64_t at = (q % r->pieces) * r->length, row = q / r->pieces;
    for (int d = r->nred - 1; d >= 0; d--) {
        x += (row % r->red[d].n) * r->red[d].in;
        row /= r->red[d].n;
    }
    x += at * r->line.in;
    int64_t m = ft_lesser(r->length, r->line.n - at);
    if (r->column.n > 1)
        r->k->columns(buf, x, r->line.in, m, w);
    else
        r->k->run(buf, x, r->line.in, m);
}

/* Pairwise over values that `get` puts into buf[depth]; the result ends in stack[0]. */
static void combine(const plan *r, const char *x, int64_t lo, int64_t hi, int64_t w, char *buf)
{
    if (hi - lo == 1) {
        compute_part(r, x, lo, w, buf);
        return;
    }
    char stack[FT_RED_DEPTH][FT_RED_WIDTH] __attribute__((aligned(64)));
    int depth = 0;
    for (int64_t q = lo, count = 0; q < hi; q++, count++) {
        compute_part(r, x, q, w, stack[depth++]);
        for (int64_t c = count; c & 1; c >>= 1, depth--)
            r->k->merge(stack[depth - 2], stack[depth - 1], w);
    }
    for (; depth > 1; depth--)
        r->k->merge(stack[depth - 2], stack[depth - 1], w);
    memcpy(buf, stack[0], w * r->k->size);
}

static void store(const plan *r, char *out, const char *buf, int64_t w)
{
    int64_t size = r->k->size, st = r->column.out;
    if (w == 1 || st == size)
        memcpy(out, buf, w * size);
    else
        for (int64_t j = 0; j < w; j++)
            memcpy(out + j * st, buf + j * size, size);
}

typedef struct { int64_t out, in, w; } place;

/* Where item i (an output, or a tile of columns of one) reads and writes. */
static place locate(const plan *r, int64_t i)
{
    int64_t t = (i % r->tiles) * r->width;
    place p = {t * r->column.out, t * r->column.in, ft_lesser(r->width, r->column.n - t)};
    i /= r->tiles;
    for (int d = r->nkept - 1; d >= 0; d--) {
        p.out += (i % r->kept[d].n) * r->kept[d].out;
        p.in += (i % r->kept[d].n) * r->kept[d].in;
        i /= r->kept[d].n;
    }
    return p;
}

static void run_items(void *ctx, int64_t lo, int64_t hi)
{
    const plan *r = ctx;
    char buf[FT_RED_WIDTH] __attribute__((aligned(64)));
    if (r->column.n == 1 && r->parts == 1 && r->nkept <= 1) {      /* one line an output: no odometer */
        int64_t so = r->nkept ? r->kept[0].out : 0, sx = r->nkept ? r->kept[0].in : 0;
        for (int64_t i = lo; i < hi; i++)
            r->k->run(r->out + i * so, r->in + i * sx, r->line.in, r->line.n);
        return;
    }
    for (int64_t i = lo; i < hi; i++) {
        place p = locate(r, i);
        combine(r, r->in + p.in, 0, r->parts, p.w, buf);
        store(r, r->out + p.out, buf, p.w);
    }
}

static void run_groups(void *ctx, int64_t lo, int64_t hi)
{
    const plan *r = ctx;
    place p = locate(r, r->item);
    for (int64_t g = lo; g < hi; g++)
        combine(r, r->in + p.in, g * r->group, ft_lesser((g + 1) * r->group, r->parts), p.w,
                r->partial + g * p.w * r->k->size);
}

/* Few outputs, much to reduce: the parts of each output are dealt. A group is a power of two of
 * parts, hence a subtree, so combining the groups' results makes the tree that `combine` makes. */
static int split_parts(plan *r, int64_t items, int64_t group, double cost)
{
    int64_t groups = (r->parts + group - 1) / group, size = r->k->size;
    r->group = group;
    r->partial = malloc(groups * r->width * size);
    if (!r->partial)
        return FT_EMEM;
    for (int64_t i = 0; i < items; i++) {
        r->item = i;
        place p = locate(r, i);
        int64_t bytes = p.w * size;
        ft_parallel(run_groups, r, groups, 1, cost / (double)items);
        /* in place: slot `depth` of the stack is never beyond the group that is read */
        int64_t depth = 0;
        for (int64_t g = 0; g < groups; g++) {
            if (depth != g)
                memcpy(r->partial + depth * bytes, r->partial + g * bytes, bytes);
            depth++;
            for (int64_t c = g; c & 1; c >>= 1, depth--)
                r->k->merge(r->partial + (depth - 2) * bytes, r->partial + (depth - 1) * bytes, p.w);
        }
        for (; depth > 1; depth--)
            r->k->merge(r->partial + (depth - 2) * bytes, r->partial + (depth - 1) * bytes, p.w);
        store(r, r->out + p.out, r->partial, p.w);
    }
    free(r->partial);
    return FT_OK;
}

static void take(axis *list, int *n, int i, axis *to)
{
    *to = list[i];
    for ((*n)--; i < *n; i++)
        list[i] = list[i + 1];
}

/* The identity of the operation goes to every output. */
static int fill_identity(const plan *r)
{
    int64_t outs = 1;
    for (int d = 0; d < r->nkept; d++)
        outs *= r->kept[d].n;
    for (int64_t i = 0; i < outs; i++)
        r->k->identity(r->out + locate(r, i).out);
    return FT_OK;
}

int ft_run_reduce(const ft_step *s, ft_frame *f)
{
    const ft_reduce *k = s->kernel;
    int nkept = (int)s->ints[0];
    const int64_t *so = s->opnd[0].strides, *sx = s->opnd[1].strides;
    plan r;
    int64_t outs = 1, reduced = 1;

    if (s->ndim == 1 && nkept == 0 && s->shape[0] > 0 && s->shape[0] <= FT_RED_BLOCK) {
        k->run(FT_PTR(s, f, 0), FT_PTR(s, f, 1), sx[0], s->shape[0]);
        return FT_OK;
    }

    r.k = k;
    r.out = FT_PTR(s, f, 0);
    r.in = FT_PTR(s, f, 1);
    r.nkept = r.nred = 0;
    r.column = (axis){1, 0, 0};
    r.line = (axis){1, 0, k->size};
    r.width = r.tiles = 1;
    for (int d = 0; d < s->ndim; d++) {
        axis a = {s->shape[d], so[d], sx[d]};
        if (d < nkept) {
            outs *= a.n;
            if (a.n != 1)
                r.kept[r.nkept++] = a;
        } else {
            reduced *= a.n;
            if (a.n != 1)
                r.red[r.nred++] = a;
        }
    }
    if (outs == 0)
        return FT_OK;
    if (reduced == 0)
        return fill_identity(&r);

    /* The innermost reduced axis: one of unit stride if there is one. */
    if (r.nred) {
        int inner = r.nred - 1;
        for (int d = 0; d < r.nred; d++)
            if (r.red[d].in == k->size)
                inner = d;
        take(r.red, &r.nred, inner, &r.line);
    }
    r.length = FT_RED_BLOCK * FT_RED_PART;
    if (r.line.in != k->size)
        for (int d = r.nkept - 1; d >= 0; d--)
            if (r.kept[d].in == k->size) {          /* columns side by side: reduce them together */
                take(r.kept, &r.nkept, d, &r.column);
                r.width = ft_lesser(r.column.n, FT_RED_WIDTH / k->size);
                r.tiles = (r.column.n + r.width - 1) / r.width;
                r.length = FT_RED_ROWS * FT_RED_PART;
                break;
            }
    r.pieces = (r.line.n + r.length - 1) / r.length;
    r.parts = (reduced / r.line.n) * r.pieces;

    int64_t items = outs / r.column.n * r.tiles;
    int64_t part_size = ft_lesser(r.length, r.line.n) * r.width, threads = ft_get_num_threads();
    if (threads > 1 && s->cost >= FT_PARALLEL_NS && items < 4 * threads && r.parts > 1) {
        int64_t group = 1;
        while (group * part_size < 16384)
            group *= 2;
        if (group < r.parts)
            return split_parts(&r, items, group, s->cost);
    }
    ft_parallel(run_items, &r, items, 1 + 16384 / (part_size * r.parts), s->cost);
    return FT_OK;
}

#include "arg.h"
#include "driver.h"

/* Elements that one call of a loop gets at most, and about how many make a chunk for a thread. */
#define BLOCK 16384

void ft_walk_start(ft_walk *w, const ft_step *s, ft_frame *f, int nop, int n, int64_t pos)
{
    w->n = n;
    w->nop = nop;
    w->shape = s->shape;
    for (int i = 0; i < nop; i++) {
        w->p[i] = FT_PTR(s, f, i);
        w->st[i] = s->opnd[i].strides;
    }
    for (int d = n - 1; d >= 0; d--) {
        w->at[d] = pos % s->shape[d];
        pos /= s->shape[d];
        for (int i = 0; i < nop; i++)
            w->p[i] += w->st[i][d] * w->at[d];
    }
}

typedef struct {
    const ft_step *s;
    ft_frame *f;
    int nop;
    int64_t n, block, blocks;      /* last axis; pieces of it */
} rows_ctx;

static void run_rows(void *ctx, int64_t lo, int64_t hi)
{
    const rows_ctx *c = ctx;
    const ft_step *s = c->s;
    ft_loop_fn loop = (ft_loop_fn)s->kernel;
    int last = s->ndim - 1;
    int64_t st[FT_MAXOPND], piece = lo % c->blocks;
    ft_walk w;

    ft_walk_start(&w, s, c->f, c->nop, last, lo / c->blocks);
    for (int i = 0; i < c->nop; i++)
        st[i] = s->opnd[i].strides[last];
    st[c->nop] = 0;
    for (int64_t u = lo; u < hi; u++) {
        char *p[FT_MAXOPND];
        for (int i = 0; i < c->nop; i++)
            p[i] = w.p[i] + piece * c->block * st[i];
        p[c->nop] = (char *)s->ints;
        loop(p, st, ft_lesser(c->block, c->n - piece * c->block));
        if (++piece == c->blocks) {
            piece = 0;
            if (u + 1 < hi)
                ft_walk_next(&w);
        }
    }
}

static int run_nd(const ft_step *s, ft_frame *f, int nop, int64_t block)
{
    int64_t rows = 1, n = s->shape[s->ndim - 1];
    for (int d = 0; d < s->ndim - 1; d++)
        rows *= s->shape[d];
    if (rows == 0 || n == 0)
        return FT_OK;
    if (block > n)
        block = n;
    rows_ctx c = {s, f, nop, n, block, (n + block - 1) / block};
    ft_parallel(run_rows, &c, rows * c.blocks, BLOCK / block, s->cost);
    return FT_OK;
}

/* nop is a constant in each caller, so that the loops over operands unroll. */
FT_INLINE int run_ew(const ft_step *s, ft_frame *f, int nop)
{
    char *p[FT_MAXOPND];
    int64_t st[FT_MAXOPND];
    if (s->ndim == 2 && s->cost < FT_PARALLEL_NS) {         /* short rows: what lies between them counts */
        const int64_t rows = s->shape[0], n = s->shape[1];
        int64_t by[FT_MAXOPND];
        for (int i = 0; i < nop; i++) {
            p[i] = FT_PTR(s, f, i);
            by[i] = s->opnd[i].strides[0];
            st[i] = s->opnd[i].strides[1];
        }
        p[nop] = (char *)s->ints;
        st[nop] = 0;
        for (int64_t r = 0; r < rows; r++) {
            ((ft_loop_fn)s->kernel)(p, st, n);
            for (int i = 0; i < nop; i++)
                p[i] += by[i];
        }
        return FT_OK;
    }
    if (s->ndim > 1 || (s->cost >= FT_PARALLEL_NS && s->ndim == 1))
        return run_nd(s, f, nop, BLOCK);
    for (int i = 0; i < nop; i++) {
        p[i] = FT_PTR(s, f, i);
        st[i] = s->ndim ? s->opnd[i].strides[0] : 0;
    }
    p[nop] = (char *)s->ints;
    st[nop] = 0;
    ((ft_loop_fn)s->kernel)(p, st, s->ndim ? s->shape[0] : 1);
    return FT_OK;
}

int ft_run_ew2(const ft_step *s, ft_frame *f) { return run_ew(s, f, 2); }
int ft_run_ew3(const ft_step *s, ft_frame *f) { return run_ew(s, f, 3); }
int ft_run_ew4(const ft_step *s, ft_frame *f) { return run_ew(s, f, 4); }
int ft_run_ew5(const ft_step *s, ft_frame *f) { return run_ew(s, f, 5); }

int ft_run_lines(const ft_step *s, ft_frame *f)
{
    return run_nd(s, f, 2, INT64_MAX);
}

typedef struct {
    const ft_step *s;
    ft_frame *f;
    int along;                     /* the axis of the lines that lie side by side */
    int64_t blocks;                /* of them */
} columns_ctx;

static void run_columns(void *ctx, int64_t lo, int64_t hi)
{
    const columns_ctx *c = ctx;
    const ft_step *s = c->s;
    const ft_arg *k = s->kernel;
    const int64_t *so = s->opnd[0].strides, *sx = s->opnd[1].strides;
    int last = s->ndim - 1;
    for (int64_t u = lo; u < hi; u++) {
        int64_t first = u % c->blocks * FT_ARG_COLUMNS, at = u / c->blocks;
        char *out = FT_PTR(s, c->f, 0) + first * so[c->along];
        const char *x = FT_PTR(s, c->f, 1) + first * k->size;
        for (int d = last - 1; d >= 0; d--)
            if (d != c->along) {
                out += at % s->shape[d] * so[d];
                x += at % s->shape[d] * sx[d];
                at /= s->shape[d];
            }
        k->columns(out, so[c->along], x, sx[last], s->shape[last],
                   ft_lesser(FT_ARG_COLUMNS, s->shape[c->along] - first));
    }
}

int ft_run_argreduce(const ft_step *s, ft_frame *f)
{
    const ft_arg *k = s->kernel;
    const int64_t *sx = s->opnd[1].strides;
    int last = s->ndim - 1, along = last;
    if (sx[last] != k->size)
        for (along = last - 1; along >= 0 && (sx[along] != k->size || s->shape[along] < 4); along--)
            ;
    if (along < 0 || along == last) {
        ft_step lines = *s;
        lines.kernel = (const void *)k->line;
        return ft_run_lines(&lines, f);
    }
    columns_ctx c = {s, f, along, (s->shape[along] + FT_ARG_COLUMNS - 1) / FT_ARG_COLUMNS};
    int64_t items = c.blocks;
    for (int d = 0; d < last; d++)
        items *= d == along ? 1 : s->shape[d];
    ft_parallel(run_columns, &c, items, 1 + 16384 / (FT_ARG_COLUMNS * s->shape[last]), s->cost);
    return FT_OK;
}

/* The driver of matrix products: which path a product takes, and how it is cut into tasks.
 *
 * Both follow from shape and strides alone, so results do not depend on the number of threads. */
#include "matmul.h"

#include "driver.h"
#include "space.h"

/* Multiply-adds from which packing pays, and `few` beats the loops for small products (measured). */
#define PACK_FROM (224.0 * 224 * 224)
#define FEW_FROM 4096.0
#define SHORT_K 16             /* up to here the output is what costs: it is written row by row */
#define OUT_BYTES (512 << 10)  /* an output that the second cache does not keep */
#define TASK 1e5               /* multiply-adds of a task of small products */
#define ROWS 64                /* its rows, if they are many */

/* ----- small products ------------------------------------------------------------------------ */

/* One product, or equal ones at distances `so`, `sa` and `sb`. */
typedef struct {
    const ft_matmul *kernel;
    char *out;
    const char *a, *b;
    ft_mm d;
    int64_t batch, so, sa, sb;
    double cost;               /* of all, nanoseconds on one thread */
    int64_t rows, cols, row_tasks, col_tasks;        /* of a task; tasks of one product */
    char *packed;
    int add;
    int along;                 /* small ones: b fits the scratch, and rows are written whole */
} product;

static int64_t parts(int64_t n, int64_t of) { return (n + of - 1) / of; }

/* Task u of one product: where it starts, and d cut to it. */
static void cut(const product *p, int64_t u, int64_t *row, int64_t *col, ft_mm *d)
{
    *row = u / p->col_tasks * p->rows;
    *col = u % p->col_tasks * p->cols;
    *d = p->d;
    d->m = ft_lesser(p->rows, p->d.m - *row);
    d->n = ft_lesser(p->cols, p->d.n - *col);
}

static void small_range(void *ctx, int64_t lo, int64_t hi)
{
    const product *p = ctx;
    char scratch[FT_MM_SCRATCH] __attribute__((aligned(64)));
    int64_t tasks = p->row_tasks * p->col_tasks, row, col;
    for (int64_t u = lo; u < hi; u++) {
        int64_t i = u / tasks;
        ft_mm d;
        cut(p, u % tasks, &row, &col, &d);
        char *out = p->out + i * p->so + row * d.om + col * d.on;
        const char *a = p->a + i * p->sa + row * d.am, *b = p->b + i * p->sb + col * d.bn;
        if (p->along) {
            const ft_gemm *g = p->kernel->gemm;
            int64_t strips = parts(d.n, g->nr);
            for (int64_t s = 0; s < strips; s++)
                g->pack(scratch, b, &d, 0, s);
            g->block(out, a, scratch, &d, 0, strips, 0);
        } else {
            p->kernel->run(out, a, b, &d, scratch);
        }
    }
}

static int small(product *p)
{
    double work = (double)p->d.m * p->d.n * p->d.k;
    p->rows = p->d.m;
    p->cols = p->d.n;
    /* Vectors go whole: a task of one row or column alone could take another path in `run`. */
    if (work > TASK && p->d.m > ROWS + 1 && p->d.n > 1)
        p->rows = p->d.m % ROWS == 1 ? ROWS + 2 : ROWS;
    if (work > TASK && p->d.m > 1 && p->d.m <= ROWS && p->d.n > 4 * ROWS)
        p->cols = 2 * ROWS + (p->d.n % (2 * ROWS) == 1 ? 2 : 0);
    const ft_gemm *g = p->kernel->gemm;
    /* one column alone would be dot products in `run` on one level, and not on another */
    p->along = g && p->d.k > 0 && p->d.k <= SHORT_K && p->d.on == p->kernel->size && p->d.m >= g->mr &&
               p->d.n > 1 &&
               parts(p->cols, g->nr) * g->nr * p->d.k * p->kernel->size <= FT_MM_SCRATCH;
    p->row_tasks = parts(p->d.m, p->rows);
    p->col_tasks = parts(p->d.n, p->cols);
    double one = work / (double)(p->row_tasks * p->col_tasks);
    int64_t chunk = one > TASK ? 1 : (int64_t)(TASK / (one + 16)) + 1;
    ft_parallel(small_range, p, p->batch * p->row_tasks * p->col_tasks, chunk, p->cost);
    return FT_OK;
}

/* ----- large products: see gemm_body.h ------------------------------------------------------- */

#define PACKED_BYTES (8 << 20)     /* of b at once: the last cache's */
#define PACKED_K 2048
#define STRIPS_BYTES (512 << 10)   /* of a task, for one block of k: the second cache's */
#define TASKS 16
#define TURN_FROM_K 128            /* less would be slowed by an output that is written in columns */

static void pack_range(void *ctx, int64_t lo, int64_t hi)
{
    const product *p = ctx;
    int64_t strips = parts(p->d.n, p->kernel->gemm->nr);
    for (int64_t u = lo; u < hi; u++)
        p->kernel->gemm->pack(p->packed, p->b, &p->d, u / strips, u % strips);
}

static void block_range(void *ctx, int64_t lo, int64_t hi)
{
    const product *p = ctx;
    int64_t strips = parts(p->d.n, p->kernel->gemm->nr), row, col;
    for (int64_t u = lo; u < hi; u++) {
        ft_mm d;
        row = u / p->col_tasks * p->rows;
        col = u % p->col_tasks * p->cols;
        d = p->d;
        d.m = ft_lesser(p->rows, p->d.m - row);
        p->kernel->gemm->block(p->out + row * d.om, p->a + row * d.am, p->packed, &d, col,
                               ft_lesser(col + p->cols, strips), p->add);
    }
}

/* Rows and strips of a task: enough tasks for a team, wide enough to use a packed row of a often. */
static void tasks_of(product *p)
{
    const ft_gemm *g = p->kernel->gemm;
    int64_t strips = parts(p->d.n, g->nr);
    int64_t most = STRIPS_BYTES / (ft_lesser(FT_MM_KC, p->d.k) * g->nr * p->kernel->size);
    int64_t groups = parts(strips, most < 1 ? 1 : most), blocks = 16;
    while (blocks > 2 && parts(p->d.m, blocks * g->mr) * groups < 4 * TASKS)
        blocks /= 2;
    p->rows = blocks * g->mr;
    p->cols = parts(strips, groups);
    p->row_tasks = parts(p->d.m, p->rows);
    p->col_tasks = parts(strips, p->cols);
}

/* The same with the roles of a and b exchanged: rows of a are packed by all threads, and each task packs
 * its strips of b. */
static void pack_rows_range(void *ctx, int64_t lo, int64_t hi)
{
    const product *p = ctx;
    int64_t panels = parts(p->d.m, p->kernel->gemm->mr);
    for (int64_t u = lo; u < hi; u++)
        p->kernel->gemm->pack_rows(p->packed, p->a, &p->d, u / panels, u % panels);
}

static void strips_range(void *ctx, int64_t lo, int64_t hi)
{
    const product *p = ctx;
    const ft_gemm *g = p->kernel->gemm;
    int64_t strips = parts(p->d.n, g->nr), panels = parts(p->d.m, g->mr);
    for (int64_t u = lo; u < hi; u++) {
        int64_t panel = u / p->col_tasks * p->rows, strip = u % p->col_tasks * p->cols;
        g->strips(p->out, p->packed, p->b, &p->d, panel, ft_lesser(panel + p->rows, panels), strip,
                  ft_lesser(strip + p->cols, strips), p->add);
    }
}

static void strip_tasks_of(product *p)
{
    const ft_gemm *g = p->kernel->gemm;
    int64_t strips = parts(p->d.n, g->nr), panels = parts(p->d.m, g->mr);
    /* 32 panels use a packed strip often enough; fewer where there would be too few tasks */
    int64_t split = ft_lesser(panels / 32, parts(4 * TASKS, strips));
    if (split < 2)
        split = strips < TASKS && panels > 1 ? 2 : 1;
    p->cols = 1;
    p->col_tasks = strips;
    p->rows = parts(panels, split);
    p->row_tasks = parts(panels, p->rows);
}

static int large(const product *whole)
{
    product p = *whole;
    const ft_mm d = whole->d;
    const ft_gemm *g = p.kernel->gemm;
    int turned = parts(d.n, g->nr) >= 8 && d.k >= TURN_FROM_K;
    int64_t ks = ft_lesser(d.k, PACKED_K), size = p.kernel->size, ms = d.m, ns = d.n;
    int64_t *most = turned ? &ms : &ns, tile = turned ? g->mr : g->nr;
    *most = parts(ft_lesser(*most, PACKED_BYTES / (ks * size)), tile) * tile;
    if (!(p.packed = ft_space_take(ks * *most * size)))
        return FT_EMEM;
    double per = p.cost / ((double)p.batch * d.m * d.n * d.k);
    for (int64_t i = 0; i < whole->batch; i++)
        for (int64_t r = 0; r < d.m; r += ms)
            for (int64_t j = 0; j < d.n; j += ns)
                for (int64_t k = 0; k < d.k; k += ks) {
                    p.d.m = ft_lesser(ms, d.m - r);
                    p.d.n = ft_lesser(ns, d.n - j);
                    p.d.k = ft_lesser(ks, d.k - k);
                    p.out = whole->out + i * p.so + r * d.om + j * d.on;
                    p.a = whole->a + i * p.sa + r * d.am + k * d.ak;
                    p.b = whole->b + i * p.sb + k * d.bk + j * d.bn;
                    p.add = k > 0;
                    (turned ? strip_tasks_of : tasks_of)(&p);
                    int64_t pieces = parts(p.d.k, FT_MM_KC) * parts(turned ? p.d.m : p.d.n, tile);
                    double packing = p.cost > 0 ? 0.5 * (double)(p.d.k * (turned ? p.d.m : p.d.n)) : 0;
                    ft_parallel(turned ? pack_rows_range : pack_range, &p, pieces,
                                parts(pieces, TASKS), packing);
                    ft_parallel(turned ? strips_range : block_range, &p, p.row_tasks * p.col_tasks, 1,
                                per * (double)p.d.m * (double)p.d.n * (double)p.d.k);
                }
    ft_space_give(p.packed);
    return FT_OK;
}

/* ----- few columns --------------------------------------------------------------------------- */

static void few_range(void *ctx, int64_t lo, int64_t hi)
{
    const product *p = ctx;
    for (int64_t u = lo; u < hi; u++) {
        int64_t i = u / p->row_tasks, row = u % p->row_tasks * p->rows;
        ft_mm d = p->d;
        d.m = ft_lesser(p->rows, p->d.m - row);
        const char *a = p->a + i * p->sa + row * d.am, *b = p->b + i * p->sb;
        char *out = p->out + i * p->so + row * d.om;
        for (int64_t k = 0; k < p->d.k; k += FT_MM_FEW_KC) {
            d.k = ft_lesser(FT_MM_FEW_KC, p->d.k - k);
            p->kernel->gemm->few(out, a + k * d.ak, b + k * d.bk, &d, k > 0);
        }
    }
}

static int few(product *p)
{
    /* multiples of 64, so that vectors and groups of rows are whole */
    int64_t rows = (int64_t)(2e4 / (double)p->d.k / (double)p->d.n) & ~(int64_t)63;
    p->rows = rows < 64 ? 64 : rows;
    p->row_tasks = parts(p->d.m, p->rows);
    int64_t chunk = (int64_t)(2e4 / ((double)ft_lesser(p->rows, p->d.m) * p->d.k * p->d.n)) + 1;
    ft_parallel(few_range, p, p->batch * p->row_tasks, chunk, p->cost);
    return FT_OK;
}

/* ----- the step ------------------------------------------------------------------------------ */

static product transposed(const product *p)
{
    product t = *p;
    t.d = ft_mm_transposed(&p->d);
    t.a = p->b;
    t.b = p->a;
    t.sa = p->sb;
    t.sb = p->sa;
    return t;
}

static int run(const product *given)
{
    product p = *given;
    int64_t size = p.kernel->size;
    double work = (double)p.d.m * p.d.n * p.d.k;
    if (p.d.n > p.d.m && p.d.m <= FT_MM_FEW)
        p = transposed(&p);
    if (p.d.n <= FT_MM_FEW && (p.d.m > 1 || p.d.n > 1) && work >= FEW_FROM)
        return few(&p);
    p = *given;
    int in_place = p.d.m < 12 && p.d.bn == size;           /* nothing packed is used often enough */
    int many = p.batch >= TASKS && work < 4 * PACK_FROM;   /* one region instead of two each */
    int wide = p.d.k <= SHORT_K && (double)p.d.m * p.d.n * size >= OUT_BYTES;
    if ((work < PACK_FROM && !wide) || in_place || many)
        return small(&p);
    if (p.d.on != size && p.d.om == size)           /* vectors along the rows of the output */
        p = transposed(&p);
    return large(&p);
}

/* Little output from a long k: pieces of k of a fixed length are products of their own, and added in
 * order. */
#define LONG_K 2048

static int long_sum(const product *p, int64_t pieces)
{
    const ft_mm *d = &p->d;
    int64_t size = p->kernel->size, plane = d->m * d->n * size, whole = d->k / LONG_K;
    char *space = ft_space_take(pieces * plane);
    if (!space)
        return FT_EMEM;
    product part = *p;
    int e = FT_OK;
    part.d.om = d->n * size;
    part.d.on = size;
    part.so = plane;
    part.sa = LONG_K * d->ak;
    part.sb = LONG_K * d->bk;
    for (int64_t i = 0; i < p->batch && !e; i++) {
        part.out = space;
        part.a = p->a + i * p->sa;
        part.b = p->b + i * p->sb;
        part.batch = whole;
        part.d.k = LONG_K;
        part.cost = p->cost / (double)p->batch;
        e = run(&part);
        if (!e && whole < pieces) {
            part.batch = 1;
            part.out += whole * plane;
            part.a += whole * part.sa;
            part.b += whole * part.sb;
            part.d.k = d->k - whole * LONG_K;
            part.cost *= (double)part.d.k / (double)d->k;
            e = run(&part);
        }
        for (int64_t r = 0; r < d->m && !e; r++) {
            char *o = p->out + i * p->so + r * d->om;
            const char *in = space + r * d->n * size;
            for (int64_t j = 0; j < d->n; j++)
                memcpy(o + j * d->on, in + j * size, size);
            for (int64_t c = 1; c < pieces; c++)
                p->kernel->gemm->add(o, in + c * plane, d->n, d->on, size);
        }
    }
    ft_space_give(space);
    return e;
}

/* What `run` and `small` would do, without the preparations that take longer than the product. */
static int tiny(const ft_step *s, ft_frame *f)
{
    const int64_t *so = s->opnd[0].strides, *sa = s->opnd[1].strides, *sb = s->opnd[2].strides;
    const ft_mm d = {s->shape[1], s->shape[2], s->shape[3], so[1], so[2], sa[1], sa[3], sb[3], sb[2]};
    char scratch[FT_MM_SCRATCH] __attribute__((aligned(64)));
    const ft_matmul *kernel = s->kernel;
    kernel->run(FT_PTR(s, f, 0), FT_PTR(s, f, 1), FT_PTR(s, f, 2), &d, scratch);
    return FT_OK;
}

int ft_run_matmul(const ft_step *s, ft_frame *f)
{
    const int64_t *so = s->opnd[0].strides, *sa = s->opnd[1].strides, *sb = s->opnd[2].strides;
    if (s->shape[0] == 1 && s->shape[1] && s->shape[2] &&
        (double)s->shape[1] * s->shape[2] * s->shape[3] < FEW_FROM)
        return tiny(s, f);
    product p = {.kernel = s->kernel,
                 .out = FT_PTR(s, f, 0), .a = FT_PTR(s, f, 1), .b = FT_PTR(s, f, 2),
                 .d = {s->shape[1], s->shape[2], s->shape[3],
                       so[1], so[2], sa[1], sa[3], sb[3], sb[2]},
                 .batch = s->shape[0], .so = so[0], .sa = sa[0], .sb = sb[0], .cost = s->cost};
    if (p.batch == 0 || p.d.m == 0 || p.d.n == 0)
        return FT_OK;
    if (!p.kernel->gemm || p.d.k == 0)
        return small(&p);
    int64_t pieces = parts(p.d.k, LONG_K);
    if (pieces >= 4 && (double)p.d.m * p.d.n <= 128 * 128)
        return long_sum(&p, pieces);
    return run(&p);
}

#include "index.h"

#include "driver.h"
#include "space.h"

enum { CLIP, FILL, WRAP };     /* of a gather */
enum { DROP, CLAMP };          /* of a scatter */

#define BLOCK 512              /* index tuples whose positions are found together */
#define RANGES 8               /* of the destination's rows, each with the updates that fall in it */
#define PIECES 8               /* of the updates, each with sums of its own */

typedef struct {
    const ft_step *s;
    ft_frame *f;
    int64_t rows;              /* of the destination */
    char *sums;
} step_ctx;

static int64_t clip(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static int64_t wrap(int64_t i, int64_t n)
{
    int64_t r = i % n;
    return r < 0 ? r + n : r;
}

static int64_t tuples(const ft_step *s)
{
    int64_t n = 1;
    for (int d = 0; d < s->ndim; d++)
        n *= s->shape[d];
    return n;
}

/* Where operand j has the index of tuple `at`: one axis is contiguous, several have strides. Of the
 * tuples that follow, `run` lie `step` bytes apart. */
static const char *locate(const step_ctx *c, int j, int64_t at, int64_t *run, int64_t *step)
{
    const ft_step *s = c->s;
    const int64_t *strides = s->opnd[j].strides;
    const char *p = FT_PTR(s, c->f, j);
    int last = s->ndim - 1;
    if (last == 0) {
        *run = s->shape[0] - at;
        *step = 8;
        return p + at * 8;
    }
    *run = s->shape[last] - at % s->shape[last];
    *step = strides[last];
    for (int d = last; d >= 0; d--) {
        p += at % s->shape[d] * strides[d];
        at /= s->shape[d];
    }
    return p;
}

/* The rows that the index tuples lo .. lo + n address; -1 where one is outside and `leave` says that
 * such are left out (of an empty axis all are). */
static void find_rows(const step_ctx *c, int first, int64_t lo, int64_t n, int64_t *rows, int leave,
                      int around)
{
    int64_t k = c->s->ints[0], run, step;
    const int64_t *extent = c->s->ints + 2;
    uint64_t outside = 0;
    for (int64_t i = 0; i < n; i++)
        rows[i] = 0;
    for (int64_t d = 0; d < k; d++)
        for (int64_t i = 0; i < n; i += run) {
            const char *p = locate(c, first + (int)d, lo + i, &run, &step);
            uint64_t m = (uint64_t)extent[d];
            int64_t *row = rows + i;
            run = ft_lesser(run, n - i);
            if (step == 8) {
                const uint64_t *at = (const uint64_t *)p;
                for (int64_t j = 0; j < run; j++) {
                    outside |= at[j] >= m;
                    row[j] = (int64_t)((uint64_t)row[j] * m + at[j]);
                }
            } else {
                for (int64_t j = 0; j < run; j++) {
                    uint64_t at = *(const uint64_t *)(p + j * step);
                    outside |= at >= m;
                    row[j] = (int64_t)((uint64_t)row[j] * m + at);
                }
            }
        }
    if (!outside)
        return;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = 0;
        for (int64_t d = 0; d < k && row >= 0; d++) {
            int64_t at = *(const int64_t *)locate(c, first + (int)d, lo + i, &run, &step), m = extent[d];
            if (m == 0 || (leave && (at < 0 || at >= m)))
                row = -1;
            else
                row = row * m + (around ? wrap(at, m) : clip(at, m));
        }
        rows[i] = row;
    }
}

/* ----- gather -------------------------------------------------------------------------------- */

static void fill_row(char *out, int64_t bytes, int64_t size, const char *value)
{
    for (int64_t j = 0; j < bytes; j += size)
        memcpy(out + j, value, size);
}

static void gather_rows(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    const ft_step *s = c->s;
    int64_t k = s->ints[0], mode = s->ints[1], bytes = s->ints[2 + k], rows[BLOCK];
    const char *fill = (const char *)&s->ints[3 + k];
    const int64_t size = (int64_t)(intptr_t)s->kernel;
    const char *x = FT_PTR(s, c->f, 1);
    char *out = FT_PTR(s, c->f, 0) + lo * bytes;
    for (; lo < hi; lo += BLOCK) {
        int64_t n = ft_lesser(BLOCK, hi - lo), least = 0;
        find_rows(c, 2, lo, n, rows, mode == FILL, mode == WRAP);
        for (int64_t i = 0; i < n; i++)
            least |= rows[i];
        if (least >= 0 && bytes == 4) {
            for (int64_t i = 0; i < n; i++)
                memcpy(out + 4 * i, x + 4 * rows[i], 4);
        } else if (least >= 0 && bytes == 8) {
            for (int64_t i = 0; i < n; i++)
                memcpy(out + 8 * i, x + 8 * rows[i], 8);
        } else {
            for (int64_t i = 0; i < n; i++)
                if (rows[i] < 0)
                    fill_row(out + i * bytes, bytes, size, fill);
                else
                    memcpy(out + i * bytes, x + rows[i] * bytes, bytes);
        }
        out += n * bytes;
    }
}

int ft_run_gather(const ft_step *s, ft_frame *f)
{
    int64_t bytes = s->ints[2 + s->ints[0]];
    step_ctx c = {s, f, 0, NULL};
    ft_parallel(gather_rows, &c, tuples(s), (1 + 32768 / (bytes + 8) + BLOCK - 1) / BLOCK * BLOCK,
                s->cost);
    return FT_OK;
}

/* ----- scatter -------------------------------------------------------------------------------- */

/* Updates lo .. hi, in order, to the rows first .. end: their elements from .. from + count. */
static void scatter_some(const step_ctx *c, char *out, int64_t lo, int64_t hi, int64_t first, int64_t end,
                         int64_t from, int64_t count)
{
    const ft_step *s = c->s;
    const ft_scatter *kernel = s->kernel;
    int64_t k = s->ints[0], n = s->ints[2 + k], size = kernel->size, rows[BLOCK];
    const char *update = FT_PTR(s, c->f, 1) + (lo * n + from) * size;
    out += from * size;
    for (; lo < hi; lo += BLOCK, update += BLOCK * n * size) {
        int64_t m = ft_lesser(BLOCK, hi - lo);
        find_rows(c, 2, lo, m, rows, s->ints[1] == DROP, 0);
        if (n == 1) {
            kernel->items(out, update, rows, m);
            continue;
        }
        for (int64_t i = 0; i < m; i++)
            if (rows[i] >= first && rows[i] < end)
                kernel->row(out + rows[i] * n * size, update + i * n * size, count);
    }
}

/* The elements lo..hi of each row. */
static void scatter_columns(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    scatter_some(c, FT_PTR(c->s, c->f, 0), 0, tuples(c->s), 0, c->rows, lo, hi - lo);
}

static void scatter_ranges(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    int64_t each = (c->rows + RANGES - 1) / RANGES;
    scatter_some(c, FT_PTR(c->s, c->f, 0), 0, tuples(c->s), lo * each, hi * each, 0,
                 c->s->ints[2 + c->s->ints[0]]);
}

static void scatter_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    int64_t n = c->s->ints[2 + c->s->ints[0]], bytes = c->rows * n * ((const ft_scatter *)c->s->kernel)->size;
    int64_t count = tuples(c->s), each = (count + PIECES - 1) / PIECES;
    for (int64_t p = lo; p < hi; p++) {
        memset(c->sums + p * bytes, 0, bytes);
        scatter_some(c, c->sums + p * bytes, p * each, ft_lesser((p + 1) * each, count), 0, c->rows, 0, n);
    }
}

int ft_run_scatter(const ft_step *s, ft_frame *f)
{
    const ft_scatter *kernel = s->kernel;
    int64_t k = s->ints[0], n = s->ints[2 + k], count = tuples(s);
    step_ctx c = {s, f, 1, NULL};
    for (int64_t d = 0; d < k; d++)
        c.rows *= s->ints[2 + d];
    /* How it is cut follows from the shapes: long rows by their elements, many rows by where they go, and
     * many more updates than places by the updates. */
    if (n >= 4096 || s->cost < FT_PARALLEL_NS) {
        ft_parallel(scatter_columns, &c, n, 1024, s->cost);
    } else if (kernel->sums && c.rows * n <= (1 << 18) && c.rows * 2 * PIECES <= count) {
        int64_t bytes = c.rows * n * kernel->size;
        if (!(c.sums = ft_space_take(PIECES * bytes + 64)))
            return FT_EMEM;
        ft_parallel(scatter_pieces, &c, PIECES, 1, s->cost);
        for (int64_t p = 0; p < PIECES; p++)
            kernel->row(FT_PTR(s, f, 0), c.sums + p * bytes, c.rows * n);
        ft_space_give(c.sums);
    } else if (n >= 8 && c.rows >= RANGES) {
        ft_parallel(scatter_ranges, &c, RANGES, 1, s->cost);
    } else {
        scatter_some(&c, FT_PTR(s, f, 0), 0, count, 0, c.rows, 0, n);
    }
    return FT_OK;
}

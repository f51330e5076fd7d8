/* Gather and scatter. Operands: [out, x, positions...] and [out, updates, positions...]; shape is that of the
 * positions, which have strides. ints: k, what becomes of those outside, whether negative ones count from
 * the end, how many tuples each member of the batch has, the k index types, the k extents, and the bytes of
 * a row with what fills it (gather) or its elements (scatter). */
#include "index.h"

#include "driver.h"
#include "space.h"

#define BLOCK 512              /* index tuples whose rows are found together */

static const int64_t index_size[FT_INDEX_TYPES] = {1, 2, 4, 8, 1, 2, 4, 8};

typedef struct {
    const ft_step *s;
    ft_frame *f;
    const ft_index *index;
    int64_t k, mode, from_end, each;
    const int64_t *types, *extent;
    int64_t count, member;     /* index tuples; rows that a member of the batch has */
    /* scatter */
    int64_t rows, width, size; /* of the destination: rows, elements of a row, bytes of an element */
    int64_t pieces;
    char *space;
} step_ctx;

static void start(step_ctx *c, const ft_step *s, ft_frame *f, const ft_index *index)
{
    memset(c, 0, sizeof(*c));
    c->s = s;
    c->f = f;
    c->index = index;
    c->k = s->ints[0];
    c->mode = s->ints[1];
    c->from_end = s->ints[2];
    c->each = s->ints[3];
    c->types = s->ints + 4;
    c->extent = c->types + c->k;
    c->count = 1;
    for (int d = 0; d < s->ndim; d++)
        c->count *= s->shape[d];
    c->member = 1;
    for (int64_t d = 0; d < c->k; d++)
        if ((c->member *= c->extent[d]) == 0)
            c->mode = FT_LEAVE;         /* nothing to read */
}

/* Whether there is but one index tuple, as where a loop's counter is the position. */
static int single(const ft_step *s)
{
    int d = s->ndim;
    while (d && s->shape[d - 1] == 1)
        d--;
    return !d;
}

/* The row that it addresses, -1 for none. */
static int64_t single_row(const ft_step *s, ft_frame *f, const ft_index *index)
{
    int64_t k = s->ints[0], mode = s->ints[1], row = 0, i;
    const int64_t *types = s->ints + 4, *extent = types + k;
    for (int64_t d = 0; d < k; d++) {
        int64_t m = extent[d];
        if (m == 0)
            return -1;
        index[types[d]].read(&i, FT_PTR(s, f, 2 + d), 0, 1);
        i += s->ints[2] && i < 0 ? m : 0;
        if (i < 0 || i >= m) {
            if (mode == FT_LEAVE)
                row = -1;
            i = mode == FT_CLIP ? (i < 0 ? 0 : m - 1) : ((i % m) + m) % m;
        }
        row = row < 0 ? row : row * m + i;
    }
    return row;
}

/* The positions of operand j from tuple `at` on: p is where the first is, of those that follow `run` lie
 * `step` bytes apart. */
static const char *locate(const step_ctx *c, int j, int64_t at, int64_t *run, int64_t *step)
{
    const ft_step *s = c->s;
    const int64_t *strides = s->opnd[j].strides;
    const char *p = FT_PTR(s, c->f, j);
    int last = s->ndim - 1;
    *step = strides[last];
    if (last == 0) {
        *run = s->shape[0] - at;
        return p + at * *step;
    }
    *run = s->shape[last] - at % s->shape[last];
    for (int d = last; d >= 0; d--) {
        p += at % s->shape[d] * strides[d];
        at /= s->shape[d];
    }
    return p;
}

/* The member of the batch that each of the tuples belongs to. */
static void members(int64_t *rows, int64_t lo, int64_t n, int64_t each)
{
    if (each == 1) {
        for (int64_t i = 0; i < n; i++)
            rows[i] = lo + i;
        return;
    }
    int64_t member = lo / each, left = each - lo % each;
    for (int64_t i = 0; i < n; i++) {
        rows[i] = member;
        if (--left == 0) {
            left = each;
            member++;
        }
    }
}

/* The rows, counted from row *base on, that some of the index tuples from `lo` on address; -1 where one is
 * outside and such are left out. Returns how many of the n tuples these are. */
static int64_t find_rows(const step_ctx *c, int64_t lo, int64_t n, int64_t *rows, int64_t *base)
{
    int64_t run, step, wide[BLOCK];
    int first = c->each >= c->count;
    *base = 0;
    n = ft_lesser(n, BLOCK);
    if (!first && c->each >= 32) {      /* those of one member */
        *base = lo / c->each * c->member;
        n = ft_lesser(n, c->each - lo % c->each);
        first = 1;
    } else if (!first) {
        members(rows, lo, n, c->each);
    }
    for (int64_t d = 0; d < c->k; d++, first = 0) {
        int64_t m = c->extent[d], back = c->from_end ? m : 0;
        const ft_index *kind = &c->index[c->types[d]], *same = &c->index[3];
        if (m == 0) {
            for (int64_t i = 0; i < n; i++)
                rows[i] = -1;
            continue;
        }
        for (int64_t i = 0; i < n; i += run) {
            const char *p = locate(c, 2 + (int)d, lo + i, &run, &step);
            run = ft_lesser(run, n - i);
            if (step == index_size[c->types[d]]) {
                kind->rows(rows + i, p, run, m, back, (int)c->mode, first);
            } else {
                kind->read(wide, p, step, run);
                same->rows(rows + i, wide, run, m, back, (int)c->mode, first);
            }
        }
    }
    return n;
}

/* ----- gather -------------------------------------------------------------------------------- */

static void pick_or_fill(const step_ctx *c, char *out, const char *x, const int64_t *rows, int64_t n,
                         int64_t bytes)
{
    const ft_gather *kernel = c->s->kernel;
    const char *fill = (const char *)(c->extent + c->k + 1);
    for (int64_t i = 0, m; i < n; i += m) {
        for (m = 0; i + m < n && rows[i + m] >= 0; m++)
            ;
        kernel->pick(out + i * bytes, x, rows + i, m, bytes);
        if (i + m < n) {
            for (int64_t j = 0; j < bytes; j += kernel->size)
                memcpy(out + (i + m) * bytes + j, fill, kernel->size);
            m++;
        }
    }
}

static void gather_rows(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    const ft_step *s = c->s;
    const ft_gather *kernel = s->kernel;
    int64_t bytes = c->extent[c->k], rows[BLOCK];
    const char *from = FT_PTR(s, c->f, 1);
    char *out = FT_PTR(s, c->f, 0) + lo * bytes;
    for (int64_t n, base; lo < hi; lo += n, out += n * bytes) {
        int64_t least = 0;
        n = find_rows(c, lo, hi - lo, rows, &base);
        const char *x = from + base * bytes;
        if (c->mode == FT_LEAVE)
            for (int64_t i = 0; i < n; i++)
                least |= rows[i];
        if (least < 0)
            pick_or_fill(c, out, x, rows, n, bytes);
        else
            kernel->pick(out, x, rows, n, bytes);
    }
}

int ft_run_gather(const ft_step *s, ft_frame *f)
{
    step_ctx c;
    if (single(s)) {
        const ft_gather *kernel = s->kernel;
        const int64_t *row_bytes = s->ints + 4 + 2 * s->ints[0];
        int64_t row = single_row(s, f, kernel->index);
        char *out = FT_PTR(s, f, 0);
        if (row >= 0)
            kernel->pick(out, FT_PTR(s, f, 1), &row, 1, *row_bytes);
        else
            for (int64_t j = 0; j < *row_bytes; j += kernel->size)
                memcpy(out + j, row_bytes + 1, kernel->size);
        return FT_OK;
    }
    start(&c, s, f, ((const ft_gather *)s->kernel)->index);
    int64_t bytes = c.extent[c.k];
    if (bytes && c.count)
        ft_parallel(gather_rows, &c, c.count, (1 + 65536 / (bytes + 8) + BLOCK - 1) / BLOCK * BLOCK, s->cost);
    return FT_OK;
}

/* ----- scatter -------------------------------------------------------------------------------- */

/* n updates at `rows`, but for those that are left out (rows of -1). */
static void put_found(const ft_scatter *kernel, int64_t mode, char *out, const char *update, int64_t *rows,
                      int64_t n, int64_t width, int64_t count, int far)
{
    int64_t which[BLOCK], least = 0, kept = 0;
    if (mode == FT_LEAVE)
        for (int64_t i = 0; i < n; i++)
            least |= rows[i];
    if (least >= 0) {
        kernel->put(out, update, rows, NULL, n, width, count, far);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        rows[kept] = rows[i];
        which[kept] = i;
        kept += rows[i] >= 0;
    }
    kernel->put(out, update, rows, which, kept, width, count, far);
}

/* Updates lo .. hi, in order: the elements from .. from + count of their rows. */
static void put_some(const step_ctx *c, char *out, int64_t lo, int64_t hi, int64_t from, int64_t count)
{
    const ft_scatter *kernel = c->s->kernel;
    int64_t rows[BLOCK];
    const char *update = FT_PTR(c->s, c->f, 1) + (lo * c->width + from) * c->size;
    int far = c->rows * c->width * c->size > (8 << 20);
    out += from * c->size;
    for (int64_t m, base; lo < hi; lo += m, update += m * c->width * c->size) {
        m = find_rows(c, lo, hi - lo, rows, &base);
        put_found(kernel, c->mode, out + base * c->width * c->size, update, rows, m, c->width, count, far);
    }
}

void ft_put_row(const ft_scatter *kernel, char *out, const char *updates, const char *const *at,
                const int64_t *ints)
{
    int64_t k = ints[0], mode = ints[1], count = ints[3], width = ints[4 + 2 * k], rows[BLOCK];
    for (int64_t lo = 0, n; lo < count; lo += n) {
        n = ft_lesser(BLOCK, count - lo);
        for (int64_t d = 0; d < k; d++) {
            int64_t type = ints[4 + d], m = ints[4 + k + d];
            kernel->index[type].rows(rows, at[d] + lo * index_size[type], n, m, ints[2] ? m : 0, (int)mode,
                                     d == 0);
        }
        put_found(kernel, mode, out, updates + lo * width * kernel->size, rows, n, width, width, 0);
    }
}

static void put_all(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    put_some(c, FT_PTR(c->s, c->f, 0), lo, hi, 0, c->width);
}

/* The elements lo .. hi of each row. */
static void put_columns(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    put_some(c, FT_PTR(c->s, c->f, 0), 0, c->count, lo, hi - lo);
}

/* Members of the batch: each has rows of its own. */
static void put_members(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    put_some(c, FT_PTR(c->s, c->f, 0), lo * c->each, hi * c->each, 0, c->width);
}

/* Some of the updates, into a destination of their own. */
static void put_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    const ft_scatter *kernel = c->s->kernel;
    int64_t bytes = c->rows * c->width * c->size, each = (c->count + c->pieces - 1) / c->pieces;
    for (int64_t p = lo; p < hi; p++) {
        char *own = c->space + p * bytes;
        if (kernel->again)
            memcpy(own, FT_PTR(c->s, c->f, 0), bytes);
        else
            memset(own, 0, bytes);
        put_some(c, own, p * each, ft_lesser((p + 1) * each, c->count), 0, c->width);
    }
}

/* The pieces put together: elements lo .. hi of the destination. */
static void join_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    const ft_scatter *kernel = c->s->kernel;
    int64_t bytes = c->rows * c->width * c->size, first = 0;
    for (int64_t p = 0; p < c->pieces; p++)
        kernel->put(FT_PTR(c->s, c->f, 0) + lo * c->size, c->space + p * bytes + lo * c->size, &first, NULL, 1,
                    hi - lo, hi - lo, 0);
}

/* Into how many pieces the updates are cut: as the pieces' order differs from that of the updates, this
 * follows from shapes alone. */
static int64_t pieces(const step_ctx *c)
{
    int64_t places = c->rows * c->width, bytes = places * c->size, updates = c->count * c->width;
    for (int64_t n = 8; n >= 2; n /= 2)
        if (n * bytes <= (n == 2 ? 16 << 20 : 1 << 20) && 2 * n * places <= updates)
            return n;
    return 1;
}

int ft_run_scatter(const ft_step *s, ft_frame *f)
{
    const ft_scatter *kernel = s->kernel;
    step_ctx c;
    if (single(s) && s->cost < FT_PARALLEL_NS) {
        int64_t row = single_row(s, f, kernel->index), width = s->ints[4 + 2 * s->ints[0]];
        if (row >= 0)
            kernel->put(FT_PTR(s, f, 0), FT_PTR(s, f, 1), &row, NULL, 1, width, width, 0);
        return FT_OK;
    }
    start(&c, s, f, kernel->index);
    c.width = c.extent[c.k];
    c.size = kernel->size;
    if (!c.count || !c.width)
        return FT_OK;
    int64_t batch = c.count / c.each;
    c.rows = batch * c.member;
    if (s->cost < FT_PARALLEL_NS) {
        put_some(&c, FT_PTR(s, f, 0), 0, c.count, 0, c.width);
    } else if (batch >= 16) {
        ft_parallel(put_members, &c, batch, 1 + 4096 / (c.each * c.width), s->cost);
    } else if (c.width * c.size >= 128) {
        int64_t lines = c.width * c.size / 64, threads = ft_get_num_threads();
        ft_parallel(put_columns, &c, c.width, (lines + threads - 1) / threads * (64 / c.size), s->cost);
    } else if (kernel->pieces && (c.pieces = pieces(&c)) > 1) {
        int64_t places = c.rows * c.width;
        if (!(c.space = ft_space_take(c.pieces * places * c.size + 64)))
            return FT_EMEM;
        ft_parallel(put_pieces, &c, c.pieces, 1, s->cost);
        ft_parallel(join_pieces, &c, places, 16384, (double)(c.pieces * places) * 0.2);
        ft_space_give(c.space);
    } else {
        ft_in_order(put_all, &c, c.count, 1 + 65536 / c.width, s->cost);
    }
    return FT_OK;
}

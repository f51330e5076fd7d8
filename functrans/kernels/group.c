/* Block groups: a program of elementwise loops and reductions over one iteration space, run block by
 * block, so that what passes between its instructions stays in cache.
 *
 * shape = [outer..., R, C]; an item is a block of at most `k` of R times `w` of C (k > 1 only where
 * w == C). Items, and the chunks of them that go to threads, are fixed by the plan; a reduction that
 * leaves its block puts a partial result per chunk (or per item) into the step's last operand, and
 * these are combined pairwise in order. So no bit depends on the number of threads.
 *
 * ints: k, w, items a chunk, bytes of registers, instructions before the first block of a chunk,
 * instructions of a block, epilogues, joins, first of the operands to read ahead; then all of these.
 *   instruction: op, operands, words, kernel, parameter, then four words an operand:
 *                base (0: registers, m: step operand m-1, beyond these: results of joins), byte
 *                offset, row stride, column stride; of joins and puts more follow (see there)
 *   epilogue:    ft_reduce, step operand, partials' offset, outputs, partials of each, width, and for a
 *                sum over everything where in the registers the items of a chunk put theirs (else -1) */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "driver.h"
#include "index.h"
#include "move.h"
#include "reduce.h"

enum { HEAD = 9, INSTR = 5, EPILOGUE = 7, AHEAD = 1 << 19 };
enum { OP_FLAT, OP_ROWS, OP_ROW, OP_LOAD, OP_RED_ROW, OP_RED_ITEM, OP_RED_CHUNK, OP_STREAM, OP_JOIN, OP_PUT };

typedef struct {
    const ft_step *s;
    ft_frame *f;
    const int64_t *code, *body, *epilogues;
    int64_t R, C, k, w, nrb, ncb, chunk;
    atomic_int failed;             /* a thread found no memory for its registers */
    const struct ahead *ahead;     /* operands to fetch before their block is due */
    int nahead;
    int64_t lines;                 /* of theirs, behind each instruction */
} group;

/* An operand that is walked densely: block by block, so the next one is where this one ends. */
struct ahead { int operand; int64_t nbytes; };

/* Up to where the operands of the next block have been asked for. */
struct fetched { int which; int64_t nbytes; };

/* Registers of this thread, kept for the next group; freed when the thread ends. */
static pthread_key_t registers_key;
static pthread_once_t registers_once = PTHREAD_ONCE_INIT;
static _Thread_local char *registers;
static _Thread_local int64_t registers_size;

static void make_key(void)
{
    pthread_key_create(&registers_key, free);
}

static char *get_registers(int64_t nbytes)
{
    if (nbytes > registers_size) {
        void *memory = NULL;
        pthread_once(&registers_once, make_key);
        free(registers);
        registers = NULL;
        registers_size = 0;
        pthread_setspecific(registers_key, NULL);
        if (posix_memalign(&memory, 4096, nbytes))
            return NULL;
        pthread_setspecific(registers_key, memory);
        registers = memory;
        registers_size = nbytes;
    }
    return registers;
}

FT_INLINE char *at(char **base, const int64_t *o)
{
    return base[o[0]] + o[1];
}

/* nop is a constant in each call, so that the loops over operands unroll. */
FT_INLINE void elementwise(const int64_t *c, char **base, int nop, int64_t rows, int64_t n, int walk)
{
    ft_loop_fn loop = (ft_loop_fn)(intptr_t)c[3];
    const int64_t *o = c + INSTR;
    char *p[FT_MAXOPND];
    int64_t st[FT_MAXOPND];
    for (int i = 0; i < nop; i++) {
        p[i] = at(base, o + 4 * i);
        st[i] = o[4 * i + walk];
    }
    st[nop] = 0;
    p[nop] = (char *)(c + 4);
    loop(p, st, n);
    for (int64_t r = 1; r < rows; r++) {
        for (int i = 0; i < nop; i++)
            p[i] = at(base, o + 4 * i) + r * o[4 * i + 2];
        p[nop] = (char *)(c + 4);
        loop(p, st, n);
    }
}

FT_INLINE void elementwise_any(const int64_t *c, char **base, int64_t rows, int64_t n, int walk)
{
    switch (c[1]) {
    case 2: elementwise(c, base, 2, rows, n, walk); break;
    case 3: elementwise(c, base, 3, rows, n, walk); break;
    case 4: elementwise(c, base, 4, rows, n, walk); break;
    default: elementwise(c, base, 5, rows, n, walk); break;
    }
}

/* n items from position `flat` on of lines made of pieces. Behind the operands (output, pieces): items
 * of a line, where each piece ends in it. Where the items lie side by side in one piece, nothing is
 * copied: base[c[4]] (if not 0) says where readers of the result find it. */
static void join(const int64_t *c, char **base, int64_t flat, int64_t n)
{
    const int64_t *o = c + INSTR, *ends = o + 4 * c[1] + 1;
    int64_t size = o[3], line = ends[-1], row = flat / line, q = flat % line;
    char *out = at(base, o);
    if (c[4])
        base[c[4]] = out;
    while (n > 0) {
        int64_t begin = 0;
        int i = 0;
        for (; q >= ends[i]; i++)
            begin = ends[i];
        int64_t m = ft_lesser(n, ends[i] - q);
        const int64_t *x = o + 4 * (i + 1);
        char *from = at(base, x) + row * x[2] + (q - begin) * x[3];
        if (c[4] && m == n && x[3] == size && out == at(base, o)) {
            base[c[4]] = from;
            return;
        }
        ((ft_copy_fn)(intptr_t)c[3])(out, from, 1, m, 0, size, 0, x[3]);
        out += m * size;
        n -= m;
        q += m;
        if (q == line) {
            q = 0;
            row++;
        }
    }
}

/* Updates at positions within each row, which lies dense. Operands: what is updated, updates, positions;
 * behind them what ft_put_row wants. */
static void put(const int64_t *c, char **base, int64_t rows)
{
    const int64_t *o = c + INSTR, *ints = o + 4 * c[1], *x = o + 8;
    const char *where[ints[0]];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t d = 0; d < ints[0]; d++)
            where[d] = at(base, x + 4 * d) + r * x[4 * d + 2];
        ft_put_row((const ft_scatter *)(intptr_t)c[3], at(base, o) + r * o[2], at(base, o + 4) + r * o[6], where,
                   ints);
    }
}

/* Adds rows of a block to the chunk's row of columns; the first block starts it. */
static void reduce_columns(const ft_reduce *k, char *acc, const char *x, int64_t stride, int64_t rows,
                           int64_t w, int first)
{
    char buf[FT_RED_WIDTH] __attribute__((aligned(64)));
    int64_t tile = FT_RED_WIDTH / k->size;
    if (rows == 1) {
        if (first)
            memcpy(acc, x, w * k->size);
        else
            k->merge(acc, x, w);
        return;
    }
    for (int64_t j = 0; j < w; j += tile) {
        int64_t m = ft_lesser(tile, w - j);
        char *to = acc + j * k->size;
        k->columns(first ? to : buf, x + j * k->size, stride, rows, m);
        if (!first)
            k->merge(to, buf, m);
    }
}

/* What the next block reads comes into the second cache while this one is computed: of itself the
 * processor stops at the end of a page, and begins anew behind each pause. A few lines behind each
 * instruction: it cannot wait for many at a time. */
FT_INLINE void fetch_some(const group *g, char **base, struct fetched *at)
{
    int64_t left = g->lines;
    while (left > 0 && at->which < g->nahead) {
        const struct ahead *a = &g->ahead[at->which];
        const char *p = base[a->operand + 1] + a->nbytes;
        int64_t end = ft_lesser(a->nbytes, at->nbytes + 64 * left);
        for (; at->nbytes < end; at->nbytes += 64, left--)
            __builtin_prefetch(p + at->nbytes, 0, 2);
        if (at->nbytes >= a->nbytes) {
            at->which++;
            at->nbytes = 0;
        }
    }
}

static void run_code(const group *g, const int64_t *c, int64_t count, char **base, int64_t u, int64_t lo,
                     int64_t rows, int64_t cols, int64_t flat, struct fetched *fetched)
{
    char *partial = base[g->s->nopnd];
    for (; count > 0; count--, c += c[2]) {
        const int64_t *o = c + INSTR;
        const ft_reduce *k = (const ft_reduce *)(intptr_t)c[3];
        switch (c[0]) {
        case OP_FLAT:
            elementwise_any(c, base, 1, rows * cols, 3);
            break;
        case OP_ROWS:
            elementwise_any(c, base, rows, cols, 3);
            break;
        case OP_ROW:
            elementwise_any(c, base, 1, rows, 2);
            break;
        case OP_LOAD:
            ((ft_copy_fn)(intptr_t)c[3])(at(base, o), at(base, o + 4), rows, cols, o[2], o[3], o[6],
                                         o[7]);
            break;
        case OP_RED_ROW:
            for (int64_t r = 0; r < rows; r++)
                k->run(at(base, o) + r * o[2], at(base, o + 4) + r * o[6], o[7], cols);
            break;
        case OP_RED_ITEM:
            k->run((o[4] ? base[0] + c[4] + (u - lo) * k->size : partial + c[4] + u * k->size), at(base, o),
                   o[3], rows * cols);
            break;
        case OP_RED_CHUNK:
            reduce_columns(k, partial + c[4] + u / g->chunk * g->C * k->size, at(base, o), o[2], rows,
                           cols, u == lo);
            break;
        case OP_JOIN:
            join(c, base, flat, rows * cols);
            break;
        case OP_PUT:
            put(c, base, rows);
            break;
        case OP_STREAM:
            ((ft_copy_fn)(intptr_t)c[3])(at(base, o), at(base, o + 4), 1, rows * cols, 0, o[3], 0, o[7]);
            break;
        }
        fetch_some(g, base, fetched);
    }
}

/* Pairwise, in place; the result ends at x: slot `depth` is never beyond the partial that is read. */
static void combine(const ft_reduce *k, char *x, int64_t count, int64_t w)
{
    int64_t bytes = w * k->size, depth = 0;
    for (int64_t q = 0; q < count; q++) {
        if (depth != q)
            memcpy(x + depth * bytes, x + q * bytes, bytes);
        depth++;
        for (int64_t c = q; c & 1; c >>= 1, depth--)
            k->merge(x + (depth - 2) * bytes, x + (depth - 1) * bytes, w);
    }
    for (; depth > 1; depth--)
        k->merge(x + (depth - 2) * bytes, x + (depth - 1) * bytes, w);
}

static void run_items(void *ctx, int64_t lo, int64_t hi)
{
    group *g = ctx;
    const ft_step *s = g->s;
    int last = s->ndim - 1, nop = s->nopnd;
    char *base[nop + 1 + g->code[7]];
    struct fetched fetched = {g->nahead, 0};
    base[0] = get_registers(g->code[3]);
    if (!base[0]) {
        atomic_store(&g->failed, 1);
        return;
    }
    for (int64_t u = lo; u < hi; u++) {
        int64_t cb = u % g->ncb, rb = u / g->ncb, outer = rb / g->nrb, flat;
        rb -= outer * g->nrb;
        flat = (outer * g->R + rb * g->k) * g->C + cb * g->w;
        for (int m = 0; m < nop; m++) {
            const int64_t *st = s->opnd[m].strides;
            base[m + 1] = FT_PTR(s, g->f, m) + rb * g->k * st[last - 1] + cb * g->w * st[last];
        }
        for (int d = last - 2; d >= 0; d--) {
            int64_t i = outer % s->shape[d];
            outer /= s->shape[d];
            for (int m = 0; m < nop; m++)
                base[m + 1] += i * s->opnd[m].strides[d];
        }
        if (u == lo)
            run_code(g, g->code + HEAD, g->code[4], base, u, lo, g->k, g->w, 0, &fetched);
        fetched = (struct fetched){0, 0};
        run_code(g, g->body, g->code[5], base, u, lo, ft_lesser(g->k, g->R - rb * g->k),
                 ft_lesser(g->w, g->C - cb * g->w), flat, &fetched);
    }
    const int64_t *e = g->epilogues;
    for (int64_t i = 0; i < g->code[6]; i++, e += EPILOGUE)
        if (e[6] >= 0) {
            const ft_reduce *k = (const ft_reduce *)(intptr_t)e[0];
            combine(k, base[0] + e[6], hi - lo, 1);
            memcpy(base[nop] + e[2] + lo / g->chunk * k->size, base[0] + e[6], k->size);
        }
}

int ft_run_group(const ft_step *s, ft_frame *f)
{
    const int64_t *n = s->ints;
    struct ahead ahead[s->nopnd];
    group g = {s, f, n, n + HEAD, NULL, s->shape[s->ndim - 2], s->shape[s->ndim - 1], n[0], n[1], 0, 0,
               n[2], 0, ahead, 0, 0};
    int64_t items;
    g.nrb = (g.R + g.k - 1) / g.k;
    g.ncb = (g.C + g.w - 1) / g.w;
    items = g.nrb * g.ncb;
    for (int d = 0; d < s->ndim - 2; d++)
        items *= s->shape[d];
    for (int64_t i = 0; i < n[4]; i++)
        g.body += g.body[2];
    const int64_t *e = g.body;
    for (int64_t i = 0; i < n[5]; i++)
        e += e[2];
    g.epilogues = e;
    for (int m = (int)n[8]; m < s->nopnd; m++) {
        const int64_t *st = s->opnd[m].strides + s->ndim - 2;
        int64_t nbytes = g.k * g.w * st[1];
        if (st[1] > 0 && st[1] <= 16 && (g.R == 1 || st[0] == g.C * st[1]) && items * nbytes >= AHEAD)
            ahead[g.nahead++] = (struct ahead){m, nbytes}, g.lines += (nbytes + 63) / 64;
    }
    g.lines = g.lines / n[5] + 1;
    ft_parallel(run_items, &g, items, g.chunk, s->cost);
    if (atomic_load(&g.failed))
        return FT_EMEM;
    if (ft_stopped())
        return FT_OK;

    for (int64_t i = 0; i < n[6]; i++, e += EPILOGUE) {
        const ft_reduce *k = (const ft_reduce *)(intptr_t)e[0];
        char *out = FT_PTR(s, f, e[1]), *x = FT_PTR(s, f, s->nopnd - 1) + e[2];
        int64_t bytes = e[5] * k->size;
        for (int64_t j = 0; j < e[3]; j++, x += e[4] * bytes) {
            combine(k, x, e[4], e[5]);
            memcpy(out + j * bytes, x, bytes);
        }
    }
    return FT_OK;
}

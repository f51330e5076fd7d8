/* Sorting rows. Results are those of a stable sort, so they do not depend on chunks or threads. */
#include "sort.h"

#include <stdlib.h>

#include "driver.h"

#define FT_DIGIT 11
#define FT_SORT_NS(chunks, n, ns) ((chunks) > 1 ? (ns) * (double)(n) : 0.0)
/* Work on one row is dealt in this many chunks; short rows are one. An interrupt waits for a chunk. */
#define MOST_CHUNKS 32
#define CHUNKS(n) ((n) < 1 << 16 ? 1 : (n) < 1 << 25 ? 8 : MOST_CHUNKS)

static int ft_bit_length(uint64_t x) { return x ? 64 - __builtin_clzll(x) : 0; }

#define K uint32_t
#define FT_NAME(part) u32_##part
#include "radix_body.h"
#undef K
#undef FT_NAME
#define K uint64_t
#define FT_NAME(part) u64_##part
#include "radix_body.h"
#undef K
#undef FT_NAME

typedef struct {
    const ft_sort *k;
    const char *x;
    char *out, *spare;
    int64_t n, chunk;
    uint64_t flip, least;
    int shift;
    ft_span spans[MOST_CHUNKS];
    int64_t row_bytes, failed;     /* of the whole step */
} job;

static void span_chunks(void *ctx, int64_t lo, int64_t hi)
{
    job *j = ctx;
    for (int64_t c = lo; c < hi; c++) {
        /* one element of the chunk before, so that a step down between the two is seen */
        int64_t from = c ? c * j->chunk - 1 : 0, end = ft_lesser((c + 1) * j->chunk, j->n);
        j->k->span(j->x + from * j->k->size, end - from, j->flip, &j->spans[c]);
    }
}

static ft_span span_of(job *j, int64_t chunks)
{
    ft_parallel(span_chunks, j, chunks, 1, FT_SORT_NS(chunks, j->n, 0.5));
    ft_span all = j->spans[0];
    for (int64_t c = 1; c < chunks; c++) {
        ft_span s = j->spans[c];
        all.least = s.least < all.least ? s.least : all.least;
        all.most = s.most > all.most ? s.most : all.most;
        all.descends |= s.descends;
        all.signs |= s.signs;
    }
    return all;
}

#define EACH_CHUNK(name, call)                                                     \
    static void name(void *ctx, int64_t lo, int64_t hi)                            \
    {                                                                              \
        job *j = ctx;                                                              \
        for (int64_t c = lo; c < hi; c++) {                                        \
            int64_t at = c * j->chunk, size = j->k->size;                          \
            int64_t m = ft_lesser(j->chunk, j->n - at);                            \
            (void)size;                                                            \
            call;                                                                  \
        }                                                                          \
    }
EACH_CHUNK(key_chunks, j->k->keys(j->out + at * size, j->x + at * size, m))
EACH_CHUNK(value_chunks, j->k->values(j->out + at * size, j->spare + at * size, m))
EACH_CHUNK(place_chunks, for (int64_t i = at; i < at + m; i++)
               ((uint64_t *)j->out)[i] = (uint32_t)((const uint64_t *)j->spare)[i])
EACH_CHUNK(pack_chunks, j->k->pack((uint64_t *)j->out + at, j->x + at * size, at, m, j->flip, j->least, j->shift))

/* Sorted by key, every -0 comes before every 0; a stable sort leaves them as they were. */
static void zeros_in_order(const job *j)
{
    int64_t size = j->k->size, lo = 0, hi = j->n;
    static const double nothing = 0;
    uint64_t zero = j->k->key((const char *)&nothing, 0);
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (j->k->key(j->out, mid) < zero)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (int64_t i = 0; i < j->n; i++)
        if (j->k->zero(j->x, i))
            memcpy(j->out + lo++ * size, j->x + i * size, size);
}

static int sort_row(job *j)
{
    const ft_sort *k = j->k;
    int64_t n = j->n, size = k->size, chunks = CHUNKS(n);
    if (n <= FT_SORT_SMALL) {
        k->small(j->out, j->x, n);
        return FT_OK;
    }
    j->chunk = (n + chunks - 1) / chunks;
    j->flip = 0;
    ft_span s = span_of(j, chunks);
    if (ft_stopped())              /* here and below: what is there is not what the rest relies on */
        return FT_OK;
    if (!s.descends) {
        memcpy(j->out, j->x, n * size);
        return FT_OK;
    }
    ft_parallel(key_chunks, j, chunks, 1, FT_SORT_NS(chunks, n, 0.3));
    /* a span is of keys that do not tell the zeros apart: the key of -0 is one less than that of 0 */
    uint64_t least = s.least - (s.signs & 2 && s.least), width = s.most - least;
    char *found = size == 8
        ? (char *)u64_radix((uint64_t *)j->out, (uint64_t *)j->spare, n, least, 0, ft_bit_length(width), chunks)
        : (char *)u32_radix((uint32_t *)j->out, (uint32_t *)j->spare, n, (uint32_t)least, 0,
                            ft_bit_length(width), chunks);
    if (!found)
        return FT_EMEM;
    if (ft_stopped())
        return FT_OK;
    job back = *j;
    back.spare = found;
    ft_parallel(value_chunks, &back, chunks, 1, FT_SORT_NS(chunks, n, 0.3));
    if (s.signs == 3 && !ft_stopped())
        zeros_in_order(j);
    return FT_OK;
}

/* The positions a[s..e), whose elements agree in the packed part of their keys, by whole keys. */
static int settle_places(const job *j, uint64_t *a, int64_t s, int64_t e)
{
    const ft_sort *k = j->k;
    if (e - s <= 24) {
        for (int64_t i = s + 1; i < e; i++) {
            uint64_t p = a[i], key = k->key(j->x, (uint32_t)p) ^ j->flip;
            int64_t h = i;
            for (; h > s && (k->key(j->x, (uint32_t)a[h - 1]) ^ j->flip) > key; h--)
                a[h] = a[h - 1];
            a[h] = p;
        }
        return FT_OK;
    }
    int64_t n = e - s;
    uint64_t mask = ((uint64_t)1 << j->shift) - 1, *part = malloc(3 * n * sizeof(uint64_t));
    if (!part)
        return FT_EMEM;
    uint64_t *old = part + 2 * n;
    for (int64_t i = 0; i < n; i++) {
        old[i] = a[s + i];
        part[i] = (((k->key(j->x, (uint32_t)old[i]) ^ j->flip) - j->least) & mask) << 32 | (uint64_t)i;
    }
    u64_sort(part, part + n, n);
    for (int64_t i = 0; i < n; i++)
        a[s + i] = old[(uint32_t)part[i]];
    free(part);
    return FT_OK;
}

/* Of the positions in j->spare, runs whose packed parts agree. A run belongs to the chunk that it begins in;
 * the others see nothing of its settling, as packed parts stay where they are. */
static void settle_chunks(void *ctx, int64_t lo, int64_t hi)
{
    job *j = ctx;
    uint64_t *a = (uint64_t *)j->spare;
    for (int64_t c = lo; c < hi; c++) {
        int64_t i = c * j->chunk, end = ft_lesser(i + j->chunk, j->n);
        while (i && i < end && a[i] >> 32 == a[i - 1] >> 32)
            i++;
        while (i < end) {
            int64_t s = i++;
            while (i < j->n && a[i] >> 32 == a[s] >> 32)
                i++;
            if (i - s > 1 && settle_places(j, a, s, i))
                __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        }
    }
}

static int places_row(job *j)
{
    const ft_sort *k = j->k;
    int64_t n = j->n, chunks = CHUNKS(n);
    uint64_t *out = (uint64_t *)j->out;
    if (n <= FT_SORT_SMALL) {
        k->small_places((int64_t *)out, j->x, n, j->flip);
        return FT_OK;
    }
    j->chunk = (n + chunks - 1) / chunks;
    ft_span s = span_of(j, chunks);
    if (ft_stopped())
        return FT_OK;
    if (!s.descends) {
        for (int64_t i = 0; i < n; i++)
            out[i] = (uint64_t)i;
        return FT_OK;
    }
    int bits = ft_bit_length(s.most - s.least);
    j->least = s.least;
    j->shift = bits > 32 ? bits - 32 : 0;
    ft_parallel(pack_chunks, j, chunks, 1, FT_SORT_NS(chunks, n, 0.5));
    uint64_t *found = u64_radix(out, (uint64_t *)j->spare, n, 0, 32, 32 + (bits > 32 ? 32 : bits), chunks);
    if (!found)
        return FT_EMEM;
    job back = *j;
    back.spare = (char *)found;
    if (j->shift)
        ft_parallel(settle_chunks, &back, chunks, 1, FT_SORT_NS(chunks, n, 2.0));
    if (back.failed)
        return FT_EMEM;
    ft_parallel(place_chunks, &back, chunks, 1, FT_SORT_NS(chunks, n, 0.5));
    return FT_OK;
}

static void rows(void *ctx, int64_t lo, int64_t hi, int (*row)(job *), int64_t out_size)
{
    job *all = ctx;
    for (int64_t i = lo; i < hi; i++) {
        job j = *all;
        j.x += i * j.n * j.k->size;
        j.out += i * j.n * out_size;
        j.spare += i * j.n * out_size;
        if (row(&j))
            __atomic_store_n(&all->failed, 1, __ATOMIC_RELAXED);
    }
}

static void sort_rows(void *ctx, int64_t lo, int64_t hi)
{
    rows(ctx, lo, hi, sort_row, ((job *)ctx)->k->size);
}

static void places_rows(void *ctx, int64_t lo, int64_t hi) { rows(ctx, lo, hi, places_row, 8); }

/* operands [out, spare, x], all dense; shape [rows, n]; ints (descending). */
static int run_rows(const ft_step *s, ft_frame *f, ft_range_fn fn)
{
    int64_t count = s->shape[0], n = s->shape[1];
    job j = {.k = s->kernel, .out = FT_PTR(s, f, 0), .spare = FT_PTR(s, f, 1), .x = FT_PTR(s, f, 2),
             .n = n, .flip = s->ints[0] ? ~(uint64_t)0 : 0};
    if (count == 1)
        fn(&j, 0, 1);              /* the row itself is dealt */
    else
        ft_parallel(fn, &j, count, 1 + 2048 / n, s->cost);
    return j.failed ? FT_EMEM : FT_OK;
}

int ft_run_sort(const ft_step *s, ft_frame *f) { return run_rows(s, f, sort_rows); }
int ft_run_argsort(const ft_step *s, ft_frame *f) { return run_rows(s, f, places_rows); }

/* ----- the k greatest --------------------------------------------------------------------------- */

typedef struct { uint64_t key; int64_t at; } entry;

static int by_key(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

typedef struct { const ft_step *s; ft_frame *f; int failed; } top_ctx;

/* Keeps what may be among the k greatest; when there is too much of it, the k greatest of that. */
static void top_rows(void *ctx, int64_t lo, int64_t hi)
{
    top_ctx *c = ctx;
    const ft_step *s = c->s;
    const ft_sort *kernel = s->kernel;
    int64_t n = s->shape[1], k = s->ints[0], room = 2 * k + 256;
    entry *kept = malloc(room * sizeof(entry));
    if (!kept) {
        __atomic_store_n(&c->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    uint64_t keys[256];
    for (int64_t row = lo; row < hi; row++) {
        const char *x = FT_PTR(s, c->f, 1) + row * n * kernel->size;
        int64_t *out = (int64_t *)FT_PTR(s, c->f, 0) + row * k, have = 0;
        uint64_t least = 0;
        if (n <= FT_SORT_SMALL) {
            int64_t places[FT_SORT_SMALL];
            kernel->small_places(places, x, n, ~(uint64_t)0);
            memcpy(out, places, k * sizeof(int64_t));
            continue;
        }
        for (int64_t from = 0; from < n; from += 256) {
            int64_t m = ft_lesser(256, n - from);
            int full = have >= k;
            uint64_t most = kernel->load(keys, x + from * kernel->size, m);
            if (full && most <= least)
                continue;
            for (int64_t i = 0; i < m; i++)
                if (!full || keys[i] > least)
                    kept[have++] = (entry){keys[i], from + i};
            if (have > room - 256 || (have >= k && !full)) {
                qsort(kept, have, sizeof(entry), by_key);
                have = k;
                least = kept[k - 1].key;
            }
        }
        qsort(kept, have, sizeof(entry), by_key);
        for (int64_t i = 0; i < k; i++)
            out[i] = kept[i].at;
    }
    free(kept);
}

/* operands [out, x], dense; shape [rows, n]; ints (k). */
int ft_run_top_k(const ft_step *s, ft_frame *f)
{
    top_ctx c = {s, f, 0};
    ft_parallel(top_rows, &c, s->shape[0], 1 + 8192 / s->shape[1], s->cost);
    return c.failed ? FT_EMEM : FT_OK;
}

/* ----- searching ------------------------------------------------------------------------------------ */

typedef struct { const ft_step *s; ft_frame *f; } search_ctx;

#define SEARCHES 1024              /* of one chunk */

static void search_pieces(void *ctx, int64_t lo, int64_t hi)
{
    const search_ctx *c = ctx;
    const ft_step *s = c->s;
    const ft_sort *k = s->kernel;
    int64_t m = s->shape[1], n = s->ints[1], pieces = (m + SEARCHES - 1) / SEARCHES;
    for (int64_t i = lo; i < hi; i++) {
        int64_t row = i / pieces, at = (i % pieces) * SEARCHES, v = row * m + at;
        k->search((int64_t *)FT_PTR(s, c->f, 0) + v, FT_PTR(s, c->f, 1) + row * n * k->size, n,
                  FT_PTR(s, c->f, 2) + v * k->size, ft_lesser(SEARCHES, m - at), (int)s->ints[0]);
    }
}

/* operands [out, a, v], dense; shape [rows, m]; ints (right, n). */
int ft_run_searchsorted(const ft_step *s, ft_frame *f)
{
    search_ctx c = {s, f};
    ft_parallel(search_pieces, &c, s->shape[0] * ((s->shape[1] + SEARCHES - 1) / SEARCHES), 1, s->cost);
    return FT_OK;
}

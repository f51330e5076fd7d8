/* Selection: which elements a stable sort would put at given places, and rows parted around them.
 *
 * What comes out is told by the values alone, not by how it was found: of equal elements the first comes
 * first, and a parted row keeps the order that its elements had within each part. */
#include "sort.h"

#include <stdlib.h>

#include "driver.h"

#define DIGIT 11
#define BLOCK 256
#define SHORT 1024                 /* elements of a row that is copied whole */
#define SELECT_NS(chunks, n, ns) ((chunks) > 1 ? (ns) * (double)(n) : 0.0)

typedef struct { uint64_t key; int64_t at; } entry;
typedef struct { int64_t place, number; } wanted;      /* a place, and the number of the result it is for */

static int bit_length(uint64_t x) { return x ? 64 - __builtin_clzll(x) : 0; }

static int by_place(const void *a, const void *b)
{
    const wanted *x = a, *y = b;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* From the counts of digits: numbers, from 1, of the digits that hold wanted places, and where the
 * members of each will lie. `first[g]` is how many elements come before those of number g; the wanted ones
 * of it end at `end[g]`. Gives how many numbers there are. */
typedef struct {
    uint16_t number[1 << DIGIT];
    int64_t first[(1 << DIGIT) + 1], count[(1 << DIGIT) + 1], end[(1 << DIGIT) + 1];
} table;

static int64_t numbered(table *t, const int64_t *count, int64_t digits, const wanted *w, int64_t m)
{
    int64_t groups = 0, before = 0, j = 0;
    for (int64_t d = 0; d < digits; d++) {
        t->number[d] = 0;
        if (j < m && w[j].place < before + count[d]) {
            t->number[d] = (uint16_t)++groups;
            t->first[groups] = before;
            t->count[groups] = count[d];
            while (j < m && w[j].place < before + count[d])
                j++;
            t->end[groups] = j;
        }
        before += count[d];
    }
    return groups;
}

/* ----- among some elements, in their order ----------------------------------------------------------- */

static int among(entry *e, int64_t n, int64_t before, const wanted *w, int64_t m, int64_t *out);

static int apart(entry *e, int64_t n, int64_t before, const wanted *w, int64_t m, int64_t *out,
                 const table *t, int64_t groups, uint64_t least, int shift)
{
    int64_t total = 0, *at = malloc((groups + 1) * sizeof(int64_t));
    for (int64_t g = 1; g <= groups; g++)
        total += t->count[g];
    entry *parts = at ? malloc(total * sizeof(entry)) : NULL;
    int code = parts ? FT_OK : FT_EMEM;
    if (parts) {
        at[0] = total = 0;
        for (int64_t g = 1; g <= groups; g++) {
            at[g] = total;
            total += t->count[g];
        }
        for (int64_t i = 0; i < n; i++) {
            int g = t->number[(e[i].key - least) >> shift];
            if (g)
                parts[at[g]++] = e[i];
        }
        for (int64_t g = 1, j = 0, from = 0; g <= groups && !code; j = t->end[g], from += t->count[g], g++)
            code = among(parts + from, t->count[g], before + t->first[g], w + j, t->end[g] - j, out);
    }
    free(parts);
    free(at);
    return code;
}

/* Writes the positions of the wanted places, ascending ones, of which e has those from `before` on. */
static int among(entry *e, int64_t n, int64_t before, const wanted *w, int64_t m, int64_t *out)
{
    for (;;) {
        uint64_t least = e[0].key, most = least;
        for (int64_t i = 1; i < n; i++) {
            least = e[i].key < least ? e[i].key : least;
            most = e[i].key > most ? e[i].key : most;
        }
        if (least != most && n <= 24) {
            for (int64_t i = 1; i < n; i++) {
                entry x = e[i];
                int64_t j = i;
                for (; j > 0 && e[j - 1].key > x.key; j--)
                    e[j] = e[j - 1];
                e[j] = x;
            }
            least = most;
        }
        if (least == most) {
            for (int64_t j = 0; j < m; j++)
                out[w[j].number] = e[w[j].place - before].at;
            return FT_OK;
        }
        int bits = (int)ft_lesser(DIGIT, bit_length((uint64_t)n) + 1), width = bit_length(most - least);
        int shift = width > bits ? width - bits : 0;
        int64_t count[1 << DIGIT], digits = (int64_t)((most - least) >> shift) + 1;
        wanted shifted[1];
        memset(count, 0, digits * sizeof(int64_t));
        for (int64_t i = 0; i < n; i++)
            count[(e[i].key - least) >> shift]++;
        table *t = malloc(sizeof(table));
        wanted *own = m == 1 ? shifted : malloc(m * sizeof(wanted));
        int code = t && own ? FT_OK : FT_EMEM;
        int64_t groups = 0;
        if (!code) {
            for (int64_t j = 0; j < m; j++)
                own[j] = (wanted){w[j].place - before, w[j].number};
            groups = numbered(t, count, digits, own, m);
            if (groups > 1)
                code = apart(e, n, before, w, m, out, t, groups, least, shift);
            else {                         /* goes on here, in place */
                int64_t kept = 0;
                for (int64_t i = 0; i < n; i++) {
                    e[kept] = e[i];
                    kept += t->number[(e[i].key - least) >> shift];
                }
                n = kept;
                before += t->first[1];
            }
        }
        free(t);
        if (own != shifted)
            free(own);
        if (code || groups > 1)
            return code;
    }
}

/* ----- of a row --------------------------------------------------------------------------------------- */

typedef struct {
    const ft_sort *k;
    const char *x;
    int64_t n, chunk, m, digits;
    int shift;
    uint64_t least;
    ft_span spans[8];
    int64_t *count;                /* by chunk and digit */
    table *t;
    int64_t groups, *at;           /* by chunk and group: where its members go */
    entry *found;
    /* for parting */
    uint64_t pivots[FT_PIVOTS];
    int64_t places[8][2 * FT_PIVOTS + 1];
    char *out;
    int positions;
} selection;

#define EACH_BLOCK(j, c)                                                                              \
    uint64_t keys[BLOCK];                                                                             \
    for (int64_t from = (c) * (j)->chunk, stop = ft_lesser(from + (j)->chunk, (j)->n), m;              \
         from < stop && (m = ft_lesser(BLOCK, stop - from),                                           \
                         (j)->k->load(keys, (j)->x + from * (j)->k->size, m), 1); from += m)

static void span_chunks(void *ctx, int64_t lo, int64_t hi)
{
    selection *j = ctx;
    for (int64_t c = lo; c < hi; c++)
        j->k->extent(j->x + c * j->chunk * j->k->size, ft_lesser(j->chunk, j->n - c * j->chunk),
                     &j->spans[c]);
}

static void count_chunks(void *ctx, int64_t lo, int64_t hi)
{
    const selection *j = ctx;
    for (int64_t c = lo; c < hi; c++) {
        int64_t *count = j->count + c * j->digits;
        memset(count, 0, j->digits * sizeof(int64_t));
        EACH_BLOCK(j, c)
            for (int64_t i = 0; i < m; i++)
                count[(keys[i] - j->least) >> j->shift]++;
    }
}

static void find_chunks(void *ctx, int64_t lo, int64_t hi)
{
    const selection *j = ctx;
    const uint64_t least = j->least;
    const int shift = j->shift;
    const uint16_t *number = j->t->number;
    for (int64_t c = lo; c < hi; c++) {
        int64_t *at = j->at + c * (j->groups + 1);
        EACH_BLOCK(j, c) {
            if (j->groups == 1) {          /* no branch that depends on the data */
                int32_t one[BLOCK + 1];
                int64_t have = 0;
                for (int64_t i = 0; i < m; i++) {
                    one[have] = (int32_t)i;
                    have += number[(keys[i] - least) >> shift];
                }
                entry *to = j->found + at[1];
                for (int64_t i = 0; i < have; i++)
                    to[i] = (entry){keys[one[i]], from + one[i]};
                at[1] += have;
            } else
                for (int64_t i = 0; i < m; i++) {
                    int g = number[(keys[i] - least) >> shift];
                    if (g)
                        j->found[at[g]++] = (entry){keys[i], from + i};
                }
        }
    }
}

static int64_t dealt(selection *j)
{
    int64_t chunks = j->n < 1 << 16 ? 1 : 8;
    j->chunk = (j->n + chunks - 1) / chunks;
    return chunks;
}

static int long_row(selection *j, const wanted *w, int64_t *out)
{
    int64_t n = j->n, m = j->m, chunks = dealt(j);
    ft_parallel(span_chunks, j, chunks, 1, SELECT_NS(chunks, n, 0.3));
    if (ft_stopped())                      /* here and below: what is there is not what the rest relies on */
        return FT_OK;
    uint64_t least = j->spans[0].least, most = j->spans[0].most;
    for (int64_t c = 1; c < chunks; c++) {
        least = j->spans[c].least < least ? j->spans[c].least : least;
        most = j->spans[c].most > most ? j->spans[c].most : most;
    }
    if (least == most) {
        for (int64_t i = 0; i < m; i++)
            out[w[i].number] = w[i].place;
        return FT_OK;
    }
    int bits = (int)ft_lesser(DIGIT, bit_length((uint64_t)n)), width = bit_length(most - least);
    j->least = least;
    j->shift = width > bits ? width - bits : 0;
    int64_t digits = j->digits = (int64_t)((most - least) >> j->shift) + 1, total = 0;
    int code = FT_EMEM;
    j->t = malloc(sizeof(table));
    j->count = malloc(chunks * digits * sizeof(int64_t));
    int64_t *sum = malloc(digits * sizeof(int64_t));
    j->at = NULL;
    j->found = NULL;
    if (!j->t || !j->count || !sum)
        goto done;
    ft_parallel(count_chunks, j, chunks, 1, SELECT_NS(chunks, n, 1.0));
    if (ft_stopped()) {
        code = FT_OK;
        goto done;
    }
    for (int64_t d = 0; d < digits; d++) {
        sum[d] = 0;
        for (int64_t c = 0; c < chunks; c++)
            sum[d] += j->count[c * digits + d];
    }
    j->groups = numbered(j->t, sum, digits, w, m);
    for (int64_t g = 1; g <= j->groups; g++)
        total += j->t->count[g];
    j->at = malloc(chunks * (j->groups + 1) * sizeof(int64_t));
    j->found = malloc(total * sizeof(entry));
    if (!j->at || !j->found)
        goto done;
    total = 0;
    for (int64_t d = 0; d < digits; d++)
        if (j->t->number[d])
            for (int64_t c = 0; c < chunks; c++) {
                j->at[c * (j->groups + 1) + j->t->number[d]] = total;
                total += j->count[c * digits + d];
            }
    ft_parallel(find_chunks, j, chunks, 1, SELECT_NS(chunks, n, 1.0));
    code = FT_OK;
    for (int64_t g = 1, i = 0, from = 0; g <= j->groups && !code && !ft_stopped();
         i = j->t->end[g], from += j->t->count[g], g++)
        code = among(j->found + from, j->t->count[g], j->t->first[g], w + i, j->t->end[g] - i, out);
done:
    free(j->t);
    free(j->count);
    free(sum);
    free(j->at);
    free(j->found);
    return code;
}

/* Positions, in the row, of the elements that belong at j->m places; w is room for as many. */
static int select_row(selection *j, const int64_t *places, wanted *w, int64_t *out)
{
    for (int64_t i = 0; i < j->m; i++) {
        int64_t p = places[i] < 0 ? 0 : places[i];
        w[i] = (wanted){ft_lesser(p, j->n - 1), i};
    }
    if (j->n <= FT_SORT_SMALL) {
        int64_t order[FT_SORT_SMALL];
        j->k->small_places(order, j->x, j->n, 0);
        for (int64_t i = 0; i < j->m; i++)
            out[i] = order[w[i].place];
        return FT_OK;
    }
    for (int64_t i = 1; i < j->m; i++)
        if (w[i].place < w[i - 1].place) {
            qsort(w, j->m, sizeof(wanted), by_place);
            break;
        }
    if (j->n > SHORT)
        return long_row(j, w, out);
    entry all[SHORT];
    j->chunk = j->n;
    EACH_BLOCK(j, 0)
        for (int64_t i = 0; i < m; i++)
            all[from + i] = (entry){keys[i], from + i};
    return among(all, j->n, 0, w, j->m, out);
}

typedef struct { const ft_step *s; ft_frame *f; int failed; } rows_ctx;

static void select_rows(void *ctx, int64_t lo, int64_t hi)
{
    rows_ctx *c = ctx;
    const ft_step *s = c->s;
    int64_t n = s->shape[1], m = s->ints[0];
    wanted *w = malloc((m ? m : 1) * sizeof(wanted));
    selection *j = malloc(sizeof(selection));
    int failed = !w || !j;
    for (int64_t i = lo; i < hi && !failed; i++) {
        j->k = s->kernel;
        j->n = n;
        j->m = m;
        j->x = FT_PTR(s, c->f, 1) + i * n * j->k->size;
        failed = select_row(j, (const int64_t *)FT_PTR(s, c->f, 2) + (s->ints[1] ? i * m : 0), w,
                            (int64_t *)FT_PTR(s, c->f, 0) + i * m) != FT_OK;
    }
    free(w);
    free(j);
    if (failed)
        __atomic_store_n(&c->failed, 1, __ATOMIC_RELAXED);
}

static int run_rows(const ft_step *s, ft_frame *f, ft_range_fn fn)
{
    rows_ctx c = {s, f, 0};
    if (s->shape[0] == 1)
        fn(&c, 0, 1);                      /* the row itself is dealt */
    else
        ft_parallel(fn, &c, s->shape[0], 1 + 8192 / s->shape[1], s->cost);
    return c.failed ? FT_EMEM : FT_OK;
}

/* operands [out, x, places], dense; shape [rows, n]; ints (places a row, whether each row has its own). */
int ft_run_argselect(const ft_step *s, ft_frame *f)
{
    return s->ints[0] ? run_rows(s, f, select_rows) : FT_OK;
}

/* ----- parted rows ------------------------------------------------------------------------------------ */

/* Adds to size[q], by part of n elements, how many there are: part 2 p + 1 is what equals pivot p. */
static void sizes(const selection *j, const char *x, int64_t n, int64_t *size)
{
    int64_t rest = n;
    for (int64_t p = 0; p < j->m; p++) {
        int64_t above = 0, equal = 0;
        j->k->tally(x, n, j->pivots[p], &above, &equal);
        size[2 * p] += rest - above - equal;
        size[2 * p + 1] += equal;
        rest = above;
    }
    size[2 * j->m] += rest;
}

static void sizes_of_chunks(void *ctx, int64_t lo, int64_t hi)
{
    selection *j = ctx;
    for (int64_t c = lo; c < hi; c++) {
        memset(j->places[c], 0, sizeof(j->places[c]));
        int64_t stop = ft_lesser((c + 1) * j->chunk, j->n);
        for (int64_t from = c * j->chunk; from < stop; from += BLOCK)
            sizes(j, j->x + from * j->k->size, ft_lesser(BLOCK, stop - from), j->places[c]);
    }
}

static void put(const selection *j, int64_t to, int64_t from, const int32_t *at, int64_t m)
{
    if (j->positions) {
        int64_t *out = (int64_t *)j->out + to;
        for (int64_t i = 0; i < m; i++)
            out[i] = from + at[i];
    } else if (j->k->size == 8) {
        uint64_t *out = (uint64_t *)j->out + to;
        const uint64_t *x = (const uint64_t *)j->x + from;
        for (int64_t i = 0; i < m; i++)
            out[i] = x[at[i]];
    } else {
        uint32_t *out = (uint32_t *)j->out + to;
        const uint32_t *x = (const uint32_t *)j->x + from;
        for (int64_t i = 0; i < m; i++)
            out[i] = x[at[i]];
    }
}

static void part_chunks(void *ctx, int64_t lo, int64_t hi)
{
    selection *j = ctx;
    for (int64_t c = lo; c < hi; c++) {
        int64_t *place = j->places[c];
        int64_t stop = ft_lesser((c + 1) * j->chunk, j->n);
        for (int64_t from = c * j->chunk; from < stop; from += BLOCK) {
            const char *x = j->x + from * j->k->size;
            int64_t n = ft_lesser(BLOCK, stop - from), size[2 * FT_PIVOTS + 1] = {0};
            sizes(j, x, n, size);
            for (int64_t q = 0; q <= 2 * j->m; q++) {
                int32_t at[BLOCK + 1];
                uint64_t low = q & 1 ? j->pivots[q / 2] : q ? j->pivots[q / 2 - 1] + 1 : 0;
                uint64_t high = q < 2 * j->m ? j->pivots[q / 2] - !(q & 1)
                                             : (uint64_t)-1 >> (64 - 8 * j->k->size);
                if (size[q]) {
                    j->k->within(at, x, n, low, high);
                    put(j, place[q], from, at, size[q]);
                    place[q] += size[q];
                }
            }
        }
    }
}

static int part_row(selection *j, const int64_t *kth)
{
    wanted w[FT_PIVOTS];
    int64_t found[FT_PIVOTS];
    int code = select_row(j, kth, w, found);
    if (code || ft_stopped())
        return code;
    for (int64_t p = 0; p < j->m; p++)
        j->pivots[p] = j->k->key(j->x, found[p]);
    int64_t chunks = dealt(j), total = 0, asked = j->m, distinct = 1;
    for (int64_t p = 1; p < asked; p++)
        if (j->pivots[p] != j->pivots[p - 1])
            j->pivots[distinct++] = j->pivots[p];
    j->m = distinct;
    ft_parallel(sizes_of_chunks, j, chunks, 1, SELECT_NS(chunks, j->n, 0.3));
    if (ft_stopped())
        return FT_OK;
    for (int64_t p = 0; p <= 2 * j->m; p++)
        for (int64_t c = 0; c < chunks; c++) {
            int64_t size = j->places[c][p];
            j->places[c][p] = total;
            total += size;
        }
    ft_parallel(part_chunks, j, chunks, 1, SELECT_NS(chunks, j->n, 1.5));
    j->m = asked;
    return FT_OK;
}

static void part_rows(void *ctx, int64_t lo, int64_t hi)
{
    rows_ctx *c = ctx;
    const ft_step *s = c->s;
    int64_t n = s->shape[1];
    selection *j = malloc(sizeof(selection));
    int failed = !j;
    for (int64_t i = lo; i < hi && !failed; i++) {
        j->k = s->kernel;
        j->n = n;
        j->m = s->nint - 1;
        j->positions = (int)s->ints[0];
        j->x = FT_PTR(s, c->f, 1) + i * n * j->k->size;
        j->out = FT_PTR(s, c->f, 0) + i * n * (j->positions ? (int64_t)sizeof(int64_t) : j->k->size);
        failed = part_row(j, s->ints + 1) != FT_OK;
    }
    free(j);
    if (failed)
        __atomic_store_n(&c->failed, 1, __ATOMIC_RELAXED);
}

/* operands [out, x], dense; shape [rows, n]; ints (whether positions are asked for, ascending places). */
int ft_run_partition(const ft_step *s, ft_frame *f) { return run_rows(s, f, part_rows); }

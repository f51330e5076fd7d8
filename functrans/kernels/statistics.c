/* The driver of statistics: several arrays, each in parts that threads take. */
#include "statistics.h"

#include <stdlib.h>

#include "driver.h"

#define PART 65536                 /* elements, at least */
#define MOST_PARTS 64              /* of an array: histograms of parts are kept until all are counted */

double ft_powers[FT_POWERS + 1];
uint16_t ft_cells[FT_CELLS];

__attribute__((constructor)) static void fill_tables(void)
{
    double v = 1e-12;
    for (int k = 0; k < FT_POWERS; k++, v *= 1.1)
        ft_powers[k] = v;
    ft_powers[FT_POWERS] = INFINITY;
    int k = 0;
    for (int64_t cell = 0; cell < FT_CELLS; cell++) {
        int64_t bits = (cell + FT_CELL_FIRST) << FT_CELL_SHIFT;
        double least;
        memcpy(&least, &bits, sizeof least);
        while (ft_powers[k] < least)
            k++;
        ft_cells[cell] = (uint16_t)k;
    }
}

typedef struct {
    const ft_statistics *k;
    const char *x;
    int64_t n, size, length, first;    /* elements, bytes of one, elements of a part, number of its first part */
    double *row;
} array;

typedef struct {
    const array *arrays;
    int count, bins;
    double *rows;                  /* of parts */
    uint32_t *counts;
} job;

static void look(const array *a, int64_t from, int64_t to, double *row, uint32_t *counts)
{
    for (int c = 0; c < FT_COLUMNS; c++)
        row[c] = c < FT_MOST ? 0 : -INFINITY;
    for (int64_t i = from; i < to; i += FT_STAT_BLOCK) {
        int64_t m = ft_lesser(FT_STAT_BLOCK, to - i);
        a->k->block(row, a->x + i * a->size, m);
        if (counts)
            a->k->histogram(counts, a->x + i * a->size, m);
    }
}

static void run_parts(void *ctx, int64_t lo, int64_t hi)
{
    const job *j = ctx;
    int k = 0;
    for (int64_t t = lo; t < hi; t++) {
        while (k + 1 < j->count && j->arrays[k + 1].first <= t)
            k++;
        const array *a = &j->arrays[k];
        int64_t from = (t - a->first) * a->length;
        uint32_t *counts = j->bins ? j->counts + t * FT_BUCKETS : NULL;
        if (counts)
            memset(counts, 0, FT_BUCKETS * sizeof *counts);
        look(a, from, ft_lesser(from + a->length, a->n), j->rows + t * FT_COLUMNS, counts);
    }
}

/* The parts of an array, in their order. */
static void together(const job *j, const array *a, int64_t parts)
{
    for (int64_t t = a->first; t < a->first + parts; t++) {
        const double *row = j->rows + t * FT_COLUMNS;
        for (int c = 0; c < FT_COLUMNS; c++)
            a->row[c] = c < FT_MOST ? a->row[c] + row[c] : row[c] > a->row[c] ? row[c] : a->row[c];
        if (j->bins)
            for (int b = 0; b < FT_BUCKETS; b++)
                a->row[FT_COLUMNS + b] += j->counts[t * FT_BUCKETS + b];
    }
}

/* ints: whether histograms are wanted, whether elements are doubles; then the number of elements of each array. */
int ft_run_statistics(const ft_step *s, ft_frame *f)
{
    int count = s->nopnd - 1, bins = (int)s->ints[0], code = FT_OK;
    int64_t columns = FT_COLUMNS + (bins ? FT_BUCKETS : 0), parts = 0;
    double *out = (double *)FT_PTR(s, f, 0);
    array few[16], *arrays = count <= 16 ? few : malloc(count * sizeof *arrays);
    job j = {arrays, count, bins, NULL, NULL};

    if (!arrays)
        return FT_EMEM;
    for (int k = 0; k < count; k++) {
        array *a = &arrays[k];
        a->k = s->kernel;
        a->size = s->ints[1];
        a->n = s->ints[2 + k];
        a->x = FT_PTR(s, f, k + 1);
        a->row = out + k * columns;
        a->first = parts;
        a->length = (a->n / MOST_PARTS / PART + 1) * PART;
        parts += (a->n + a->length - 1) / a->length;
    }
    if (!bins && s->cost < FT_PARALLEL_NS) {
        for (int k = 0; k < count; k++)
            look(&arrays[k], 0, arrays[k].n, arrays[k].row, NULL);
    } else {
        j.rows = malloc(parts * FT_COLUMNS * sizeof *j.rows + 1);
        j.counts = bins ? malloc(parts * FT_BUCKETS * sizeof *j.counts + 1) : NULL;
        if (!j.rows || (bins && !j.counts)) {
            code = FT_EMEM;
        } else {
            ft_parallel(run_parts, &j, parts, 1, s->cost);
            for (int k = 0; k < count; k++) {
                for (int64_t c = 0; c < columns; c++)
                    arrays[k].row[c] = c < FT_MOST || c >= FT_COLUMNS ? 0 : -INFINITY;
                together(&j, &arrays[k], (k + 1 < count ? arrays[k + 1].first : parts) - arrays[k].first);
            }
        }
        free(j.rows);
        free(j.counts);
    }
    if (arrays != few)
        free(arrays);
    return code;
}

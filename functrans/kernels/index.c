#include "index.h"

#include "driver.h"

enum { CLIP, FILL, WRAP };     /* of a gather */
enum { DROP, CLAMP };          /* of a scatter */

typedef struct {
    const ft_step *s;
    ft_frame *f;
} step_ctx;

static int64_t clip(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static int64_t wrap(int64_t i, int64_t n)
{
    int64_t r = i % n;
    return r < 0 ? r + n : r;
}

static void fill_row(char *out, int64_t bytes, int64_t size, const char *value)
{
    for (int64_t j = 0; j < bytes; j += size)
        memcpy(out + j, value, size);
}

static void gather_rows(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    const ft_step *s = c->s;
    int64_t k = s->ints[0], mode = s->ints[1], bytes = s->ints[2 + k];
    const int64_t *extent = s->ints + 2;
    const char *fill = (const char *)&s->ints[3 + k];
    const int64_t size = (int64_t)(intptr_t)s->kernel;
    const char *x = FT_PTR(s, c->f, 1);
    char *out = FT_PTR(s, c->f, 0) + lo * bytes;
    for (int64_t i = lo; i < hi; i++, out += bytes) {
        int64_t row = 0;
        int outside = 0;
        for (int64_t d = 0; d < k; d++) {
            int64_t at = ((const int64_t *)FT_PTR(s, c->f, 2 + d))[i], n = extent[d];
            if (at < 0 || at >= n) {
                outside |= mode == FILL || n == 0;      /* an empty axis has nothing to read */
                at = n == 0 ? 0 : mode == WRAP ? wrap(at, n) : clip(at, n);
            }
            row = row * n + at;
        }
        if (outside)
            fill_row(out, bytes, size, fill);
        else if (bytes == 8)
            memcpy(out, x + row * 8, 8);
        else
            memcpy(out, x + row * bytes, bytes);
    }
}

int ft_run_gather(const ft_step *s, ft_frame *f)
{
    int64_t bytes = s->ints[2 + s->ints[0]];
    step_ctx c = {s, f};
    ft_parallel(gather_rows, &c, s->shape[0], 1 + 32768 / (bytes + 8), s->cost);
    return FT_OK;
}

/* All updates in index order, for the elements lo..hi of each row. */
static void scatter_columns(void *ctx, int64_t lo, int64_t hi)
{
    const step_ctx *c = ctx;
    const ft_step *s = c->s;
    const ft_scatter *kernel = s->kernel;
    int64_t k = s->ints[0], mode = s->ints[1], n = s->ints[2 + k], size = kernel->size;
    const int64_t *extent = s->ints + 2;
    char *out = FT_PTR(s, c->f, 0) + lo * size;
    const char *update = FT_PTR(s, c->f, 1) + lo * size;
    for (int64_t i = 0; i < s->shape[0]; i++, update += n * size) {
        int64_t row = 0;
        int outside = 0;
        for (int64_t d = 0; d < k; d++) {
            int64_t at = ((const int64_t *)FT_PTR(s, c->f, 2 + d))[i];
            if (at < 0 || at >= extent[d]) {
                outside |= mode == DROP || extent[d] == 0;
                at = extent[d] ? clip(at, extent[d]) : 0;
            }
            row = row * extent[d] + at;
        }
        if (!outside)
            kernel->row(out + row * n * size, update, hi - lo);
    }
}

int ft_run_scatter(const ft_step *s, ft_frame *f)
{
    int64_t n = s->ints[2 + s->ints[0]];
    step_ctx c = {s, f};
    ft_parallel(scatter_columns, &c, n, 1024, s->cost);
    return FT_OK;
}

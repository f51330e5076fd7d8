/* The driver of convolutions: which form one takes, and how it is cut into tasks. Both follow from
 * shapes alone, so results do not depend on the number of threads. */
#include "conv.h"

#include <stdatomic.h>

#include "driver.h"
#include "space.h"

#define PART_BYTES (256 << 10)     /* of a task's packed image: the second cache's */
#define LINES_BYTES (4 << 20)      /* of the packed filters of the deep form, at once */
#define TASKS 16
#define FEW_FILTERS 2              /* as FEW in conv_body.h: their lines are kept whole, */
#define LINE_BYTES 64              /* ended to a multiple of this */
#define FEW_PIXELS 192             /* a block of the output is not cut further */
#define SLACK 256                  /* elements that vectors may read beyond a packed image */
#define CHUNK 2e4                  /* multiply-adds that are worth handing to a thread */

typedef struct {
    const ft_conv *kernel;
    ft_conv_dims c;                /* of one group; of one part of its filters in the wide form */
    char *out;
    const char *x, *w;
    int64_t groups, xg, wg, og;    /* groups, and bytes from one to the next */
    int64_t parts;                 /* of a group's filters (wide), of its channels (deep) */
    int64_t taps, *off, *woff;     /* wide: where each tap reads in the packed image, and its filter */
    int64_t blocks[4], panels;
    int64_t nb, rows, strips, some, round, each;     /* deep: see there */
    char *packed, *acc;
    atomic_int failed;
    double cost;
} conv;

static int64_t parts_of(int64_t n, int64_t of) { return (n + of - 1) / of; }

static int64_t product3(const int64_t *n) { return n[0] * n[1] * n[2]; }

static int64_t chunk_of(double work)
{
    return work > CHUNK ? 1 : (int64_t)(CHUNK / (work + 1)) + 1;
}

/* The packed image that `reach` elements along each axis need. */
static void layout(ft_conv_dims *c, const int64_t *reach, int64_t split, int64_t phases)
{
    c->ext[0] = reach[0];
    c->ext[1] = reach[1];
    c->split = split;
    c->phases = phases;
    c->wide = (reach[2] - 1) / split + 1;
    c->row = phases * c->wide;
    c->plane = c->ext[1] * c->row;
    c->channel = c->ext[0] * c->plane;
}

/* ----- wide ---------------------------------------------------------------------------------- */

static void blocks_of(ft_conv_dims *c)
{
    int64_t reach[3];
    for (int a = 0; a < 3; a++)
        reach[a] = (c->b[a] - 1) * c->s[a] + (c->k[a] - 1) * c->d[a] + 1;
    layout(c, reach, c->s[2], ft_lesser(c->s[2], (c->k[2] - 1) * c->d[2] + 1));
}

static void filter_range(void *ctx, int64_t lo, int64_t hi)
{
    const conv *p = ctx;
    int64_t size = p->kernel->size, mr = p->kernel->mr;
    for (int64_t u = lo; u < hi; u++) {
        int64_t i = u % p->panels, gp = u / p->panels, part = gp % p->parts, g = gp / p->parts;
        ft_conv_dims c = p->c;
        c.cout = ft_lesser(p->each, p->c.cout - part * p->each);
        if (i * mr < c.cout)
            p->kernel->filters(p->packed + gp * p->panels * mr * p->taps * size,
                               p->w + g * p->wg + part * p->each * c.wo, &c, p->woff, p->taps, i);
    }
}

static void wide_range(void *ctx, int64_t lo, int64_t hi)
{
    conv *p = ctx;
    const ft_conv_dims *whole = &p->c;
    int64_t size = p->kernel->size, part_size = whole->cin * whole->channel;
    int64_t bytes = (whole->b[3] * part_size + SLACK) * size;
    bytes = (bytes + 63) & ~(int64_t)63;
    char *space = ft_space_take(bytes + FT_CONV_SCRATCH(p->kernel, p->panels));
    if (!space) {
        atomic_store(&p->failed, 1);
        return;
    }
    for (int64_t u = lo; u < hi; u++) {
        int64_t at = u, start[3], b[4], from[3];
        ft_conv_dims c = *whole;
        for (int a = 2; a >= 0; a--) {
            start[a] = at % p->blocks[a] * c.b[a];
            at /= p->blocks[a];
            b[a] = ft_lesser(c.b[a], c.o[a] - start[a]);
            from[a] = start[a] * c.s[a] - c.lo[a];
        }
        int64_t part = at % p->parts, i = at / p->parts % p->blocks[3], g = at / p->parts / p->blocks[3];
        int64_t image = i * c.b[3];
        b[3] = ft_lesser(c.b[3], c.images - image);
        char *out = p->out + g * p->og + image * c.on + part * p->each * c.oc;
        for (int a = 0; a < 3; a++)
            out += start[a] * c.os[a];
        c.cout = ft_lesser(p->each, c.cout - part * p->each);
        for (i = 0; i < b[3]; i++)
            p->kernel->part(space + i * part_size * size, p->x + g * p->xg + (image + i) * c.xn, &c, c.cin,
                            from);
        p->kernel->wide(out, space, p->packed + (g * p->parts + part) * p->panels * p->kernel->mr *
                        p->taps * size, &c, p->off, p->taps, b, space + bytes);
    }
    ft_space_give(space);
}

static int wide(conv *p)
{
    ft_conv_dims *c = &p->c;
    int64_t size = p->kernel->size, mr = p->kernel->mr;
    memcpy(c->b, c->o, sizeof c->o);
    /* strips go on from one small image to the next, if there are strips at all */
    c->b[3] = c->cout > 8 ? FEW_PIXELS * 4 / 3 / product3(c->o) : 1;
    c->b[3] = c->b[3] < 1 ? 1 : ft_lesser(c->b[3], c->images);
    p->blocks[3] = parts_of(c->images, c->b[3]);
    c->b[3] = parts_of(c->images, p->blocks[3]);
    for (;;) {
        int64_t tasks = p->groups * p->blocks[3];
        for (int a = 0; a < 3; a++)
            tasks *= p->blocks[a] = parts_of(c->o[a], c->b[a]);
        blocks_of(c);
        if ((tasks >= TASKS && c->cin * c->channel * size <= PART_BYTES) ||
            product3(c->b) <= FEW_PIXELS) {
            p->parts = 1;
            while (tasks * p->parts < TASKS && parts_of(c->cout, p->parts) > 128)
                p->parts *= 2;
            break;
        }
        int a = c->b[0] > 1 ? 0 : c->b[1] > 1 ? 1 : 2;
        c->b[a] = (c->b[a] + 1) / 2;
    }
    p->each = parts_of(c->cout, p->parts);
    p->parts = parts_of(c->cout, p->each);
    p->panels = parts_of(p->each, mr);
    p->taps = c->cin * product3(c->k);
    int64_t sets = p->groups * p->parts * p->panels, filters = sets * mr * p->taps * size;
    char *space = ft_space_take(2 * p->taps * sizeof(int64_t) + filters + 64);
    if (!space)
        return FT_EMEM;
    p->packed = space;
    p->off = (int64_t *)(space + ((filters + 63) & ~(int64_t)63));
    p->woff = p->off + p->taps;
    int64_t t = 0;
    for (int64_t i = 0; i < c->cin; i++)
        for (int64_t z = 0; z < c->k[0]; z++)
            for (int64_t y = 0; y < c->k[1]; y++)
                for (int64_t x = 0; x < c->k[2]; x++, t++) {
                    int64_t at = x * c->d[2];
                    p->off[t] = i * c->channel + z * c->d[0] * c->plane + y * c->d[1] * c->row +
                                at % c->split * c->wide + at / c->split;
                    p->woff[t] = i * c->wc + z * c->ws[0] + y * c->ws[1] + x * c->ws[2];
                }
    int64_t tasks = p->groups * p->blocks[3] * p->parts * product3(p->blocks);
    double panel = (double)p->taps * mr, work = (double)p->taps * p->each * product3(c->b) * c->b[3];
    ft_parallel(filter_range, p, sets, chunk_of(panel * 8), p->cost > 0 ? (double)sets * panel : 0);
    ft_parallel(wide_range, p, tasks, chunk_of(work), p->cost);
    ft_space_give(space);
    return atomic_load(&p->failed) ? FT_EMEM : FT_OK;
}

/* ----- deep ----------------------------------------------------------------------------------
 *
 * Rows are the outputs of `nb` images, which are packed one channel at a time; columns the output's
 * channels in strips. The channels are cut into `parts` where there are few tasks else: each part has
 * sums of its own, which are added in order. Filters are packed for `some` channels of each part. */

/* Of one strip of one channel: taps of nr filters side by side, or whole lines of few filters, each of which
 * kernels end with zeros. */
static int64_t lines_bytes(const conv *p)
{
    int64_t n = p->c.k[2], size = p->kernel->size, lanes = LINE_BYTES / size;
    int64_t side = n * p->kernel->nr, whole = FEW_FILTERS * parts_of(n, lanes) * lanes;
    return p->c.k[0] * p->c.k[1] * (side > whole ? side : whole) * size;
}

static int64_t channels_of(const conv *p, int64_t part, int64_t *first)
{
    int64_t end = ft_lesser((part + 1) * p->each, p->c.cin);
    *first = part * p->each + p->round * p->some;
    return ft_lesser(p->some, end - *first);
}

static void lines_range(void *ctx, int64_t lo, int64_t hi)
{
    const conv *p = ctx;
    for (int64_t u = lo; u < hi; u++) {
        int64_t i = u % p->strips, g = u / p->strips % p->groups, at = u / p->strips / p->groups;
        int64_t first, part = at / p->some, count = channels_of(p, part, &first);
        if (at % p->some < count)
            p->kernel->lines(p->packed + u * lines_bytes(p),
                             p->w + g * p->wg + (first + at % p->some) * p->c.wc, &p->c, i);
    }
}

/* The sums of one task: [strip][row][nr]. */
static char *sums(const conv *p, int64_t part, int64_t g, int64_t block)
{
    int64_t each = p->strips * p->nb * p->rows * p->kernel->nr * p->kernel->size;
    return p->acc + ((part * p->groups + g) * p->blocks[0] + block) * each;
}

static void deep_range(void *ctx, int64_t lo, int64_t hi)
{
    conv *p = ctx;
    const ft_conv_dims *c = &p->c;
    int64_t size = p->kernel->size, strip = p->nb * p->rows * p->kernel->nr * size;
    const int64_t from[3] = {-c->lo[0], -c->lo[1], -c->lo[2]};
    char *space = ft_space_take((p->nb * c->channel + SLACK) * size);
    if (!space) {
        atomic_store(&p->failed, 1);
        return;
    }
    for (int64_t u = lo; u < hi; u++) {
        int64_t block = u % p->blocks[0], g = u / p->blocks[0] % p->groups;
        int64_t first, part = u / p->blocks[0] / p->groups, count = channels_of(p, part, &first);
        int64_t images = ft_lesser(p->nb, c->images - block * p->nb);
        char *acc = sums(p, part, g, block);
        if (p->round == 0)
            memset(acc, 0, p->strips * strip);
        for (int64_t f = 0; f < count; f++) {
            for (int64_t i = 0; i < images; i++)
                p->kernel->part(space + i * c->channel * size, p->x + g * p->xg +
                                (block * p->nb + i) * c->xn + (first + f) * c->xc, c, 1, from);
            for (int64_t s = 0; s < p->strips; s++)
                p->kernel->deep(acc + s * strip, space, p->off, images * p->rows, p->packed +
                                (((part * p->some + f) * p->groups + g) * p->strips + s) *
                                lines_bytes(p), c, s);
        }
    }
    ft_space_give(space);
}

static void store(char *out, int64_t step, const char *in, int64_t n, int64_t size)
{
    if (size == 4)
        for (int64_t i = 0; i < n; i++)
            memcpy(out + i * step, in + i * 4, 4);
    else if (size == 8)
        for (int64_t i = 0; i < n; i++)
            memcpy(out + i * step, in + i * 8, 8);
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(out + i * step, in + i * size, size);
}

static void store_range(void *ctx, int64_t lo, int64_t hi)
{
    const conv *p = ctx;
    const ft_conv_dims *c = &p->c;
    int64_t nr = p->kernel->nr, size = p->kernel->size;
    for (int64_t u = lo; u < hi; u++) {
        int64_t block = u % p->blocks[0], g = u / p->blocks[0];
        int64_t count = ft_lesser(p->nb, c->images - block * p->nb) * p->rows;
        for (int64_t s = 0; s < p->strips; s++) {
            int64_t from = s * p->nb * p->rows * nr * size;
            char *acc = sums(p, 0, g, block) + from;
            for (int64_t part = 1; part < p->parts; part++)
                p->kernel->add(acc, sums(p, part, g, block) + from, count * nr, size, size);
            for (int64_t r = 0; r < count; r++) {
                int64_t at = r % p->rows;
                char *out = p->out + g * p->og + (block * p->nb + r / p->rows) * c->on + s * nr * c->oc +
                            at % c->o[2] * c->os[2] + at / c->o[2] % c->o[1] * c->os[1] +
                            at / c->o[2] / c->o[1] * c->os[0];
                store(out, c->oc, acc + r * nr * size, ft_lesser(nr, c->cout - s * nr), size);
            }
        }
    }
}

static int deep(conv *p)
{
    ft_conv_dims *c = &p->c;
    int64_t size = p->kernel->size, nr = p->kernel->nr, reach[3];
    for (int a = 0; a < 3; a++)
        reach[a] = (c->o[a] - 1) * c->s[a] + (c->k[a] - 1) * c->d[a] + 1;
    layout(c, reach, c->d[2], ft_lesser(c->d[2], (c->o[2] - 1) * c->s[2] + 1));
    p->rows = product3(c->o);
    p->strips = parts_of(c->cout, nr);
    p->nb = ft_lesser(c->images, PART_BYTES / 2 / (c->channel * size) + 1);
    while (p->nb > 1 && p->groups * parts_of(c->images, p->nb) < TASKS)
        p->nb = (p->nb + 1) / 2;
    p->blocks[0] = parts_of(c->images, p->nb);
    int64_t tasks = p->groups * p->blocks[0];
    p->parts = 1;
    while (tasks * p->parts < TASKS && p->parts * 2 <= c->cin)
        p->parts *= 2;
    p->each = parts_of(c->cin, p->parts);
    p->parts = parts_of(c->cin, p->each);
    p->some = LINES_BYTES / (p->parts * p->groups * p->strips * lines_bytes(p));
    p->some = p->some < 1 ? 1 : ft_lesser(p->some, p->each);

    int64_t lines = p->parts * p->some * p->groups * p->strips;
    int64_t acc = p->parts * tasks * p->strips * p->nb * p->rows * nr * size;
    char *space = ft_space_take(lines * lines_bytes(p) + acc + p->nb * p->rows * sizeof(int64_t) + 192);
    if (!space)
        return FT_EMEM;
    p->acc = space;
    p->packed = space + ((acc + 63) & ~(int64_t)63);
    p->off = (int64_t *)(p->packed + ((lines * lines_bytes(p) + 63) & ~(int64_t)63));
    for (int64_t r = 0; r < p->nb * p->rows; r++) {
        int64_t x = r % c->o[2] * c->s[2], y = r / c->o[2] % c->o[1], z = r / c->o[2] / c->o[1] % c->o[0];
        p->off[r] = r / p->rows * c->channel + z * c->s[0] * c->plane + y * c->s[1] * c->row +
                    x % c->split * c->wide + x / c->split;
    }
    int64_t rounds = parts_of(p->each, p->some);
    double positions = (double)product3(c->k) * nr;
    double work = (double)p->nb * p->rows * c->cout * p->some * product3(c->k);
    for (p->round = 0; p->round < rounds; p->round++) {
        ft_parallel(lines_range, p, lines, chunk_of(positions * 8),
                    p->cost > 0 ? 0.3 * (double)lines * positions : 0);
        ft_parallel(deep_range, p, p->parts * tasks, chunk_of(work), p->cost / (double)rounds);
    }
    ft_parallel(store_range, p, tasks, chunk_of((double)acc / (double)tasks), p->cost > 0 ? (double)acc : 0);
    ft_space_give(space);
    return atomic_load(&p->failed) ? FT_EMEM : FT_OK;
}

/* Operands out, x, w; shape: images, filters of a group, three extents of the output. ints: groups;
 * bytes between groups of x, w, out; channels of a group; then extents of image and filter, strides,
 * dilation of the filter, padding before, three each. */
int ft_run_conv(const ft_step *s, ft_frame *f)
{
    const int64_t *n = s->ints, *so = s->opnd[0].strides, *sx = s->opnd[1].strides,
                  *sw = s->opnd[2].strides;
    conv p = {.kernel = s->kernel, .out = FT_PTR(s, f, 0), .x = FT_PTR(s, f, 1), .w = FT_PTR(s, f, 2),
              .groups = n[0], .xg = n[1], .wg = n[2], .og = n[3], .cost = s->cost,
              .c = {.images = s->shape[0], .cin = n[4], .cout = s->shape[1],
                    .xn = sx[0], .xc = sx[1], .wo = sw[0], .wc = sw[1], .on = so[0], .oc = so[1]}};
    for (int a = 0; a < 3; a++) {
        p.c.n[a] = n[5 + a];
        p.c.k[a] = n[8 + a];
        p.c.s[a] = n[11 + a];
        p.c.d[a] = n[14 + a];
        p.c.lo[a] = n[17 + a];
        p.c.o[a] = s->shape[2 + a];
        p.c.xs[a] = sx[2 + a];
        p.c.ws[a] = sw[2 + a];
        p.c.os[a] = so[2 + a];
    }
    return product3(p.c.k) > product3(p.c.o) ? deep(&p) : wide(&p);
}

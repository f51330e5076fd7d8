/* The driver of matrix products: own loops, or BLAS for large float ones. */
#include "matmul.h"

#include <limits.h>
#include <stdlib.h>

#include "driver.h"

ft_blas_table ft_blas;

/* Multiply-adds above which a BLAS call beats the own loops (measured): products, and with a vector. */
#define GEMM_FROM (128.0 * 128 * 128)
#define GEMV_FROM 16384.0
#define ROWS 64                /* rows of one task of the own loops */
#define STACK_SCRATCH 8192

typedef struct {
    const ft_step *s;
    ft_frame *f;
    ft_mm d;
    int64_t row_blocks;
    int error;
} own_ctx;

static void own_range(void *ctx, int64_t lo, int64_t hi)
{
    own_ctx *c = ctx;
    const ft_step *s = c->s;
    const ft_matmul *kernel = s->kernel;
    const int64_t *so = s->opnd[0].strides, *sa = s->opnd[1].strides, *sb = s->opnd[2].strides;
    char *out = FT_PTR(s, c->f, 0);
    const char *a = FT_PTR(s, c->f, 1), *b = FT_PTR(s, c->f, 2);
    char local[STACK_SCRATCH] __attribute__((aligned(64)));
    char *scratch = local;
    int64_t need = ft_mm_scratch(c->d.k);
    if (need > STACK_SCRATCH && !(scratch = aligned_alloc(64, need))) {
        c->error = FT_EMEM;
        return;
    }
    for (int64_t u = lo; u < hi; u++) {
        int64_t batch = u / c->row_blocks, row = (u % c->row_blocks) * ROWS;
        ft_mm d = c->d;
        if (u % c->row_blocks < c->row_blocks - 1)
            d.m = ROWS;
        else                                 /* the last takes the rest: one row alone could take */
            d.m -= row;                      /* another path and give other bits */
        kernel->run(out + batch * so[0] + row * d.om, a + batch * sa[0] + row * d.am,
                    b + batch * sb[0], &d, scratch);
    }
    if (scratch != local)
        free(scratch);
}

/* ----- BLAS ------------------------------------------------------------------------------------ */

/* A matrix as BLAS sees it: column-major with leading dimension, maybe to be transposed. */
typedef struct {
    char *p, *owned;
    char trans;
    int ld;
} operand;

/* A BLAS axis pair: unit stride along `fast`, a whole positive leading dimension along `slow`. */
static int leading(int64_t fast_n, int64_t slow_n, int64_t fast, int64_t slow, int64_t size, int *ld)
{
    if (fast_n > 1 && fast != size)
        return 0;
    if (slow_n <= 1) {
        *ld = (int)(fast_n > 1 ? fast_n : 1);
        return 1;
    }
    if (slow % size || slow / size < fast_n || slow / size < 1 || slow / size > INT_MAX)
        return 0;
    *ld = (int)(slow / size);
    return 1;
}

static void copy_plane(char *out, const char *in, int64_t rows, int64_t cols, int64_t so0, int64_t so1,
                       int64_t si0, int64_t si1, int64_t size)
{
    for (int64_t i = 0; i < rows; i += 16)              /* tiles, as one side may be transposed */
        for (int64_t j = 0; j < cols; j += 16)
            for (int64_t r = i; r < ft_lesser(i + 16, rows); r++)
                for (int64_t c = j; c < ft_lesser(j + 16, cols); c++) {
                    char *o = out + r * so0 + c * so1;
                    const char *x = in + r * si0 + c * si1;
                    if (size == 8)
                        *(int64_t *)o = *(const int64_t *)x;
                    else
                        *(int32_t *)o = *(const int32_t *)x;
                }
}

/* The rows x cols matrix for a column-major product that needs it as it is ('N'). */
static int prepare(operand *m, const char *p, int64_t rows, int64_t cols, int64_t sr, int64_t sc,
                   int64_t size)
{
    m->p = (char *)p;
    m->owned = NULL;
    m->trans = 'N';
    if (leading(rows, cols, sr, sc, size, &m->ld))
        return FT_OK;
    m->trans = 'T';
    if (leading(cols, rows, sc, sr, size, &m->ld))
        return FT_OK;
    m->owned = m->p = malloc(rows * cols * size);
    if (!m->p)
        return FT_EMEM;
    m->trans = 'N';
    m->ld = (int)rows;
    copy_plane(m->p, p, rows, cols, size, rows * size, sr, sc, size);
    return FT_OK;
}

/* n == 1: out[m] = a[m, k] b[k]. -1: not for gemv, a vector's stride does not fit. */
static int gemv(const ft_matmul *kernel, char *out, const char *a, const char *b, const ft_mm *d)
{
    int64_t size = kernel->size;
    operand m;
    if (d->om <= 0 || d->om % size || d->bk <= 0 || d->bk % size || d->om / size > INT_MAX ||
        d->bk / size > INT_MAX)
        return -1;
    int e = prepare(&m, a, d->m, d->k, d->am, d->ak, size);
    if (e)
        return e;
    int rows = (int)(m.trans == 'N' ? d->m : d->k), cols = (int)(m.trans == 'N' ? d->k : d->m);
    int incx = (int)(d->bk / size), incy = (int)(d->om / size);
    for (int64_t i = 0; i < d->m; i++)      /* some BLAS multiply what is there by beta = 0 */
        memset(out + i * d->om, 0, size);
    if (kernel->blas == 2) {
        double one = 1, zero = 0;
        ft_blas.dgemv(&m.trans, &rows, &cols, &one, (double *)m.p, &m.ld, (double *)b, &incx, &zero,
                      (double *)out, &incy);
    } else {
        float one = 1, zero = 0;
        ft_blas.sgemv(&m.trans, &rows, &cols, &one, (float *)m.p, &m.ld, (float *)b, &incx, &zero,
                      (float *)out, &incy);
    }
    free(m.owned);
    return FT_OK;
}

static int gemm(const ft_matmul *kernel, char *out, const char *a, const char *b, const ft_mm *d)
{
    int64_t size = kernel->size;
    operand ma, mb;
    int ldc, e;
    char *packed = NULL, *c = out;
    if (!leading(d->m, d->n, d->om, d->on, size, &ldc)) {
        if (leading(d->n, d->m, d->on, d->om, size, &ldc)) {     /* row-major output: transpose all */
            ft_mm t = ft_mm_transposed(d);
            return gemm(kernel, out, b, a, &t);
        }
        if (!(c = packed = malloc(d->m * d->n * size)))
            return FT_EMEM;
        ldc = (int)d->m;
    }
    if ((e = prepare(&ma, a, d->m, d->k, d->am, d->ak, size))) {
        free(packed);
        return e;
    }
    if ((e = prepare(&mb, b, d->k, d->n, d->bk, d->bn, size))) {
        free(packed);
        free(ma.owned);
        return e;
    }
    int m = (int)d->m, n = (int)d->n, k = (int)d->k;
    if (kernel->blas == 2) {
        double one = 1, zero = 0;
        ft_blas.dgemm(&ma.trans, &mb.trans, &m, &n, &k, &one, (double *)ma.p, &ma.ld, (double *)mb.p,
                      &mb.ld, &zero, (double *)c, &ldc);
    } else {
        float one = 1, zero = 0;
        ft_blas.sgemm(&ma.trans, &mb.trans, &m, &n, &k, &one, (float *)ma.p, &ma.ld, (float *)mb.p,
                      &mb.ld, &zero, (float *)c, &ldc);
    }
    if (packed)
        copy_plane(out, packed, d->m, d->n, d->om, d->on, size, d->m * size, size);
    free(packed);
    free(ma.owned);
    free(mb.owned);
    return FT_OK;
}

static int blas_product(const ft_matmul *kernel, char *out, const char *a, const char *b,
                        const ft_mm *d)
{
    if (d->n == 1 || d->m == 1) {
        ft_mm t = ft_mm_transposed(d);
        int e = d->n == 1 ? gemv(kernel, out, a, b, d) : gemv(kernel, out, b, a, &t);
        if (e >= 0)
            return e;
    }
    return gemm(kernel, out, a, b, d);
}

/* ----- the step -------------------------------------------------------------------------------- */

static int use_blas(const ft_matmul *kernel, const ft_mm *d)
{
    double from = d->m == 1 || d->n == 1 ? GEMV_FROM : GEMM_FROM;
    if (!kernel->blas || (double)d->m * d->n * d->k <= from || (d->m == 1 && d->n == 1))
        return 0;
    if (!(kernel->blas == 2 ? ft_blas.dgemm && ft_blas.dgemv : ft_blas.sgemm && ft_blas.sgemv))
        return 0;
    return d->m <= INT_MAX && d->n <= INT_MAX && d->k <= INT_MAX;
}

int ft_run_matmul(const ft_step *s, ft_frame *f)
{
    const ft_matmul *kernel = s->kernel;
    const int64_t *so = s->opnd[0].strides, *sa = s->opnd[1].strides, *sb = s->opnd[2].strides;
    int64_t batch = s->shape[0];
    own_ctx c = {s, f, {s->shape[1], s->shape[2], s->shape[3], so[1], so[2], sa[1], sa[3], sb[3], sb[2]},
                 1, FT_OK};
    if (batch == 0 || c.d.m == 0 || c.d.n == 0)
        return FT_OK;
    if (c.d.k > 0 && use_blas(kernel, &c.d)) {
        for (int64_t i = 0; i < batch; i++) {
            int e = blas_product(kernel, FT_PTR(s, f, 0) + i * so[0], FT_PTR(s, f, 1) + i * sa[0],
                                 FT_PTR(s, f, 2) + i * sb[0], &c.d);
            if (e)
                return e;
        }
        return FT_OK;
    }
    if (c.d.m > ROWS && (double)c.d.m * c.d.n * c.d.k > 1e5)
        c.row_blocks = c.d.m / ROWS;
    double one = (double)c.d.m * c.d.n * c.d.k / (double)c.row_blocks;
    int64_t chunk = one > 1e5 ? 1 : (int64_t)(1e5 / (one + 16)) + 1;
    ft_parallel(own_range, &c, batch * c.row_blocks, chunk, s->cost);
    return c.error;
}

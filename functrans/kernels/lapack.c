#include "lapack.h"

#include <complex.h>
#include <float.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "driver.h"
#include "space.h"

void *ft_lapack[FT_ROUTINES][4];

typedef struct {
    const ft_step *s;
    ft_frame *f;
    atomic_int code;
} batch_ctx;

static void some_matrices(void *ctx, int64_t lo, int64_t hi)
{
    batch_ctx *c = ctx;
    const ft_step *s = c->s;
    char *p[8];
    for (int64_t b = lo; b < hi; b++) {
        for (int i = 0; i < s->nopnd; i++)
            p[i] = FT_PTR(s, c->f, i) + b * s->opnd[i].strides[0];
        int code = ((ft_matrix_fn)s->kernel)(s->ints + 1, p);
        if (code)
            atomic_store(&c->code, code);
    }
}

int ft_run_matrices(const ft_step *s, ft_frame *f)
{
    batch_ctx c = {s, f, 0};
    int64_t n = s->shape[0];
    if (n > 1 && s->ints[0])
        ft_parallel(some_matrices, &c, n, 1 + n / 64, s->cost);
    else
        some_matrices(&c, 0, n);
    return atomic_load(&c.code);
}

/* Row-major memory is the transpose in LAPACK's eyes; the bodies say where that is used. */
#define T float
#define R float
#define FT_TYPE 0
#define FT_NAME(name) ft_##name##_f32
#include "lapack_types.h"

#define T double
#define R double
#define FT_TYPE 1
#define FT_NAME(name) ft_##name##_f64
#include "lapack_types.h"

#define T float _Complex
#define R float
#define FT_TYPE 2
#define FT_NAME(name) ft_##name##_c64
#include "lapack_types.h"

#define T double _Complex
#define R double
#define FT_TYPE 3
#define FT_NAME(name) ft_##name##_c128
#include "lapack_types.h"

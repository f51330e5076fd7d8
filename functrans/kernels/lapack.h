/* Matrix decompositions by the LAPACK and BLAS that SciPy carries: their addresses are known when the
 * first plan needs them (lib.pyx, load_lapack). */
#ifndef FUNCTRANS_LAPACK_H
#define FUNCTRANS_LAPACK_H

#include "common.h"

/* Routines, and the types s d c z of each. */
enum { FT_POTRF, FT_GETRF, FT_GEQRF, FT_ORGQR, FT_SYEVD, FT_GESDD, FT_GEEV, FT_TRSM, FT_GELSD,
       FT_GEES, FT_TRSEN, FT_TRSYL, FT_GETRS, FT_LACN2, FT_GEMM, FT_GEMV, FT_ROUTINES };
extern void *ft_lapack[FT_ROUTINES][4];

/* One matrix of a batch: p has the addresses of its operands, ints the step's parameters from the
 * second on. FT_OK or FT_EMEM; a matrix without a decomposition gives NaN. */
typedef int (*ft_matrix_fn)(const int64_t *ints, char **p);

/* Steps of matrix kernels: shape = [batch]; ints[0]: whether matrices are so small that the batch is
 * split between our threads, instead of the BLAS using its own. */
int ft_run_matrices(const ft_step *s, ft_frame *f);

#define FT_MATRIX_FNS(t) \
    int ft_cholesky_##t(const int64_t *, char **), ft_lu_##t(const int64_t *, char **), \
        ft_lu_solve_##t(const int64_t *, char **), ft_triangular_solve_##t(const int64_t *, char **), \
        ft_qr_##t(const int64_t *, char **), ft_eigh_##t(const int64_t *, char **), \
        ft_svd_##t(const int64_t *, char **), ft_eig_##t(const int64_t *, char **), \
        ft_lstsq_##t(const int64_t *, char **), ft_schur_##t(const int64_t *, char **), \
        ft_schur_order_##t(const int64_t *, char **), ft_sylvester_##t(const int64_t *, char **), \
        ft_sqrtm_##t(const int64_t *, char **), ft_logm_##t(const int64_t *, char **), \
        ft_expm_##t(const int64_t *, char **);
FT_MATRIX_FNS(f32)
FT_MATRIX_FNS(f64)
FT_MATRIX_FNS(c64)
FT_MATRIX_FNS(c128)

#endif

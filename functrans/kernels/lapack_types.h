/* Template: every kernel on one matrix. With T, R (its real type), FT_TYPE (0..3: s d c z) and
 * FT_NAME(part). Undefines them. */
#define CALL(routine, type) ((type)ft_lapack[routine][FT_TYPE])
#define EPS (sizeof(R) == 4 ? (double)FLT_EPSILON : DBL_EPSILON)
#define FT_COMPLEX (FT_TYPE > 1)
#if FT_COMPLEX
#define CONJ(x) (sizeof(R) == 4 ? conjf(x) : conj(x))
#define SIZE(x) (sizeof(R) == 4 ? (double)cabsf(x) : cabs(x))
#else
#define CONJ(x) (x)
#define SIZE(x) fabs(x)
#endif

#include "lapack_body.h"
#include "lapack_schur_body.h"
#include "lapack_expm_body.h"
#include "lapack_roots_body.h"

#undef CALL
#undef EPS
#undef FT_COMPLEX
#undef CONJ
#undef SIZE
#undef T
#undef R
#undef FT_TYPE
#undef FT_NAME

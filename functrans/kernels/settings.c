/* How many threads runs may use: what was set, the environment, the cores, and OpenMP's limits. */
#include "settings.h"

#include <stdatomic.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "threads.h"

static atomic_int general;         /* what ft_set_num_threads said; 0: the default */
static atomic_int by_default;      /* 0: not known yet */
#ifdef _OPENMP
static int openmp_at_start;
#endif

static int from_environment(void)
{
    const char *text = getenv("OMP_NUM_THREADS");
    int n = text ? atoi(text) : 0;      /* of a list, the first */
    return n > 0 ? n : 0;
}

int ft_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int ft_num_threads(int asked)
{
    int n = asked > 0 ? asked : atomic_load_explicit(&general, memory_order_relaxed);
    if (n <= 0) {
        n = atomic_load_explicit(&by_default, memory_order_relaxed);
        if (n <= 0) {
            n = from_environment();
            n = n > 0 ? n : ft_usable_cpus();
            atomic_store(&by_default, n);
        }
    }
#ifdef _OPENMP
    /* OpenMP's threads are not used, but its limits are kept: who changes them (threadpoolctl) means
     * all parallel code of this thread. */
    int limit = omp_get_max_threads();
    if (limit != openmp_at_start && limit < n)
        n = limit;
    limit = omp_get_thread_limit();
    if (limit < n)
        n = limit;
#endif
    return n < 1 ? 1 : n > FT_MOST_THREADS ? FT_MOST_THREADS : n;
}

void ft_set_num_threads(int n)
{
    atomic_store(&general, n);
}

void ft_settings_init(void)
{
#ifdef _OPENMP
    int n = from_environment();
    openmp_at_start = n ? n : omp_get_num_procs();
#endif
}

/* The executor: runs a range function over fixed chunks, on one thread or several.
 *
 * Chunks depend on the work only, never on the number of threads, so that results do not either. */
#ifndef FUNCTRANS_THREADS_H
#define FUNCTRANS_THREADS_H

#include <stdint.h>

typedef void (*ft_range_fn)(void *ctx, int64_t lo, int64_t hi);

/* Work below this many nanoseconds is not worth waking a team for. */
#define FT_PARALLEL_NS 20000.0

/* fn over [0, n) in pieces of `chunk`. Serial when it costs little, inside a parallel region,
 * or while another Python thread holds the team. */
void ft_parallel(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, double cost_ns);

int ft_get_num_threads(void);
void ft_set_num_threads(int n);
int ft_has_openmp(void);

/* Once, when the module loads: reads OMP_NUM_THREADS and the affinity mask, and makes fork safe. */
void ft_threads_init(void);

#endif

/* The executor: runs a range function over fixed chunks, on one thread or several.
 *
 * Chunks depend on the work only, never on the number of threads, so that results do not either. */
#ifndef FUNCTRANS_THREADS_H
#define FUNCTRANS_THREADS_H

#include <stdint.h>

/* Gets exactly one chunk at a time: hi - lo == chunk, except at the end. */
typedef void (*ft_range_fn)(void *ctx, int64_t lo, int64_t hi);

/* Work below this many nanoseconds is not worth handing to another thread. */
#define FT_PARALLEL_NS 10000.0

/* fn over [0, n) in pieces of `chunk`. Serial when it costs little, inside of another such call, and
 * while another thread has the pool. When it returns, all of it is done, unless an interrupt stopped the
 * run: then some is left out, and the run ends after this step. */
void ft_parallel(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, double cost_ns);

/* The same on this thread, one piece after the other. */
void ft_in_order(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, double cost_ns);

/* A run of a plan, as the executor sees it; one per thread at a time, runs within runs in a chain. */
typedef struct ft_run {
    int threads;                   /* at most so many; 0: what ft_set_num_threads said */
    int stopped;                   /* not 0: what is left of this run is skipped */
    int (*poll)(void *run);        /* called now and then in long work; not 0 stops the run */
    struct ft_run *outer;
} ft_run;

/* Whether the run that this thread is in has been stopped: what it computed will not be seen. A step of
 * several such calls asks before it relies on what one of them left, such as counts and positions. */
int ft_stopped(void);

/* Around a run that is long enough for threads. */
void ft_enter(ft_run *run);
void ft_leave(ft_run *run);

/* How many threads a run may use that asks for `asked` (0: the general setting). */
int ft_num_threads(int asked);
/* The same for the run that this thread is in. */
int ft_get_num_threads(void);
void ft_set_num_threads(int n);
int ft_has_openmp(void);
/* Threads of the pool that exist now. */
int ft_pool_size(void);

/* Once, when the module loads: makes fork safe. Starts nothing. */
void ft_threads_init(void);

/* cpus.c: how many cores this process may use: affinity mask and control group. */
int ft_usable_cpus(void);

#endif

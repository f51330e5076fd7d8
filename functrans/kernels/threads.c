#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "threads.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#endif

static atomic_int num_threads = 1;

#ifdef _OPENMP
static atomic_int team_busy;             /* one team at a time: two would only share the cores */
static _Thread_local int inside;         /* in a range function of a parallel region */
static atomic_llong serial_until;        /* after a contended join: no team before this time */
static atomic_llong backoff;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A join that waits this long means that a team thread lost its core to another process. */
#define JOIN_NS 2000000LL
#define BACKOFF_MIN 20000000LL
#define BACKOFF_MAX 320000000LL
#endif

static int usable_cpus(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

int ft_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int ft_get_num_threads(void)
{
    return atomic_load(&num_threads);
}

void ft_set_num_threads(int n)
{
    atomic_store(&num_threads, ft_has_openmp() && n > 1 ? n : 1);
}

#ifdef _OPENMP
/* libgomp's threads do not survive a fork but its records of them do: end the team before.
 * (gcc has the call since 9, though it claims OpenMP 4.5 for long after.) */
static void before_fork(void)
{
#if _OPENMP >= 201811 || (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9)
    if (!inside)
        omp_pause_resource_all(omp_pause_hard);
#endif
}

/* The forking thread is the only one of the child: whoever held the team is not there. */
static void after_fork_child(void)
{
    if (!inside)
        atomic_store(&team_busy, 0);
}
#endif

void ft_threads_init(void)
{
    static int done = 0;
    if (done)
        return;
    done = 1;
    const char *text = getenv("OMP_NUM_THREADS");
    int n = text ? atoi(text) : 0;
    ft_set_num_threads(n > 0 ? n : usable_cpus());
#ifdef _OPENMP
    pthread_atfork(before_fork, NULL, after_fork_child);
#endif
}

static void serially(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk)
{
    for (int64_t lo = 0; lo < n; lo += chunk)
        fn(ctx, lo, n - lo < chunk ? n : lo + chunk);
}

#ifdef _OPENMP
static void as_team(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, int threads)
{
    int64_t chunks = (n + chunk - 1) / chunk;
    atomic_llong next = 0;
    int64_t own_end = 0, longest = 0;
    if (threads > chunks)
        threads = (int)chunks;

#pragma omp parallel num_threads(threads)
    {
        int first = omp_get_thread_num() == 0;
        int64_t c, start = first ? now_ns() : 0;
        inside++;
        while ((c = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed)) < chunks) {
            int64_t lo = c * chunk;
            fn(ctx, lo, n - lo < chunk ? n : lo + chunk);
            if (first) {
                int64_t end = now_ns();
                if (end - start > longest)
                    longest = end - start;
                start = end;
            }
        }
        inside--;
        if (first)
            own_end = now_ns();
    }

    /* The others' last chunks take about as long as ours did; a much longer wait is a lost core. */
    int64_t end = now_ns(), wait = end - own_end;
    if (wait > JOIN_NS && wait > 4 * longest) {
        int64_t pause = atomic_load(&backoff) * 2;
        pause = pause < BACKOFF_MIN ? BACKOFF_MIN : pause > BACKOFF_MAX ? BACKOFF_MAX : pause;
        atomic_store(&backoff, pause);
        atomic_store(&serial_until, end + pause);
    } else if (atomic_load_explicit(&backoff, memory_order_relaxed)) {
        atomic_store(&backoff, 0);
    }
}
#endif

void ft_parallel(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, double cost_ns)
{
    if (n <= 0)
        return;
    if (chunk < 1)
        chunk = 1;
#ifdef _OPENMP
    int threads = ft_get_num_threads();
    if (threads > 1 && cost_ns >= FT_PARALLEL_NS && n > chunk && !inside && !omp_in_parallel()) {
        int64_t until = atomic_load_explicit(&serial_until, memory_order_relaxed);
        int idle = 0;
        if ((!until || now_ns() >= until) && atomic_compare_exchange_strong(&team_busy, &idle, 1)) {
            as_team(fn, ctx, n, chunk, threads);
            atomic_store(&team_busy, 0);
            return;
        }
    }
#else
    (void)cost_ns;
#endif
    serially(fn, ctx, n, chunk);
}

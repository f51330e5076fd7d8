/* A pool of helper threads. The caller publishes a region: a range function and how many chunks it
 * has. Everybody, the caller included, claims chunks until none is left; then the caller waits for
 * chunks that others have claimed, never for threads. So a helper that the system has put aside, or
 * that wakes up late, costs nothing unless it holds a chunk; when that has cost more time than the
 * helpers have won, one thread works alone for a while (see `settle`). One that is put aside with a chunk in
 * hand is fetched to the core of the caller, who has nothing else to do. A chunk is never run twice: its
 * output may lie in its input. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fpmode.h"
#include "settings.h"
#include "threads.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__) && !defined(FT_NO_FUTEX)
#define FT_FUTEX 1
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#define MOST_THREADS FT_MOST_THREADS
#define STACK_BYTES (2 << 20)

#define SPIN_NS 50000              /* a helper looks for work so long before it sleeps */
#define JOIN_SPIN_NS 100000        /* the caller waits so long before it sleeps */
#define NAP_NS 300000              /* asleep, it looks so often what helpers do, */
#define LOOK_NS 5000               /* for so long */
#define CLAIM_NS 50000.0           /* of work in one claim, at most */
#define CREDIT_NS 10000000LL       /* of time won is kept against stalls, at most; when it is used up, */
#define PAUSE_MIN_NS 5000000LL     /* one thread works alone so long, */
#define PAUSE_MAX_NS 320000000LL   /* longer if it happens again */
#define AGAIN_NS 50000000LL        /* so soon after */
#define WAKE_NS 100000.0           /* of work: worth starting or waking a helper */
#define RETRY_NS 1000000000LL      /* between attempts to start threads, when the system refuses */
#define WATCHED_NS 5e6             /* regions of more work look for interrupts, */
#define POLL_NS 10000000LL         /* this often */

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* ----- how many ------------------------------------------------------------------------------ */

static atomic_int active;          /* threads that are in a run */
static _Thread_local ft_run *current;
static _Thread_local int inside;   /* in a range function */

int ft_get_num_threads(void)
{
    return ft_num_threads(current ? current->threads : 0);
}

void ft_enter(ft_run *run)
{
    run->outer = current;
    run->stopped = 0;
    if (!current)
        atomic_fetch_add_explicit(&active, 1, memory_order_relaxed);
    current = run;
}

void ft_leave(ft_run *run)
{
    current = run->outer;
    if (!current)
        atomic_fetch_sub_explicit(&active, 1, memory_order_relaxed);
}

/* ----- sleeping ------------------------------------------------------------------------------ */

#ifdef FT_FUTEX
static void sleep_while(atomic_uint *word, unsigned value)
{
    while (atomic_load(word) == value)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* The same for so long at most. */
static void nap_while(atomic_uint *word, unsigned value, long ns)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &(struct timespec){0, ns}, NULL, 0);
}

static void wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
#else
static pthread_mutex_t bed = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;

static void sleep_while(atomic_uint *word, unsigned value)
{
    pthread_mutex_lock(&bed);
    while (atomic_load(word) == value)
        pthread_cond_wait(&bell, &bed);
    pthread_mutex_unlock(&bed);
}

static void nap_while(atomic_uint *word, unsigned value, long ns)
{
    (void)ns;
    sleep_while(word, value);
}

static void wake(atomic_uint *word)
{
    (void)word;
    pthread_mutex_lock(&bed);          /* the sleeper is between its look and its sleep, or asleep */
    pthread_mutex_unlock(&bed);
    pthread_cond_broadcast(&bell);
}
#endif

/* ----- the pool ------------------------------------------------------------------------------ */

#define LINE __attribute__((aligned(128)))

/* The open region. Its fields change only while no chunk is unclaimed or running; a thread that read
 * them too early finds that its claim fails. */
static struct {
    LINE _Atomic uint64_t ticket;      /* number of the region << 32 | chunks that nobody has claimed */
    LINE _Atomic(ft_range_fn) fn;
    _Atomic(void *) ctx;
    atomic_llong n, chunk;
    atomic_uint chunks, most;          /* all of them; in one claim, at most */
    atomic_int team, core;             /* core: where the caller was */
    LINE atomic_uint done;             /* chunks that helpers have finished */
    atomic_uint joining;               /* the caller sleeps until `done` moves */
} region;

static struct {
    LINE atomic_uint asleep;
    atomic_int working;                /* perhaps on a chunk */
    atomic_int to_bed;                 /* it was fetched to its caller's core, where it must not wait for work */
#ifdef FT_FUTEX
    atomic_int tid;
    pthread_t thread;
    int fetched;
    cpu_set_t usual;                   /* cores that it may use */
#endif
} helpers[MOST_THREADS];

static atomic_int busy;                /* somebody has the pool */
static int started;                    /* helpers that exist; belongs to who has the pool */
static int64_t retry_at;
static atomic_llong alone_until;       /* after a stall */
static int64_t credit = CREDIT_NS / 2, pause_ns, stalled_at;
static int64_t last_end;               /* of a region */
static unsigned regions;
static double dense;                   /* work of those that followed each other closely */

/* Runs the next chunks of the region for member `me` of its team; how many (0: none were left). */
static unsigned work(int me)
{
    for (;;) {
        uint64_t ticket = atomic_load_explicit(&region.ticket, memory_order_acquire);
        unsigned left = (unsigned)ticket;
        int team = atomic_load_explicit(&region.team, memory_order_relaxed);
        if (!left || me >= team)
            return 0;
        ft_range_fn fn = atomic_load_explicit(&region.fn, memory_order_relaxed);
        void *ctx = atomic_load_explicit(&region.ctx, memory_order_relaxed);
        int64_t n = atomic_load_explicit(&region.n, memory_order_relaxed);
        int64_t chunk = atomic_load_explicit(&region.chunk, memory_order_relaxed);
        int64_t chunks = atomic_load_explicit(&region.chunks, memory_order_relaxed);
        unsigned most = atomic_load_explicit(&region.most, memory_order_relaxed);
        unsigned take = left / (4 * (unsigned)team);        /* less towards the end */
        take = take > most ? most : take ? take : 1;
        if (!atomic_compare_exchange_strong_explicit(&region.ticket, &ticket, ticket - take,
                                                     memory_order_acq_rel, memory_order_relaxed))
            continue;
        int64_t lo = (chunks - left) * chunk;
        inside = 1;
        for (unsigned i = 0; i < take; i++, lo += chunk)
            fn(ctx, lo, n - lo < chunk ? n : lo + chunk);
        inside = 0;
        return take;
    }
}

/* Systems like to wake a helper on its caller's core, and to leave it there. */
static int core(void)
{
#ifdef __linux__
    return sched_getcpu();
#else
    return -1;
#endif
}

static void leave_core(int cpu)
{
#ifdef __linux__
    cpu_set_t all, others;
    if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof all, &all))
        return;
    others = all;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof all, &all);     /* it has moved; free to go where it likes again */
#else
    (void)cpu;
#endif
}

static int open_for(int me)
{
    return (unsigned)atomic_load(&region.ticket) && me < atomic_load(&region.team);
}

static void *help(void *number)
{
    int me = (int)(intptr_t)number;
    atomic_uint *asleep = &helpers[me].asleep;
    ft_fp_default();                   /* not the mode of the thread that happened to start this one */
#ifdef FT_FUTEX
    atomic_store(&helpers[me].tid, (int)syscall(SYS_gettid));
#endif
    for (;;) {
        unsigned took;
        int callers = atomic_load_explicit(&region.core, memory_order_relaxed);
        if (open_for(me) && callers >= 0 && core() == callers)
            leave_core(callers);
        atomic_store(&helpers[me].working, 1);
        while ((took = work(me))) {
            atomic_fetch_add(&region.done, took);
            if (atomic_load(&region.joining))
                wake(&region.done);
        }
        atomic_store(&helpers[me].working, 0);
        int64_t end = atomic_exchange(&helpers[me].to_bed, 0) ? 0 : now_ns() + SPIN_NS;
        int found = 0;
        while (!found && now_ns() < end)
            for (int i = 0; i < 64 && !found; i++) {
                relax();
                found = open_for(me);
            }
        if (!found) {
            atomic_store(asleep, 1);
            if (open_for(me))          /* published before it could be seen that this one sleeps */
                atomic_store(asleep, 0);
            else
                sleep_while(asleep, 1);
        }
    }
    return NULL;
}

/* Helpers up to `wanted`, as far as the system gives them; how many there are. */
static int start_helpers(int wanted)
{
    pthread_attr_t attr;
    sigset_t all, before;
    if (started >= wanted || (retry_at && now_ns() < retry_at))
        return started < wanted ? started : wanted;
    if (pthread_attr_init(&attr))
        return started;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    /* Signals are for the threads of the program; those that a fault raises come all the same. */
    sigfillset(&all);
    for (int *s = (int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, 0}; *s; s++)
        sigdelset(&all, *s);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    retry_at = 0;
    while (started < wanted) {
        pthread_t thread;
        atomic_store(&helpers[started + 1].asleep, 0);
        if (pthread_create(&thread, &attr, help, (void *)(intptr_t)(started + 1))) {
            retry_at = now_ns() + RETRY_NS;
            break;
        }
        started++;
#ifdef FT_FUTEX
        helpers[started].thread = thread;
#endif
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

int ft_pool_size(void)
{
    return started;
}

static int polled(int64_t *next)
{
    int64_t now = now_ns();
    if (now < *next)
        return 0;
    *next = now + POLL_NS;
    return current->stopped = current->poll(current);
}

static void serially(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, int watched)
{
    int64_t next = watched ? now_ns() + POLL_NS : 0;
    for (int64_t lo = 0; lo < n; lo += chunk) {
        fn(ctx, lo, n - lo < chunk ? n : lo + chunk);
        if (watched && polled(&next))
            return;
    }
}

/* A helper that sleeps takes longer to come than a short region lasts: only a row of them is worth it. */
static int worth_waking(double cost_ns)
{
    if (started && !atomic_load_explicit(&helpers[1].asleep, memory_order_relaxed))
        return 1;
    dense = now_ns() - last_end < SPIN_NS ? dense + cost_ns : cost_ns;
    return dense >= WAKE_NS;
}

/* Keeps the account: a region took so long that would have taken `serial` ns on one thread. While another process
 * wants a helper's core, the helper is put aside every few milliseconds, perhaps with a chunk in hand. */
static void settle(int64_t serial, int64_t took)
{
    credit += serial - took;
    if (credit > CREDIT_NS)
        credit = CREDIT_NS;
    if (credit >= 0)
        return;
    int64_t now = now_ns();
    pause_ns = now - stalled_at < pause_ns + AGAIN_NS ? 2 * pause_ns : PAUSE_MIN_NS;
    if (pause_ns > PAUSE_MAX_NS)
        pause_ns = PAUSE_MAX_NS;
    credit = 0;
    stalled_at = now;
    atomic_store(&alone_until, now + pause_ns);
}

#ifdef FT_FUTEX
/* Whether a helper with a chunk in hand is not on a core, as another process wants it. */
static int put_aside(int i)
{
    clockid_t clock;
    if (!atomic_load(&helpers[i].working) || pthread_getcpuclockid(helpers[i].thread, &clock))
        return 0;
    int64_t before = clock_ns(clock), end = now_ns() + LOOK_NS;
    while (now_ns() < end)
        relax();
    return atomic_load(&helpers[i].working) && clock_ns(clock) == before;
}

/* Such helpers come to the caller's core, which it leaves to them: they would wait for milliseconds on theirs. */
static int fetch_helpers(int team)
{
    int cpu = core(), found = 0;
    cpu_set_t here;
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return 0;
    CPU_ZERO(&here);
    CPU_SET(cpu, &here);
    for (int i = 1; i < team; i++) {
        int tid = atomic_load(&helpers[i].tid);
        if (!helpers[i].fetched && tid && put_aside(i)
            && !sched_getaffinity(tid, sizeof helpers[i].usual, &helpers[i].usual)
            && CPU_ISSET(cpu, &helpers[i].usual)) {
            atomic_store(&helpers[i].to_bed, 1);
            helpers[i].fetched = !sched_setaffinity(tid, sizeof here, &here);
        }
        found |= helpers[i].fetched;
    }
    return found;
}

static void release_helpers(int team)
{
    for (int i = 1; i < team; i++)
        if (helpers[i].fetched) {
            sched_setaffinity(atomic_load(&helpers[i].tid), sizeof helpers[i].usual, &helpers[i].usual);
            helpers[i].fetched = 0;
        }
}
#else
static int fetch_helpers(int team) { return (void)team, 0; }
static void release_helpers(int team) { (void)team; }
#endif

/* Returns when helpers have finished so many chunks. */
static void join(unsigned others, int team)
{
    int fetched = 0;
    int64_t until = 0;
    unsigned done;
    while (atomic_load_explicit(&region.done, memory_order_acquire) != others) {
        int64_t now = now_ns();
        until = until ? until : now + JOIN_SPIN_NS;
        if (now < until) {
            for (int i = 0; i < 32; i++)
                relax();
            continue;
        }
        /* asleep rather than spinning: the helper may get this core */
        fetched |= fetch_helpers(team);
        atomic_store(&region.joining, 1);
        if ((done = atomic_load(&region.done)) != others)
            nap_while(&region.done, done, NAP_NS);
        atomic_store(&region.joining, 0);
    }
    if (fetched)
        release_helpers(team);
}

static void as_team(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, int64_t chunks, int team,
                    double cost_ns, int watched)
{
    double most = CLAIM_NS * (double)chunks / cost_ns;
    uint64_t number = (atomic_load_explicit(&region.ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store_explicit(&region.fn, fn, memory_order_relaxed);
    atomic_store_explicit(&region.ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&region.n, n, memory_order_relaxed);
    atomic_store_explicit(&region.chunk, chunk, memory_order_relaxed);
    atomic_store_explicit(&region.chunks, (unsigned)chunks, memory_order_relaxed);
    atomic_store_explicit(&region.most, most > 1e6 ? 1000000 : most < 1 ? 1 : (unsigned)most,
                          memory_order_relaxed);
    atomic_store_explicit(&region.team, team, memory_order_relaxed);
    atomic_store_explicit(&region.core, core(), memory_order_relaxed);
    atomic_store_explicit(&region.done, 0, memory_order_relaxed);
    atomic_store(&region.ticket, number << 32 | (uint64_t)chunks);
    for (int i = 1; i < team; i++)
        if (atomic_load(&helpers[i].asleep)) {
            atomic_store(&helpers[i].asleep, 0);
            wake(&helpers[i].asleep);
        }

    /* Only the time on a core tells what the caller's part took, if others push it off; but asking costs. */
    int exactly = credit < CREDIT_NS || regions++ % 16 == 0;
    int64_t began = now_ns(), next = began + POLL_NS;
    int64_t spent = exactly ? clock_ns(CLOCK_THREAD_CPUTIME_ID) : began;
    unsigned own = 0, left = 0, took;
    while ((took = work(0))) {
        own += took;
        if (watched && polled(&next)) {
            uint64_t rest = atomic_load(&region.ticket);
            while (!atomic_compare_exchange_weak(&region.ticket, &rest, rest >> 32 << 32))
                ;
            left = (unsigned)rest;
        }
    }
    spent = (exactly ? clock_ns(CLOCK_THREAD_CPUTIME_ID) : now_ns()) - spent;
    unsigned others = (unsigned)chunks - left - own;
    if (others) {
        join(others, team);
        if (own)
            settle((int64_t)((double)spent * (own + others) / own), now_ns() - began);
    }
}

static void parallel(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, double cost_ns, int watched)
{
    if (n <= 0)
        return;
    if (chunk < 1)
        chunk = 1;
    if (!inside && cost_ns >= FT_PARALLEL_NS && n > chunk) {
        /* other threads that run plans use cores too */
        int threads = ft_get_num_threads(), others = atomic_load(&active) - (current != NULL);
        int64_t chunks = (n + chunk - 1) / chunk, until = 0;
        threads = threads > chunks ? (int)chunks : threads;
        threads -= others > 0 ? others : 0;
        int idle = 0;
        if (threads > 1 && chunks <= UINT_MAX
            && (!(until = atomic_load_explicit(&alone_until, memory_order_relaxed)) || now_ns() >= until)
            && atomic_compare_exchange_strong(&busy, &idle, 1)) {
            int team = worth_waking(cost_ns) ? 1 + start_helpers(threads - 1) : 1;
            if (team > 1)
                as_team(fn, ctx, n, chunk, chunks, team, cost_ns, watched);
            else
                serially(fn, ctx, n, chunk, watched);
            last_end = now_ns();
            atomic_store(&busy, 0);
            return;
        }
    }
    serially(fn, ctx, n, chunk, watched);
}

int ft_stopped(void)
{
    return current && current->stopped;
}

void ft_parallel(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, double cost_ns)
{
    if (inside || !current)
        parallel(fn, ctx, n, chunk, cost_ns, 0);
    else if (!current->stopped)
        parallel(fn, ctx, n, chunk, cost_ns, cost_ns >= WATCHED_NS && current->poll);
}

void ft_in_order(ft_range_fn fn, void *ctx, int64_t n, int64_t chunk, double cost_ns)
{
    int alone = inside || !current;
    if (alone || !current->stopped)
        serially(fn, ctx, n, chunk, !alone && cost_ns >= WATCHED_NS && current->poll);
}

/* The thread that forks is the only one of the child: there are no helpers, and whoever had the pool
 * is not there. */
static void after_fork_in_child(void)
{
    started = 0;
    retry_at = pause_ns = stalled_at = 0;
    credit = CREDIT_NS / 2;
    atomic_store(&alone_until, 0);
    for (int i = 0; i < MOST_THREADS; i++)
        memset(&helpers[i], 0, sizeof helpers[i]);
    atomic_store(&region.ticket, 0);
    atomic_store(&region.joining, 0);
    atomic_store(&busy, 0);
    atomic_store(&active, current != NULL);
#ifndef FT_FUTEX
    pthread_mutex_init(&bed, NULL);
    pthread_cond_init(&bell, NULL);
#endif
}

void ft_threads_init(void)
{
    static int done = 0;
    if (done)
        return;
    done = 1;
    ft_settings_init();
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* The boundary between plans and kernels: what a step is and how it finds its operands.
 *
 * A program is a flat array of steps. A step names its operands as (slot, byte offset, byte strides);
 * slot 0 is the program's arena, the others are inputs and outputs, whose addresses are known only
 * when the program runs. Everything else about a step is fixed when the plan is built. */
#ifndef FUNCTRANS_ABI_H
#define FUNCTRANS_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef struct ft_step ft_step;
typedef struct ft_frame ft_frame;

/* A frame is one run of one program: base addresses by slot. `base[0]` is the arena (64-byte aligned). */
struct ft_frame {
    char **base;
    void *run;            /* the executor's own state of this run */
};

/* Runs one whole step. 0, or an error code (FT_E*) that unwinds the run. */
typedef int (*ft_step_fn)(const ft_step *step, ft_frame *frame);

/* Innermost loop of an elementwise step: p[0] is the output, p[1..] the inputs; st are byte strides
 * (0 for an operand that does not move); n elements. Output and inputs are the same or do not overlap. */
typedef void (*ft_loop_fn)(char **p, const int64_t *st, int64_t n);

typedef struct {
    int32_t slot;
    int32_t pad_;
    int64_t offset;          /* bytes from the slot's base */
    const int64_t *strides;  /* bytes, `ndim` of them */
} ft_operand;

struct ft_step {
    ft_step_fn run;          /* the driver: the kind of step */
    const void *kernel;      /* what the driver calls (an ft_loop_fn, ...), or NULL */
    int32_t nopnd;           /* outputs first, then inputs */
    int32_t ndim;
    const int64_t *shape;    /* the iteration space, `ndim` extents */
    const ft_operand *opnd;
    int64_t nint;
    const int64_t *ints;     /* parameters, as the kernel's description says */
    double cost;             /* estimated nanoseconds on one thread */
    void *data;              /* the executor's: sub-programs, callbacks */
};

enum { FT_OK = 0, FT_EMEM = 1, FT_EINTR = 2, FT_ECALL = 3 };

#define FT_PTR(step, frame, i) ((frame)->base[(step)->opnd[i].slot] + (step)->opnd[i].offset)

/* The kernel table of one instruction-set level. */
typedef struct {
    const char *name;        /* "ew:sin:f64", "reduce:sum:f32", "copy:8", ... */
    ft_step_fn run;
    const void *kernel;
    double ns;               /* rough cost of an element, one thread; <= 0: the plan estimates */
} ft_entry;

#endif

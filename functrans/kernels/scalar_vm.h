/* The interpreter of scalar programs: what plans and the generated ft_scalar.c share.
 *
 * A scalar program computes on single numbers in registers of 8 bytes. An instruction holds the
 * address of its code (or its number, where the compiler has no computed goto), so that going on
 * to the next one is one load and one jump. plan/registers.py writes the programs. */
#ifndef FUNCTRANS_SCALAR_VM_H
#define FUNCTRANS_SCALAR_VM_H

#include "abi.h"

/* Integers and bool fill the whole register, so that a move is always of 8 bytes. */
typedef union {
    double f64;
    float f32;
    int64_t i64;
    uint64_t u64;
} ft_reg;

typedef struct {
    int64_t label;
    uint16_t d, a;                       /* registers; of a load or store, d and a pointer's number */
    union {
        struct { uint16_t b, c; };
        int32_t imm;                     /* byte offset, or integer exponent */
    };
} ft_ins;

typedef struct {
    const ft_ins *ip;                    /* where to begin; after FT_VM_TURNS: the body's start */
    ft_reg *r;
    char **ptr;
    char **moving;                       /* those of the pointers that go on every turn, ... */
    const int64_t *by;                   /* ... by how many bytes */
    int64_t nmoving;
    int64_t left;                        /* turns until the interpreter returns */
} ft_vm;

enum { FT_VM_DONE, FT_VM_TURNS, FT_VM_END };   /* ret; `left` turns are over; a while is over */

/* With `labels`, only writes the label of each operation there. */
typedef int (*ft_vm_fn)(ft_vm *vm, int64_t *labels);

#endif

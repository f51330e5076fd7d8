/* Programs of loops over many equal small problems, the lanes: what plans and lanes.c share.
 *
 * They are those of scalar_vm.h, with a register of `block` numbers where that has one: an instruction
 * is an elementwise loop over a block of lanes. A block runs through the turns with its registers in
 * cache. plan/lanes.py writes the programs. */
#ifndef FUNCTRANS_LANES_H
#define FUNCTRANS_LANES_H

#include "abi.h"

enum { FT_LANE_END, FT_LANE_OP, FT_LANE_LOAD, FT_LANE_STORE, FT_LANE_TURN };

typedef struct {
    int64_t loop;                    /* an ft_loop_fn */
    uint8_t kind, inputs;
    uint8_t size[4];                 /* bytes of an element: of the result, of each input */
    uint16_t power;                  /* whether imm is an exponent, the last input */
    uint16_t d, a;                   /* registers, the first of them constants; of a load or store d and a pointer */
    union {
        struct { uint16_t b, c; };
        int32_t imm;                 /* byte offset, or integer exponent */
    };
} ft_lane_ins;

typedef struct {
    const ft_lane_ins *code;         /* what comes before the loop; then a turn, then what follows it */
    int64_t body, end;               /* where these are */
    const int64_t *constants;
    int64_t nconstants, registers;   /* of the others */
    char **ptr;                      /* where the pointers of lane 0 are in turn 0 */
    const int64_t *by, *across;      /* how far each goes from turn to turn, from lane to lane */
    int64_t npointers;
    int64_t lanes, block;
    char *space;                     /* registers of each block of a wave */
} ft_lanes;

#define FT_LANE_POINTERS 256

/* Turns from .. to (of `turns`) of the blocks first .. first + count, which are at most a wave. */
void ft_run_lanes(const ft_lanes *p, int64_t first, int64_t count, int64_t from, int64_t to, int64_t turns,
                  double cost);

#endif

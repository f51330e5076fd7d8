/* Loops over many equal small problems: see lanes.h. */
#include "lanes.h"

#include "driver.h"

typedef struct {
    const ft_lanes *p;
    int64_t first, from, to, turns;
} wave;

typedef struct {
    const ft_lanes *p;
    char *registers;
    char *ptr[FT_LANE_POINTERS];
    int64_t n;                       /* lanes here */
    int first;                       /* it holds lane 0, which stores what all lanes share */
} block;

FT_INLINE void operand(const block *k, uint16_t number, uint8_t size, char **p, int64_t *st)
{
    const ft_lanes *q = k->p;
    if (number < q->nconstants) {
        *p = (char *)(q->constants + number);
        *st = 0;
    } else {
        *p = k->registers + (number - q->nconstants) * q->block * 8;
        *st = size;
    }
}

/* Runs until an end; of a turn, `turns` times. */
static void interpret(block *k, const ft_lane_ins *ip, int64_t turns)
{
    const ft_lanes *q = k->p;
    const ft_lane_ins *start = ip;
    for (;; ip++) {
        ft_loop_fn loop = (ft_loop_fn)(intptr_t)ip->loop;
        char *p[FT_MAXOPND];
        int64_t st[FT_MAXOPND], power;
        switch (ip->kind) {
        case FT_LANE_OP:
            operand(k, ip->d, ip->size[0], p, st);
            operand(k, ip->a, ip->size[1], p + 1, st + 1);
            if (ip->inputs > 1)
                operand(k, ip->b, ip->size[2], p + 2, st + 2);
            if (ip->inputs > 2)
                operand(k, ip->c, ip->size[3], p + 3, st + 3);
            if (ip->power) {
                power = ip->imm;
                p[2] = (char *)&power;
                st[2] = 0;
            }
            loop(p, st, k->n);
            break;
        case FT_LANE_LOAD:
            operand(k, ip->d, ip->size[0], p, st);
            p[1] = k->ptr[ip->a] + ip->imm;
            st[1] = q->across[ip->a];
            loop(p, st, k->n);
            break;
        case FT_LANE_STORE:
            p[0] = k->ptr[ip->a] + ip->imm;
            st[0] = q->across[ip->a];
            operand(k, ip->d, ip->size[0], p + 1, st + 1);
            if (st[0])
                loop(p, st, k->n);
            else if (k->first)
                loop(p, st, 1);
            break;
        case FT_LANE_TURN:
            for (int64_t i = 0; i < q->npointers; i++)
                k->ptr[i] += q->by[i];
            if (--turns == 0)
                return;
            ip = start - 1;
            break;
        default:
            return;
        }
    }
}

static void range(void *ctx, int64_t lo, int64_t hi)
{
    const wave *w = ctx;
    const ft_lanes *p = w->p;
    block k = {.p = p};
    for (int64_t u = lo; u < hi; u++) {
        int64_t lane = (w->first + u) * p->block;
        k.n = ft_lesser(p->block, p->lanes - lane);
        k.first = lane == 0;
        k.registers = p->space + u * p->registers * p->block * 8;
        for (int64_t i = 0; i < p->npointers; i++)
            k.ptr[i] = p->ptr[i] + lane * p->across[i] + w->from * p->by[i];
        if (w->from == 0)
            interpret(&k, p->code, 1);
        interpret(&k, p->code + p->body, w->to - w->from);
        if (w->to == w->turns)
            interpret(&k, p->code + p->end, 1);
    }
}

void ft_run_lanes(const ft_lanes *p, int64_t first, int64_t count, int64_t from, int64_t to, int64_t turns,
                  double cost)
{
    wave w = {p, first, from, to, turns};
    ft_parallel(range, &w, count, 1, cost);
}

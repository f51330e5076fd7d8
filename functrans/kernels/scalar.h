/* Integer arithmetic of the op table: wraps, and never traps.
 *
 * The macros are used where `T` names the operand type (the generated loops define it), which makes
 * them generic. ft_unsigned is an unsigned type at least as wide as T and as int. Where NumPy has a
 * value it is NumPy's: division and remainder by zero give 0, MIN // -1 is MIN. */
#ifndef FUNCTRANS_SCALAR_H
#define FUNCTRANS_SCALAR_H

#include "common.h"

#define ft_wrap(e) ((T)(e))
#define FT_SIGNED(type) ((type)-1 < (type)1)
#define FT_BITS(type) (8 * (int)sizeof(type))

/* x / y with the two cases that the processor traps on taken out. */
#define FT_QUOTIENT(x, y) \
    ((y) == 0 ? (T)0 : FT_SIGNED(T) && (y) == (T)-1 ? (T)(-(ft_unsigned)(x)) : (T)((x) / (y)))
#define FT_REMAINDER(x, y) \
    ((y) == 0 || (FT_SIGNED(T) && (y) == (T)-1) ? (T)0 : (T)((x) % (y)))

#define ft_ifmod(x, y) FT_REMAINDER(x, y)

#define ft_ifloordiv(x, y) __extension__({                                  \
    T q_ = FT_QUOTIENT(x, y), r_ = FT_REMAINDER(x, y);                      \
    (T)(q_ - (FT_SIGNED(T) && r_ != 0 && (r_ < 0) != ((y) < 0))); })

#define ft_imod(x, y) __extension__({                                       \
    T r_ = FT_REMAINDER(x, y);                                              \
    (T)(FT_SIGNED(T) && r_ != 0 && (r_ < 0) != ((y) < 0) ? r_ + (y) : r_); })

/* Counts beyond the width, negative ones too: 0, or the sign for a right shift. */
#define ft_shl(x, y) \
    ((uint64_t)(y) < (uint64_t)FT_BITS(T) ? (T)((ft_unsigned)(x) << (y)) : (T)0)
#define ft_shr(x, y) \
    ((uint64_t)(y) < (uint64_t)FT_BITS(T) ? (T)((x) >> (y)) : (T)((x) < 0 ? -1 : 0))

/* x to a power >= 0, modulo 2**64: its low bits are right for every narrower type. */
FT_INLINE uint64_t ft_upow(uint64_t x, uint64_t k)
{
    uint64_t r = 1;
    for (; k; k >>= 1, x *= x)
        if (k & 1)
            r *= x;
    return r;
}

/* NumPy refuses negative powers of integers; here they are 1/x**k, truncated (1/0 being 0). */
FT_INLINE int64_t ft_negative_power(int64_t x, int odd)
{
    return x == 1 ? 1 : x == -1 ? (odd ? -1 : 1) : 0;
}

#define ft_ipowi(x, k) \
    ((k) < 0 ? (T)ft_negative_power((int64_t)(x), (int)((k) & 1)) \
             : (T)ft_upow((uint64_t)(x), (uint64_t)(k)))
#define ft_ipow(x, y) \
    (FT_SIGNED(T) && (y) < 0 ? (T)ft_negative_power((int64_t)(x), (int)((y) & 1)) \
                             : (T)ft_upow((uint64_t)(x), (uint64_t)(y)))

/* The bits of x, in 64; its magnitude, of MIN too. */
#define ft_bits(x) ((uint64_t)(x) & (~UINT64_C(0) >> (64 - FT_BITS(T))))
#define ft_size(x) (FT_SIGNED(T) && (x) < 0 ? -(uint64_t)(x) : (uint64_t)(x))

FT_INLINE uint64_t ft_ugcd(uint64_t x, uint64_t y)
{
    while (y) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    return x;
}

FT_INLINE uint64_t ft_ulcm(uint64_t x, uint64_t y)
{
    uint64_t g = ft_ugcd(x, y);
    return g ? x / g * y : 0;
}

#define ft_igcd(x, y) ((T)ft_ugcd(ft_size(x), ft_size(y)))
#define ft_ilcm(x, y) ((T)ft_ulcm(ft_size(x), ft_size(y)))
#define ft_ones(x) ((T)__builtin_popcountll(ft_bits(x)))
#define ft_leading(x) ((T)(ft_bits(x) ? __builtin_clzll(ft_bits(x)) - (64 - FT_BITS(T)) : FT_BITS(T)))

/* Float to integer: toward zero, saturating, nan to 0. `low` and `end` are exact in every float
 * type: MIN, and the first value too large. */
#define FT_SATURATE(from, to, x) __extension__({                                             \
    const from end_ = (from)(FT_SIGNED(to) ? 1ull << (FT_BITS(to) - 2)                       \
                                           : 1ull << (FT_BITS(to) - 1)) * 2;                 \
    const from low_ = FT_SIGNED(to) ? -end_ : 0;                                             \
    const to max_ = FT_SIGNED(to) ? (to)((1ull << (FT_BITS(to) - 1)) - 1) : (to)-1;          \
    const to min_ = FT_SIGNED(to) ? (to)(1ull << (FT_BITS(to) - 1)) : (to)0;                 \
    const int in_ = (x) > low_ && (x) < end_;                                                \
    const to v_ = (to)(in_ ? (x) : (from)0);                                                 \
    (x) >= end_ ? max_ : (x) <= low_ ? min_ : v_; })

#endif

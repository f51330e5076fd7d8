/* Conversions of float16, which is stored as its bits; arithmetic is done in float32. */
#ifndef FUNCTRANS_HALF_H
#define FUNCTRANS_HALF_H

#include "common.h"

#if defined(__F16C__)
#include <immintrin.h>

FT_INLINE float ft_half_from_f32(uint16_t h) { return _cvtsh_ss(h); }
FT_INLINE uint16_t ft_half_to_f32(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
#else

/* Shifting moves exponent and fraction to their places; a product corrects the exponent's bias, which
 * also makes subnormal numbers normal. */
FT_INLINE float ft_half_from_f32(uint16_t h)
{
    uint32_t low = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16, bits;
    float y;
    memcpy(&y, &low, 4);
    y *= 0x1p112f;
    memcpy(&bits, &y, 4);
    bits = low >= 0x0f800000 ? low | 0x7f800000 : bits;            /* infinities and nans */
    bits |= sign | (low > 0x0f800000 ? 0x00400000 : 0);
    memcpy(&y, &bits, 4);
    return y;
}

/* Adding a number whose last place is that of the result rounds to nearest even. */
FT_INLINE uint16_t ft_half_to_f32(float x)
{
    uint32_t bits, sign, r;
    memcpy(&bits, &x, 4);
    sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
    if (bits >= 0x477ff000)                                        /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) {                                       /* subnormal results */
        float y;
        memcpy(&y, &bits, 4);
        y += 0.5f;
        memcpy(&r, &y, 4);
        return (uint16_t)(sign | (r - 0x3f000000));
    }
    r = bits + 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | ((r - 0x38000000) >> 13));
}
#endif

FT_INLINE double ft_half_from_f64(uint16_t h) { return ft_half_from_f32(h); }

/* By way of float32 rounded to odd: then the second rounding sees on which side the rest lies. */
FT_INLINE uint16_t ft_half_to_f64(double x)
{
    float y = (float)x;
    uint32_t bits;
    memcpy(&bits, &y, 4);
    double back = y, a = x < 0 ? -x : x, b = back < 0 ? -back : back;
    if (b != a && a == a && (bits & 1) == 0 && (bits & 0x7fffffff) != 0x7f800000)
        bits = b > a ? bits - 1 : bits | 1;
    if ((bits & 0x7fffffff) == 0x7f800000 && a < INFINITY)
        bits -= 1;
    memcpy(&y, &bits, 4);
    return ft_half_to_f32(y);
}

#endif

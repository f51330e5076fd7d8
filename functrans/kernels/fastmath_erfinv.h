/* The inverse of the error function: erf_inv(x) = x p(w) with w = -log(1 - x^2), p a polynomial of w near 0
 * and of sqrt(w) further out (the idea of Giles, "Approximating the erfinv function", 2010; the fits are
 * Chebyshev interpolations made for these intervals, the comment above each is its largest error). */
#ifndef FUNCTRANS_FASTMATH_ERFINV_H
#define FUNCTRANS_FASTMATH_ERFINV_H

#include "fastmath.h"

#define FT_HORNER21(F, z, c, ...) F(FT_HORNER20(F, z, __VA_ARGS__), z, c)
#define FT_HORNER22(F, z, c, ...) F(FT_HORNER21(F, z, __VA_ARGS__), z, c)
#define FT_HORNER23(F, z, c, ...) F(FT_HORNER22(F, z, __VA_ARGS__), z, c)
#define FT_HORNER24(F, z, c, ...) F(FT_HORNER23(F, z, __VA_ARGS__), z, c)

/* 3.5e-17 on [0, 6.25] */
#define FT_ERFINV_A_f64_MID 3.125
#define FT_ERFINV_A_f64(z) FT_HORNER24(ft_ma_f64, z, \
    1.65365456268310275, 0.240158182425588324, -0.00603367087142784988, \
    -0.000740702534154476987, 0.000186734208024648377, -0.0000138825233944053167, \
    -1.36546918506035751e-6, 4.23478817378233926e-7, -2.90703822629272664e-8, \
    -4.11266082002324008e-9, 1.05121815398041267e-9, -5.41428719808471606e-11, \
    -1.29768855265320756e-11, 2.63048347405604415e-12, -8.11839944307435319e-14, \
    -4.00123773509189586e-14, 6.59640771242083411e-15, -4.02821543276617422e-17, \
    -1.30169280167964449e-16, 1.55743202462332522e-17, 1.15002225206625297e-18, \
    -3.49960443547541778e-19, -1.11348376983270194e-21, 3.24070445937990191e-21)
/* 5.1e-17 on [2.5, 4] */
#define FT_ERFINV_B_f64_MID 3.25
#define FT_ERFINV_B_f64(z) FT_HORNER20(ft_ma_f64, z, \
    3.08388561049222063, 1.0052589676941653, 0.00537091455357167963, \
    -0.0037512085082155611, 0.0024914420969817609, -0.00168827553573370721, \
    0.000953289363743563718, -0.000355037809759638111, 0.0000240312570150925236, \
    0.0000682870865475337668, -0.0000473189841201124549, 0.0000124651671570872518, \
    2.92572919017898247e-6, -3.98608439521475595e-6, 1.49871307841861263e-6, \
    -2.70042192808689465e-8, -2.71345110543945614e-7, 1.31043514999720141e-7, \
    6.96924197762969404e-10, -1.51026954233350641e-8)
/* 4.8e-18 on [4, 6.1] */
#define FT_ERFINV_C_f64_MID 5.0500001907348633
#define FT_ERFINV_C_f64(z) FT_HORNER20(ft_ma_f64, z, \
    4.90042124414021525, 1.01028501753297549, -0.00016985820611353369, \
    -0.000200311952280401341, 0.000071240297915892639, -0.0000183745321029678062, \
    4.19385238731657541e-6, -9.07080179102137371e-7, 2.01619683158631922e-7, \
    -5.49536942281997619e-8, 2.18199307901558066e-8, -1.11572240439398411e-8, \
    5.80877764989969997e-9, -2.70117957538830131e-9, 1.0457379548697554e-9, \
    -3.28732766071144501e-10, 7.87051720152227104e-11, 2.56417959563046301e-12, \
    -1.56910180942140076e-11, 5.02946383171712747e-12)
/* 1.3e-8 on [0, 5] */
#define FT_ERFINV_A_f32_MID 2.5f
#define FT_ERFINV_A_f32(z) FT_HORNER10(ft_ma_f32, z, \
    1.50140936f, 0.2466402791f, -0.004177392875f, -0.001252726392f, \
    0.0002183493862f, -4.972419689e-6f, -3.463985268e-6f, 4.681313481e-7f, \
    2.33359672e-8f, -8.93192597e-9f)
/* 4.2e-9 on [2.236, 4.2] */
#define FT_ERFINV_B_f32_MID 3.218034029006958f
#define FT_ERFINV_B_f32(z) FT_HORNER12(ft_ma_f32, z, \
    3.051757142f, 1.004903762f, 0.005746702301f, -0.004087770349f, 0.002773731969f, \
    -0.001877431477f, 0.001044445187f, -0.0003644762652f, -1.974286854e-5f, \
    9.6413854e-5f, -3.259557318e-5f, -9.538409166e-7f)

/* Up to here one polynomial does, and the loop is vector code. */
#define FT_ERFINV_FAR_f64 0.999
#define FT_ERFINV_FAR_f32 0.9966f

FT_INLINE double ft_erf_inv_near_f64(double x)
{
    double w = -ft_fast_log_f64((1 - x) * (1 + x));
    return x * FT_ERFINV_A_f64((w - FT_ERFINV_A_f64_MID));
}

FT_INLINE float ft_erf_inv_near_f32(float x)
{
    float w = -ft_fast_log_f32((1 - x) * (1 + x));
    return x * FT_ERFINV_A_f32((w - FT_ERFINV_A_f32_MID));
}

/* Any x: infinite at -1 and 1, nan beyond. */
FT_INLINE double ft_fast_erf_inv_f64(double x)
{
    if (x <= FT_ERFINV_FAR_f64 && x >= -FT_ERFINV_FAR_f64)
        return ft_erf_inv_near_f64(x);
    if (x == 1 || x == -1)
        return x * INFINITY;
    double s = sqrt(-ft_fast_log_f64((1 - x) * (1 + x)));
    return x * (s < 4 ? FT_ERFINV_B_f64((s - FT_ERFINV_B_f64_MID)) : FT_ERFINV_C_f64((s - FT_ERFINV_C_f64_MID)));
}

FT_INLINE float ft_fast_erf_inv_f32(float x)
{
    if (x <= FT_ERFINV_FAR_f32 && x >= -FT_ERFINV_FAR_f32)
        return ft_erf_inv_near_f32(x);
    if (x == 1 || x == -1)
        return x * INFINITY;
    float s = sqrtf(-ft_fast_log_f32((1 - x) * (1 + x)));
    return x * FT_ERFINV_B_f32((s - FT_ERFINV_B_f32_MID));
}

/* out[i] = erf_inv(x[i]), out may be x: few elements are far, they are computed again. */
#define FT_ERFINV_LOOP(s, T, out, x, count)                                         \
    for (int64_t from_ = 0; from_ < (count); from_ += 256) {                        \
        int64_t n_ = ft_lesser(256, (count) - from_);                               \
        T v_[256];                                                                  \
        int far_ = 0;                                                               \
        for (int64_t i = 0; i < n_; i++) {                                          \
            v_[i] = ft_erf_inv_near_##s((x)[from_ + i]);                            \
            far_ |= !((x)[from_ + i] <= FT_ERFINV_FAR_##s &&                        \
                      (x)[from_ + i] >= -FT_ERFINV_FAR_##s);                        \
        }                                                                           \
        if (far_)                                                                   \
            for (int64_t i = 0; i < n_; i++)                                        \
                if (!((x)[from_ + i] <= FT_ERFINV_FAR_##s &&                        \
                      (x)[from_ + i] >= -FT_ERFINV_FAR_##s))                        \
                    v_[i] = ft_fast_erf_inv_##s((x)[from_ + i]);                    \
        memcpy((out) + from_, v_, n_ * sizeof(T));                                  \
    }

#endif

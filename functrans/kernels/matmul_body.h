/* Template: the product of one type. With T, FT_NAME(part), FT_MAD(a, b, c) on scalars and
 * FT_VMAD(a, b, c) on vectors. An output is one chain over each FT_MM_KC of k, whatever the tile, or
 * lanes of a fixed number where rows are read along k (`dots` and gemm_body.h's `few_dots`). Which of
 * these runs depends on shape and strides only: levels with FMA give equal bits. */
#define VEC FT_NAME(vec)
#define QUAD FT_NAME(quad)
#define PER ((int64_t)(FT_VBYTES / sizeof(T)))
#define LANES ((int)(FT_LANE_BYTES / sizeof(T)))
#define NVEC (FT_LANE_BYTES / FT_VBYTES)
#define BLOCK 1024
#define SIZE ((int64_t)sizeof(T))

typedef T VEC __attribute__((vector_size(FT_VBYTES), aligned(sizeof(T)), may_alias));
typedef T QUAD __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T)), may_alias));

/* The first n elements of a vector, written or added: where the level can do it without a loop. */
FT_INLINE void FT_NAME(put_part)(VEC *o, VEC x, int64_t n, int add)
{
    if (n >= PER) {
        if (add)
            x = FT_VADD(*o, x);
        *o = x;
        return;
    }
#if FT_MASKED
    if (add)
        x = FT_VADD((VEC)FT_LOAD_PART(SIZE, o, n), x);
    FT_STORE_PART(SIZE, o, n, (__m512i)x);
#else
    for (int64_t j = 0; j < n; j++)
        ((T *)o)[j] = add ? FT_ADD(((T *)o)[j], x[j]) : x[j];
#endif
}

/* Writes the accumulators of a tile, or adds them to what is there: the first w columns. */
FT_INLINE void FT_NAME(put)(char *out, int64_t om, int64_t on, VEC acc[][FT_MM_NV_MAX], int64_t w,
                            int rows, int nv, int add)
{
    if (on == SIZE && w == nv * PER) {
        for (int r = 0; r < rows; r++) {
            VEC *o = (VEC *)(out + r * om);
            for (int v = 0; v < nv; v++)
                if (add)
                    o[v] = FT_VADD(o[v], acc[r][v]);
                else
                    o[v] = acc[r][v];
        }
        return;
    }
    if (FT_MASKED && on == SIZE) {
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < nv; v++) {
                VEC *o = (VEC *)(out + r * om) + v;
                if (w > v * PER)
                    FT_NAME(put_part)(o, acc[r][v], w - v * PER, add);
            }
        return;
    }
    T line[FT_MM_MR][FT_MM_NV_MAX * FT_VBYTES / sizeof(T)];
    int64_t whole = on == SIZE ? w / PER : 0;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++) {
            VEC *o = (VEC *)(out + r * om) + v;
            if (v >= whole)
                *(VEC *)(line[r] + v * PER) = acc[r][v];
            else if (add)
                *o = FT_VADD(*o, acc[r][v]);
            else
                *o = acc[r][v];
        }
    for (int r = 0; r < rows; r++)
        for (int64_t j = whole * PER; j < w; j++) {
            T *o = (T *)(out + r * om + j * on);
            *o = add ? FT_ADD(*o, line[r][j]) : line[r][j];
        }
}

/* `rows` rows of a times one panel of b, `nv` vectors wide (both constants where it is called); its
 * first w columns are written, or added to what is there. */
FT_INLINE void FT_NAME(tile)(char *out, int64_t om, int64_t on, const char *a, int64_t am, int64_t ak,
                             const char *b, int64_t bstep, int64_t kc, int64_t w, int rows, int nv,
                             int add)
{
    VEC acc[FT_MM_MR][FT_MM_NV_MAX];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = (VEC){0};
    for (int64_t k = 0; k < kc; k++, b += bstep, a += ak) {
        VEC bv[FT_MM_NV_MAX];
        for (int v = 0; v < nv; v++)
            bv[v] = ((const VEC *)b)[v];
        for (int r = 0; r < rows; r++) {
            VEC x = *(const T *)(a + r * am) - (VEC){0};
            for (int v = 0; v < nv; v++)
                acc[r][v] = FT_VMAD(x, bv[v], acc[r][v]);
        }
    }
    FT_NAME(put)(out, om, on, acc, w, rows, nv, add);
}

/* Transposes four lines of four. */
FT_INLINE void FT_NAME(four)(T *out, int64_t wide, const char *p, int64_t sw)
{
    QUAD x0 = *(const QUAD *)p, x1 = *(const QUAD *)(p + sw), x2 = *(const QUAD *)(p + 2 * sw),
         x3 = *(const QUAD *)(p + 3 * sw);
    QUAD y0 = __builtin_shufflevector(x0, x1, 0, 4, 1, 5);
    QUAD y1 = __builtin_shufflevector(x2, x3, 0, 4, 1, 5);
    QUAD y2 = __builtin_shufflevector(x0, x1, 2, 6, 3, 7);
    QUAD y3 = __builtin_shufflevector(x2, x3, 2, 6, 3, 7);
    *(QUAD *)out = __builtin_shufflevector(y0, y1, 0, 1, 4, 5);
    *(QUAD *)(out + wide) = __builtin_shufflevector(y0, y1, 2, 3, 6, 7);
    *(QUAD *)(out + 2 * wide) = __builtin_shufflevector(y2, y3, 0, 1, 4, 5);
    *(QUAD *)(out + 3 * wide) = __builtin_shufflevector(y2, y3, 2, 3, 6, 7);
}

/* out[k][c] = the element c * sw + k * sk of p: w columns, zeros up to `wide`. Inlined: wide is often
 * a constant. */
FT_INLINE void FT_NAME(pack)(T *out, int64_t wide, const char *p, int64_t w, int64_t kc, int64_t sw,
                             int64_t sk)
{
    if (w < wide)
        for (int64_t k = 0; k < kc; k++)
            for (int64_t c = w; c < wide; c++)
                out[k * wide + c] = 0;
    if (sw == SIZE) {
        if (w == wide) {
            for (int64_t k = 0; k < kc; k++) {
                for (int64_t at = 0; at < wide * SIZE; at += 64)
                    __builtin_prefetch(p + (k + 12) * sk + at);
                memcpy(out + k * wide, p + k * sk, wide * SIZE);
            }
            return;
        }
        for (int64_t k = 0; k < kc; k++) {
            const T *x = (const T *)(p + k * sk);
            int64_t c = 0;
            for (; c + 4 <= w; c += 4)
                *(QUAD *)(out + k * wide + c) = *(const QUAD *)(x + c);
            for (; c < w; c++)
                out[k * wide + c] = x[c];
        }
        return;
    }
    int64_t fours = sk == SIZE ? w & ~(int64_t)3 : 0, k4 = fours ? kc & ~(int64_t)3 : 0;
    for (int64_t k0 = 0; k0 < k4; k0 += 64 / SIZE)            /* whole lines of memory, and the ones behind */
        for (int64_t c = 0; c < fours; c += 4) {
            for (int64_t i = c; i < c + 4; i++)
                __builtin_prefetch(p + i * sw + k0 * SIZE + 128);
            for (int64_t k = k0, end = ft_lesser(k0 + 64 / SIZE, k4); k < end; k += 4)
                FT_NAME(four)(out + k * wide + c, wide, p + c * sw + k * SIZE, sw);
        }
    for (int64_t k = k4; k < kc; k++)
        for (int64_t c = 0; c < fours; c++)
            out[k * wide + c] = *(const T *)(p + c * sw + k * sk);
    for (int64_t c = fours; c < w; c++)
        for (int64_t k = 0; k < kc; k++)
            out[k * wide + c] = *(const T *)(p + c * sw + k * sk);
}

/* All rows of a times the columns j .. j + w, over one block of k. */
FT_INLINE void FT_NAME(panel)(char *out, const char *a, const char *b, const ft_mm *d, int64_t j,
                              int64_t w, int nv, int add, char *scratch)
{
    int64_t wide = nv * PER, bstep = d->bk, i = 0, om = d->om, on = d->on, am = d->am, ak = d->ak;
    out += j * on;
    b += j * d->bn;
    /* Many rows use it again: packed, it does not fall on few cache sets and pages. */
    int far = d->m >= 32 && d->k >= 64 && (d->bk & 1023) == 0;
    if (w < wide || d->bn != SIZE || far || (d->m >= 64 && d->k >= 256)) {
        FT_NAME(pack)((T *)scratch, wide, b, w, d->k, d->bn, d->bk);
        b = scratch;
        bstep = wide * SIZE;
    }
    for (; i + FT_MM_MR <= d->m; i += FT_MM_MR)
        FT_NAME(tile)(out + i * om, om, on, a + i * am, am, ak, b, bstep, d->k, w, FT_MM_MR, nv, add);
    if (i + 4 <= d->m) {
        FT_NAME(tile)(out + i * om, om, on, a + i * am, am, ak, b, bstep, d->k, w, 4, nv, add);
        i += 4;
    }
    if (i + 2 <= d->m) {
        FT_NAME(tile)(out + i * om, om, on, a + i * am, am, ak, b, bstep, d->k, w, 2, nv, add);
        i += 2;
    }
    if (i < d->m)
        FT_NAME(tile)(out + i * om, om, on, a + i * am, am, ak, b, bstep, d->k, w, 1, nv, add);
}

static void FT_NAME(panels)(char *out, const char *a, const char *b, const ft_mm *d, char *scratch)
{
    int64_t k = 0;
    do {
        ft_mm part = *d;
        part.k = ft_lesser(FT_MM_KC, d->k - k);
        int64_t j = 0;
        for (; d->n - j > PER; j += 2 * PER)
            FT_NAME(panel)(out, a, b, &part, j, ft_lesser(2 * PER, d->n - j), 2, k > 0, scratch);
        if (j < d->n)
            FT_NAME(panel)(out, a, b, &part, j, d->n - j, 1, k > 0, scratch);
        k += part.k;
        a += part.k * d->ak;
        b += part.k * d->bk;
    } while (k < d->k);
}

static T FT_NAME(dot_block)(const T *x, const T *y, int64_t n)
{
    VEC acc[NVEC];
    T lane[FT_LANE_BYTES / sizeof(T)];
    int64_t i = 0;
    for (int v = 0; v < NVEC; v++)
        acc[v] = (VEC){0};
    for (; i + LANES <= n; i += LANES)
        for (int v = 0; v < NVEC; v++)
            acc[v] = FT_VMAD(*(const VEC *)(x + i + v * PER), *(const VEC *)(y + i + v * PER), acc[v]);
    memcpy(lane, acc, sizeof lane);
    for (int j = 0; j < n - i; j++)
        lane[j] = FT_MAD(x[i + j], y[i + j], lane[j]);
    for (int h = LANES / 2; h; h /= 2)
        for (int j = 0; j < h; j++)
            lane[j] = FT_MAD((T)1, lane[j + h], lane[j]);
    return lane[0];
}

static const T *FT_NAME(line)(const char *p, int64_t stride, int64_t n, T *buffer)
{
    if (stride == sizeof(T))
        return (const T *)p;
    for (int64_t i = 0; i < n; i++)
        buffer[i] = *(const T *)(p + i * stride);
    return buffer;
}

/* n == 1: each output is a dot product; blocks are added pairwise. */
static void FT_NAME(dots)(char *out, const char *a, const char *b, const ft_mm *d)
{
    T bufa[BLOCK], bufb[BLOCK], stack[FT_MAXDIM];
    for (int64_t i = 0; i < d->m; i++) {
        int depth = 0;
        T v = 0;
        for (int64_t k = 0, count = 0; k < d->k; k += BLOCK, count++) {
            int64_t n = ft_lesser(BLOCK, d->k - k);
            v = FT_NAME(dot_block)(FT_NAME(line)(a + i * d->am + k * d->ak, d->ak, n, bufa),
                                   FT_NAME(line)(b + k * d->bk, d->bk, n, bufb), n);
            for (int64_t c = count; c & 1; c >>= 1)
                v = FT_MAD((T)1, v, stack[--depth]);
            stack[depth++] = v;
        }
        if (depth)
            v = stack[--depth];
        while (depth)
            v = FT_MAD((T)1, v, stack[--depth]);
        *(T *)(out + i * d->om) = v;
    }
}

/* Tiny ones: four columns at once, for four independent chains. */
static void FT_NAME(scalars)(char *out, const char *a, const char *b, const ft_mm *d)
{
    for (int64_t j = 0; j < d->n; j += 4) {
        int64_t w = ft_lesser(4, d->n - j), o1 = w > 1 ? d->bn : 0, o2 = w > 2 ? 2 * d->bn : 0,
                o3 = w > 3 ? 3 * d->bn : 0;
        for (int64_t i = 0; i < d->m; i++) {
            const char *pa = a + i * d->am, *pb = b + j * d->bn;
            char *o = out + i * d->om + j * d->on;
            T v0 = 0, v1 = 0, v2 = 0, v3 = 0;
            for (int64_t k = 0; k < d->k; k++, pa += d->ak, pb += d->bk) {
                T x = *(const T *)pa;
                v0 = FT_MAD(x, *(const T *)pb, v0);
                v1 = FT_MAD(x, *(const T *)(pb + o1), v1);
                v2 = FT_MAD(x, *(const T *)(pb + o2), v2);
                v3 = FT_MAD(x, *(const T *)(pb + o3), v3);
            }
            *(T *)o = v0;
            if (w > 1)
                *(T *)(o + d->on) = v1;
            if (w > 2)
                *(T *)(o + 2 * d->on) = v2;
            if (w > 3)
                *(T *)(o + 3 * d->on) = v3;
        }
    }
}

static void FT_NAME(product)(char *out, const char *a, const char *b, const ft_mm *d, char *scratch)
{
    ft_mm t;
    if (d->m * d->n * d->k <= 64) {
        FT_NAME(scalars)(out, a, b, d);
        return;
    }
    if (d->m == 1 && d->n > 1 && d->bn != sizeof(T)) {        /* vector times columns: dots too */
        t = ft_mm_transposed(d);
        FT_NAME(dots)(out, b, a, &t);
    } else if (d->n == 1 && (d->m == 1 || d->am != sizeof(T))) {
        FT_NAME(dots)(out, a, b, d);
    } else if (d->n == 1 || (d->m > 1 && d->bn != sizeof(T) && d->am == sizeof(T))) {
        t = ft_mm_transposed(d);
        FT_NAME(panels)(out, b, a, &t, scratch);
    } else {
        FT_NAME(panels)(out, a, b, d, scratch);
    }
}

#ifdef FT_CONV
#include "conv_body.h"
#endif

#ifdef FT_MM_FLOAT
#include "gemm_body.h"
static const ft_matmul FT_NAME(kernel) = {sizeof(T), FT_NAME(product), &FT_NAME(gemm)};
#else
static const ft_matmul FT_NAME(kernel) = {sizeof(T), FT_NAME(product), NULL};
#endif

#undef VEC
#undef PER
#undef LANES
#undef NVEC
#undef BLOCK
#undef QUAD
#undef SIZE

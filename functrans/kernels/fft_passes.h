/* Template: Stockham's passes over vectors of lanes. With T, FT_SIZE (bytes of T), FT_NAME(part).
 *
 * A pass of radix r takes n = r m points apart, s transforms interleaved:
 * y[q + s (r p + k)] = w^(p k) sum_j x[q + s (p + j m)] exp(-2 pi i j k / r), w = exp(-2 pi i / n). */
#define FT_V (FT_VBYTES / FT_SIZE)
#if FT_V == 2
#define FT_SHUFFLE(a, b, how) __builtin_shufflevector(a, b, FT_##how##_2)
#elif FT_V == 4
#define FT_SHUFFLE(a, b, how) __builtin_shufflevector(a, b, FT_##how##_4)
#elif FT_V == 8
#define FT_SHUFFLE(a, b, how) __builtin_shufflevector(a, b, FT_##how##_8)
#else
#define FT_SHUFFLE(a, b, how) __builtin_shufflevector(a, b, FT_##how##_16)
#endif

typedef T FT_NAME(vec) __attribute__((vector_size(FT_VBYTES), may_alias));
typedef T FT_NAME(loose) __attribute__((vector_size(FT_VBYTES), aligned(FT_SIZE), may_alias));
typedef struct {
    FT_NAME(vec) r, i;
} FT_NAME(cv);

#define VEC FT_NAME(vec)
#define CV FT_NAME(cv)
#define AT(p) (*(FT_NAME(loose) *)(p))

FT_INLINE CV FT_NAME(add)(CV a, CV b) { return (CV){a.r + b.r, a.i + b.i}; }
FT_INLINE CV FT_NAME(sub)(CV a, CV b) { return (CV){a.r - b.r, a.i - b.i}; }
FT_INLINE CV FT_NAME(times)(CV a, T s) { return (CV){a.r * s, a.i * s}; }
/* a - i b, a + i b */
FT_INLINE CV FT_NAME(sub_i)(CV a, CV b) { return (CV){a.r + b.i, a.i - b.r}; }
FT_INLINE CV FT_NAME(add_i)(CV a, CV b) { return (CV){a.r - b.i, a.i + b.r}; }
/* a w, if there is anything to multiply with */
FT_INLINE CV FT_NAME(turn)(CV a, const T *w, int turns)
{
    return turns ? (CV){a.r * w[0] - a.i * w[1], a.r * w[1] + a.i * w[0]} : a;
}

#define ADD FT_NAME(add)
#define SUB FT_NAME(sub)
#define TIMES FT_NAME(times)
#define SUB_I FT_NAME(sub_i)
#define ADD_I FT_NAME(add_i)

FT_INLINE void FT_NAME(fly2)(CV *a)
{
    CV t = a[1];
    a[1] = SUB(a[0], t);
    a[0] = ADD(a[0], t);
}

FT_INLINE void FT_NAME(fly3)(CV *a)
{
    CV sum = ADD(a[1], a[2]), turned = TIMES(SUB(a[1], a[2]), (T)0.86602540378443864676);
    CV middle = SUB(a[0], TIMES(sum, (T)0.5));
    a[0] = ADD(a[0], sum);
    a[1] = SUB_I(middle, turned);
    a[2] = ADD_I(middle, turned);
}

FT_INLINE void FT_NAME(fly4)(CV *a)
{
    CV even = ADD(a[0], a[2]), odd = SUB(a[0], a[2]);
    CV sum = ADD(a[1], a[3]), turned = SUB(a[1], a[3]);
    a[0] = ADD(even, sum);
    a[2] = SUB(even, sum);
    a[1] = SUB_I(odd, turned);
    a[3] = ADD_I(odd, turned);
}

FT_INLINE void FT_NAME(fly5)(CV *a)
{
    const T c1 = (T)0.30901699437494742410, c2 = (T)-0.80901699437494742410;
    const T s1 = (T)0.95105651629515357212, s2 = (T)0.58778525229247312917;
    CV p = ADD(a[1], a[4]), m = SUB(a[1], a[4]), q = ADD(a[2], a[3]), n = SUB(a[2], a[3]);
    CV x = ADD(a[0], ADD(TIMES(p, c1), TIMES(q, c2))), y = ADD(a[0], ADD(TIMES(p, c2), TIMES(q, c1)));
    CV u = ADD(TIMES(m, s1), TIMES(n, s2)), v = SUB(TIMES(m, s2), TIMES(n, s1));
    a[0] = ADD(a[0], ADD(p, q));
    a[1] = SUB_I(x, u);
    a[4] = ADD_I(x, u);
    a[2] = SUB_I(y, v);
    a[3] = ADD_I(y, v);
}

FT_INLINE void FT_NAME(fly8)(CV *a)
{
    const T half = (T)0.70710678118654752440;
    CV e[4] = {a[0], a[2], a[4], a[6]}, o[4] = {a[1], a[3], a[5], a[7]};
    FT_NAME(fly4)(e);
    FT_NAME(fly4)(o);
    o[1] = TIMES((CV){o[1].r + o[1].i, o[1].i - o[1].r}, half);      /* exp(-i pi / 4) */
    o[3] = TIMES((CV){o[3].i - o[3].r, -o[3].r - o[3].i}, half);     /* exp(-3 i pi / 4) */
    a[0] = ADD(e[0], o[0]);
    a[4] = SUB(e[0], o[0]);
    a[1] = ADD(e[1], o[1]);
    a[5] = SUB(e[1], o[1]);
    a[2] = SUB_I(e[2], o[2]);
    a[6] = ADD_I(e[2], o[2]);
    a[3] = ADD(e[3], o[3]);
    a[7] = SUB(e[3], o[3]);
}

#define FT_PASS(R)                                                                                       \
    FT_INLINE void FT_NAME(some##R)(CV *restrict y, const CV *restrict x, int64_t m, int64_t s,          \
                                    const T *w, int turns)                                               \
    {                                                                                                    \
        for (int64_t p = 0; p < m; p++, w += 2 * (R - 1))                                                \
            for (int64_t q = 0; q < s; q++) {                                                            \
                CV a[R];                                                                                 \
                for (int j = 0; j < R; j++)                                                              \
                    a[j] = x[q + s * (p + j * m)];                                                       \
                FT_NAME(fly##R)(a);                                                                      \
                y[q + s * R * p] = a[0];                                                                 \
                for (int k = 1; k < R; k++)                                                              \
                    y[q + s * (R * p + k)] = FT_NAME(turn)(a[k], w + 2 * (k - 1), turns);                \
            }                                                                                            \
    }                                                                                                    \
    static void FT_NAME(pass##R)(CV *restrict y, const CV *restrict x, int64_t m, int64_t s, const T *w) \
    {                                                                                                    \
        if (m > 1)                                                                                       \
            FT_NAME(some##R)(y, x, m, s, w, 1);                                                          \
        else                                                                                             \
            FT_NAME(some##R)(y, x, 1, s, w, 0);                                                          \
    }

FT_PASS(2)
FT_PASS(3)
FT_PASS(4)
FT_PASS(5)
FT_PASS(8)

/* Any odd radix: cosines and sines of 2 pi k / r, then twiddles, are in w. */
static void FT_NAME(pass_any)(CV *restrict y, const CV *restrict x, int64_t r, int64_t m, int64_t s, const T *w)
{
    const T *cosine = w, *sine = w + r;
    int64_t half = r / 2;
    CV sum[FT_FFT_MAX_RADIX / 2], dif[FT_FFT_MAX_RADIX / 2];
    w += 2 * r;
    for (int64_t p = 0; p < m; p++, w += 2 * (r - 1))
        for (int64_t q = 0; q < s; q++) {
            CV first = x[q + s * p], total = first;
            for (int64_t j = 1; j <= half; j++) {
                CV a = x[q + s * (p + j * m)], b = x[q + s * (p + (r - j) * m)];
                sum[j - 1] = ADD(a, b);
                dif[j - 1] = SUB(a, b);
                total = ADD(total, sum[j - 1]);
            }
            y[q + s * r * p] = total;
            for (int64_t k = 1; k <= half; k++) {
                CV even = first, odd = {{0}, {0}};
                for (int64_t j = 1, at = k; j <= half; j++) {
                    even = ADD(even, TIMES(sum[j - 1], cosine[at]));
                    odd = ADD(odd, TIMES(dif[j - 1], sine[at]));
                    at += k;
                    at -= at >= r ? r : 0;
                }
                y[q + s * (r * p + k)] = FT_NAME(turn)(SUB_I(even, odd), w + 2 * (k - 1), m > 1);
                y[q + s * (r * p + r - k)] = FT_NAME(turn)(ADD_I(even, odd), w + 2 * (r - k - 1), m > 1);
            }
        }
}

/* n points in each lane, n the product of the f[0] radices after f[0]. x and y change places; the
 * result is where the return value points. */
static CV *FT_NAME(lanes)(const int64_t *f, int64_t n, CV *x, CV *y, const T *w)
{
    for (int64_t s = 1, k = 1; k <= f[0]; k++) {
        int64_t r = f[k], m = n / r;
        CV *other = x;
        switch (r) {
        case 2: FT_NAME(pass2)(y, x, m, s, w); break;
        case 3: FT_NAME(pass3)(y, x, m, s, w); break;
        case 4: FT_NAME(pass4)(y, x, m, s, w); break;
        case 5: FT_NAME(pass5)(y, x, m, s, w); break;
        case 8: FT_NAME(pass8)(y, x, m, s, w); break;
        default: FT_NAME(pass_any)(y, x, r, m, s, w); w += 2 * r;
        }
        w += 2 * (r - 1) * m;
        x = y;
        y = other;
        s *= r;
        n = m;
    }
    return x;
}

/* ----- between memory and lanes ------------------------------------------------------------------ */

/* FT_V adjacent complex numbers. */
FT_INLINE CV FT_NAME(load)(const T *p)
{
    VEC a = AT(p), b = AT(p + FT_V);
    return (CV){FT_SHUFFLE(a, b, EVEN), FT_SHUFFLE(a, b, ODD)};
}

FT_INLINE void FT_NAME(store)(T *p, CV a)
{
    AT(p) = FT_SHUFFLE(a.r, a.i, LOW);
    AT(p + FT_V) = FT_SHUFFLE(a.r, a.i, HIGH);
}

/* Only `count` of them: the other lanes are 0. */
FT_INLINE CV FT_NAME(load_some)(const T *p, int64_t count)
{
    T part[2 * FT_V] = {0};
    if (count >= FT_V)
        return FT_NAME(load)(p);
    memcpy(part, p, (size_t)count * 2 * FT_SIZE);
    return FT_NAME(load)(part);
}

FT_INLINE void FT_NAME(store_some)(T *p, CV a, int64_t count)
{
    T part[2 * FT_V];
    if (count >= FT_V) {
        FT_NAME(store)(p, a);
        return;
    }
    FT_NAME(store)(part, a);
    memcpy(p, part, (size_t)count * 2 * FT_SIZE);
}

/* Rows become columns: each round turns the bits of the flat position by one. */
FT_INLINE void FT_NAME(flip)(VEC *x)
{
    VEC y[FT_V];
    _Pragma("GCC unroll 4")
    for (int round = 1; round < FT_V; round *= 2) {
        _Pragma("GCC unroll 16")
        for (int k = 0; k < FT_V / 2; k++) {
            y[2 * k] = FT_SHUFFLE(x[k], x[k + FT_V / 2], LOW);
            y[2 * k + 1] = FT_SHUFFLE(x[k], x[k + FT_V / 2], HIGH);
        }
        _Pragma("GCC unroll 16")
        for (int k = 0; k < FT_V; k++)
            x[k] = y[k];
    }
}

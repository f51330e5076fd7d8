/* Template: included once per (operation, dtype), with
 *   T, FT_NAME(part), FT_COMB(a, b) on scalars, FT_VCOMB(a, b) on vectors, FT_IDENTITY; FT_PAIRS is
 *   defined for complex numbers, which are no elements of C's vectors. */
#define VEC FT_NAME(vec)
#define LANES ((int)(FT_LANE_BYTES / sizeof(T)))
#define PER ((int)(FT_VBYTES / sizeof(T)))
#define NVEC (FT_LANE_BYTES / FT_VBYTES)

#ifndef FT_PAIRS
#define HALF FT_NAME(half)
#define QUARTER FT_NAME(quarter)
typedef T VEC __attribute__((vector_size(FT_VBYTES), aligned(sizeof(T)), may_alias));
typedef T HALF __attribute__((vector_size(32), aligned(sizeof(T)), may_alias));
typedef T QUARTER __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));

/* The lanes folded by halves, in registers as long as they are vectors. */
FT_INLINE T FT_NAME(fold)(VEC *acc)
{
    for (int h = NVEC / 2; h; h /= 2)
        for (int v = 0; v < h; v++)
            acc[v] = FT_VCOMB(acc[v], acc[v + h]);
#if FT_VBYTES == 64
    HALF a = ((HALF *)acc)[0], b = ((HALF *)acc)[1], both = FT_VCOMB(a, b);
#elif FT_VBYTES == 32
    HALF both = acc[0];
#endif
#if FT_VBYTES > 16
    QUARTER c = ((QUARTER *)&both)[0], d = ((QUARTER *)&both)[1], last = FT_VCOMB(c, d);
#else
    QUARTER last = acc[0];
#endif
    T lane[16 / sizeof(T)];
    memcpy(lane, &last, sizeof lane);
    for (int h = 16 / (int)sizeof(T) / 2; h; h /= 2)
        for (int j = 0; j < h; j++)
            lane[j] = FT_COMB(lane[j], lane[j + h]);
    return lane[0];
}
#undef HALF
#undef QUARTER
#endif

static T FT_NAME(block)(const T *x, int64_t n)
{
    if (n < LANES) {
        T r = x[0];
        for (int64_t i = 1; i < n; i++)
            r = FT_COMB(r, x[i]);
        return r;
    }
    int64_t i = LANES;
#ifdef FT_PAIRS
    T lane[FT_LANE_BYTES / sizeof(T)];
    memcpy(lane, x, sizeof lane);
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] = FT_COMB(lane[j], x[i + j]);
    for (int j = 0; j < n - i; j++)
        lane[j] = FT_COMB(lane[j], x[i + j]);
    for (int h = LANES / 2; h; h /= 2)
        for (int j = 0; j < h; j++)
            lane[j] = FT_COMB(lane[j], lane[j + h]);
    return lane[0];
#else
    VEC acc[NVEC];
    for (int v = 0; v < NVEC; v++)
        acc[v] = *(const VEC *)(x + v * PER);
    for (; i + LANES <= n; i += LANES)
        for (int v = 0; v < NVEC; v++) {
            VEC b = *(const VEC *)(x + i + v * PER);
            acc[v] = FT_VCOMB(acc[v], b);
        }
    for (int v = 0; v < NVEC && i < n; v++, i += PER) {
        T lane[FT_VBYTES / sizeof(T)];
        if (i + PER <= n) {
            VEC b = *(const VEC *)(x + i);
            acc[v] = FT_VCOMB(acc[v], b);
            continue;
        }
        memcpy(lane, &acc[v], sizeof lane);
        for (int j = 0; j < n - i; j++)
            lane[j] = FT_COMB(lane[j], x[i + j]);
        memcpy(&acc[v], lane, sizeof lane);
    }
    return FT_NAME(fold)(acc);
#endif
}

static void FT_NAME(run)(char *out, const char *x, int64_t stride, int64_t n)
{
    T buffer[FT_RED_BLOCK], stack[8];
    int depth = 0;
    if (stride == sizeof(T) && n <= FT_RED_BLOCK) {
        *(T *)out = FT_NAME(block)((const T *)x, n);
        return;
    }
    for (int64_t i = 0, count = 0; i < n; i += FT_RED_BLOCK, count++) {
        int64_t m = ft_lesser(FT_RED_BLOCK, n - i);
        const T *p = (const T *)(x + i * stride);
        if (stride != sizeof(T)) {
            for (int64_t j = 0; j < m; j++)
                buffer[j] = *(const T *)(x + (i + j) * stride);
            p = buffer;
        }
        T v = FT_NAME(block)(p, m);
        for (int64_t c = count; c & 1; c >>= 1) {
            depth--;
            v = FT_COMB(stack[depth], v);
        }
        stack[depth++] = v;
    }
    T v = stack[--depth];
    while (depth) {
        depth--;
        v = FT_COMB(stack[depth], v);
    }
    *(T *)out = v;
}

static void FT_NAME(merge)(char *acc, const char *x, int64_t w)
{
    T *a = (T *)acc;
    const T *b = (const T *)x;
    FT_IVDEP
    for (int64_t j = 0; j < w; j++)
        a[j] = FT_COMB(a[j], b[j]);
}

static void FT_NAME(columns)(char *out, const char *x, int64_t stride, int64_t rows, int64_t w)
{
    char stack[8][FT_RED_WIDTH] __attribute__((aligned(64)));
    int64_t bytes = w * (int64_t)sizeof(T);
    int depth = 0;
    for (int64_t r = 0, count = 0; r < rows; r += FT_RED_ROWS, count++) {
        int64_t m = ft_lesser(FT_RED_ROWS, rows - r), i = 1;
        const char *p = x + r * stride;
        T *restrict acc = (T *)stack[depth];
        memcpy(acc, p, bytes);
        for (; i + 3 < m; i += 4) {      /* four rows a pass: a quarter of the loads and stores of acc */
            const T *a = (const T *)(p + i * stride), *b = (const T *)(p + (i + 1) * stride);
            const T *c = (const T *)(p + (i + 2) * stride), *d = (const T *)(p + (i + 3) * stride);
            FT_IVDEP
            for (int64_t j = 0; j < w; j++) {
                T v = acc[j];
                v = FT_COMB(v, a[j]);
                v = FT_COMB(v, b[j]);
                v = FT_COMB(v, c[j]);
                acc[j] = FT_COMB(v, d[j]);
            }
        }
        for (; i < m; i++)
            FT_NAME(merge)((char *)acc, p + i * stride, w);
        depth++;
        for (int64_t c = count; c & 1; c >>= 1, depth--)
            FT_NAME(merge)(stack[depth - 2], stack[depth - 1], w);
    }
    for (; depth > 1; depth--)
        FT_NAME(merge)(stack[depth - 2], stack[depth - 1], w);
    memcpy(out, stack[0], bytes);
}

static void FT_NAME(identity)(char *out)
{
    *(T *)out = FT_IDENTITY;
}

static const ft_reduce FT_NAME(kernel) = {sizeof(T), FT_NAME(run), FT_NAME(columns),
                                          FT_NAME(merge), FT_NAME(identity)};

#undef VEC
#undef LANES
#undef PER
#undef NVEC

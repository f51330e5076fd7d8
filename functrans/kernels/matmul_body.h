/* Template: the product of one type. With T, FT_NAME(part), FT_MAD(a, b, c) on scalars and
 * FT_VMAD(a, b, c) on vectors, FT_BLAS. An output is one chain over k in each path but `dots`, whose
 * lanes are those of a reduction; which path runs depends on shape and strides only. */
#define VEC FT_NAME(vec)
#define PER ((int64_t)(FT_VBYTES / sizeof(T)))
#define LANES ((int)(FT_LANE_BYTES / sizeof(T)))
#define NVEC (FT_LANE_BYTES / FT_VBYTES)
#define BLOCK 1024
#if FT_VBYTES == 64
#define ROWS 8             /* 16 of 32 vector registers hold results */
#else
#define ROWS 4
#endif

typedef T VEC __attribute__((vector_size(FT_VBYTES), aligned(sizeof(T)), may_alias));

/* `rows` rows of a times one panel of b, `nv` vectors wide (both constants where it is called). */
FT_INLINE void FT_NAME(tile)(char *out, const char *a, const char *b, int64_t bstep, const ft_mm *d,
                             int64_t w, int rows, int nv)
{
    VEC acc[ROWS][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = (VEC){0};
    for (int64_t k = 0; k < d->k; k++, b += bstep, a += d->ak) {
        VEC bv[2];
        for (int v = 0; v < nv; v++)
            bv[v] = ((const VEC *)b)[v];
        for (int r = 0; r < rows; r++) {
            VEC x = *(const T *)(a + r * d->am) - (VEC){0};
            for (int v = 0; v < nv; v++)
                acc[r][v] = FT_VMAD(x, bv[v], acc[r][v]);
        }
    }
    for (int r = 0; r < rows; r++) {
        char *o = out + r * d->om;
        if (d->on == sizeof(T) && w == nv * PER) {
            for (int v = 0; v < nv; v++)
                ((VEC *)o)[v] = acc[r][v];
        } else {
            T line[FT_MM_PANEL / sizeof(T)];
            memcpy(line, acc[r], nv * sizeof(VEC));
            for (int64_t j = 0; j < w; j++)
                *(T *)(o + j * d->on) = line[j];
        }
    }
}

/* All rows of a times the columns j .. j + w. */
FT_INLINE void FT_NAME(panel)(char *out, const char *a, const char *b, const ft_mm *d, int64_t j,
                              int64_t w, int nv, char *scratch)
{
    int64_t wide = nv * PER, bstep = d->bk, i = 0;
    out += j * d->on;
    b += j * d->bn;
    /* Many rows use it again: packed, it does not fall on few cache sets and pages. */
    int far = d->m >= 32 && d->k >= 64 && (d->bk & 1023) == 0;
    if (w < wide || d->bn != sizeof(T) || far || (d->m >= 64 && d->k >= 256)) {
        T *s = (T *)scratch;
        for (int64_t k = 0; k < d->k; k++, s += wide) {
            const char *row = b + k * d->bk;
            for (int64_t c = 0; c < w; c++)
                s[c] = *(const T *)(row + c * d->bn);
            for (int64_t c = w; c < wide; c++)
                s[c] = 0;
        }
        b = scratch;
        bstep = wide * (int64_t)sizeof(T);
    }
    for (; i + ROWS <= d->m; i += ROWS)
        FT_NAME(tile)(out + i * d->om, a + i * d->am, b, bstep, d, w, ROWS, nv);
    for (; i + 2 <= d->m; i += 2)
        FT_NAME(tile)(out + i * d->om, a + i * d->am, b, bstep, d, w, 2, nv);
    if (i < d->m)
        FT_NAME(tile)(out + i * d->om, a + i * d->am, b, bstep, d, w, 1, nv);
}

static void FT_NAME(panels)(char *out, const char *a, const char *b, const ft_mm *d, char *scratch)
{
    int64_t j = 0;
    for (; d->n - j > PER; j += 2 * PER)
        FT_NAME(panel)(out, a, b, d, j, ft_lesser(2 * PER, d->n - j), 2, scratch);
    if (j < d->n)
        FT_NAME(panel)(out, a, b, d, j, d->n - j, 1, scratch);
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

static const ft_matmul FT_NAME(kernel) = {sizeof(T), FT_NAME(product), FT_BLAS};

#undef VEC
#undef PER
#undef LANES
#undef NVEC
#undef BLOCK
#undef ROWS

/* Template: copies of items of type T. With T, FT_NAME(part). */
static void FT_NAME(row)(char *out, const char *in, int64_t m, int64_t so, int64_t si)
{
    const int64_t size = sizeof(T);
    if (so == size && si == size) {
        memmove(out, in, m * size);
    } else if (so == size && si == 0) {
        T v = *(const T *)in, *o = (T *)out;
        for (int64_t j = 0; j < m; j++)
            o[j] = v;
    } else if (so == size) {
        T *o = (T *)out;
        for (int64_t j = 0; j < m; j++, in += si)
            o[j] = *(const T *)in;
    } else {
        for (int64_t j = 0; j < m; j++, in += si, out += so)
            *(T *)out = *(const T *)in;
    }
}

#define QUAD FT_NAME(quad)
typedef T QUAD __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T)), may_alias));

/* Four lines of four, transposed. */
FT_INLINE void FT_NAME(four)(char *out, int64_t so, const char *in, int64_t si)
{
    QUAD x0 = *(const QUAD *)in, x1 = *(const QUAD *)(in + si), x2 = *(const QUAD *)(in + 2 * si),
         x3 = *(const QUAD *)(in + 3 * si);
    QUAD y0 = __builtin_shufflevector(x0, x1, 0, 4, 1, 5);
    QUAD y1 = __builtin_shufflevector(x2, x3, 0, 4, 1, 5);
    QUAD y2 = __builtin_shufflevector(x0, x1, 2, 6, 3, 7);
    QUAD y3 = __builtin_shufflevector(x2, x3, 2, 6, 3, 7);
    *(QUAD *)out = __builtin_shufflevector(y0, y1, 0, 1, 4, 5);
    *(QUAD *)(out + so) = __builtin_shufflevector(y0, y1, 2, 3, 6, 7);
    *(QUAD *)(out + 2 * so) = __builtin_shufflevector(y2, y3, 0, 1, 4, 5);
    *(QUAD *)(out + 3 * so) = __builtin_shufflevector(y2, y3, 2, 3, 6, 7);
}

/* A transpose, where out's items and in's rows are adjacent: tiles, whose lines stay in cache on both
 * sides. */
static void FT_NAME(tiles)(char *out, const char *in, int64_t n, int64_t m, int64_t so, int64_t si)
{
    const int64_t size = sizeof(T);
    for (int64_t i = 0; i < n; i += FT_TILE)
        for (int64_t j = 0; j < m; j += FT_TILE) {
            int64_t ni = ft_lesser(FT_TILE, n - i), mj = ft_lesser(FT_TILE, m - j), a = 0;
            char *o = out + i * so + j * size;
            const char *x = in + i * size + j * si;
            for (; a + 4 <= ni; a += 4) {
                int64_t b = 0;
                for (; b + 4 <= mj; b += 4)
                    FT_NAME(four)(o + a * so + b * size, so, x + a * size + b * si, si);
                for (; b < mj; b++)
                    for (int64_t c = a; c < a + 4; c++)
                        *(T *)(o + c * so + b * size) = *(const T *)(x + c * size + b * si);
            }
            for (; a < ni; a++)
                for (int64_t b = 0; b < mj; b++)
                    *(T *)(o + a * so + b * size) = *(const T *)(x + a * size + b * si);
        }
}

static void FT_NAME(plane)(char *out, const char *in, int64_t n, int64_t m,
                           int64_t so0, int64_t so1, int64_t si0, int64_t si1)
{
    if (n >= 4 && m >= 4 && so1 == sizeof(T) && si0 == sizeof(T) && si1 != sizeof(T) && si1 != 0) {
        FT_NAME(tiles)(out, in, n, m, so0, si1);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        FT_NAME(row)(out + i * so0, in + i * si0, m, so1, si1);
}

#undef QUAD

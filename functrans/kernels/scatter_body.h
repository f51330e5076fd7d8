/* Template: combines updates into an array. With T, FT_NAME(part), FT_COMB(a, b), FT_PIECES, FT_AGAIN. */
#define FT_PUT(width, index, ahead)                                                                   \
    _Pragma("GCC unroll 4")                                                                           \
    for (int64_t i = 0; i < n; i++) {                                                                 \
        if (ahead && i + ahead < n)     /* places are scattered: ask for them early */                \
            __builtin_prefetch(o + rows[i + ahead] * width, 1);                                       \
        T *p = o + rows[i] * width;                                                                   \
        const T *v = u + index * width;                                                               \
        for (int64_t j = 0; j < width; j++)                                                           \
            p[j] = FT_COMB(p[j], v[j]);                                                               \
    }

static void FT_NAME(put)(char *out, const char *update, const int64_t *rows, const int64_t *from, int64_t n,
                         int64_t width, int64_t count, int far)
{
    T *o = (T *)out;
    const T *u = (const T *)update;
    if (width == 1 && from) {
        FT_PUT(1, from[i], 0)
        return;
    }
    if (width == 1 && far) {
        FT_PUT(1, i, 24)
        return;
    }
    if (width == 1) {
        FT_PUT(1, i, 0)
        return;
    }
    if (width == 3 && count == 3) {
        FT_PUT(3, (from ? from[i] : i), 16)
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (i + 8 < n) {
            const char *ahead = (const char *)(o + rows[i + 8] * width);
            for (int64_t j = 0; j < ft_lesser(count * (int64_t)sizeof(T), 512); j += 64)
                __builtin_prefetch(ahead + j, 1);
        }
        T *p = o + rows[i] * width;
        const T *v = u + (from ? from[i] : i) * width;
        FT_IVDEP
        for (int64_t j = 0; j < count; j++)
            p[j] = FT_COMB(p[j], v[j]);
    }
}

#undef FT_PUT
static const ft_scatter FT_NAME(kernel) = {sizeof(T), ft_index_table, FT_NAME(put), FT_PIECES, FT_AGAIN};

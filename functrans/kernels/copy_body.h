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

/* A transpose: tiles, whose lines stay in cache on both sides. */
static void FT_NAME(tiles)(char *out, const char *in, int64_t n, int64_t m,
                           int64_t so0, int64_t so1, int64_t si0, int64_t si1)
{
    for (int64_t i = 0; i < n; i += FT_TILE)
        for (int64_t j = 0; j < m; j += FT_TILE) {
            int64_t ni = ft_lesser(FT_TILE, n - i), mj = ft_lesser(FT_TILE, m - j);
            for (int64_t a = 0; a < ni; a++) {
                char *o = out + (i + a) * so0 + j * so1;
                const char *x = in + (i + a) * si0 + j * si1;
                for (int64_t b = 0; b < mj; b++, o += so1, x += si1)
                    *(T *)o = *(const T *)x;
            }
        }
}

static void FT_NAME(plane)(char *out, const char *in, int64_t n, int64_t m,
                           int64_t so0, int64_t so1, int64_t si0, int64_t si1)
{
    if (n >= 4 && m >= 4 && so1 == sizeof(T) && si0 == sizeof(T) && si1 != sizeof(T) && si1 != 0) {
        FT_NAME(tiles)(out, in, n, m, so0, so1, si0, si1);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        FT_NAME(row)(out + i * so0, in + i * si0, m, so1, si1);
}

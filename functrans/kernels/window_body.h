/* Template: windows of one operation and type, with T, FT_NAME(part), FT_COMB(a, b), FT_IDENTITY and
 * FT_BEATS(a, b): whether b is chosen over a that comes first. */
static void FT_NAME(start)(char *acc, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        ((T *)acc)[j] = FT_IDENTITY;
}

static void FT_NAME(tap)(char *acc, const char *x, int64_t sx, int64_t n)
{
    T *a = (T *)acc;
    const T *v = (const T *)x;
    if (sx == sizeof(T)) {
        FT_IVDEP
        for (int64_t j = 0; j < n; j++)
            a[j] = FT_COMB(a[j], v[j]);
    } else if (sx == 2 * sizeof(T)) {
        FT_IVDEP
        for (int64_t j = 0; j < n; j++)
            a[j] = FT_COMB(a[j], v[2 * j]);
    } else {
        for (int64_t j = 0; j < n; j++, x += sx)
            a[j] = FT_COMB(a[j], *(const T *)x);
    }
}

static void FT_NAME(find)(char *acc, int64_t *where, const char *x, int64_t sx, int64_t n, int64_t at,
                          int64_t step)
{
    T *a = (T *)acc;
    for (int64_t j = 0; j < n; j++, at += step) {
        T v = *(const T *)(x + j * sx);
        int better = where[j] < 0 || FT_BEATS(a[j], v);
        a[j] = better ? v : a[j];
        where[j] = better ? at : where[j];
    }
}

static void FT_NAME(store)(char *out, int64_t so, const char *acc, int64_t n)
{
    if (so == sizeof(T)) {
        memcpy(out, acc, n * sizeof(T));
        return;
    }
    for (int64_t j = 0; j < n; j++, out += so)
        *(T *)out = ((const T *)acc)[j];
}

static void FT_NAME(pick)(char *out, int64_t so, const char *from, const int64_t *where, int64_t n)
{
    for (int64_t j = 0; j < n; j++, out += so)
        *(T *)out = where[j] < 0 ? 0 : ((const T *)from)[where[j]];
}

static void FT_NAME(put)(char *to, const char *in, const int64_t *where, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        if (where[j] >= 0) {
            T *o = (T *)to + where[j];
            *o = (T)(*o + ((const T *)in)[j]);
        }
}

static const ft_window FT_NAME(kernel) = {sizeof(T), FT_NAME(start), FT_NAME(tap), FT_NAME(find),
                                          FT_NAME(store), FT_NAME(pick), FT_NAME(put)};

/* Template: combines updates into an array. With T, FT_NAME(part), FT_COMB(a, b), FT_SUMS. */
static void FT_NAME(row)(char *out, const char *update, int64_t n)
{
    T *o = (T *)out;
    const T *u = (const T *)update;
    FT_IVDEP
    for (int64_t j = 0; j < n; j++)
        o[j] = FT_COMB(o[j], u[j]);
}

static void FT_NAME(items)(char *out, const char *update, const int64_t *at, int64_t n)
{
    T *o = (T *)out;
    const T *u = (const T *)update;
    for (int64_t j = 0; j < n; j++) {
        if (j + 24 < n)             /* places are scattered: ask for them early */
            __builtin_prefetch(o + (at[j + 24] < 0 ? 0 : at[j + 24]), 1);
        if (at[j] >= 0)
            o[at[j]] = FT_COMB(o[at[j]], u[j]);
    }
}

static const ft_scatter FT_NAME(kernel) = {sizeof(T), FT_NAME(row), FT_NAME(items), FT_SUMS};

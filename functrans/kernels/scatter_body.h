/* Template: combines an update row into a row. With T, FT_NAME(part), FT_COMB(a, b). */
static void FT_NAME(row)(char *out, const char *update, int64_t n)
{
    T *o = (T *)out;
    const T *u = (const T *)update;
    FT_IVDEP
    for (int64_t j = 0; j < n; j++)
        o[j] = FT_COMB(o[j], u[j]);
}

static const ft_scatter FT_NAME(kernel) = {sizeof(T), FT_NAME(row)};

#include "arg.h"

/* Template: index of the first extremum of a line, nan counting as one. With T, FT_NAME(part),
 * FT_BLOCK: the block function of the same reduction, FT_BEATS(a, b): a is a new extremum after b. */
static void FT_NAME(line)(char **p, const int64_t *st, int64_t n)
{
    T buffer[FT_RED_BLOCK], best = *(const T *)p[1];
    int64_t at = 0, stride = st[1];
    for (int64_t i = 0; i < n; i += FT_RED_BLOCK) {
        int64_t m = ft_lesser(FT_RED_BLOCK, n - i);
        const T *x = (const T *)(p[1] + i * stride);
        if (stride != sizeof(T)) {
            for (int64_t j = 0; j < m; j++)
                buffer[j] = *(const T *)(p[1] + (i + j) * stride);
            x = buffer;
        }
        T v = FT_BLOCK(x, m);
        if (i == 0 || FT_BEATS(v, best)) {
            int64_t j = 0;
            while (x[j] != v && x[j] == x[j])
                j++;
            at = i + j;
            best = x[j];
        }
        if (best != best)
            break;
    }
    *(int64_t *)p[0] = at;
}

/* Lines side by side: one pass over the rows. */
static void FT_NAME(columns)(char *out, int64_t so, const char *x, int64_t stride, int64_t n, int64_t w)
{
    T best[FT_ARG_COLUMNS];
    int64_t at[FT_ARG_COLUMNS];
    for (int64_t c = 0; c < w; c++) {
        best[c] = ((const T *)x)[c];
        at[c] = 0;
    }
    for (int64_t i = 1; i < n; i++) {
        const T *row = (const T *)(x + i * stride);
        for (int64_t c = 0; c < w; c++) {
            const T v = row[c], b = best[c];
            const int beaten = (FT_BEATS(v, b)) & (b == b);
            best[c] = beaten ? v : b;
            at[c] = beaten ? i : at[c];
        }
    }
    for (int64_t c = 0; c < w; c++)
        *(int64_t *)(out + c * so) = at[c];
}

static const ft_arg FT_NAME(kernel) = {sizeof(T), FT_NAME(line), FT_NAME(columns)};

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

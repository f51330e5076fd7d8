/* Template: positions of one index type. With T, W (what is computed with: int32_t or int64_t), FT_NAME. */
FT_INLINE void FT_NAME(some)(int64_t *restrict rows, const T *restrict at, int64_t n, int64_t extent,
                             int64_t back, int mode, int first)
{
    const W m = (W)extent, b = (W)back, most = m - 1;
    for (int64_t j = 0; j < n; j++) {
        W i = FT_POSITION(at[j]);
        int64_t row = first ? 0 : rows[j];
        i += i < 0 ? b : 0;
        if (mode == FT_CLIP) {
            i = i < 0 ? 0 : i;
            i = i > most ? most : i;
            rows[j] = first ? (int64_t)i : row * extent + i;
        } else {
            if (mode == FT_WRAP && (i < 0 || i > most)) {
                i %= m;
                i += i < 0 ? m : 0;
            }
            int out = (i < 0) | (i > most) | (row < 0);
            row = first ? (int64_t)i : row * extent + i;
            rows[j] = out ? -1 : row;
        }
    }
}

static void FT_NAME(read)(int64_t *out, const char *at, int64_t step, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = FT_POSITION(*(const T *)(at + j * step));
}

static void FT_NAME(rows)(int64_t *rows, const void *at, int64_t n, int64_t extent, int64_t back, int mode,
                          int first)
{
    if (sizeof(W) < 8 && extent > INT32_MAX) {
        int64_t wide[FT_ROWS];
        for (int64_t j = 0, m; j < n; j += m) {
            m = ft_lesser(FT_ROWS, n - j);
            FT_NAME(read)(wide, (const char *)((const T *)at + j), sizeof(T), m);
            ft_wide_rows(rows + j, wide, m, extent, back, mode, first);
        }
    } else if (mode == FT_CLIP) {
        if (first)
            FT_NAME(some)(rows, at, n, extent, back, FT_CLIP, 1);
        else
            FT_NAME(some)(rows, at, n, extent, back, FT_CLIP, 0);
    } else if (mode == FT_LEAVE) {
        if (first)
            FT_NAME(some)(rows, at, n, extent, back, FT_LEAVE, 1);
        else
            FT_NAME(some)(rows, at, n, extent, back, FT_LEAVE, 0);
    } else {
        FT_NAME(some)(rows, at, n, extent, back, FT_WRAP, first);
    }
}

/* Template: n numbers from start in steps of `step` (0 or 1). With T, FT_NAME(part). */
static void FT_NAME(iota)(char *out, int64_t stride, int64_t n, int64_t start, int64_t step)
{
    if (stride == sizeof(T)) {
        T *o = (T *)out;
        for (int64_t j = 0; j < n; j++)
            o[j] = (T)(start + j * step);
    } else {
        for (int64_t j = 0; j < n; j++)
            *(T *)(out + j * stride) = (T)(start + j * step);
    }
}

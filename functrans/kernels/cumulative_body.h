/* Template: running results along a line, in order, as NumPy's accumulate. With T, FT_NAME(part),
 * FT_COMB(a, b). The third pointer is the step's parameters: reverse. */
static void FT_NAME(line)(char **p, const int64_t *st, int64_t n)
{
    char *o = p[0];
    const char *x = p[1];
    int64_t so = st[0], sx = st[1];
    if (*(const int64_t *)p[2]) {
        o += (n - 1) * so;
        x += (n - 1) * sx;
        so = -so;
        sx = -sx;
    }
    T r = *(const T *)x;
    *(T *)o = r;
    for (int64_t i = 1; i < n; i++) {
        o += so;
        x += sx;
        T v = *(const T *)x;
        r = FT_COMB(r, v);
        *(T *)o = r;
    }
}

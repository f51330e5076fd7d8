/* Template: running log(sum(exp x)) along a line: keeps the largest value so far and the sum of
 * exp(x - largest), so nothing overflows. With T, FT_NAME(part). */
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
    T top = -(T)INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++, o += so, x += sx) {
        T v = *(const T *)x;
        if (v > top) {
            sum = sum * ft_exp(top - v) + 1;
            top = v;
        } else if (v == top) {         /* equal infinities must not be subtracted */
            sum += v == -(T)INFINITY ? 0 : 1;
        } else {
            sum += ft_exp(v - top);    /* nan stays */
        }
        T r = top + ft_log(sum);
        *(T *)o = sum != sum ? sum : top == (T)INFINITY || top == -(T)INFINITY ? top : r;
    }
}

/* The draws, compiled once per level: blocks of a counter's values as two columns of words, then what the
 * words become. */
#define FT_DRAWN 256

static void random_words(const uint32_t *key, uint64_t from, int64_t n, uint32_t *a, uint32_t *b)
{
    const uint32_t k0 = key[0], k1 = key[1], high = (uint32_t)(from >> 32), low = (uint32_t)from;
    if (low + (uint32_t)n < low) {                  /* the upper word changes on the way */
        for (int64_t i = 0; i < n; i++) {
            a[i] = (uint32_t)((from + i) >> 32), b[i] = (uint32_t)(from + i);
            ft_threefry(k0, k1, a + i, b + i);
        }
        return;
    }
    FT_IVDEP
    for (int64_t i = 0; i < n; i++) {
        uint32_t x = high, y = low + (uint32_t)i;
        ft_threefry(k0, k1, &x, &y);
        a[i] = x, b[i] = y;
    }
}

#define FT_DRAW(name, U, more, ...)                                                              \
    static void random_##name(char *out, const uint32_t *key, uint64_t from, int64_t count)      \
    {                                                                                            \
        uint32_t a[FT_DRAWN], b[FT_DRAWN];                                                       \
        U *o = (U *)out;                                                                         \
        for (; count > 0; count -= FT_DRAWN, from += FT_DRAWN, o += (more) * FT_DRAWN) {         \
            int64_t n = ft_lesser(count, FT_DRAWN);                                              \
            random_words(key, from, n, a, b);                                                    \
            __VA_ARGS__                                                                          \
        }                                                                                        \
    }
#define FT_EACH(expr) FT_IVDEP for (int64_t i = 0; i < n; i++) o[i] = (expr);
#define FT_WIDE ((uint64_t)a[i] << 32 | b[i])
/* The upper bits as the mantissa of a number in [1, 2), less 1. */
#define FT_UNIT32 (ft_from_f32((a[i] ^ b[i]) >> 9 | 0x3f800000u) - 1.0f)
#define FT_UNIT64 (ft_from_f64(FT_WIDE >> 12 | 0x3ff0000000000000ull) - 1.0)

FT_DRAW(u8, uint8_t, 1, FT_EACH((uint8_t)(a[i] ^ b[i])))
FT_DRAW(u16, uint16_t, 1, FT_EACH((uint16_t)(a[i] ^ b[i])))
FT_DRAW(u32, uint32_t, 1, FT_EACH(a[i] ^ b[i]))
FT_DRAW(u64, uint64_t, 1, FT_EACH(FT_WIDE))
FT_DRAW(pair, uint32_t, 2, for (int64_t i = 0; i < n; i++) { o[2 * i] = a[i]; o[2 * i + 1] = b[i]; })
FT_DRAW(unit_f32, float, 1, FT_EACH(FT_UNIT32))
FT_DRAW(unit_f64, double, 1, FT_EACH(FT_UNIT64))

/* sqrt(2) erf_inv(u) for u uniform in (-1, 1). */
FT_DRAW(normal_f32, float, 1,
    const float low = -0x1.fffffep-1f;
    FT_IVDEP
    for (int64_t i = 0; i < n; i++) { float u = FT_UNIT32 * 2 + low; o[i] = u > low ? u : low; }
    FT_ERFINV_LOOP(f32, float, o, o, n)
    FT_IVDEP
    for (int64_t i = 0; i < n; i++) o[i] = 0x1.6a09e6p+0f * o[i];)
FT_DRAW(normal_f64, double, 1,
    const double low = -0x1.fffffffffffffp-1;
    FT_IVDEP
    for (int64_t i = 0; i < n; i++) { double u = FT_UNIT64 * 2 + low; o[i] = u > low ? u : low; }
    FT_ERFINV_LOOP(f64, double, o, o, n)
    FT_IVDEP
    for (int64_t i = 0; i < n; i++) o[i] = 0x1.6a09e667f3bcdp+0 * o[i];)

/* out[i] = threefry(key i, counter i), all pairs of words. */
static void threefry_pairs(uint32_t *out, const uint32_t *key, const uint32_t *counter, int64_t n)
{
    FT_IVDEP
    for (int64_t i = 0; i < n; i++) {
        uint32_t x = counter[2 * i], y = counter[2 * i + 1];
        ft_threefry(key[2 * i], key[2 * i + 1], &x, &y);
        out[2 * i] = x, out[2 * i + 1] = y;
    }
}

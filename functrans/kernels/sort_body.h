/* Template: the keys of one dtype, and rows so short that comparing all pairs is fastest. With T, K (the
 * unsigned type of T's size), FT_NAME(part), FT_KEY(bits, value) and FT_UNKEY(key), both of bits. */
#define FT_TOP ((K)1 << (8 * sizeof(K) - 1))

/* Tells -0 from 0. */
FT_INLINE K FT_NAME(exact)(T v)
{
    K b;
    memcpy(&b, &v, sizeof(K));
    return FT_KEY(b, v);
}

FT_INLINE K FT_NAME(of)(T v)
{
    return FT_NAME(exact)(FT_PLAIN(v));
}

static void FT_NAME(span)(const char *p, int64_t n, uint64_t flip, ft_span *s)
{
    const T *x = (const T *)p;
    K f = (K)flip, first = FT_NAME(of)(x[0]) ^ f, least = first, most = first, down = 0, signs = 0;
    for (int64_t i = 0; i < n; i++) {
        K k = FT_NAME(of)(x[i]) ^ f, b;
        memcpy(&b, &x[i], sizeof(K));
        least = k < least ? k : least;
        most = k > most ? k : most;
        signs |= (K)((b == 0) | ((K)(b == FT_TOP) << 1));
    }
    for (int64_t i = 1; i < n; i++)
        down |= (K)((FT_NAME(of)(x[i]) ^ f) < (FT_NAME(of)(x[i - 1]) ^ f));
    *s = (ft_span){least, most, down != 0, (int)signs};
}

static void FT_NAME(extent)(const char *p, int64_t n, ft_span *s)
{
    const T *x = (const T *)p;
    K least = FT_NAME(of)(x[0]), most = least;
    for (int64_t i = 0; i < n; i++) {
        K k = FT_NAME(of)(x[i]);
        least = k < least ? k : least;
        most = k > most ? k : most;
    }
    *s = (ft_span){least, most, 0, 0};
}

static void FT_NAME(keys)(char *o, const char *p, int64_t n)
{
    K *out = (K *)o;
    const T *x = (const T *)p;
    FT_IVDEP
    for (int64_t i = 0; i < n; i++)
        out[i] = FT_NAME(exact)(x[i]);
}

static void FT_NAME(values)(char *o, const char *p, int64_t n)
{
    K *out = (K *)o;
    const K *keys = (const K *)p;
    FT_IVDEP
    for (int64_t i = 0; i < n; i++)
        out[i] = FT_UNKEY(keys[i]);
}

static void FT_NAME(pack)(uint64_t *out, const char *p, int64_t from, int64_t n, uint64_t flip,
                          uint64_t least, int shift)
{
    const T *x = (const T *)p;
    K f = (K)flip, low = (K)least;
    FT_IVDEP
    for (int64_t i = 0; i < n; i++)
        out[i] = (uint64_t)(K)(((FT_NAME(of)(x[i]) ^ f) - low) >> shift) << 32 | (uint64_t)(from + i);
}

static uint64_t FT_NAME(key)(const char *x, int64_t i) { return FT_NAME(of)(((const T *)x)[i]); }

static uint64_t FT_NAME(load_wide)(uint64_t *keys, const char *p, int64_t n)
{
    const T *x = (const T *)p;
    K most = 0;
    for (int64_t i = 0; i < n; i++) {
        K k = FT_NAME(of)(x[i]);
        keys[i] = k;
        most = k > most ? k : most;
    }
    return most;
}

static void FT_NAME(tally)(const char *p, int64_t n, uint64_t pivot, int64_t *above, int64_t *equal)
{
    const T *x = (const T *)p;
    const K v = (K)pivot;
    K a = 0, e = 0;
    for (int64_t i = 0; i < n; i++) {
        K k = FT_NAME(of)(x[i]);
        a += k > v;
        e += k == v;
    }
    *above += (int64_t)a;
    *equal += (int64_t)e;
}

static int64_t FT_NAME(within)(int32_t *at, const char *p, int64_t n, uint64_t low, uint64_t high)
{
    const T *x = (const T *)p;
    const K from = (K)low, reach = (K)(high - low);
    int64_t have = 0;
    for (int64_t i = 0; i < n; i++) {
        at[have] = (int32_t)i;
        have += (K)(FT_NAME(of)(x[i]) - from) <= reach;
    }
    return have;
}

static int FT_NAME(zero)(const char *x, int64_t i) { return ((const T *)x)[i] == 0; }

/* How many of the n keys come before each: its place. A vector of keys at a time, against all. */
typedef K FT_NAME(lanes) __attribute__((vector_size(64)));
#define FT_LANES (64 / (int64_t)sizeof(K))

FT_INLINE void FT_NAME(ranks)(const K *k, K *rank, int64_t n)
{
    FT_NAME(lanes) number;
    for (int l = 0; l < FT_LANES; l++)
        number[l] = (K)l;
    for (int64_t b = 0; b < n; b += FT_LANES) {
        FT_NAME(lanes) me, before = {0};
        int64_t j = 0, end = ft_lesser(b + FT_LANES, n);
        memcpy(&me, k + b, sizeof(me));
        for (; j < b; j++)
            before -= (FT_NAME(lanes))(k[j] <= me);
        for (; j < end; j++)
            before -= (FT_NAME(lanes))((k[j] < me) | ((k[j] == me) & ((K)(j - b) < number)));
        for (; j < n; j++)
            before -= (FT_NAME(lanes))(k[j] < me);
        memcpy(rank + b, &before, sizeof(before));
    }
}

FT_INLINE void FT_NAME(load)(K *k, const T *x, int64_t n, K flip)
{
    for (int64_t i = 0; i < n; i++)
        k[i] = FT_NAME(of)(x[i]) ^ flip;
    for (int64_t i = n; i % FT_LANES; i++)
        k[i] = (K)-1;
}

static void FT_NAME(small)(char *o, const char *p, int64_t n)
{
    K k[FT_SORT_SMALL], rank[FT_SORT_SMALL];
    const T *x = (const T *)p;
    FT_NAME(load)(k, x, n, 0);
    FT_NAME(ranks)(k, rank, n);
    for (int64_t i = 0; i < n; i++)
        ((T *)o)[rank[i]] = x[i];
}

static void FT_NAME(small_places)(int64_t *out, const char *p, int64_t n, uint64_t flip)
{
    K k[FT_SORT_SMALL], rank[FT_SORT_SMALL];
    FT_NAME(load)(k, (const T *)p, n, (K)flip);
    FT_NAME(ranks)(k, rank, n);
    for (int64_t i = 0; i < n; i++)
        out[rank[i]] = i;
}

/* Several searches go down the array together, so that they wait for memory together. */
#define FT_ABREAST 16
static void FT_NAME(search)(int64_t *out, const char *p, int64_t n, const char *q, int64_t m, int right)
{
    const T *a = (const T *)p, *v = (const T *)q;
    for (int64_t from = 0; from < m; from += FT_ABREAST) {
        int64_t w = ft_lesser(FT_ABREAST, m - from), base[FT_ABREAST] = {0};
        K key[FT_ABREAST];
        for (int64_t j = 0; j < FT_ABREAST; j++)
            key[j] = FT_NAME(of)(v[from + (j < w ? j : 0)]);
        for (int64_t left = n; left > 0;) {
            int64_t half = (left + 1) >> 1;
            for (int64_t j = 0; j < FT_ABREAST; j++) {
                K at = FT_NAME(of)(a[base[j] + half - 1]);
                base[j] += (right ? at <= key[j] : at < key[j]) ? half : 0;
            }
            left -= half;
        }
        for (int64_t j = 0; j < w; j++)
            out[from + j] = base[j];
    }
}
#undef FT_ABREAST
#undef FT_LANES
#undef FT_TOP

static const ft_sort FT_NAME(kernel) = {
    sizeof(T), FT_NAME(span), FT_NAME(extent), FT_NAME(keys), FT_NAME(values), FT_NAME(pack), FT_NAME(key),
    FT_NAME(load_wide), FT_NAME(tally), FT_NAME(within), FT_NAME(zero), FT_NAME(small),
    FT_NAME(small_places), FT_NAME(search)};

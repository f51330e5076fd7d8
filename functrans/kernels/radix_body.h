/* Template: stable radix sort of unsigned integers. With K, FT_NAME(part).
 *
 * From the highest bit that differs down, only as many bits are sorted by as n elements need to be told
 * apart, lowest digit first; elements that agree in all of these are then put in order among themselves. */

typedef struct {
    K *from, *to;
    int64_t n, chunk;
    int shift, bits;               /* of the digit */
    K least;
    int low;                       /* sorted by the bits from here up */
    uint32_t *count;               /* by chunk and digit */
} FT_NAME(pass);

static void FT_NAME(sort)(K *a, K *spare, int64_t n);

static void FT_NAME(histogram)(void *ctx, int64_t lo, int64_t hi)
{
    const FT_NAME(pass) *p = ctx;
    const K mask = ((K)1 << p->bits) - 1, least = p->least;
    for (int64_t c = lo; c < hi; c++) {
        uint32_t *count = p->count + (c << p->bits);
        int64_t end = ft_lesser((c + 1) * p->chunk, p->n);
        memset(count, 0, sizeof(uint32_t) << p->bits);
        for (int64_t i = c * p->chunk; i < end; i++)
            count[(p->from[i] - least) >> p->shift & mask]++;
    }
}

static void FT_NAME(deal)(void *ctx, int64_t lo, int64_t hi)
{
    const FT_NAME(pass) *p = ctx;
    const K mask = ((K)1 << p->bits) - 1, least = p->least;
    K *to = p->to;
    for (int64_t c = lo; c < hi; c++) {
        uint32_t *at = p->count + (c << p->bits);
        int64_t end = ft_lesser((c + 1) * p->chunk, p->n);
        for (int64_t i = c * p->chunk; i < end; i++) {
            K k = p->from[i];
            to[at[(k - least) >> p->shift & mask]++] = k;
        }
    }
}

/* a[s..e) agree in their upper bits and are few, or else get a sort of their own. */
static void FT_NAME(settle)(K *a, K *spare, int64_t s, int64_t e)
{
    if (e - s > 24) {
        FT_NAME(sort)(a + s, spare + s, e - s);
        return;
    }
    for (int64_t i = s + 1; i < e; i++) {
        K k = a[i];
        int64_t j = i;
        for (; j > s && a[j - 1] > k; j--)
            a[j] = a[j - 1];
        a[j] = k;
    }
}

static void FT_NAME(tidy)(void *ctx, int64_t lo, int64_t hi)
{
    const FT_NAME(pass) *p = ctx;
    K *a = p->from, least = p->least;
#define UPPER(i) ((K)(a[i] - least) >> p->low)
    for (int64_t c = lo; c < hi; c++) {
        int64_t i = c * p->chunk, end = ft_lesser(i + p->chunk, p->n);
        while (i && i < end && UPPER(i) == UPPER(i - 1))    /* belongs to the chunk before */
            i++;
        for (i++; i < end; i++)
            if (a[i] < a[i - 1]) {
                int64_t s = i - 1, e = i + 1;
                while (s && UPPER(s - 1) == UPPER(i))
                    s--;
                while (e < p->n && UPPER(e) == UPPER(i))
                    e++;
                FT_NAME(settle)(a, p->to, s, e);
                i = e - 1;
            }
        /* the run at the end goes on in the next chunk, which leaves it to this one */
        if (end < p->n && end > c * p->chunk && UPPER(end) == UPPER(end - 1)) {
            int64_t s = end - 1, e = end + 1;
            while (s && UPPER(s - 1) == UPPER(end))
                s--;
            while (e < p->n && UPPER(e) == UPPER(end))
                e++;
            if (s >= c * p->chunk)
                FT_NAME(settle)(a, p->to, s, e);
        }
    }
#undef UPPER
}

/* Sorts a by its bits from `low` up to `high`, both beyond what all share with `least`; where that takes
 * more passes than are of use, by the highest of them, and then tidies up. The result is in the array
 * returned: a or spare; nothing is if the run has been stopped. NULL: no memory for the counts of several chunks. */
static K *FT_NAME(radix)(K *a, K *spare, int64_t n, K least, int low, int high, int64_t chunks)
{
    uint32_t here[1 << FT_DIGIT];
    int widest = n < 1 << 14 ? 8 : FT_DIGIT, wanted = 10 + ft_bit_length((uint64_t)n);
    int passes = (int)(ft_lesser(wanted, high - low) + widest - 1) / widest;
    if (high - passes * widest > low)
        low = high - passes * widest;
    FT_NAME(pass) p = {a, spare, n, (n + chunks - 1) / chunks, low, 0, least, low, here};
    if (chunks > 1) {
        p.count = malloc(chunks * sizeof(uint32_t) << widest);
        if (!p.count)
            return NULL;
    }
    for (int left = passes; left; left--) {
        p.bits = (high - p.shift + left - 1) / left;
        ft_parallel(FT_NAME(histogram), &p, chunks, 1, FT_SORT_NS(chunks, n, 0.5));
        if (ft_stopped())
            break;
        uint32_t total = 0;
        int whole = 0;
        for (int64_t d = 0; d < (int64_t)1 << p.bits; d++)
            for (int64_t c = 0; c < chunks; c++) {
                uint32_t *at = p.count + (c << p.bits) + d, k = *at;
                *at = total;
                total += k;
                whole |= k == n;
            }
        if (!whole) {                              /* else all have this digit */
            ft_parallel(FT_NAME(deal), &p, chunks, 1, FT_SORT_NS(chunks, n, 1.5));
            if (ft_stopped())
                break;
            K *t = p.from;
            p.from = p.to;
            p.to = t;
        }
        p.shift += p.bits;
    }
    if (p.count != here)
        free(p.count);
    if (p.low > 0 && !ft_stopped())
        ft_parallel(FT_NAME(tidy), &p, chunks, 1, FT_SORT_NS(chunks, n, 0.5));
    return p.from;
}

/* All of a, within a, on one thread. */
static void FT_NAME(sort)(K *a, K *spare, int64_t n)
{
    K least = a[0], most = a[0];
    int down = 0;
    for (int64_t i = 1; i < n; i++) {
        down |= a[i] < a[i - 1];
        least = a[i] < least ? a[i] : least;
        most = a[i] > most ? a[i] : most;
    }
    if (!down)
        return;
    K *found = FT_NAME(radix)(a, spare, n, least, 0, ft_bit_length((uint64_t)(most - least)), 1);
    if (found != a)
        memcpy(a, found, n * sizeof(K));
}

/* Rows of an array, picked by number: included once per level. */
#define PICK_AHEAD 16          /* rows asked for early */

#define FT_PICK(size)                                                                                 \
    static void ft_pick##size(char *out, const char *x, const int64_t *rows, int64_t n, int64_t bytes) \
    {                                                                                                 \
        (void)bytes;                                                                                  \
        for (int64_t i = 0; i < n; i++)                                                               \
            memcpy(out + i * size, x + rows[i] * size, size);                                         \
    }

FT_PICK(1)
FT_PICK(2)
FT_PICK(4)
FT_PICK(8)
FT_PICK(12)
FT_PICK(16)
FT_PICK(24)
FT_PICK(32)

static void ft_pick_rows(char *out, const char *x, const int64_t *rows, int64_t n, int64_t bytes)
{
    for (int64_t i = 0; i < n; i++, out += bytes) {
        const char *row = x + rows[i] * bytes;
        if (i + PICK_AHEAD < n) {
            const char *ahead = x + rows[i + PICK_AHEAD] * bytes;
            for (int64_t j = 0; j < ft_lesser(bytes, 512); j += 64)
                __builtin_prefetch(ahead + j);
        }
        if (bytes > 512) {
            memcpy(out, row, bytes);
        } else if (bytes >= 32) {       /* the last piece overlaps the one before */
            for (int64_t j = 0; j < bytes - 32; j += 32)
                memcpy(out + j, row + j, 32);
            memcpy(out + bytes - 32, row + bytes - 32, 32);
        } else if (bytes >= 8) {
            for (int64_t j = 0; j < bytes - 8; j += 8)
                memcpy(out + j, row + j, 8);
            memcpy(out + bytes - 8, row + bytes - 8, 8);
        } else {
            for (int64_t j = 0; j < bytes; j++)
                out[j] = row[j];
        }
    }
}

static void ft_pick(char *out, const char *x, const int64_t *rows, int64_t n, int64_t bytes)
{
    switch (bytes) {
    case 1: ft_pick1(out, x, rows, n, 1); break;
    case 2: ft_pick2(out, x, rows, n, 2); break;
    case 4: ft_pick4(out, x, rows, n, 4); break;
    case 8: ft_pick8(out, x, rows, n, 8); break;
    case 12: ft_pick12(out, x, rows, n, 12); break;
    case 16: ft_pick16(out, x, rows, n, 16); break;
    case 24: ft_pick24(out, x, rows, n, 24); break;
    case 32: ft_pick32(out, x, rows, n, 32); break;
    default: ft_pick_rows(out, x, rows, n, bytes);
    }
}

"""CRC-32C (Castagnoli), the checksum of records; eight bytes a turn, by tables."""
from libc.stdint cimport uint32_t, uint64_t

cdef uint32_t _tables[8][256]


cdef void _fill() noexcept:
    cdef uint32_t i, crc
    cdef int k
    for i in range(256):
        crc = i
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        _tables[0][i] = crc
    for i in range(256):
        crc = _tables[0][i]
        for k in range(1, 8):
            crc = (crc >> 8) ^ _tables[0][crc & 255]
            _tables[k][i] = crc


_fill()


def crc32c(const unsigned char[::1] data not None):
    """The checksum of some bytes."""
    cdef Py_ssize_t n = data.shape[0], i = 0
    cdef uint32_t crc = 0xFFFFFFFF
    cdef uint64_t x
    cdef const unsigned char *p = &data[0] if n else NULL
    with nogil:
        while i + 8 <= n:
            x = (<uint64_t>p[i + 7] << 56 | <uint64_t>p[i + 6] << 48 | <uint64_t>p[i + 5] << 40
                 | <uint64_t>p[i + 4] << 32 | <uint64_t>p[i + 3] << 24 | <uint64_t>p[i + 2] << 16
                 | <uint64_t>p[i + 1] << 8 | p[i]) ^ crc
            crc = (_tables[7][x & 255] ^ _tables[6][(x >> 8) & 255] ^ _tables[5][(x >> 16) & 255]
                   ^ _tables[4][(x >> 24) & 255] ^ _tables[3][(x >> 32) & 255] ^ _tables[2][(x >> 40) & 255]
                   ^ _tables[1][(x >> 48) & 255] ^ _tables[0][x >> 56])
            i += 8
        while i < n:
            crc = (crc >> 8) ^ _tables[0][(crc ^ p[i]) & 255]
            i += 1
    return crc ^ 0xFFFFFFFF

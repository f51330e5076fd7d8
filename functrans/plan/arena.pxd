cdef char *take_arena(size_t nbytes, size_t *capacity) except NULL
cdef void give_arena(char *memory, size_t capacity) noexcept

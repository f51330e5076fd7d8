/* The floating-point mode of a thread. Some libraries set "flush denormals to zero" when they load;
 * runs of plans are in the default mode, whatever the process has set. */
#ifndef FUNCTRANS_FPMODE_H
#define FUNCTRANS_FPMODE_H

#include <stdint.h>

/* Sets the default mode and returns the one before; 0 if that was the default already. */
static inline unsigned ft_fp_default(void)
{
#if defined(__x86_64__)
    unsigned mode = __builtin_ia32_stmxcsr();
    if ((mode & ~0x3fu) == 0x1f80)      /* but for the sticky flags */
        return 0;
    __builtin_ia32_ldmxcsr(0x1f80);
    return mode;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    if (mode)
        __asm__ __volatile__("msr fpcr, %0" : : "r"((uint64_t)0));
    return (unsigned)mode;
#else
    return 0;
#endif
}

static inline void ft_fp_restore(unsigned mode)
{
#if defined(__x86_64__)
    if (mode)
        __builtin_ia32_ldmxcsr(mode);
#elif defined(__aarch64__)
    if (mode)
        __asm__ __volatile__("msr fpcr, %0" : : "r"((uint64_t)mode));
#else
    (void)mode;
#endif
}

#endif

/* Another stack canary, the value by which functions notice that something has written beyond their part of the stack.
 * A process made by fork(2) has the canary of its parent, as all its siblings have. An attacker who makes them crash
 * could find it out byte by byte. */
#ifndef YINYANG_STACK_CANARY_H
#define YINYANG_STACK_CANARY_H

#include <sys/syscall.h>
#include <unistd.h>

/* No function that is running may return any more, as each would find another value than it began with. Only where the
 * canary is in the memory of the thread, at a place that compilers and C libraries have agreed upon; on arm64, armhf
 * and riscv64 it is a variable of the C library, which is read-only. */
static inline __attribute__((always_inline)) void stack_canary_renew(void)
{
    unsigned long canary;
    if (syscall(SYS_getrandom, &canary, sizeof canary, 1 /* GRND_NONBLOCK */) != sizeof canary)
        return;
    *(char *)&canary = 0; /* as C libraries do: strings end there, so they cannot be used to read or to write it */
#if defined __x86_64__
    __asm__ volatile("movq %0, %%fs:0x28" : : "r"(canary));
#elif defined __i386__
    __asm__ volatile("movl %0, %%gs:0x14" : : "r"(canary));
#elif defined __powerpc64__
    __asm__ volatile("std %0, -0x7010(13)" : : "r"(canary) : "memory");
#elif defined __s390x__
    *(volatile unsigned long *)((char *)__builtin_thread_pointer() + 0x28) = canary;
#endif
}

#endif

/* For the static program, included before anything else (-include): where system.c differs from what the C library
 * declares. */
#ifndef YINYANG_SYSTEM_H
#define YINYANG_SYSTEM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

/* A variable of its own; the C library's is a call, since it has one for each thread. */
#undef errno
extern int errno __attribute__((visibility("hidden")));

/* Without the dots: what can take any arguments first saves all registers that could hold one. */
int system_prctl(int option, long value);
long system_call(long number, long a, long b, long c);
#define prctl(option, value, ...) system_prctl(option, (long)(value)) /* the others are 0 */
#define syscall(number, a, b, c) system_call(number, (long)(a), (long)(b), (long)(c))

#endif

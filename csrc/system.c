/* For the static program: its first instructions, the system calls that it makes, and the functions of <string.h> that it
 * uses, in place of the C library's.
 *
 * The C library's own serve threads, old kernels, destructors and long strings, of which there are none here; they would
 * be a fifth of the program. musl's headers declare all that is defined below. The calls are those of Linux 5.9 or later
 * (man pages 2). */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h" /* UNGUARDED */

int main(int count, char **arguments);

__attribute__((used)) int errno;
static char **environment;
static int (*clock_of_kernel)(clockid_t clock, struct timespec *time);

/* ---- one system call ------------------------------------------------------------------------------------------- */

#if defined __x86_64__

/* From the kernel: argc, the arguments, the environment and the auxiliary vector lie on the stack. */
__asm__(".globl _start\n.hidden _start\n"
        "_start: xor %ebp, %ebp\n"
        "mov %rsp, %rdi\n"
        "and $-16, %rsp\n"
        "call begin\n");

/* The call, and what it returned in the C library's way; in one place, as it would be in sixty. It needs the stack, so
 * that whoever calls it must not keep anything below its end (-mno-red-zone). */
__asm__("enter: syscall\n"
        "cmp $-4096, %rax\n"
        "jbe 0f\n"
        "neg %eax\n"
        "mov %eax, errno(%rip)\n"
        "or $-1, %rax\n"
        "0: ret\n");

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("call enter" : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "cc", "memory");
    return number;
}

#elif defined __aarch64__

__asm__(".globl _start\n.hidden _start\n"
        "_start: mov x29, #0\n"
        "mov x30, #0\n"
        "mov x0, sp\n"
        "and sp, x0, #-16\n"
        "bl begin\n");

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    if ((unsigned long)x0 <= -4096UL)
        return x0;
    errno = (int)-x0;
    return -1;
}

#else
#error "the static program knows x86-64 and 64-bit ARM; for another machine, add its start and its system call here"
#endif

/* An argument that the call does not look at: whatever is in the register. */
static inline long none(void)
{
    long value;
    __asm__ volatile("" : "=r"(value)); /* volatile: or three of them become one, which costs two moves */
    return value;
}

#define CALL6(number, a, b, c, d, e, f) \
    call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL5(number, a, b, c, d, e) CALL6(number, a, b, c, d, e, none())
#define CALL4(number, a, b, c, d) CALL5(number, a, b, c, d, none())
#define CALL3(number, a, b, c) CALL4(number, a, b, c, none())
#define CALL2(number, a, b) CALL3(number, a, b, none())
#define CALL1(number, a) CALL2(number, a, none())
#define CALL0(number) CALL1(number, none())

/* ---- descriptors and memory ------------------------------------------------------------------------------------ */

int open(const char *path, int flags, ...) { return (int)CALL4(SYS_openat, AT_FDCWD, path, flags, 0); }
int close(int fd) { return (int)CALL1(SYS_close, fd); }
int dup(int fd) { return (int)CALL1(SYS_dup, fd); }
int pipe2(int fds[2], int flags) { return (int)CALL2(SYS_pipe2, fds, flags); }
ssize_t read(int fd, void *buffer, size_t size) { return CALL3(SYS_read, fd, buffer, size); }
ssize_t write(int fd, const void *bytes, size_t size) { return CALL3(SYS_write, fd, bytes, size); }
off_t lseek(int fd, off_t offset, int whence) { return CALL3(SYS_lseek, fd, offset, whence); }
int eventfd(unsigned int start, int flags) { return (int)CALL2(SYS_eventfd2, start, flags); }

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return (void *)CALL6(SYS_mmap, address, size, protection, flags, fd, offset);
}

int munmap(void *address, size_t size) { return (int)CALL2(SYS_munmap, address, size); }
int mprotect(void *address, size_t size, int protection) { return (int)CALL3(SYS_mprotect, address, size, protection); }

/* ---- sockets --------------------------------------------------------------------------------------------------- */

int socket(int domain, int type, int protocol) { return (int)CALL3(SYS_socket, domain, type, protocol); }
int socketpair(int domain, int type, int protocol, int fds[2])
{
    return (int)CALL4(SYS_socketpair, domain, type, protocol, fds);
}
int bind(int fd, const struct sockaddr *address, socklen_t size) { return (int)CALL3(SYS_bind, fd, address, size); }
int listen(int fd, int backlog) { return (int)CALL2(SYS_listen, fd, backlog); }
int connect(int fd, const struct sockaddr *address, socklen_t size) { return (int)CALL3(SYS_connect, fd, address, size); }
int shutdown(int fd, int how) { return (int)CALL2(SYS_shutdown, fd, how); }

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return (int)CALL4(SYS_accept4, fd, address, size, flags);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
    return (int)CALL5(SYS_setsockopt, fd, level, option, value, size);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    return (int)CALL3(SYS_getsockname, fd, address, size);
}

ssize_t recv(int fd, void *buffer, size_t size, int flags) { return CALL6(SYS_recvfrom, fd, buffer, size, flags, 0, 0); }
ssize_t send(int fd, const void *bytes, size_t size, int flags) { return CALL6(SYS_sendto, fd, bytes, size, flags, 0, 0); }
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) { return CALL3(SYS_sendmsg, fd, message, flags); }

/* ---- waiting --------------------------------------------------------------------------------------------------- */

int epoll_create1(int flags) { return (int)CALL1(SYS_epoll_create1, flags); }

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    return (int)CALL4(SYS_epoll_ctl, epoll, operation, fd, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    return (int)CALL6(SYS_epoll_pwait, epoll, events, most, timeout, 0, 0);
}

UNGUARDED int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    struct timespec time = {timeout / 1000, timeout % 1000 * 1000000L};
    return (int)CALL5(SYS_ppoll, fds, count, timeout < 0 ? NULL : &time, 0, 0);
}

/* By the kernel's vDSO where there is one (vdso(7)), as each wake-up of a worker asks for the time. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (clock_of_kernel)
        return clock_of_kernel(clock, time);
    return (int)CALL2(SYS_clock_gettime, clock, time);
}

/* ---- processes and signals: a set is one word to the kernel ------------------------------------------------------ */

enum { SET_SIZE = 8 };

pid_t getpid(void) { return (pid_t)CALL0(SYS_getpid); }
pid_t getppid(void) { return (pid_t)CALL0(SYS_getppid); }
pid_t fork(void) { return (pid_t)CALL5(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
int kill(pid_t pid, int signal) { return (int)CALL2(SYS_kill, pid, signal); }
pid_t waitpid(pid_t pid, int *status, int options) { return (pid_t)CALL4(SYS_wait4, pid, status, options, 0); }
int waitid(idtype_t kind, id_t id, siginfo_t *info, int options) { return (int)CALL5(SYS_waitid, kind, id, info, options, 0); }
int getrlimit(int resource, struct rlimit *limit) { return (int)CALL4(SYS_prlimit64, 0, resource, 0, limit); }

_Noreturn void _exit(int code)
{
    for (;;)
        CALL1(SYS_exit_group, code);
}

int system_prctl(int option, long value) { return (int)CALL5(SYS_prctl, option, value, 0, 0, 0); }
long system_call(long number, long a, long b, long c) { return CALL3(number, a, b, c); }

int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *cpus)
{
    return CALL3(SYS_sched_getaffinity, pid, size, cpus) < 0 ? -1 : 0;
}

int sigfillset(sigset_t *set)
{
    set->__bits[0] = ~0UL;
    return 0;
}

int sigemptyset(sigset_t *set)
{
    set->__bits[0] = 0;
    return 0;
}

int sigaddset(sigset_t *set, int signal)
{
    set->__bits[0] |= 1UL << (signal - 1);
    return 0;
}

/* As the kernel has it, with nothing but the handler. */
UNGUARDED void (*signal(int number, void (*handler)(int)))(int)
{
    struct { void (*handler)(int); unsigned long flags; void (*restorer)(void); unsigned long mask; } to = {handler, 0, 0, 0}, from;
    return CALL4(SYS_rt_sigaction, number, &to, &from, SET_SIZE) < 0 ? SIG_ERR : from.handler;
}

int pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    return (int)CALL4(SYS_rt_sigprocmask, how, set, before, SET_SIZE);
}

int signalfd(int fd, const sigset_t *set, int flags) { return (int)CALL4(SYS_signalfd4, fd, set, SET_SIZE, flags); }

/* ---- what the kernel tells a program ----------------------------------------------------------------------------- */

UNGUARDED int gethostname(char *name, size_t size)
{
    struct utsname system;
    if (CALL1(SYS_uname, &system) < 0)
        return -1;
    memcpy(name, system.nodename, size < sizeof system.nodename ? size : sizeof system.nodename);
    return 0;
}

char *getenv(const char *name)
{
    size_t length = strlen(name);
    for (char **at = environment; *at; at++)
        if (!strncmp(*at, name, length) && (*at)[length] == '=')
            return *at + length + 1;
    return NULL;
}

/* ---- strings: short ones, so the shortest code ------------------------------------------------------------------ */

/* Keeps the compiler from seeing what a loop does, and making a call of the very function out of it. */
#define AS_WRITTEN __asm__ volatile("")

void *memmove(void *to, const void *from, size_t size)
{
    unsigned char *out = to;
    const unsigned char *in = from;
    if (out <= in)
        return memcpy(to, from, size);
    while (size--) {
        AS_WRITTEN;
        out[size] = in[size];
    }
    return to;
}

#if defined __x86_64__

/* One instruction each, which copies or fills many bytes at once where there are many. */
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *out = to;
    __asm__ volatile("rep movsb" : "+D"(out), "+S"(from), "+c"(size) : : "memory");
    return to;
}

void *memset(void *at, int byte, size_t size)
{
    void *out = at;
    __asm__ volatile("rep stosb" : "+D"(out), "+c"(size) : "a"(byte) : "memory");
    return at;
}

#else

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    unsigned char *out = to;
    for (const unsigned char *in = from; size; size--) {
        AS_WRITTEN;
        *out++ = *in++;
    }
    return to;
}

void *memset(void *at, int byte, size_t size)
{
    for (unsigned char *out = at; size; size--) {
        AS_WRITTEN;
        *out++ = (unsigned char)byte;
    }
    return at;
}

#endif

int memcmp(const void *one, const void *other, size_t size)
{
    const unsigned char *a = one, *b = other;
    for (; size; size--, a++, b++) {
        AS_WRITTEN;
        if (*a != *b)
            return *a - *b;
    }
    return 0;
}

/* What clang makes of memcmp when only equality is asked for. */
int bcmp(const void *one, const void *other, size_t size)
{
    return memcmp(one, other, size);
}

size_t strlen(const char *string)
{
    size_t length = 0;
    while (string[length]) {
        AS_WRITTEN;
        length++;
    }
    return length;
}

int strncmp(const char *one, const char *other, size_t most)
{
    for (; most && *one && *one == *other; most--, one++, other++)
        AS_WRITTEN;
    return most ? (unsigned char)*one - (unsigned char)*other : 0;
}

int strcmp(const char *one, const char *other)
{
    return strncmp(one, other, PTRDIFF_MAX);
}

#ifdef YINYANG_PACKED
#include "unpack.h"
#endif

/* ---- the start ------------------------------------------------------------------------------------------------- */

/* What -fstack-protector compares with; the kernel gives each process 16 random bytes. One of them is 0, so that no
 * string can spell it. */
__attribute__((used, visibility("hidden"))) uintptr_t __stack_chk_guard;

static inline void guard_set(uintptr_t guard)
{
    __stack_chk_guard = guard;
#if defined __aarch64__
    __asm__ volatile("msr tpidr_el0, %0" : : "r"(&__stack_chk_guard)); /* where the compiler was told to look */
#endif
}

__attribute__((used)) _Noreturn void __stack_chk_fail(void)
{
    __builtin_trap();
}

/* A place in the vDSO: counted from its beginning, or (QEMU's) from 0. */
static inline const char *in_vdso(const char *vdso, uintptr_t at)
{
    return at < (uintptr_t)vdso ? vdso + at : (const char *)at;
}

/* The function of the vDSO that tells the time; NULL if there is none. It is a shared library, already mapped. */
static void *clock_in(const char *vdso)
{
#if defined __x86_64__
    const char *wanted = "__vdso_clock_gettime";
#else
    const char *wanted = "__kernel_clock_gettime";
#endif
    const Elf64_Phdr *segment = (const void *)(vdso + ((const Elf64_Ehdr *)vdso)->e_phoff);
    const Elf64_Dyn *entry = NULL;
    const Elf64_Sym *symbol = NULL;
    const char *names = NULL;
    for (int left = ((const Elf64_Ehdr *)vdso)->e_phnum; left; left--, segment++)
        if (segment->p_type == PT_DYNAMIC)
            entry = (const void *)(vdso + segment->p_offset);
    for (; entry && entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_SYMTAB)
            symbol = (const void *)in_vdso(vdso, entry->d_un.d_ptr);
        else if (entry->d_tag == DT_STRTAB)
            names = in_vdso(vdso, entry->d_un.d_ptr);
    /* how many symbols there are is said nowhere but in its hash table; their names follow them */
    for (; symbol && (const char *)(symbol + 1) <= names; symbol++)
        if (symbol->st_shndx != SHN_UNDEF && !strcmp(names + symbol->st_name, wanted))
            return (void *)in_vdso(vdso, symbol->st_value);
    return NULL;
}

__attribute__((used, visibility("hidden"), no_stack_protector)) _Noreturn void begin(long *stack)
{
    char **arguments = (char **)(stack + 1);
    const char *vdso = NULL;
    const unsigned long *entry;
    environment = arguments + stack[0] + 1;
    entry = (const unsigned long *)environment;
    while (*entry++)
        ;
    for (; entry[0] != AT_NULL; entry += 2)
        if (entry[0] == AT_RANDOM)
            guard_set(*(const uintptr_t *)entry[1] & ~(uintptr_t)0xff);
        else if (entry[0] == AT_SYSINFO_EHDR)
            vdso = (const char *)entry[1];
#ifdef YINYANG_PACKED
    constants_unpack();
#endif
    if (vdso)
        *(void **)&clock_of_kernel = clock_in(vdso);
    _exit(main((int)stack[0], arguments));
}

/* What a process can give up for good, so that a fault in it is of no use to anybody. The kernel never gives it back, and
 * all children inherit it. */
#ifndef YINYANG_SANDBOX_H
#define YINYANG_SANDBOX_H
/* clang-format off */ /* its tables are laid out by hand */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum sandbox_guard { /* a set */
    GUARD_PRIVILEGES = 1, /* no new ones, whatever is executed */
    GUARD_USER = 2,       /* root no more */
    GUARD_FILES = 4,      /* none can be opened */
    GUARD_TCP = 8,        /* no address can be bound or connected to */
    GUARD_CALLS = 16,     /* few system calls are left */
};

enum { NOBODY = 65534 };

/* ---- Landlock (landlock(7)) ------------------------------------------------------------------------------------- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

/* The version of Landlock that this kernel has; below 1: none. */
static inline int landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
}

/* Give up all that this version can take away: there is a set of what is restricted, and no rule that allows any of it.
 * The guards, or -errno. */
static inline int sandbox_landlock(void)
{
    int version = landlock_version();
    static const uint16_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff}; /* each version knows more of them */
    struct { uint64_t files, tcp, scopes; } restricted = {
        files[version < 0 ? 0 : version < 5 ? version : 5],
        version >= 4 ? 3 : 0, /* to bind, to connect */
        version >= 6 ? 3 : 0, /* abstract Unix sockets and signals to processes outside */
    };
    int rules, result;
    if (version < 1)
        return version ? -errno : -ENOSYS;
    rules = (int)syscall(SYS_landlock_create_ruleset, &restricted, sizeof restricted, 0);
    if (rules < 0)
        return -errno;
    result = (int)syscall(SYS_landlock_restrict_self, rules, 0, 0) ? -errno : GUARD_FILES | (version >= 4 ? GUARD_TCP : 0);
    close(rules);
    return result;
}

/* ---- system calls (seccomp(2)) ---------------------------------------------------------------------------------- */

/* A program of classic BPF, which the kernel runs over the number of each call (Documentation/networking/filter.rst in
 * Linux). Declared here, as not every C library comes with Linux's headers. */
struct bpf_step {
    uint16_t code;
    uint8_t if_so, if_not; /* steps to skip */
    uint32_t operand;
};

struct bpf_program {
    uint16_t length;
    const struct bpf_step *steps;
};

#define BPF_LOAD_WORD(at) {0x20, 0, 0, at}
#define BPF_IF_EQUAL(value, if_so, if_not) {0x15, if_so, if_not, value}
#define BPF_RETURN(value) {0x06, 0, 0, value}

enum {
    SECCOMP_MODE = 1,           /* SECCOMP_SET_MODE_FILTER */
    SECCOMP_IS_AVAILABLE = 2,   /* SECCOMP_GET_ACTION_AVAIL */
    SECCOMP_SPECULATES = 1 << 2, /* SECCOMP_FILTER_FLAG_SPEC_ALLOW: no mitigation that would slow down everything */
    SECCOMP_ALLOW = 0x7fff0000,
    SECCOMP_ERROR = 0x00050000, /* + errno */
    CALL_NUMBER = 0,            /* where they are in struct seccomp_data */
    CALL_MACHINE = 4,
    CALL_ARGUMENT = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 20 : 16, /* the lower half of the first one */
};

#define SECCOMP_KILL 0x80000000u

/* AUDIT_ARCH_* of <linux/audit.h>: the number of the machine in ELF, and whether it is little-endian and has 64 bits */
#if defined __x86_64__
#define MACHINE 0xc000003eu
#elif defined __i386__
#define MACHINE 0x40000003u
#elif defined __AARCH64EL__
#define MACHINE 0xc00000b7u
#elif defined __ARMEL__ && defined __ARM_EABI__
#define MACHINE 0x40000028u
#elif defined __riscv && __riscv_xlen == 64
#define MACHINE 0xc00000f3u
#elif defined __powerpc64__ && defined __LITTLE_ENDIAN__
#define MACHINE 0xc0000015u
#elif defined __s390x__
#define MACHINE 0x80000016u
#else
#define MACHINE 0u /* unknown: no filter */
#endif

enum { GROUP_END = 0xffff };

/* By what both C libraries call: musl and glibc. What some machines lack, or call otherwise, stands under an #ifdef: older
 * ones have calls of their own for what is a case of a newer one; those with 32 bits have further ones for 64-bit times
 * and offsets, and musl appends 32 to the names of the former ones. */
static const unsigned short call_groups[] = {
    /* What a worker does from when it serves. */
    SYS_accept4, SYS_recvfrom, SYS_sendto, SYS_sendmsg, SYS_shutdown, SYS_close, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_write, SYS_setitimer, SYS_restart_syscall, SYS_exit_group,
#ifdef SYS_recv
    SYS_recv,
#endif
#ifdef SYS_send
    SYS_send,
#endif
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_clock_gettime
    SYS_clock_gettime,
#endif
#ifdef SYS_clock_gettime32
    SYS_clock_gettime32,
#endif
#ifdef SYS_clock_gettime64
    SYS_clock_gettime64,
#endif
    GROUP_END,
    /* What its parent does besides: wait, log, and start workers, so this includes what a worker does before it serves. */
    SYS_ppoll, SYS_read, SYS_setsockopt, SYS_getsockopt, SYS_getsockname, SYS_listen, SYS_wait4, SYS_waitid, SYS_kill,
    SYS_rt_sigprocmask, SYS_socketpair, SYS_clone, SYS_set_tid_address, SYS_gettid, SYS_getpid, SYS_getppid, SYS_prctl,
    SYS_rt_sigaction, SYS_dup, SYS_close_range, SYS_munmap, SYS_mprotect, SYS_prlimit64, SYS_epoll_create1,
    SYS_landlock_create_ruleset, SYS_landlock_restrict_self, SYS_seccomp,
#ifdef SYS_fork
    SYS_fork,
#endif
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_ppoll_time64
    SYS_ppoll_time64,
#endif
#ifdef SYS_mmap2
    SYS_mmap2,
#else
    SYS_mmap,
#endif
    GROUP_END,
    /* What nobody tries by mistake. */
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf, SYS_mount, SYS_unshare,
    SYS_setns, SYS_init_module, SYS_finit_module, SYS_perf_event_open,
    GROUP_END,
};

enum { OF_WORKER, OF_PARENT, OF_ATTACKERS, GROUPS };

#ifdef SYS_socketcall
/* What a worker does by socketcall(2), which glibc calls for all that is done with sockets on i386 and s390x; its first
 * argument says what: to send (9, 11, 16), to receive (10, 12), to shut down (13). */
static const unsigned char socket_calls[] = {9, 10, 11, 12, 13, 16};
#endif

static inline int seccomp_is_available(void)
{
    uint32_t action = SECCOMP_KILL;
    return MACHINE && syscall(SYS_seccomp, SECCOMP_IS_AVAILABLE, 0, &action) == 0;
}

/* From now on these calls work, attackers' ones end the process, and all others do not exist. The guard, or -errno. */
static inline int sandbox_calls(int is_parent)
{
    struct bpf_step steps[sizeof call_groups / sizeof call_groups[0] * 2 + 32];
    const unsigned short *call = call_groups;
    struct bpf_step *step = steps;
    struct bpf_program program;
    if (!MACHINE)
        return -ENOSYS;
    *step++ = (struct bpf_step)BPF_LOAD_WORD(CALL_MACHINE);
    *step++ = (struct bpf_step)BPF_IF_EQUAL(MACHINE, 1, 0);
    *step++ = (struct bpf_step)BPF_RETURN(SECCOMP_KILL);
    *step++ = (struct bpf_step)BPF_LOAD_WORD(CALL_NUMBER);
    for (int group = 0; group < GROUPS; group++, call++)
        for (; *call != GROUP_END; call++)
            if (group != OF_PARENT || is_parent) {
                *step++ = (struct bpf_step)BPF_IF_EQUAL(*call, 0, 1);
                *step++ = (struct bpf_step)BPF_RETURN(group == OF_ATTACKERS ? SECCOMP_KILL : SECCOMP_ALLOW);
            }
#ifdef SYS_socketcall
    *step++ = (struct bpf_step)BPF_IF_EQUAL(SYS_socketcall, 1, 0);
    *step++ = (struct bpf_step)BPF_RETURN(SECCOMP_ERROR | ENOSYS);
    *step++ = (struct bpf_step)BPF_LOAD_WORD(CALL_ARGUMENT);
    for (unsigned int i = 0; i < sizeof socket_calls; i++) {
        *step++ = (struct bpf_step)BPF_IF_EQUAL(socket_calls[i], 0, 1);
        *step++ = (struct bpf_step)BPF_RETURN(SECCOMP_ALLOW);
    }
#endif
    *step++ = (struct bpf_step)BPF_RETURN(SECCOMP_ERROR | ENOSYS);
    program.length = (uint16_t)(step - steps);
    program.steps = steps;
    return syscall(SYS_seccomp, SECCOMP_MODE, SECCOMP_SPECULATES, &program) ? -errno : GUARD_CALLS;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

#ifdef SYS_setresuid32
#define SYS_OF_IDS(name) SYS_##name##32 /* the ones with the plain names have 16 bits for a number */
#else
#define SYS_OF_IDS(name) SYS_##name
#endif

/* Root becomes nobody, if it may; the guard, 0 if this is not root, -errno. Not by the C library's functions, which
 * bring what it takes to do so in all threads: there is one. */
static inline int sandbox_user(void)
{
    if (geteuid() != 0)
        return 0;
    if (syscall(SYS_OF_IDS(setgroups), 0, NULL) || syscall(SYS_OF_IDS(setresgid), NOBODY, NOBODY, NOBODY)
        || syscall(SYS_OF_IDS(setresuid), NOBODY, NOBODY, NOBODY))
        return -errno;
    return GUARD_USER;
}

/* The guards that hold from now on, or -errno if `required` and one of them cannot be had. */
static inline int sandbox_enter(int is_parent, int required)
{
    int guards = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : GUARD_PRIVILEGES;
    for (int i = is_parent ? 0 : 1; i < 3; i++) {
        int guard = i == 0 ? sandbox_user() : i == 1 ? sandbox_landlock() : sandbox_calls(is_parent);
        if (required && (guards < 0 || guard < 0))
            return guards < 0 ? guards : guard;
        guards = (guards > 0 ? guards : 0) | (guard > 0 ? guard : 0);
    }
    return guards;
}

/* clang-format on */
#endif

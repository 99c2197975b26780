/* What a process can give up for good, so that a fault in it is of no use to anybody. The kernel never gives it back,
 * and all children inherit it. */
#ifndef YINYANG_SANDBOX_H
#define YINYANG_SANDBOX_H
/* clang-format off */ /* its tables are laid out by hand */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum sandbox_guard { /* a set */
    GUARD_PRIVILEGES = 1,   /* no new ones, whatever is executed */
    GUARD_USER = 2,         /* root no more */
    GUARD_FILES = 4,        /* none can be opened */
    GUARD_TCP = 8,          /* no address can be bound or connected to by bind(2) and connect(2) */
    GUARD_CALLS = 16,       /* few system calls are left, with few of their arguments */
    GUARD_DESCRIPTORS = 32, /* none is open but what serving needs */
};

enum {
    NOBODY = 65534,
    REFUSE_EXECUTABLE = 65, /* PR_SET_MDWE of prctl(2): no memory becomes executable (Linux 6.3) */
};

/* ---- Landlock (landlock(7)) ------------------------------------------------------------------------------------- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum { LANDLOCK_EXECUTE = 1, LANDLOCK_READ = 4, LANDLOCK_BENEATH = 1 /* LANDLOCK_RULE_PATH_BENEATH */ };

/* The version of Landlock that this kernel has; below 1: none. */
static inline int landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
}

/* Give up all that this version can take away: there is a set of what is restricted, and no rule that allows any of it,
 * but to execute the file `program`, if it is one. `connects`: to connect is not restricted. The guards, or -errno. */
static inline int sandbox_landlock(int program, int connects)
{
    int version = landlock_version();
    static const uint16_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff}; /* each version knows more of them */
    struct { uint64_t files, tcp, scopes; } restricted = {
        files[version < 0 ? 0 : version < 5 ? version : 5],
        version < 4 ? 0 : connects ? 1 : 3, /* to bind, to connect */
        /* Abstract Unix sockets and signals to processes outside. The watch sends none, but the kernel takes the one by
         * which its end ends the process that looks up names for such a signal. */
        version < 6 ? 0 : connects ? 1 : 3,
    };
    struct { uint64_t allowed; int32_t file; } __attribute__((packed)) rule = {LANDLOCK_EXECUTE | LANDLOCK_READ, program};
    int rules, result;
    if (version < 1)
        return version ? -errno : -ENOSYS;
    rules = (int)syscall(SYS_landlock_create_ruleset, &restricted, sizeof restricted, 0);
    if (rules < 0)
        return -errno;
    if (program >= 0)
        syscall(SYS_landlock_add_rule, rules, LANDLOCK_BENEATH, &rule, 0);
    result = (int)syscall(SYS_landlock_restrict_self, rules, 0, 0) ? -errno : GUARD_FILES | (version >= 4 ? GUARD_TCP : 0);
    close(rules);
    return result;
}

/* ---- system calls (seccomp(2)) ---------------------------------------------------------------------------------- */

/* A program of classic BPF, which the kernel runs over the number and the arguments of each call
 * (Documentation/networking/filter.rst in Linux). Declared here, as not every C library comes with Linux's headers. */
struct bpf_step {
    uint16_t code;
    uint8_t if_so, if_not; /* steps to skip */
    uint32_t operand;
};

struct bpf_program {
    uint16_t length;
    const struct bpf_step *steps;
};

enum bpf_code {
    BPF_LOAD_WORD = 0x20,
    BPF_IF_EQUAL = 0x15,
    BPF_IF_ANY_BIT = 0x45,
    BPF_RETURN = 0x06,
};

enum {
    SECCOMP_MODE = 1,            /* SECCOMP_SET_MODE_FILTER */
    SECCOMP_IS_AVAILABLE = 2,    /* SECCOMP_GET_ACTION_AVAIL */
    SECCOMP_SPECULATES = 1 << 2, /* SECCOMP_FILTER_FLAG_SPEC_ALLOW: no mitigation that would slow down everything */
    SECCOMP_ALLOW = 0x7fff0000,
    SECCOMP_ERROR = 0x00050000, /* + errno */
    CALL_NUMBER = 0,            /* where they are in struct seccomp_data */
    CALL_MACHINE = 4,
    CALL_ARGUMENTS = 16, /* of 64 bits each */
    LOWER_HALF = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0,
    UPPER_HALF = 4 - LOWER_HALF,
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

/* A condition on an argument. Of a number, only the lower 32 bits are compared: the kernel takes no more from the
 * register, and a caller may leave anything in the upper half. A pointer is compared as a whole. */
struct condition {
    uint32_t bits; /* of the argument; none: there is no condition */
    uint32_t value; /* that they have */
    uint8_t argument;
    uint8_t differs;    /* they have another value instead */
    uint8_t is_pointer; /* and the upper half is 0 */
};

#define IS(n, expected) {.argument = n, .bits = ~0u, .value = expected}
#define IS_NOT(n, forbidden) {.argument = n, .bits = ~0u, .value = forbidden, .differs = 1}
#define ONLY(n, flags) {.argument = n, .bits = ~(uint32_t)(flags)}
#define NOT_NEGATIVE(n) {.argument = n, .bits = 0x80000000}
#define NO_POINTER(n) {.argument = n, .bits = ~0u, .is_pointer = 1}

enum {
    CONDITIONS_MAX = 3,
    RULES_MAX = 96,
    FILTER_MAX = RULES_MAX * (4 * CONDITIONS_MAX + 3), /* steps, if each rule had that many conditions on pointers */
};

/* A way to make a call. Those of one call stand in a row; it may be made in each of these ways. */
struct rule {
    uint32_t call;
    unsigned char whose;
    struct condition conditions[CONDITIONS_MAX];
};

enum sandbox_whose { /* a set */
    OF_WORKER = 1,
    OF_PARENT = 2,
    OF_ATTACKERS = 4, /* what nobody tries by mistake: it ends the process */
    OF_WATCH = 8,
    OF_BOTH = OF_WORKER | OF_PARENT,
    OF_ALL = OF_BOTH | OF_WATCH,
};

enum {
#ifdef __s390x__
    CLONE_FLAGS = 1, /* which argument of clone(2) has them */
#else
    CLONE_FLAGS = 0,
#endif
    OF_FORK = 0xff /* the signal at its end */ | 0x00200000 /* CLONE_CHILD_CLEARTID */ | 0x01000000 /* …_SETTID */,
    EMPTY_PATH = 0x1000, /* AT_EMPTY_PATH: the file is the descriptor */
    OF_MAPPING = MAP_PRIVATE | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
};

/* The steps by which a rule allows a call, or goes on behind them. */
static inline struct bpf_step *sandbox_rule(struct bpf_step *step, const struct rule *rule)
{
    struct bpf_step *jumps[CONDITIONS_MAX * 2]; /* which leave the rule */
    int count = 0;
    for (const struct condition *c = rule->conditions; c < rule->conditions + CONDITIONS_MAX && c->bits; c++) {
        uint32_t at = CALL_ARGUMENTS + 8 * c->argument;
        if (c->is_pointer) {
            *step++ = (struct bpf_step){BPF_LOAD_WORD, 0, 0, at + UPPER_HALF};
            jumps[count++] = step;
            *step++ = (struct bpf_step){BPF_IF_EQUAL, 0, 1, 0};
        }
        *step++ = (struct bpf_step){BPF_LOAD_WORD, 0, 0, at + LOWER_HALF};
        jumps[count++] = step;
        if (c->bits != ~0u) /* none of them may be set */
            *step++ = (struct bpf_step){BPF_IF_ANY_BIT, 1, 0, c->bits};
        else if (c->differs)
            *step++ = (struct bpf_step){BPF_IF_EQUAL, 1, 0, c->value};
        else
            *step++ = (struct bpf_step){BPF_IF_EQUAL, 0, 1, c->value};
    }
    *step++ = (struct bpf_step){BPF_RETURN, 0, 0, rule->whose == OF_ATTACKERS ? SECCOMP_KILL : SECCOMP_ALLOW};
    while (count--) {
        uint8_t over = (uint8_t)(step - jumps[count] - 1);
        if (jumps[count]->if_so)
            jumps[count]->if_so = over;
        else
            jumps[count]->if_not = over;
    }
    return step;
}

/* The filter over all calls of a worker, or of its parent, which has to allow what a worker does too, as that inherits
 * it, or of the watch: `whose`. The number of its steps. `own` is the event by which workers wake each other; for the
 * watch, it is the number of its own process, which it may stop. `program` is a file that may be executed, or -1. That
 * no other file may be is Landlock's business.
 *
 * The rules are searched from the top, so what a request takes comes first. A call without a condition costs nothing,
 * as the kernel remembers it (Linux 5.11); so there are conditions only where an argument could do harm.
 *
 * The calls are those that both C libraries make: musl and glibc. What some machines lack, or call otherwise, stands
 * under an #ifdef: older ones have calls of their own for what is a case of a newer one; those with 32 bits have
 * further ones for 64-bit times and offsets, and musl appends 32 to the names of the former ones. There is no
 * socketcall(2), whose arguments lie in memory, where no filter sees them: glibc calls it on i386 and s390x, so the
 * core does not leave it to the C library to send, receive and shut down. */
static inline int sandbox_filter(struct bpf_step *steps, int whose, int own, int program)
{
    const struct rule rules[] = {
        /* The calls of a worker that serves. Without an address and MSG_FASTOPEN, nothing can be sent on a socket that
         * is not connected. The listening socket survives a shutdown for writing. */
        {SYS_sendto, OF_ALL, {ONLY(3, MSG_NOSIGNAL | MSG_DONTWAIT), NO_POINTER(4)}},
        {SYS_accept4, OF_ALL, {IS(3, SOCK_NONBLOCK | SOCK_CLOEXEC)}},
        {SYS_epoll_ctl, OF_ALL, {}},
        {SYS_shutdown, OF_BOTH, {IS(1, SHUT_WR)}},
        {SYS_write, OF_WORKER, {IS(0, (uint32_t)own)}},
        {SYS_write, OF_PARENT | OF_WATCH, {}},
        {SYS_setitimer, OF_BOTH, {IS(0, ITIMER_PROF)}},
        {SYS_epoll_pwait, OF_ALL, {}},
#ifdef SYS_epoll_wait
        {SYS_epoll_wait, OF_ALL, {}},
#endif
        {SYS_recvfrom, OF_ALL, {}},
        {SYS_writev, OF_BOTH, {}},
        {SYS_close, OF_ALL, {}},
        {SYS_restart_syscall, OF_ALL, {}},
        {SYS_exit_group, OF_ALL, {}},
#ifdef SYS_clock_gettime
        {SYS_clock_gettime, OF_ALL, {}},
#endif
#ifdef SYS_clock_gettime32
        {SYS_clock_gettime32, OF_ALL, {}},
#endif
#ifdef SYS_clock_gettime64
        {SYS_clock_gettime64, OF_ALL, {}},
#endif
        {SYS_getpeername, OF_BOTH, {}},
        {SYS_getsockname, OF_BOTH, {}},
        /* What its parent does besides: wait, log, and start workers, so this includes what a worker does before it
         * serves. No memory can be executed but the program. New processes have no namespaces of their own. */
        {SYS_ppoll, OF_PARENT | OF_WATCH, {}},
#ifdef SYS_poll
        {SYS_poll, OF_PARENT | OF_WATCH, {}},
#endif
#ifdef SYS_ppoll_time64
        {SYS_ppoll_time64, OF_PARENT | OF_WATCH, {}},
#endif
        {SYS_waitid, OF_PARENT, {}},
        {SYS_wait4, OF_PARENT, {}},
        {SYS_read, OF_PARENT | OF_WATCH, {}},
        {SYS_setsockopt, OF_PARENT, {IS(1, SOL_SOCKET), IS(2, SO_BINDTOIFINDEX)}},
        {SYS_setsockopt, OF_BOTH, {IS(1, IPPROTO_TCP), IS(2, TCP_DEFER_ACCEPT)}},
        {SYS_getsockopt, OF_PARENT, {IS(1, SOL_SOCKET), IS(2, SO_ACCEPTCONN)}},
        {SYS_getsockopt, OF_WATCH, {IS(1, SOL_SOCKET), IS(2, SO_ERROR)}},
        {SYS_listen, OF_PARENT, {}}, /* again, on a socket that was shut down: it can open none */
        {SYS_kill, OF_PARENT, {NOT_NEGATIVE(0), IS_NOT(0, 0), IS(1, SIGKILL)}},
        {SYS_socketpair, OF_PARENT, {IS(0, AF_UNIX), ONLY(1, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)}},
        {SYS_clone, OF_PARENT, {ONLY(CLONE_FLAGS, OF_FORK)}},
#ifdef SYS_fork
        {SYS_fork, OF_PARENT, {}},
#endif
        {SYS_set_tid_address, OF_PARENT, {}},
        {SYS_gettid, OF_PARENT, {}},
        {SYS_getpid, OF_PARENT, {}},
        {SYS_getppid, OF_PARENT, {}},
        {SYS_getrandom, OF_PARENT, {}},
        {SYS_prctl, OF_PARENT, {IS(0, PR_SET_PDEATHSIG)}},
        {SYS_prctl, OF_PARENT, {IS(0, PR_SET_NAME)}},
        {SYS_prctl, OF_PARENT, {IS(0, PR_SET_NO_NEW_PRIVS)}},
        {SYS_prctl, OF_PARENT, {IS(0, PR_GET_DUMPABLE)}},
        {SYS_prctl, OF_PARENT, {IS(0, PR_SET_DUMPABLE), IS(1, 0)}},
        {SYS_prctl, OF_PARENT, {IS(0, REFUSE_EXECUTABLE)}},
        {SYS_kill, OF_WATCH, {IS(0, (uint32_t)own), IS(1, SIGTSTP)}},
        {SYS_kill, OF_WATCH, {IS(0, (uint32_t)own), IS(1, SIGQUIT)}},
        {SYS_kill, OF_WATCH, {IS(0, (uint32_t)own), IS(1, SIGUSR1)}},
        {SYS_kill, OF_WATCH, {IS(0, (uint32_t)own), IS(1, SIGUSR2)}},
        {SYS_rt_sigprocmask, OF_PARENT | OF_WATCH, {}},
        {SYS_rt_sigaction, OF_PARENT, {IS(0, SIGPROF)}},
        {SYS_close_range, OF_PARENT, {}},
        {SYS_dup3, OF_PARENT, {}},
#if defined SYS_mmap2
        {SYS_mmap2, OF_PARENT | OF_WATCH, {ONLY(2, PROT_READ | PROT_WRITE), ONLY(3, OF_MAPPING)}},
#elif defined __s390x__
        {SYS_mmap, OF_PARENT | OF_WATCH, {}}, /* its arguments lie in memory; REFUSE_EXECUTABLE stands in */
#else
        {SYS_mmap, OF_PARENT | OF_WATCH, {ONLY(2, PROT_READ | PROT_WRITE), ONLY(3, OF_MAPPING)}},
#endif
        {SYS_mprotect, OF_PARENT, {ONLY(2, PROT_READ | PROT_WRITE)}},
        {SYS_munmap, OF_PARENT | OF_WATCH, {}},
        {SYS_prlimit64, OF_PARENT, {IS(0, 0), NO_POINTER(2)}},
        {SYS_epoll_create1, OF_PARENT, {}},
        {SYS_landlock_create_ruleset, OF_PARENT, {}},
        {SYS_landlock_restrict_self, OF_PARENT, {}},
        {SYS_seccomp, OF_PARENT, {IS(0, SECCOMP_MODE), IS(1, SECCOMP_SPECULATES)}},
        /* What a program does that is executed anew, as a worker is. */
        {SYS_fcntl, OF_PARENT, {IS(1, F_SETFD)}},
        {SYS_execveat, program < 0 ? 0 : OF_PARENT, {IS(0, (uint32_t)program), IS(4, EMPTY_PATH)}},
        {SYS_execveat, OF_ATTACKERS, {}},
#ifdef __x86_64__
        {SYS_arch_prctl, OF_PARENT, {IS(0, 0x1002 /* ARCH_SET_FS */)}},
#elif defined __i386__
        {SYS_set_thread_area, OF_PARENT, {}},
#elif defined __arm__
        {0xf0005 /* __ARM_NR_set_tls */, OF_PARENT, {}},
#endif
        /* What the watch does besides: connect, wait until a moment, look at the terminal's size, write a report. */
        {SYS_socket, OF_WATCH, {IS(0, AF_INET), IS(1, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)}},
        {SYS_socket, OF_WATCH, {IS(0, AF_INET6), IS(1, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)}},
        {SYS_connect, OF_WATCH, {}},
#ifdef SYS_timerfd_settime
        {SYS_timerfd_settime, OF_WATCH, {}},
#endif
#ifdef SYS_timerfd_settime32
        {SYS_timerfd_settime32, OF_WATCH, {}},
#endif
#ifdef SYS_timerfd_settime64
        {SYS_timerfd_settime64, OF_WATCH, {}},
#endif
        {SYS_ioctl, OF_WATCH, {IS(1, TIOCGWINSZ)}},
        {SYS_ftruncate, OF_WATCH, {}},
#ifdef SYS_ftruncate64
        {SYS_ftruncate64, OF_WATCH, {}},
#endif
        {SYS_execve, OF_ATTACKERS, {}},
        {SYS_ptrace, OF_ATTACKERS, {}},
        {SYS_process_vm_readv, OF_ATTACKERS, {}},
        {SYS_process_vm_writev, OF_ATTACKERS, {}},
        {SYS_bpf, OF_ATTACKERS, {}},
        {SYS_mount, OF_ATTACKERS, {}},
        {SYS_unshare, OF_ATTACKERS, {}},
        {SYS_setns, OF_ATTACKERS, {}},
        {SYS_init_module, OF_ATTACKERS, {}},
        {SYS_finit_module, OF_ATTACKERS, {}},
        {SYS_perf_event_open, OF_ATTACKERS, {}},
    };
    const struct rule *const end = rules + sizeof rules / sizeof *rules;
    const struct rule *rule = rules;
    struct bpf_step *step = steps;
    _Static_assert(sizeof rules / sizeof *rules <= RULES_MAX, "there is room for their steps");
    *step++ = (struct bpf_step){BPF_LOAD_WORD, 0, 0, CALL_MACHINE};
    *step++ = (struct bpf_step){BPF_IF_EQUAL, 1, 0, MACHINE};
    *step++ = (struct bpf_step){BPF_RETURN, 0, 0, SECCOMP_KILL};
    *step++ = (struct bpf_step){BPF_LOAD_WORD, 0, 0, CALL_NUMBER};
    while (rule < end) {
        uint32_t call = rule->call;
        struct bpf_step *of_call = step++;
        int is_decided = 0;
        for (; rule < end && rule->call == call; rule++) {
            if (rule->whose & (whose | OF_ATTACKERS)) {
                step = sandbox_rule(step, rule);
                is_decided |= !rule->conditions[0].bits;
            }
        }
        if (step == of_call + 1) { /* it is not for this process */
            step--;
            continue;
        }
        if (!is_decided)
            *step++ = (struct bpf_step){BPF_RETURN, 0, 0, SECCOMP_ERROR | EPERM};
        *of_call = (struct bpf_step){BPF_IF_EQUAL, 0, (uint8_t)(step - of_call - 1), call};
    }
    *step++ = (struct bpf_step){BPF_RETURN, 0, 0, SECCOMP_ERROR | ENOSYS};
    return (int)(step - steps);
}

/* If not, errno says why. */
static inline int seccomp_is_available(void)
{
    uint32_t action = SECCOMP_KILL;
    errno = ENOSYS;
    return MACHINE && syscall(SYS_seccomp, SECCOMP_IS_AVAILABLE, 0, &action) == 0;
}

/* Install the filter: listed calls are permitted in the listed ways only, calls of attackers end the process, and all
 * others fail with ENOSYS. The guard, or -errno. */
static inline int sandbox_calls(int whose, int own, int program)
{
    struct bpf_step steps[FILTER_MAX];
    struct bpf_program filter;
    if (!MACHINE)
        return -ENOSYS;
    filter.length = (uint16_t)sandbox_filter(steps, whose, own, program);
    filter.steps = steps;
    return syscall(SYS_seccomp, SECCOMP_MODE, SECCOMP_SPECULATES, &filter) ? -errno : GUARD_CALLS;
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

/* Of a worker, of its parent, or of the watch; `own` and `program` are as above. The guards that hold from now on. In
 * `refused`: one that cannot be had here, or 0. */
static inline int sandbox_enter(int whose, int own, int program, int *refused)
{
    int guards = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? 0 : GUARD_PRIVILEGES;
    int user = whose == OF_WORKER ? 0 : sandbox_user();
    int files = sandbox_landlock(program, whose == OF_WATCH);
    int calls;
    prctl(REFUSE_EXECUTABLE, 1 /* PR_MDWE_REFUSE_EXEC_GAIN */, 0, 0, 0); /* the filter does without, but on s390x */
    calls = sandbox_calls(whose, own, files > 0 ? program : -1);
    *refused = !guards ? GUARD_PRIVILEGES : user < 0 ? GUARD_USER : files < 0 ? GUARD_FILES : calls < 0 ? GUARD_CALLS : 0;
    return guards | (user > 0 ? user : 0) | (files > 0 ? files : 0) | (calls > 0 ? calls : 0);
}

/* clang-format on */
#endif

/* Tries what an attacker would, as a worker that was taken over, or with the argument `parent` as its parent: one process
 * for each attempt, which enters the sandbox of csrc/sandbox.h, and a line with what came of it.
 *
 * With a second argument, `judge`, nothing is tried: the filter is interpreted here, as the kernel would over each call, and
 * the line also has the number of its steps. So it can be read where no filter works, as in QEMU's user mode. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "sandbox.h"

enum { ABSENT = -1 }; /* a call that this machine does not have */

#ifndef SYS_fork
#define SYS_fork ABSENT
#endif
#ifndef SYS_vfork
#define SYS_vfork ABSENT
#endif
#ifndef SYS_open
#define SYS_open ABSENT
#endif
#ifndef SYS_creat
#define SYS_creat ABSENT
#endif
#ifndef SYS_accept
#define SYS_accept ABSENT
#endif
#ifndef SYS_dup2
#define SYS_dup2 ABSENT
#endif
#ifndef SYS_socketcall
#define SYS_socketcall ABSENT
#endif
#ifndef SYS_ipc
#define SYS_ipc ABSENT
#endif
#ifndef SYS_send
#define SYS_send ABSENT
#endif
#ifdef SYS_mmap2
#define MAP_CALL SYS_mmap2
#else
#define MAP_CALL SYS_mmap
#endif
#ifdef __s390x__
#define CLONE(flags) 0, flags
#else
#define CLONE(flags) flags, 0
#endif
enum { /* the same on all machines */
    NUMBER_io_uring_setup = 425, NUMBER_openat2 = 437, NUMBER_pidfd_getfd = 438, NUMBER_clone3 = 435,
    FASTOPEN = 0x20000000,
    WAKEUP = 30, /* descriptors */
    LISTENER,
    UNCONNECTED,
    PAIR,
    PEER,
};

#define P(pointer) (long)(pointer)
#define NEW_MEMORY(protection, flags) 0, 4096, protection, flags, -1

static struct sockaddr_in listening = {.sin_family = AF_INET}, anywhere = {.sin_family = AF_INET};
static struct sockaddr_un_ { unsigned short family; char path[20]; } path = {AF_UNIX, "/dev/log"};
static char bytes[512], *const nothing[] = {NULL};
static struct msghdr message = {.msg_name = &listening, .msg_namelen = sizeof listening};
static int pair_of[2];
static struct rlimit64_ { uint64_t now, at_most; } limit = {16, 16};
static struct itimerval_ { long second[2], microsecond[2]; } time_of;

static const struct attempt {
    const char *what;
    long call;
    long argument[6];
} attempts[] = {
    /* what serving takes */
    {"send", SYS_sendto, {PAIR, P(bytes), 1, MSG_NOSIGNAL | MSG_DONTWAIT}},
    {"receive", SYS_recvfrom, {PEER, P(bytes), 1, MSG_DONTWAIT}},
    {"discard", SYS_recvfrom, {PEER, P(bytes), 1, MSG_DONTWAIT | MSG_TRUNC}},
    {"accept", SYS_accept4, {LISTENER, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC}},
    {"watch", SYS_epoll_ctl, {-1, EPOLL_CTL_ADD}},
    {"watch more", SYS_epoll_ctl, {-1, EPOLL_CTL_MOD}},
    {"unwatch", SYS_epoll_ctl, {-1, EPOLL_CTL_DEL}},
    {"wait", SYS_epoll_pwait, {-1}},
    {"half-close", SYS_shutdown, {PAIR, SHUT_WR}},
    {"half-close the listener", SYS_shutdown, {LISTENER, SHUT_WR}},
    {"wake", SYS_write, {WAKEUP, P(bytes), 8}},
    {"close", SYS_close, {PAIR}},
    {"limit CPU time", SYS_setitimer, {ITIMER_PROF, P(&time_of)}},
    /* the same with other arguments */
    {"send to an address", SYS_sendto, {UNCONNECTED, P(bytes), 1, 0, P(&listening), sizeof listening}},
    {"send to an address and connect", SYS_sendto, {UNCONNECTED, P(bytes), 1, FASTOPEN, P(&listening), sizeof listening}},
    {"send and connect", SYS_sendto, {UNCONNECTED, P(bytes), 1, FASTOPEN}},
    {"send to a path", SYS_sendto, {PAIR, P(bytes), 1, 0, P(&path), sizeof path}},
    {"send out of band", SYS_sendto, {PAIR, P(bytes), 1, MSG_OOB}},
#if __SIZEOF_LONG__ == 8
    {"send to a high address", SYS_sendto, {PAIR, P(bytes), 1, 0, 1L << 40, sizeof listening}},
    {"send with a high half", SYS_sendto, {PAIR, P(bytes), 1, 1L << 40 | MSG_DONTWAIT}},
#endif
    {"receive with an address", SYS_recvfrom, {PEER, P(bytes), 1, 0, P(bytes), P(bytes)}},
    {"accept without flags", SYS_accept4, {LISTENER}},
    {"shut down for reading", SYS_shutdown, {LISTENER, SHUT_RD}},
    {"shut down", SYS_shutdown, {LISTENER, SHUT_RDWR}},
    {"limit time", SYS_setitimer, {ITIMER_REAL, P(&time_of)}},
    {"write elsewhere", SYS_write, {PAIR, P(bytes), 1}},
    /* sockets by other calls */
    {"socket", SYS_socket, {AF_INET, SOCK_STREAM}},
    {"connect", SYS_connect, {UNCONNECTED, P(&listening), sizeof listening}},
    {"connect the listener", SYS_connect, {LISTENER, P(&listening), sizeof listening}},
    {"bind", SYS_bind, {UNCONNECTED, P(&anywhere), sizeof anywhere}},
    {"listen", SYS_listen, {UNCONNECTED, 1}},
    {"accept with an address", SYS_accept, {LISTENER, P(bytes), P(bytes)}},
    {"send a message", SYS_sendmsg, {UNCONNECTED, P(&message), FASTOPEN}},
    {"send messages", SYS_sendmmsg, {UNCONNECTED, P(&message), 0}},
    {"send directly", SYS_send, {PAIR, P(bytes), 1, 0}},
    {"receive a message", SYS_recvmsg, {PEER, P(&message)}},
    {"socketcall", SYS_socketcall, {9, P(bytes)}},
    {"set to connect when sending", SYS_setsockopt, {UNCONNECTED, IPPROTO_TCP, 30, P(bytes), 4}},
    {"attach a filter", SYS_setsockopt, {LISTENER, SOL_SOCKET, SO_ATTACH_FILTER, P(bytes), 16}},
    {"ask for an option", SYS_getsockopt, {LISTENER, IPPROTO_TCP, 30, P(bytes), P(bytes)}},
    {"pair of another kind", SYS_socketpair, {AF_UNIX, SOCK_DGRAM, 0, P(pair_of)}},
    {"pair of another family", SYS_socketpair, {AF_INET, SOCK_STREAM, 0, P(pair_of)}},
    /* files */
    {"open", SYS_open, {P("/etc/passwd"), O_RDONLY}},
    {"openat", SYS_openat, {AT_FDCWD, P("/etc/passwd"), O_RDONLY}},
    {"openat2", NUMBER_openat2, {AT_FDCWD, P("/etc/passwd"), P(bytes), 24}},
    {"create", SYS_creat, {P("/tmp/yinyang-attempt"), 0600}},
    {"memory as a file", SYS_memfd_create, {P("")}},
    {"ioctl", SYS_ioctl, {PAIR, 0x5401, P(bytes)}},
    {"duplicate", SYS_dup2, {PAIR, 2}},
    {"get a descriptor", NUMBER_pidfd_getfd, {PAIR, 0}},
    {"io_uring", NUMBER_io_uring_setup, {1, P(bytes)}},
    {"ipc", SYS_ipc, {1}},
    /* memory */
    {"executable memory", MAP_CALL, {NEW_MEMORY(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS)}},
    {"memory over memory", MAP_CALL, {P(bytes), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1}},
    {"make executable", SYS_mprotect, {0, 0, PROT_READ | PROT_EXEC}},
    {"move memory", SYS_mremap, {0, 4096, 4096}},
    {"userfaultfd", SYS_userfaultfd, {0}},
    /* processes */
    {"fork", SYS_fork, {0}},
    {"clone", SYS_clone, {CLONE(SIGCHLD)}},
    {"vfork", SYS_vfork, {0}},
    {"clone into a new user namespace", SYS_clone, {CLONE(CLONE_NEWUSER | SIGCHLD)}},
    {"clone into new namespaces", SYS_clone, {CLONE(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | SIGCHLD)}},
    {"thread", SYS_clone, {CLONE(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)}},
    {"clone3", NUMBER_clone3, {P(bytes), 64}},
    {"signal", SYS_kill, {1, 0}},
    {"stop itself", SYS_kill, {WAKEUP, SIGTSTP}},
    {"quit", SYS_kill, {WAKEUP, SIGQUIT}},
    {"end by another signal", SYS_kill, {WAKEUP, SIGUSR1}},
    {"stop another", SYS_kill, {1, SIGTSTP}},
    {"block signals", SYS_rt_sigprocmask, {SIG_BLOCK, 0, 0, 8}},
    {"kill all", SYS_kill, {-1, SIGKILL}},
    {"kill the group", SYS_kill, {0, SIGKILL}},
    {"kill a thread", SYS_tgkill, {1, 1, SIGKILL}},
    {"set a handler", SYS_rt_sigaction, {SIGTERM, P(bytes), 0, 8}},
    {"become root", SYS_OF_IDS(setresuid), {0, 0, 0}},
    {"be dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}},
    {"change the memory map", SYS_prctl, {PR_SET_MM, 1}},
    {"be traceable", SYS_prctl, {0x59616d61 /* PR_SET_PTRACER */, -1}},
    {"limits", SYS_prlimit64, {0, RLIMIT_NOFILE, P(&limit)}},
    {"limits of another", SYS_prlimit64, {1, RLIMIT_NOFILE, 0, P(&limit)}},
    {"another filter", SYS_seccomp, {SECCOMP_MODE, 8 /* SECCOMP_FILTER_FLAG_NEW_LISTENER */, P(bytes)}},
    {"personality", SYS_personality, {0x0400000 /* READ_IMPLIES_EXEC */}},
    {"execve", SYS_execve, {P("/bin/true"), P(nothing), P(nothing)}},
    {"execveat", SYS_execveat, {AT_FDCWD, P("/bin/true"), P(nothing), P(nothing), 0}},
    {"ptrace", SYS_ptrace, {16 /* PTRACE_ATTACH */, 1}},
    {"unshare", SYS_unshare, {CLONE_NEWUSER}},
    {"setns", SYS_setns, {PAIR, 0}},
    {"bpf", SYS_bpf, {0}},
    {"mount", SYS_mount, {P("none"), P("/"), P("tmpfs")}},
    {"process_vm_writev", SYS_process_vm_writev, {1}},
};

/* What the kernel makes of a filter's result. */
static const char *outcome(uint32_t result)
{
    return result == SECCOMP_ALLOW ? "done" : result == SECCOMP_KILL ? "killed 31" : strerror((int)(result & 0xffff));
}

/* Run the filter as the kernel does (struct seccomp_data), and count its steps. */
static uint32_t judge(const struct bpf_step *filter, const struct attempt *attempt, uint32_t machine, int *count)
{
    struct { int32_t number; uint32_t machine; uint64_t at, argument[6]; } data = {(int32_t)attempt->call, machine, 0, {0}};
    uint32_t accumulator = 0;
    for (int i = 0; i < 6; i++)
        data.argument[i] = (unsigned long)attempt->argument[i];
    *count = 0;
    for (const struct bpf_step *step = filter;; step++) {
        ++*count;
        switch (step->code) {
        case BPF_LOAD_WORD: memcpy(&accumulator, (char *)&data + step->operand, 4); break;
        case BPF_IF_EQUAL: step += accumulator == step->operand ? step->if_so : step->if_not; break;
        case BPF_IF_ANY_BIT: step += accumulator & step->operand ? step->if_so : step->if_not; break;
        case BPF_RETURN: return step->operand;
        default: abort();
        }
    }
}

static void judge_all(int whose)
{
    static struct bpf_step filter[FILTER_MAX];
    int steps = sandbox_filter(filter, whose, WAKEUP, -1);
    int count;
    for (const struct attempt *a = attempts; a < attempts + sizeof attempts / sizeof *attempts; a++)
        if (a->call != ABSENT) {
            const char *words = outcome(judge(filter, a, MACHINE, &count));
            printf("%s: %s, steps: %d\n", a->what, words, count);
        }
    printf("another machine: %s, steps: %d\n", outcome(judge(filter, attempts, MACHINE ^ 1, &count)), steps);
}

static void place(int fd, int number)
{
    if (fd < 0 || dup2(fd, number) < 0)
        exit(1);
    close(fd);
}

static void open_descriptors(void)
{
    socklen_t size = sizeof listening;
    int pair[2];
    listening.sin_addr.s_addr = anywhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    place(eventfd(0, EFD_NONBLOCK), WAKEUP);
    place(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), LISTENER);
    place(socket(AF_INET, SOCK_STREAM, 0), UNCONNECTED);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || listen(LISTENER, 1)
        || getsockname(LISTENER, (struct sockaddr *)&listening, &size))
        exit(1);
    place(pair[0], PAIR);
    place(pair[1], PEER);
    send(PAIR, bytes, 8, 0);
}

static void try(const struct attempt *a, int whose)
{
    const long *n = a->argument;
    int status, refused;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGPIPE, SIG_IGN);
        sandbox_enter(whose, WAKEUP, -1, &refused);
        if (refused)
            _exit(255);
        _exit(syscall(a->call, n[0], n[1], n[2], n[3], n[4], n[5]) < 0 ? errno : 0);
    }
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s: killed %d\n", a->what, WTERMSIG(status));
    else
        printf("%s: %s\n", a->what, WEXITSTATUS(status) == 255 ? "no sandbox" : WEXITSTATUS(status) ? strerror(WEXITSTATUS(status)) : "done");
}

int main(int count, char **arguments)
{
    const char *who = count > 1 ? arguments[1] : "worker";
    int whose = !strcmp(who, "parent") ? OF_PARENT : !strcmp(who, "watch") ? OF_WATCH : OF_WORKER;
    setbuf(stdout, NULL);
    if (count > 2) {
        judge_all(whose);
        return 0;
    }
    open_descriptors();
    for (const struct attempt *a = attempts; a < attempts + sizeof attempts / sizeof *attempts; a++)
        if (a->call != ABSENT)
            try(a, whose);
    return 0;
}

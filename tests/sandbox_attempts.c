/* Enters the sandbox of csrc/sandbox.h as a worker (or with the argument `parent`, as the parent), and then tries what an
 * attacker would: one process for each attempt, and a line with what came of it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "sandbox.h"

static int listener, other, pair[2];

static long try_execve(void) { return execve("/bin/true", (char *[]){"true", NULL}, (char *[]){NULL}); }
static long try_execveat(void) { return syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0); }
static long try_ptrace(void) { return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL); }
static long try_open(void) { return open("/etc/passwd", O_RDONLY); }
static long try_create(void) { return open("/tmp/yinyang-attempt", O_WRONLY | O_CREAT, 0600); }
static long try_socket(void) { return socket(AF_INET, SOCK_STREAM, 0); }
static long try_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct sockaddr_in here;
    getsockname(listener, (struct sockaddr *)&here, &size);
    address.sin_port = here.sin_port;
    return connect(other, (struct sockaddr *)&address, sizeof address);
}
static long try_bind(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return bind(other, (struct sockaddr *)&address, sizeof address);
}
static long try_fork(void) { return fork(); }
static long try_kill(void) { return kill(getppid(), 0); }
static long try_map(void)
{
    return (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static long try_setuid(void) { return syscall(SYS_OF_IDS(setresuid), 0, 0, 0); }
static long try_unshare(void) { return syscall(SYS_unshare, 0x10000000); }
static long try_send(void) { return send(pair[0], "", 1, 0) < 0 ? -1 : recv(pair[1], &(char){0}, 1, 0); }
static long try_write(void) { return write(1, "", 0); }

static const struct attempt {
    const char *what;
    long (*make)(void);
} attempts[] = {
    {"execve", try_execve}, {"execveat", try_execveat}, {"ptrace", try_ptrace},   {"open", try_open},
    {"create", try_create}, {"socket", try_socket},     {"connect", try_connect}, {"bind", try_bind},
    {"fork", try_fork},     {"kill", try_kill},         {"map", try_map},         {"setuid", try_setuid},
    {"unshare", try_unshare}, {"send", try_send}, {"write", try_write},
};

int main(int count, char **arguments)
{
    int is_parent = count > 1 && !strcmp(arguments[1], "parent");
    listener = socket(AF_INET, SOCK_STREAM, 0);
    other = socket(AF_INET, SOCK_STREAM, 0);
    if (listen(listener, 1) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return 1;
    for (const struct attempt *attempt = attempts; attempt < attempts + sizeof attempts / sizeof *attempts; attempt++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            if (sandbox_enter(is_parent, 1) < 0)
                _exit(255);
            _exit(attempt->make() < 0 ? errno : 0);
        }
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status))
            printf("%s killed %d\n", attempt->what, WTERMSIG(status));
        else
            printf("%s %s\n", attempt->what, WEXITSTATUS(status) == 255 ? "no sandbox" : WEXITSTATUS(status) ? strerror(WEXITSTATUS(status)) : "done");
    }
    return 0;
}

/* Has a running process make a system call, as if it had been taken over: under its own sandbox, with its own descriptors.
 *
 *     taken_over PID CALL [ARGUMENT]...
 *     taken_over PID canary    shows its stack canary instead
 *
 * An argument is a number, or `@` and bytes in hexadecimal, which are put into the memory of the process; then it is their
 * address. Prints what the call returned, as the kernel has it: -errno for failure. x86-64 only. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* Below the stack, past the red zone. */
static unsigned long put(pid_t pid, unsigned long at, const char *digits)
{
    unsigned char bytes[64] = {0};
    for (size_t i = 0; i < sizeof bytes && digits[0] && digits[1]; i++, digits += 2)
        sscanf(digits, "%2hhx", &bytes[i]);
    for (size_t i = 0; i < sizeof bytes; i += sizeof(long)) {
        long word;
        memcpy(&word, bytes + i, sizeof word);
        ptrace(PTRACE_POKEDATA, pid, at + i, word);
    }
    return at;
}

int main(int count, char **arguments)
{
    struct user_regs_struct before, registers;
    unsigned long long *argument[] = {&registers.rdi, &registers.rsi, &registers.rdx, &registers.r10, &registers.r8, &registers.r9};
    pid_t pid = count < 3 ? 0 : (pid_t)atol(arguments[1]);
    int status;
    if (!pid || count > 9)
        return 2;
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) || waitpid(pid, &status, 0) != pid)
        return fail("attach");
    if (ptrace(PTRACE_GETREGS, pid, 0, &before))
        return fail("registers");
    if (!strcmp(arguments[2], "canary")) {
        printf("%ld\n", ptrace(PTRACE_PEEKDATA, pid, before.fs_base + 0x28, 0));
        return ptrace(PTRACE_DETACH, pid, 0, 0) ? fail("detach") : 0;
    }
    registers = before;
    registers.rip -= 2; /* it has stopped in a call: the instruction is the one before */
    registers.rax = strtoull(arguments[2], NULL, 0);
    registers.orig_rax = (unsigned long long)-1; /* no call that would be made again */
    for (int i = 0; i < 6; i++) {
        const char *given = i + 3 < count ? arguments[i + 3] : "0";
        *argument[i] = *given == '@' ? put(pid, before.rsp - 4096 - 64 * (unsigned long)i, given + 1) : strtoull(given, NULL, 0);
    }
    ptrace(PTRACE_SETREGS, pid, 0, &registers);
    if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) || waitpid(pid, &status, 0) != pid)
        return fail("step");
    if (!WIFSTOPPED(status)) {
        printf("killed %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        return 0;
    }
    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    printf("%lld\n", (long long)registers.rax);
    ptrace(PTRACE_SETREGS, pid, 0, &before);
    return ptrace(PTRACE_DETACH, pid, 0, 0) ? fail("detach") : 0;
}

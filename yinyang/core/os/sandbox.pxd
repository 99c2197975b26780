"""The sandbox: its options, and its messages in the log. csrc/sandbox.h enters it.

A worker enters it when it has everything that it needs to serve; the parent of the static program, when it listens;
the watch, when it knows where to send its requests and where to write.
The parent of a Python program never enters it, because the rest of that program may need what the sandbox forbids.
"""

from ..text.buffer cimport Text, llu, text_format, text_string, text_system_error
from .descriptors cimport close_range_works
from .syscalls cimport ENOSYS, EOPNOTSUPP, errno

cdef extern from "sandbox.h" nogil:
    enum:
        GUARD_PRIVILEGES
        GUARD_USER
        GUARD_FILES
        GUARD_TCP
        GUARD_CALLS
        GUARD_DESCRIPTORS
        NOBODY
        OF_PARENT
        OF_WATCH
        OF_WORKER
    int landlock_version()
    bint seccomp_is_available()
    int sandbox_user()
    int sandbox_enter(int whose, int own, int program, int *refused)

cdef enum Sandbox:  # in the order of the words in csrc/option_table.h
    SANDBOX_AUTO  # as much of it as the kernel supports
    SANDBOX_OFF
    SANDBOX_REQUIRE  # all of it, or the server does not start


cdef inline bint sandbox_is_possible(int sandbox, const char *instead, Text *message) noexcept nogil:
    """False, with a message, if the sandbox is required and the kernel does not support a part of it. `instead` is how
    to ask for less."""
    if sandbox != SANDBOX_REQUIRE:
        return True
    if landlock_version() < 1:
        sandbox_error_message(message, "Landlock (Linux 5.13 or later, and on in its parameter lsm)", errno, instead)
    elif not seccomp_is_available():
        sandbox_error_message(message, "seccomp filters", errno, instead)
    elif not close_range_works():
        sandbox_error_message(message, "close_range(2) (Linux 5.9 or later)", errno, instead)
    else:
        return True
    return False


cdef inline void sandbox_error_message(
    Text *message, const char *what, int error, const char *instead
) noexcept nogil:
    text_string(message, "no sandbox, as ")
    if error == ENOSYS or error == EOPNOTSUPP:
        text_format(message, "this kernel has no %s", what)
    else:
        text_format(message, "this container or service manager refuses %s: ", what)
        text_system_error(message, error)
    text_format(message, "; %s uses what is allowed", instead)


cdef inline void sandbox_refusal_message(Text *message, int guard, const char *instead) noexcept nogil:
    """The message about a part that was refused, though the kernel supports all of it."""
    text_string(message, "no sandbox, as ")
    if guard == GUARD_USER:
        text_format(message, "this process is root and may not become user %llu, for want of the capabilities SETUID "
                    "and SETGID, or as its user namespace has no such user; start it as another user", <llu>NOBODY)
    else:
        text_string(message, "Landlock refuses" if guard == GUARD_FILES else "seccomp refuses" if guard == GUARD_CALLS
                    else "the kernel refuses to rule out new privileges for")
        text_string(message, " this process")
    text_format(message, "; %s uses what is allowed", instead)


cdef inline void sandbox_message(Text *text, int parent, int workers) noexcept nogil:
    """The message about the rights that the parent and all workers have given up."""
    text_string(text, "Sandbox: " if parent else "Sandbox of the workers: ")
    if not workers & ~GUARD_DESCRIPTORS:
        text_string(text, "none, as this kernel refuses all of it")
    if workers & GUARD_PRIVILEGES:
        text_string(text, "no new privileges")
    if parent & GUARD_USER:
        text_format(text, ", user %llu", <llu>NOBODY)
    if workers & GUARD_FILES:
        text_string(text, ", no files")
    if workers & GUARD_CALLS:  # none of them connects; Landlock restricts only connect(2) of TCP
        text_string(text, ", no connections out, few system calls")
    elif workers & GUARD_TCP:
        text_string(text, ", no connect and bind of TCP")
    if not workers & GUARD_DESCRIPTORS:
        text_string(text, "; but workers keep the descriptors that this program was started with or had open")

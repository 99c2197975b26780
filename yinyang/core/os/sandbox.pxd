"""The sandbox: its options, and what the log says about it. csrc/sandbox.h enters it.

A worker enters it when it has everything that it needs to serve; the parent of the static program does when it listens.
The parent of a Python program never does, since the rest of that program may need what the sandbox forbids.
"""


from ..text.buffer cimport Text, llu, text_format, text_string

cdef extern from "sandbox.h" nogil:
    enum:
        GUARD_PRIVILEGES
        GUARD_USER
        GUARD_FILES
        GUARD_TCP
        GUARD_CALLS
        NOBODY
    int landlock_version()
    bint seccomp_is_available()
    int sandbox_enter(bint is_parent, bint required)

cdef enum Sandbox:  # in the order of the words in csrc/option_table.h
    SANDBOX_AUTO  # as much of it as the kernel has
    SANDBOX_OFF
    SANDBOX_REQUIRE  # all of it, or nothing is served


cdef inline bint sandbox_is_possible(int sandbox, Text *message) noexcept nogil:
    """False, with a message, if the sandbox is required and the kernel lacks a part of it."""
    if sandbox != SANDBOX_REQUIRE:
        return True
    if landlock_version() < 1:
        sandbox_error_message(message, "Landlock (Linux 5.13 or later, and on in its parameter lsm)")
        return False
    if not seccomp_is_available():
        sandbox_error_message(message, "seccomp filters")
        return False
    return True


cdef inline void sandbox_error_message(Text *message, const char *what) noexcept nogil:
    text_format(message, "no sandbox, as this kernel has no %s; --sandbox auto takes what there is", what)


cdef inline void sandbox_message(Text *text, int parent, int workers) noexcept nogil:
    """The message about what the parent and all workers have given up."""
    text_string(text, "Sandbox: " if parent else "Sandbox of the workers: ")
    if not workers:
        text_string(text, "none, as this kernel refuses all of it")
        return
    if workers & GUARD_PRIVILEGES:
        text_string(text, "no new privileges")
    if parent & GUARD_USER:
        text_format(text, ", user %llu", <llu>NOBODY)
    if workers & GUARD_FILES:
        text_string(text, ", no files")
    if workers & GUARD_TCP:
        text_string(text, ", no connections out")
    if workers & GUARD_CALLS:
        text_string(text, ", few system calls")

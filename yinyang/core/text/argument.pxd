"""An argument of a command line that is an option: `--word` or `--word=value`."""

from libc.string cimport strchr, strlen, strncmp


cdef inline bint argument_names(const char *argument, const char *word) noexcept nogil:
    """Whether it is the option of this word."""
    cdef size_t length = strlen(word)
    if argument[0] != b'-' or argument[1] != b'-' or strncmp(argument + 2, word, length) != 0:
        return False
    return argument[2 + length] == 0 or argument[2 + length] == b'='


cdef inline const char *argument_value(const char *argument) noexcept nogil:
    """The text after the first = of an option; NULL if there is none."""
    cdef const char *sign = strchr(argument, b'=')
    return sign + 1 if sign != NULL else NULL

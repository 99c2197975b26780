"""The command line and the environment, parsed once for both shapes: an option wins over its variable, a variable over
the default. An empty variable counts as not set, since that is how many tools unset one."""

from libc.stdint cimport int64_t
from libc.string cimport memset, strcmp, strlen, strncmp

from .crew cimport WORKERS_MOST
from .identity cimport NAME_MOST, name_is_printable
from .listener cimport Address, address_parse
from .system cimport getenv, gethostname
from .text cimport Text, number_parse, text_number, text_put, text_string

cdef extern from "usage.h" nogil:
    enum:
        OPTION_HOST
        OPTION_PORT
        OPTION_NAME
        OPTION_TITLE
        OPTION_WORKERS
        OPTION_ACCESS_LOG
        OPTION_NO_ACCESS_LOG
        OPTION_HEALTHCHECK
        OPTION_VERSION
        OPTION_HELP
        OPTION_COUNT
    struct option_words_t "option_words":
        const char option[15]
        const char environment[20]
        const char value[8]
        const char help[56]
    const option_words_t option_words[10]

cdef enum:
    PORT_DEFAULT = 80

cdef enum Action:
    ACTION_SERVE
    ACTION_HEALTHCHECK
    ACTION_VERSION
    ACTION_HELP
    ACTION_REFUSE  # bad use; the words tell what is wrong

cdef struct Options:
    const char *host  # NULL: all addresses
    const char *name  # NULL: the host name
    const char *title
    int port
    int workers  # 0: as many as there are CPUs
    bint access_log
    bint healthcheck


cdef inline int options_parse(Options *options, int count, const char **arguments, Text *wrong) noexcept nogil:
    """From the arguments (without the program's name) and the environment; an Action. What `options` then points to
    belongs to these two."""
    cdef int action
    memset(options, 0, sizeof(Options))
    options.title = "Go scaling demo"
    options.port = PORT_DEFAULT
    options.access_log = True
    action = options_from_environment(options, wrong)
    if action != ACTION_SERVE:
        return options_only_words(count, arguments, action)
    return options_from_arguments(options, count, arguments, wrong)


cdef inline int options_only_words(int count, const char **arguments, int action) noexcept nogil:
    """A wrong environment does not keep anybody from reading the help."""
    cdef int i
    for i in range(count):
        if strcmp(arguments[i], "--help") == 0 or strcmp(arguments[i], "-h") == 0:
            return ACTION_HELP
        if strcmp(arguments[i], "--version") == 0:
            return ACTION_VERSION
    return action


cdef inline int options_from_environment(Options *options, Text *wrong) noexcept nogil:
    cdef const char *variable
    cdef const char *value
    cdef int option
    for option in range(OPTION_COUNT):
        variable = option_words[option].environment
        value = getenv(variable)
        if option == OPTION_PORT and (value == NULL or not value[0]):
            variable = "PORT"  # as many platforms set it
            value = getenv(variable)
        if value == NULL or not value[0]:
            continue
        if option == OPTION_ACCESS_LOG:
            if not switch_parse(value, &options.access_log):
                wrong_value(wrong, variable, "on or off", value)
                return ACTION_REFUSE
        elif not option_set(options, option, value, variable, wrong):
            return ACTION_REFUSE
    return ACTION_SERVE


cdef inline int options_from_arguments(Options *options, int count, const char **arguments, Text *wrong) noexcept nogil:
    cdef const char *value
    cdef int i = 0
    cdef int option
    while i < count:
        option = option_of(arguments[i])
        if option == OPTION_COUNT:
            text_string(wrong, "unknown option " if arguments[i][0] == b'-' else "unexpected argument ")
            text_quoted(wrong, arguments[i])
            text_string(wrong, "; --help lists the options that there are")
            return ACTION_REFUSE
        value = value_of(arguments[i], option)
        if not option_words[option].value[0]:
            if value != NULL:
                text_string(wrong, "--")
                text_string(wrong, option_words[option].option)
                text_string(wrong, " takes no value")
                return ACTION_REFUSE
            if option == OPTION_HELP:
                return ACTION_HELP
            if option == OPTION_VERSION:
                return ACTION_VERSION
            if option == OPTION_HEALTHCHECK:
                options.healthcheck = True
            else:
                options.access_log = option == OPTION_ACCESS_LOG
        else:
            if value == NULL:
                i += 1
                if i == count:
                    text_string(wrong, "--")
                    text_string(wrong, option_words[option].option)
                    text_string(wrong, " wants a value: --")
                    text_string(wrong, option_words[option].option)
                    text_string(wrong, " ")
                    text_string(wrong, option_words[option].value)
                    return ACTION_REFUSE
                value = arguments[i]
            if not option_set(options, option, value, NULL, wrong):
                return ACTION_REFUSE
        i += 1
    if not options.healthcheck:
        return ACTION_SERVE
    if options.port == 0:
        text_string(wrong, "--healthcheck wants the port of a server, not 0")
        return ACTION_REFUSE
    return ACTION_HEALTHCHECK


cdef inline int option_of(const char *argument) noexcept nogil:
    """The option that `--option` or `--option=value` names, or OPTION_COUNT."""
    cdef size_t length
    cdef int option
    if strcmp(argument, "-h") == 0:
        return OPTION_HELP
    if strncmp(argument, "--", 2) == 0:
        argument += 2
        for option in range(OPTION_COUNT):
            length = strlen(option_words[option].option)
            if strncmp(argument, option_words[option].option, length) == 0:
                if argument[length] == 0 or argument[length] == b'=':
                    return option
    return OPTION_COUNT


cdef inline const char *value_of(const char *argument, int option) noexcept nogil:
    """What stands behind the = of an option; NULL if there is none."""
    cdef const char *at = argument + strlen(option_words[option].option) + 2
    return at + 1 if argument[1] == b'-' and at[0] == b'=' else NULL


cdef inline bint option_set(Options *options, int option, const char *value, const char *variable,
                            Text *wrong) noexcept nogil:
    """Take a value; False if it cannot be, with words that name where it came from: the variable, or the option."""
    cdef Address address
    cdef const char *wanted = NULL
    if option == OPTION_HOST:
        options.host = value
        if not address_parse(&address, value, 0):
            wanted = "a numeric address of this host such as 127.0.0.1 or ::1"
    elif option == OPTION_PORT:
        if not number_within(value, 0, 65535, &options.port):
            wanted = "a number from 0 to 65535"
    elif option == OPTION_WORKERS:
        if not number_within(value, 1, WORKERS_MOST, &options.workers):
            wanted = "a number from 1 to 1024"
    elif option == OPTION_NAME:
        options.name = value
        if not name_is_good(value, strlen(value)):
            wanted = NAME_WANTED()
    elif option == OPTION_TITLE:
        options.title = value
        if not title_is_good(value, strlen(value)):
            wanted = TITLE_WANTED()
    if wanted == NULL:
        return True
    wrong_value(wrong, variable if variable != NULL else option_words[option].option, wanted, value)
    return False


cdef inline bint name_is_good(const char *name, size_t length) noexcept nogil:
    return 0 < length <= NAME_MOST and name_is_printable(name, length)


cdef inline const char *NAME_WANTED() noexcept nogil:
    return "1 to 255 bytes without control characters"


cdef inline bint host_name(char *name, Text *wrong) noexcept nogil:
    """This host's name, NAME_MOST bytes and a NUL at most; False if it has none that can be shown, with words."""
    name[0] = 0
    name[NAME_MOST] = 0
    if gethostname(name, NAME_MOST) < 0 or name[0] == 0:
        text_string(wrong, "this host has no name; give one with --name")
        return False
    if not name_is_good(name, strlen(name)):
        text_string(wrong, "the name of this host is not ")
        text_string(wrong, NAME_WANTED())
        text_string(wrong, "; give one with --name")
        return False
    return True


cdef inline bint title_is_good(const char *title, size_t length) noexcept nogil:
    return length <= NAME_MOST and name_is_printable(title, length)


cdef inline const char *TITLE_WANTED() noexcept nogil:
    return "at most 255 bytes without control characters"


cdef inline bint number_within(const char *digits, int least, int most, int *number) noexcept nogil:
    """Decimal digits and nothing else."""
    cdef int64_t value = number_parse(&digits)
    if digits[0] or not least <= value <= most:
        return False
    number[0] = <int>value
    return True


cdef inline bint switch_parse(const char *value, bint *switch) noexcept nogil:
    if not strcmp(value, "on") or not strcmp(value, "1") or not strcmp(value, "true") or not strcmp(value, "yes"):
        switch[0] = True
        return True
    if not strcmp(value, "off") or not strcmp(value, "0") or not strcmp(value, "false") or not strcmp(value, "no"):
        switch[0] = False
        return True
    return False


cdef inline void wrong_value(Text *wrong, const char *where, const char *wanted, const char *value) noexcept nogil:
    """`where` is a variable, in capitals, or the name of an option."""
    if not b'A' <= where[0] <= b'Z':
        text_string(wrong, "--")
    text_string(wrong, where)
    text_string(wrong, " wants ")
    text_string(wrong, wanted)
    text_string(wrong, ", not ")
    text_quoted(wrong, value)


cdef inline void text_quoted(Text *text, const char *value) noexcept nogil:
    """As given, but one line of it, and not without end."""
    cdef size_t length = strlen(value)
    cdef size_t i
    text_string(text, "'")
    for i in range(min(length, <size_t>64)):
        if name_is_printable(value + i, 1):
            text_put(text, value + i, 1)
        else:
            text_string(text, "?")
    text_string(text, "...'" if length > 64 else "'")
    if length > 64:
        text_string(text, " (")
        text_number(text, length)
        text_string(text, " bytes)")


cdef inline void usage_words(Text *text) noexcept nogil:
    """What --help shows."""
    cdef size_t begin
    cdef int option
    text_string(text, "usage: yinyang [OPTION]...\n\n"
                "Serve a yin-yang in a colour of this replica's own, on every path.\n\n"
                "Options, and the variables that set their defaults:\n")
    for option in range(OPTION_COUNT):
        begin = text.length
        text_string(text, "  --")
        text_string(text, option_words[option].option)
        if option_words[option].value[0]:
            text_string(text, " ")
            text_string(text, option_words[option].value)
        text_fill(text, begin + 19)
        if option_words[option].environment[0]:
            text_string(text, option_words[option].environment)
        text_fill(text, begin + 39)
        text_string(text, option_words[option].help)
        text_string(text, "\n")
    text_string(text, "\nPORT is honoured where YINYANG_PORT is not set.\n")


cdef inline void text_fill(Text *text, size_t until) noexcept nogil:
    while text.length < until:
        text_string(text, " ")

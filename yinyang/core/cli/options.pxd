"""The command line and the environment, parsed once for both shapes: an option wins over its variable, a variable over
the default. An empty variable counts as not set, since that is how many tools unset one."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strcmp, strlen, strncmp

from ..os.address cimport Address, address_parse
from ..os.syscalls cimport getenv, gethostname
from ..text.buffer cimport Text, is_printable, llu, number_parse, string_at, text_format, text_printable, text_string

cdef extern from "option_table.h" nogil:
    enum:
        KIND_ADDRESS
        KIND_TEXT
        KIND_NUMBER
        KIND_SANDBOX
        KIND_PALETTE
        KIND_SWITCH
        KIND_OFF
        KIND_ACTION
        OPTION_HOST
        OPTION_PORT
        OPTION_NAME
        OPTION_TITLE
        OPTION_PALETTE
        OPTION_APP_VERSION
        OPTION_NODE
        OPTION_NAMESPACE
        OPTION_ZONE
        OPTION_PLAIN
        OPTION_WORKERS
        OPTION_HEAD_TIMEOUT
        OPTION_BODY_TIMEOUT
        OPTION_SEND_TIMEOUT
        OPTION_IDLE_TIMEOUT
        OPTION_DRAIN
        OPTION_SANDBOX
        OPTION_ACCESS_LOG
        OPTION_HEALTHCHECK
        OPTION_VERSION
        OPTION_HELP
        OPTION_COUNT
    struct option_range:
        int kind
        int number
        int min
        int max
    const option_range option_ranges[32]
    const char option_texts[2048]

cdef enum:
    VARIABLE_MAX = 32  # bytes of the name of a variable

cdef enum Word:  # of an option
    WORD_OPTION
    WORD_VALUE
    WORD_HELP

cdef enum Action:
    ACTION_SERVE
    ACTION_HEALTHCHECK
    ACTION_VERSION
    ACTION_HELP
    ACTION_ERROR  # bad use; the words tell what is message

cdef struct Options:
    const char *texts[OPTION_COUNT]  # NULL where none was given
    int numbers[OPTION_COUNT]  # of switches and actions: whether


cdef inline int options_parse(Options *options, int count, const char **arguments, Text *message) noexcept nogil:
    """From the arguments (without the program's name) and the environment; an Action. `options` is all zeros before;
    what it then points to belongs to these two."""
    cdef int option
    for option in range(OPTION_COUNT):
        options.numbers[option] = option_ranges[option].number
    if not options_from_arguments(options, count, arguments, message):
        return ACTION_ERROR
    if options.numbers[OPTION_HELP]:
        return ACTION_HELP
    if options.numbers[OPTION_VERSION]:
        return ACTION_VERSION
    if not options_from_environment(options, message):
        return ACTION_ERROR
    if options.texts[OPTION_TITLE] == NULL:
        options.texts[OPTION_TITLE] = "Go scaling demo"
    if not options.numbers[OPTION_HEALTHCHECK]:
        return ACTION_SERVE
    if options.numbers[OPTION_PORT] == 0:
        text_string(message, "--healthcheck wants the port of a server, not 0")
        return ACTION_ERROR
    return ACTION_HEALTHCHECK


cdef inline bint options_from_environment(Options *options, Text *message) noexcept nogil:
    """What the arguments did not say. False if a variable has a value that cannot be, with words."""
    cdef char own[VARIABLE_MAX]
    cdef const char *variable
    cdef const char *value
    cdef int option
    for option in range(OPTION_COUNT):
        if option_ranges[option].kind > KIND_SWITCH or options.texts[option] != NULL:
            continue
        variable_of(option, own)
        variable = own
        value = getenv(variable)
        if option == OPTION_PORT and (value == NULL or not value[0]):
            variable = "PORT"  # as many platforms set it
            value = getenv(variable)
        if value != NULL and value[0] and not option_set(options, option, value, variable, message):
            return False
    return True


cdef inline bint options_from_arguments(Options *options, int count, const char **arguments,
                                        Text *message) noexcept nogil:
    """False if they cannot be, with words; else as far as one that asks for words instead of a server."""
    cdef const char *value
    cdef int i = 0
    cdef int option
    cdef bint given
    while i < count and not options.numbers[OPTION_HELP] and not options.numbers[OPTION_VERSION]:
        option = option_of(arguments[i])
        if option == OPTION_COUNT:
            text_string(message, "unknown option " if arguments[i][0] == b'-' else "unexpected argument ")
            text_quoted(message, arguments[i])
            text_string(message, "; --help lists the options that there are")
            return False
        value = value_of(arguments[i], option)
        if option_ranges[option].kind >= KIND_SWITCH:
            if value != NULL:
                text_format(message, "--%s takes no value", option_word(option, WORD_OPTION))
                return False
            given = option_ranges[option].kind != KIND_OFF
            option -= not given
            options.numbers[option] = given
            options.texts[option] = arguments[i]
        else:
            if value == NULL:
                i += 1
                if i == count:
                    text_format(message, "--%s wants a value: --%s %s", option_word(option, WORD_OPTION),
                                option_word(option, WORD_OPTION), option_word(option, WORD_VALUE))
                    return False
                value = arguments[i]
            if not option_set(options, option, value, NULL, message):
                return False
        i += 1
    return True


cdef inline const char *option_word(int option, int which) noexcept nogil:
    return string_at(option_texts, 3 * option + which)


cdef inline int option_of(const char *argument) noexcept nogil:
    """The option that `--option` or `--option=value` names, or OPTION_COUNT."""
    cdef const char *word
    cdef size_t length
    cdef int option
    if strcmp(argument, "-h") == 0:
        return OPTION_HELP
    if argument[0] == b'-' and argument[1] == b'-':
        for option in range(OPTION_COUNT):
            word = option_word(option, WORD_OPTION)
            length = strlen(word)
            if strncmp(argument + 2, word, length) == 0:
                if argument[2 + length] == 0 or argument[2 + length] == b'=':
                    return option
    return OPTION_COUNT


cdef inline const char *value_of(const char *argument, int option) noexcept nogil:
    """What stands behind the = of an option; NULL if there is none."""
    cdef const char *pos = argument + strlen(option_word(option, WORD_OPTION)) + 2
    return pos + 1 if argument[1] == b'-' and pos[0] == b'=' else NULL


cdef inline void variable_of(int option, char *variable) noexcept nogil:
    """The name of its variable, and a NUL, into VARIABLE_MAX bytes."""
    cdef const char *word = option_word(option, WORD_OPTION)
    cdef const char *prefix = "YINYANG_"
    while prefix[0]:
        variable[0] = prefix[0]
        variable += 1
        prefix += 1
    while word[0]:
        variable[0] = b'_' if word[0] == b'-' else word[0] & 0x5F
        variable += 1
        word += 1
    variable[0] = 0


cdef inline bint option_set(Options *options, int option, const char *value, const char *variable,
                            Text *message) noexcept nogil:
    """Take a value; False if it cannot be, with words that name where it came from: the variable, or the option."""
    cdef const option_range *range_ = &option_ranges[option]
    options.texts[option] = value
    if option_accepts(range_, value, &options.numbers[option]):
        return True
    if variable != NULL:
        text_format(message, "%s wants ", variable)
    else:
        text_format(message, "--%s wants ", option_word(option, WORD_OPTION))
    text_wanted(message, range_)
    text_string(message, ", not ")
    text_quoted(message, value)
    return False


cdef inline bint option_accepts(const option_range *range_, const char *value, int *number) noexcept nogil:
    cdef Address address
    cdef int64_t found
    if range_.kind == KIND_ADDRESS:
        return address_parse(&address, value, 0)
    if range_.kind == KIND_TEXT:
        return text_is_good(value, strlen(value), range_.min, range_.max)
    if range_.kind == KIND_SWITCH:
        return switch_parse(value, number)
    if range_.kind == KIND_SANDBOX:
        return word_parse("auto\0off\0require\0", 3, value, number)
    if range_.kind == KIND_PALETTE:
        return word_parse("original\0distinct\0", 2, value, number)
    found = number_parse(&value)
    if value[0] or not range_.min <= found <= range_.max:
        return False
    number[0] = <int>found
    return True


cdef inline void text_wanted(Text *text, const option_range *range_) noexcept nogil:
    """What the value of an option has to be."""
    cdef const char *wanted = (  # by its kind
        "a numeric address of this host such as 127.0.0.1 or ::1\0%llu to %llu bytes without control characters\0"
        "a number from %llu to %llu\0auto, off or require\0original or distinct\0on or off\0")
    text_format(text, string_at(wanted, range_.kind), <llu>range_.min, <llu>range_.max)


cdef inline bint text_is_good(const char *text, size_t length, size_t min, size_t max) noexcept nogil:
    return min <= length <= max and is_printable(text, length)


cdef inline bint host_name(char *name, size_t size, Text *message) noexcept nogil:
    """This host's name and a NUL into `size` bytes; False if it has none that can be shown, with words."""
    name[0] = 0
    name[size - 1] = 0
    if gethostname(name, size - 1) == 0 and text_is_good(name, strlen(name), 1, size):
        return True
    text_string(message, "the name of this host is not ")
    text_wanted(message, &option_ranges[OPTION_NAME])
    text_string(message, "; give one with --name")
    return False


cdef inline bint switch_parse(const char *value, int *switch) noexcept nogil:
    """1, true, yes, on; 0, false, no, off."""
    cdef int word = 0
    if not word_parse("off\0false\0no\0000\0on\0true\0yes\0001\0", 8, value, &word):
        return False
    switch[0] = word >= 4
    return True


cdef inline bint word_parse(const char *words, int count, const char *value, int *number) noexcept nogil:
    """Which of some words, each of which ends with a NUL."""
    cdef int i
    for i in range(count):
        if strcmp(value, words) == 0:
            number[0] = i
            return True
        words += strlen(words) + 1
    return False


cdef inline void text_quoted(Text *text, const char *value) noexcept nogil:
    """As given, but one line of it, and not without end."""
    cdef size_t length = strlen(value)
    text_string(text, "'")
    text_printable(text, value, min(length, <size_t>64))
    if length <= 64:
        text_string(text, "'")
        return
    text_format(text, "...' (%llu bytes)", <llu>length)


cdef inline void usage_message(Text *text) noexcept nogil:
    """What --help shows."""
    cdef char variable[VARIABLE_MAX]
    cdef size_t begin
    cdef int option
    text_string(text, "usage: yinyang [OPTION]...\n\n"
                "Serve a yin-yang in a colour of this replica's own, on every path.\n\n"
                "Options, and the variables that set their defaults:\n")
    for option in range(OPTION_COUNT):
        begin = text.length
        text_format(text, "  --%s %s", option_word(option, WORD_OPTION), option_word(option, WORD_VALUE))
        if option_ranges[option].kind <= KIND_SWITCH:
            text_fill(text, begin + 19)
            variable_of(option, variable)
            text_string(text, variable)
        text_fill(text, begin + 41)
        text_format(text, "%s\n", option_word(option, WORD_HELP))
    text_string(text, "\nPORT is honoured where YINYANG_PORT is not set.\n")


cdef inline void text_fill(Text *text, size_t until) noexcept nogil:
    while text.length < until:
        text_string(text, " ")

"""Every setting of a server, as csrc/option_table.h describes it.

The command line, the environment and `yinyang.Server` fill one Config. All code reads a setting there, by the number of
its option.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset, strcmp, strlen

from ..os.address cimport Address, address_parse
from ..os.capacity cimport connections_affordable
from ..os.cpus cimport cpus_usable
from ..os.syscalls cimport gethostname
from ..text.buffer cimport Text, is_printable, llu, number_parse, text_clear, text_format, text_string
from ..text.duration cimport MS_PER_SECOND, duration_parse, span_parse

cdef extern from "option_table.h" nogil:
    enum:
        KIND_ADDRESS
        KIND_TEXT
        KIND_NUMBER
        KIND_SECONDS
        KIND_SHARE
        KIND_SPAN
        KIND_WORD
        KIND_SWITCH
        KIND_OFF
        KIND_ACTION
        OPTION_BURN
        OPTION_CONTROL
        OPTION_ERROR_RATE
        OPTION_LATENCY
        OPTION_MAX_CONNECTIONS
        OPTION_NAME
        OPTION_PLAIN
        OPTION_SANDBOX
        OPTION_SERVED_BY
        OPTION_TEXT
        OPTION_WORKERS
        OPTION_COUNT
        SWITCH_WORDS
    struct Option "option":
        const char *word
        const char *value
        int kind
        const char *text
        const char *unset
        int number
        int min
        int max
        const char *const *words
        int turns_off
        const char *help
    struct SwitchWord "switch_word":
        const char *word
        int on
    const Option option_table[OPTION_COUNT]
    const SwitchWord switch_words[SWITCH_WORDS]

cdef enum:
    SPAN_BITS = 14  # of each of its times
    HOST_NAME_MAX = 255  # bytes, as in DNS and more than gethostname(2) gives

cdef struct Config:
    const char *texts[OPTION_COUNT]  # borrowed values of addresses and texts; NULL where none is set
    int numbers[OPTION_COUNT]  # values of all other options
    char host_name[HOST_NAME_MAX + 1]


cdef inline bint is_setting(int option) noexcept nogil:
    """Whether the option has a value. Other options switch one off, or ask for an action other than serving."""
    return option_table[option].kind != KIND_OFF and option_table[option].kind != KIND_ACTION


cdef inline void config_set_defaults(Config *config) noexcept nogil:
    cdef const Option *option
    cdef int i
    memset(config, 0, sizeof(Config))
    for i in range(OPTION_COUNT):
        option = &option_table[i]
        config.texts[i] = option.text
        config.numbers[i] = option.number * (MS_PER_SECOND if option.kind == KIND_SECONDS else 1)


cdef inline bint config_set(Config *config, int option, const char *value) noexcept nogil:
    """Set an option to a value from the command line or a variable; False if the value is not valid for it."""
    cdef const Option *row = &option_table[option]
    cdef Address address
    cdef int64_t number
    if row.kind == KIND_ADDRESS or row.kind == KIND_TEXT:
        config.texts[option] = value
        if row.kind == KIND_ADDRESS:
            return address_parse(&address, value, 0)
        return text_is_valid(option, value, strlen(value))
    if row.kind == KIND_WORD:
        return word_parse(row.words, value, &config.numbers[option])
    if row.kind == KIND_SWITCH:
        return switch_parse(value, &config.numbers[option])
    if row.kind == KIND_SHARE:
        config.numbers[option] = share_parse(value)
        return config.numbers[option] >= 0
    if row.kind == KIND_SPAN:
        return config_set_span(config, option, value)
    if row.kind == KIND_SECONDS:
        number = duration_parse(&value)
        if not (row.min != 0) <= number <= row.max * MS_PER_SECOND:
            return False
    else:
        number = number_parse(&value)
        if not row.min <= number <= row.max:
            return False
    config.numbers[option] = <int>number
    return value[0] == 0


cdef inline bint config_set_span(Config *config, int option, const char *value) noexcept nogil:
    cdef int low = 0, high = 0
    if not span_parse(value, option_table[option].max * MS_PER_SECOND, &low, &high):
        return False
    config.numbers[option] = low | high << SPAN_BITS
    return True


cdef inline int span_low(int number) noexcept nogil:
    """The lower time of an option of KIND_SPAN, in ms."""
    return number & ((1 << SPAN_BITS) - 1)


cdef inline int span_high(int number) noexcept nogil:
    """The higher time, which may be the same."""
    return number >> SPAN_BITS


cdef inline bint text_is_valid(int option, const char *text, size_t length) noexcept nogil:
    return (<size_t>option_table[option].min <= length <= <size_t>option_table[option].max
            and is_printable(text, length))


cdef inline int share_parse(const char *value) noexcept nogil:
    """The percent of `20%`, or of a number from 0 to 1 with at most two digits behind its point; -1 if it is none."""
    cdef int64_t percent = number_parse(&value)
    cdef int worth
    if value[0] == b'%':
        value += 1
    elif 0 <= percent <= 1:
        percent *= 100
        worth = 10 if value[0] == b'.' else 0
        value += value[0] == b'.'
        while worth and 48 <= value[0] <= 57:
            percent += (value[0] - 48) * worth
            worth //= 10
            value += 1
    else:
        return -1
    return <int>percent if value[0] == 0 and 0 <= percent <= 100 else -1


cdef inline bint word_parse(const char *const *words, const char *value, int *index) noexcept nogil:
    cdef int i = 0
    while words[i] != NULL:
        if strcmp(value, words[i]) == 0:
            index[0] = i
            return True
        i += 1
    return False


cdef inline bint switch_parse(const char *value, int *on) noexcept nogil:
    cdef int i
    for i in range(SWITCH_WORDS):
        if is_word_in_any_case(value, switch_words[i].word):
            on[0] = switch_words[i].on
            return True
    return False


cdef inline bint is_word_in_any_case(const char *value, const char *word) noexcept nogil:
    """Whether the value is this word, which is in lower case. The locale must not matter."""
    while word[0]:
        if value[0] != word[0] and not (b'A' <= value[0] <= b'Z' and value[0] + 32 == word[0]):
            return False
        value += 1
        word += 1
    return value[0] == 0


cdef inline void text_expected(Text *text, int option) noexcept nogil:
    """Append a description of the values that an option takes."""
    cdef const Option *row = &option_table[option]
    if row.kind == KIND_ADDRESS:
        text_string(text, "a numeric address of this host such as 127.0.0.1 or ::1")
    elif row.kind == KIND_TEXT:
        text_format(text, "%llu to %llu bytes without control characters", <llu>row.min, <llu>row.max)
    elif row.kind == KIND_WORD:
        text_alternatives(text, row.words)
    elif row.kind == KIND_SWITCH:
        text_switch_words(text)
    elif row.kind == KIND_SHARE:
        text_string(text, "a share in whole percent, such as 20% or 0.2")
    elif row.kind == KIND_SECONDS:
        text_format(text, "a time of at most %llu s%s, such as 1, 1s or 500ms", <llu>row.max,
                    " and not 0" if row.min else "")
    elif row.kind == KIND_SPAN:
        text_format(text, "a time of at most %llu s, or two, such as 300ms or 100ms..500ms", <llu>row.max)
    else:
        text_format(text, "a number from %llu to %llu", <llu>row.min, <llu>row.max)


cdef inline void text_switch_words(Text *text) noexcept nogil:
    """Append them as in `on or off, true or false`."""
    cdef int i
    for i in range(SWITCH_WORDS):
        if i:
            text_string(text, " or " if i % 2 else ", ")
        text_string(text, switch_words[i].word)


cdef inline void text_alternatives(Text *text, const char *const *words) noexcept nogil:
    """Append words as in `auto, off or require`."""
    cdef int i = 0
    while words[i] != NULL:
        if i:
            text_string(text, ", " if words[i + 1] != NULL else " or ")
        text_string(text, words[i])
        i += 1


cdef inline bint config_is_consistent(const Config *config, Text *message) noexcept nogil:
    """False, with a message, if an option does not go with another one."""
    cdef int *others = [OPTION_ERROR_RATE, OPTION_LATENCY, OPTION_BURN, OPTION_CONTROL, OPTION_SERVED_BY, OPTION_TEXT]
    cdef int i
    for i in range(6 if config.numbers[OPTION_PLAIN] else 0):
        if config.numbers[others[i]] or config.texts[others[i]] != NULL:
            text_clear(message)
            text_format(message, "--plain serves the page of the original and nothing else; --%s does not go with it, "
                        "nor does its variable", option_table[others[i]].word)
            return False
    return True


cdef inline bint config_complete(Config *config, Text *message) noexcept nogil:
    """Set the defaults that depend on this host: its name, CPUs, descriptors and memory. False, with a message, if it
    has no name to show, or if options do not go together."""
    if not config_is_consistent(config, message):
        return False
    if config.numbers[OPTION_WORKERS] == 0:
        config.numbers[OPTION_WORKERS] = cpus_usable()
    if config.numbers[OPTION_MAX_CONNECTIONS] == 0:
        config.numbers[OPTION_MAX_CONNECTIONS] = connections_affordable(config.numbers[OPTION_WORKERS])
    if config.texts[OPTION_NAME] == NULL:
        if not host_name(config.host_name, message):
            return False
        config.texts[OPTION_NAME] = config.host_name
    return True


cdef inline bint host_name(char *name, Text *message) noexcept nogil:
    """Write this host's name and a NUL into HOST_NAME_MAX + 1 bytes; False, with a message, if it has none to show."""
    memset(name, 0, HOST_NAME_MAX + 1)
    if gethostname(name, HOST_NAME_MAX) == 0 and text_is_valid(OPTION_NAME, name, strlen(name)):
        return True
    text_string(message, "the name of this host is not ")
    text_expected(message, OPTION_NAME)
    text_string(message, "; give one with --name")
    return False

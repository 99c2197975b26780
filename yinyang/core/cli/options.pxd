"""The command line and the environment, parsed for both shapes. An option overrides its variable, a variable the
default. An empty variable counts as not set, because many tools unset one in this way."""

from libc.string cimport memset, strchr, strcmp, strlen, strncmp

from ..config.config cimport (
    Config, KIND_ADDRESS, KIND_NUMBER, KIND_OFF, KIND_SECONDS, KIND_SHARE, KIND_SPAN, KIND_SWITCH, KIND_TEXT, KIND_WORD,
    OPTION_COUNT, Option, config_is_consistent, config_set, config_set_defaults, is_setting, option_table, text_expected
)
from ..os.syscalls cimport getenv
from ..text.argument cimport argument_names, argument_value
from ..text.buffer cimport Text, llu, text_clear, text_format, text_quoted, text_string

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_HEALTHCHECK
        OPTION_HELP
        OPTION_NAME
        OPTION_PLAIN
        OPTION_PORT
        OPTION_VERSION
        PLATFORM_VARIABLES
    struct PlatformVariable "platform_variable":
        int option
        const char *variable
    const PlatformVariable platform_variables[PLATFORM_VARIABLES]

cdef enum:
    VARIABLE_MAX = 32  # bytes of the name of a variable

cdef enum Action:
    ACTION_SERVE
    ACTION_HEALTHCHECK
    ACTION_VERSION
    ACTION_HELP
    ACTION_ERROR  # wrong use; the message describes it

cdef struct Given:  # the options that an argument has set
    bint options[OPTION_COUNT]


cdef inline int options_parse(Config *config, int count, const char **arguments, Text *message) noexcept nogil:
    """Fill the config from the arguments (without the program's name) and the environment; an Action. The config
    borrows from both. The message says what is wrong, or what was ignored."""
    cdef Given given
    memset(&given, 0, sizeof(given))
    config_set_defaults(config)
    if not options_from_arguments(config, &given, count, arguments, message):
        return ACTION_ERROR
    if given.options[OPTION_HELP]:
        return ACTION_HELP
    if given.options[OPTION_VERSION]:
        return ACTION_VERSION
    if not options_from_environment(config, &given, message):
        return ACTION_ERROR
    if not config_is_consistent(config, message):
        return ACTION_ERROR
    if not config.numbers[OPTION_PLAIN]:
        options_from_platform(config)
    if not given.options[OPTION_HEALTHCHECK]:
        return ACTION_SERVE
    text_clear(message)  # a health check reports on the server only
    if config.numbers[OPTION_PORT] == 0:
        text_string(message, "--healthcheck wants the port of a server, not 0")
        return ACTION_ERROR
    return ACTION_HEALTHCHECK


# ---- arguments ----------------------------------------------------------------------------------------------------

cdef inline bint options_from_arguments(Config *config, Given *given, int count, const char **arguments,
                                        Text *message) noexcept nogil:
    """Read the arguments, up to one that asks for help or the version. False, with a message, if one is wrong."""
    cdef const char *argument
    cdef const char *value
    cdef int i = 0
    cdef int option
    while i < count and not given.options[OPTION_HELP] and not given.options[OPTION_VERSION]:
        argument = arguments[i]
        option = option_of(argument)
        if option == OPTION_COUNT:
            text_string(message, "unknown option " if argument[0] == b'-' else "unexpected argument ")
            text_quoted(message, argument)
            text_string(message, "; --help lists the options that there are")
            return False
        value = argument_value(argument)
        if not takes_value(option):
            if value != NULL:
                text_format(message, "--%s takes no value", option_table[option].word)
                return False
            option_switch(config, given, option)
        else:
            if value == NULL:
                i += 1
                value = arguments[i] if i < count else NULL
            if not option_set(config, given, option, value, message):
                return False
        i += 1
    return True


cdef inline int option_of(const char *argument) noexcept nogil:
    """The option that `--option` or `--option=value` names, or OPTION_COUNT."""
    cdef int option
    if strcmp(argument, "-h") == 0:
        return OPTION_HELP
    for option in range(OPTION_COUNT):
        if argument_names(argument, option_table[option].word):
            return option
    return OPTION_COUNT


cdef inline bint takes_value(int option) noexcept nogil:
    return option_table[option].value != NULL


cdef inline void option_switch(Config *config, Given *given, int option) noexcept nogil:
    """An option without a value was given."""
    cdef bint on = option_table[option].kind != KIND_OFF
    if not on:
        option = option_table[option].turns_off
    config.numbers[option] = on
    given.options[option] = True


cdef inline bint option_set(Config *config, Given *given, int option, const char *value, Text *message) noexcept nogil:
    """Set an option to the value of its argument; NULL if it has none."""
    cdef const Option *row = &option_table[option]
    given.options[option] = True
    if value == NULL:
        text_format(message, "--%s wants a value: --%s %s", row.word, row.word, row.value)
        return False
    if config_set(config, option, value):
        return True
    text_clear(message)
    text_format(message, "--%s", row.word)
    text_wants(message, option, value)
    return False


cdef inline void text_wants(Text *message, int option, const char *value) noexcept nogil:
    text_string(message, " wants ")
    text_expected(message, option)
    text_string(message, ", not ")
    text_quoted(message, value)
    if option_table[option].kind == KIND_ADDRESS and strchr(value, b'%') != NULL:
        text_string(message, "; an address with a zone is not supported, use :: for all addresses")


# ---- the environment ----------------------------------------------------------------------------------------------

cdef inline bint options_from_environment(Config *config, const Given *given, Text *message) noexcept nogil:
    """Read the variables of options that no argument has set. False, with a message, if a value is wrong."""
    cdef char own[VARIABLE_MAX]
    cdef const char *variable
    cdef const char *value
    cdef int option
    for option in range(OPTION_COUNT):
        if not is_setting(option) or given.options[option]:
            continue
        variable_name(option, own)
        variable = own
        value = variable_value(variable)
        if option == OPTION_PORT and value != NULL and is_service_link(value):
            text_format(message, "%s names a Service of Kubernetes or a link of Docker and no port, so it is "
                        "ignored: ", variable)
            text_quoted(message, value)
            value = NULL
        if option == OPTION_NAME and value != NULL and is_name_of_link(value):
            text_format(message, "%s%s names a link of Docker, so it is ignored: ", "; " if message.length else "",
                        variable)
            text_quoted(message, value)
            value = NULL
        if option == OPTION_PORT and value == NULL:
            variable = "PORT"  # which many platforms set
            value = variable_value(variable)
        if value != NULL and not config_set(config, option, value):
            text_clear(message)
            text_string(message, variable)
            text_wants(message, option, value)
            return False
    return True


cdef inline void options_from_platform(Config *config) noexcept nogil:
    """Read the texts that platforms give and nobody has set. What an option does not take is passed over, as nobody has
    meant it for this server."""
    cdef const char *before
    cdef const char *value
    cdef int i, option
    for i in range(PLATFORM_VARIABLES):
        option = platform_variables[i].option
        before = config.texts[option]
        value = variable_value(platform_variables[i].variable)
        if before == NULL and value != NULL and not config_set(config, option, value):
            config.texts[option] = NULL


cdef inline void variable_name(int option, char *variable) noexcept nogil:
    """Write YINYANG_, the option's word in capitals and a NUL into VARIABLE_MAX bytes."""
    cdef const char *word = option_table[option].word
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


cdef inline const char *variable_value(const char *variable) noexcept nogil:
    """The value of a variable; NULL if it is not set, or empty."""
    cdef const char *value = getenv(variable)
    return value if value != NULL and value[0] else NULL


cdef inline bint is_name_of_link(const char *value) noexcept nogil:
    """Whether Docker has set the variable, as YINYANG_NAME=/web/yinyang: its --link sets this one beside the port."""
    cdef const char *port = variable_value("YINYANG_PORT")
    return value[0] == b'/' and port != NULL and is_service_link(port)


cdef inline bint is_service_link(const char *value) noexcept nogil:
    """Whether Kubernetes or Docker has set the variable. For a Service called yinyang, Kubernetes sets
    YINYANG_PORT=tcp://10.0.0.1:80 in each pod of its namespace, and so does Docker for a link of this name, which is
    not meant as an option. The scheme is a protocol that a Service may have."""
    return (strncmp(value, "tcp://", strlen("tcp://")) == 0 or strncmp(value, "udp://", strlen("udp://")) == 0
            or strncmp(value, "sctp://", strlen("sctp://")) == 0)


# ---- help ---------------------------------------------------------------------------------------------------------

cdef inline void usage_message(Text *text) noexcept nogil:
    """The text of --help: columns of options, variables and explanations, each as wide as its widest entry."""
    cdef size_t options = 0, variables = 0
    cdef int option
    for option in range(OPTION_COUNT):
        options = max(options, option_width(option))
        variables = max(variables, variable_width(option))
    text_string(text, "usage: yinyang [OPTION]...\n"
                "       yinyang watch URL [OPTION]...   show what a load balancer does; yinyang watch --help\n\n"
                "Serve a yin-yang in a colour of this replica's own, on every path.\n\n"
                "Options, the variables that set them too, and the defaults in parentheses:\n")
    for option in range(OPTION_COUNT):
        usage_line(text, option, options, variables)
    text_string(text, "\nThe variable PORT sets the port where YINYANG_PORT is not set. A socket that is handed over\n"
                "by LISTEN_FDS, as systemd does, takes the place of --host and --port. Variables of platforms\n"
                "set what is not given:")
    usage_platform(text)


cdef inline void usage_platform(Text *text) noexcept nogil:
    """The variables of platforms, as a list that is wrapped."""
    cdef int i
    for i in range(PLATFORM_VARIABLES):
        if i == 0 or platform_variables[i].option != platform_variables[i - 1].option:
            text_format(text, "\n  %s: %s", option_table[platform_variables[i].option].word,
                        platform_variables[i].variable)
        else:
            text_format(text, ", %s", platform_variables[i].variable)
    text_string(text, "\n")


cdef inline size_t option_width(int option) noexcept nogil:
    cdef const Option *row = &option_table[option]
    return strlen("--") + strlen(row.word) + (1 + strlen(row.value) if takes_value(option) else 0)


cdef inline size_t variable_width(int option) noexcept nogil:
    return strlen("YINYANG_") + strlen(option_table[option].word) if is_setting(option) else 0


cdef inline void usage_line(Text *text, int option, size_t options, size_t variables) noexcept nogil:
    cdef char variable[VARIABLE_MAX]
    cdef const Option *row = &option_table[option]
    text_format(text, "  --%s", row.word)
    if takes_value(option):
        text_format(text, " %s", row.value)
    text_spaces(text, options - option_width(option) + 2)
    if is_setting(option):
        variable_name(option, variable)
        text_string(text, variable)
    text_spaces(text, variables - variable_width(option) + 2)
    text_string(text, row.help)
    usage_default(text, row)
    text_string(text, "\n")


cdef inline void text_spaces(Text *text, size_t count) noexcept nogil:
    while count:
        text_string(text, " ")
        count -= 1


cdef inline void usage_default(Text *text, const Option *row) noexcept nogil:
    """Append the default in parentheses, if it helps the reader."""
    if row.unset != NULL:
        text_format(text, " (%s)", row.unset)
    elif row.kind == KIND_NUMBER or row.kind == KIND_SECONDS or row.kind == KIND_SPAN:
        text_format(text, " (%llu)", <llu>row.number)
    elif row.kind == KIND_SHARE:
        text_format(text, " (%llu", <llu>row.number)
        text_string(text, "%)")
    elif row.kind == KIND_WORD:
        text_format(text, " (%s)", row.words[row.number])
    elif row.kind == KIND_TEXT and row.text != NULL:
        text_format(text, " (%s)", row.text)
    elif row.kind == KIND_SWITCH and row.number:
        text_string(text, " (on)")

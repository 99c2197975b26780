"""The options of the watch, read from the command line; csrc/watch_options.h is their table."""

from libc.stdint cimport int64_t
from libc.string cimport memchr, memset, strcmp, strlen, strncmp

from ..config.config cimport text_alternatives, word_parse
from ..text.argument cimport argument_names, argument_value
from ..text.buffer cimport (
    Text, is_printable, llu, text_fits, text_format, text_open, text_put, text_quoted, text_string
)
from .sample cimport LABEL_MAX, Label, US_PER_MS, US_PER_SECOND, label_set_plain
from .url cimport Url, text_whoami_url, url_parse

cdef extern from "watch_options.h" nogil:
    enum:
        WATCH_NUMBER
        WATCH_RATE
        WATCH_TIME
        WATCH_LIMIT
        WATCH_SHARE
        WATCH_WORD
        WATCH_FLAG
        WATCH_FILE
        WATCH_EXPECTED
        WATCH_LEAST
        WATCH_ACTION
        WATCH_CONCURRENCY_MAX
        WATCH_OPTION_BY
        WATCH_OPTION_CONCURRENCY
        WATCH_OPTION_CONNECTION
        WATCH_OPTION_COUNT
        WATCH_OPTION_DURATION
        WATCH_OPTION_EXPECT
        WATCH_OPTION_EXPECT_REPLICAS
        WATCH_OPTION_HELP
        WATCH_OPTION_INSECURE
        WATCH_OPTION_JSON
        WATCH_OPTION_JSONL
        WATCH_OPTION_MAX_ERRORS
        WATCH_OPTION_MAX_GAP
        WATCH_OPTION_MAX_P99
        WATCH_OPTION_METRICS
        WATCH_OPTION_MIN_SHARE
        WATCH_OPTION_RATE
        WATCH_OPTION_TIMEOUT
        WATCH_OPTIONS_ALL
    struct WatchRow "watch_option":
        const char *word
        const char *value
        int kind
        long long number
        long long min
        long long max
        const char *const *words
        const char *help
    const WatchRow watch_options[WATCH_OPTIONS_ALL]
    const double DEFAULT_MARGIN
    const char *WATCH_EXIT_CODES

cdef enum:
    EXPECTED_MAX = 32  # shares that are expected
    NOT_GIVEN = -1
    WATCH_URL_MAX = 2048  # bytes, with a NUL
    TIME_MAX = 366 * 24 * 3600  # seconds
    HELP_COLUMN = 28
    HELP_WIDTH = 100

cdef enum WatchAction:
    WATCH_RUN
    WATCH_SHOW_VERSION
    WATCH_SHOW_HELP
    WATCH_ERROR  # wrong use; the message describes it

cdef struct WantedShare:  # of a group
    Label name
    double share  # from 0 to 1
    double margin  # a difference of shares

cdef struct WatchOptions:
    char url[WATCH_URL_MAX]  # of whoami
    char display_url[WATCH_URL_MAX]  # the same as it is shown: without user and password
    double rate  # requests per second
    int concurrency  # requests at the same time
    bint keep_alive  # connections are used for several requests
    int64_t timeout  # us, of a request
    int64_t duration  # us; NOT_GIVEN: no limit
    int64_t count  # requests; NOT_GIVEN: no limit
    bint json
    bint jsonl
    const char *junit  # a path; NULL if there is none
    int metrics_port  # 0: none
    bint insecure
    int by  # enum By
    # expectations; NOT_GIVEN where there is none
    int64_t expect_replicas
    int64_t max_errors
    int64_t max_gap  # us
    int64_t max_p99  # us
    double min_share
    WantedShare expected[EXPECTED_MAX]
    int expected_count
    bint has_goal
    WantedShare goal  # that --until waits for; its margin is 0


cdef inline int watch_options_parse(WatchOptions *options, int count, const char **arguments,
                                    Text *message) noexcept nogil:
    """Fill the options from the arguments, without the program's name; a WatchAction. The options borrow the path from
    the arguments. The message says what is wrong."""
    cdef double numbers[WATCH_OPTIONS_ALL]
    cdef const char *url = NULL
    cdef const char *value
    cdef int i, option
    memset(options, 0, sizeof(options[0]))
    for i in range(WATCH_OPTIONS_ALL):
        numbers[i] = <double>watch_options[i].number
    i = 0
    while i < count:
        if arguments[i][0] != b'-':
            if url != NULL:
                text_string(message, "one URL is enough; there is a second one, ")
                text_quoted(message, arguments[i])
                return WATCH_ERROR
            url = arguments[i]
            i += 1
            continue
        option = watch_option_of(arguments[i])
        if option == WATCH_OPTIONS_ALL:
            text_string(message, "unknown option ")
            text_quoted(message, arguments[i])
            text_string(message, "; --help lists the options that there are")
            return WATCH_ERROR
        if watch_options[option].kind == WATCH_ACTION:
            return WATCH_SHOW_HELP if option == WATCH_OPTION_HELP else WATCH_SHOW_VERSION
        value = argument_value(arguments[i])
        if watch_options[option].value == NULL and value != NULL:
            text_format(message, "--%s takes no value", watch_options[option].word)
            return WATCH_ERROR
        if watch_options[option].value != NULL and value == NULL:
            i += 1
            value = arguments[i] if i < count else NULL
        if not watch_option_set(options, numbers, option, value, message):
            return WATCH_ERROR
        i += 1
    watch_options_assign(options, numbers)
    if options.json and options.jsonl:
        text_string(message, "--json and --jsonl do not go together")
        return WATCH_ERROR
    return WATCH_RUN if watch_url_set(options, url, message) else WATCH_ERROR


cdef inline int watch_option_of(const char *argument) noexcept nogil:
    """The option that `--option` or `--option=value` names, or WATCH_OPTIONS_ALL."""
    cdef int option
    if strcmp(argument, "-h") == 0:
        return WATCH_OPTION_HELP
    for option in range(WATCH_OPTIONS_ALL):
        if argument_names(argument, watch_options[option].word):
            return option
    return WATCH_OPTIONS_ALL


cdef inline bint watch_option_set(WatchOptions *options, double *numbers, int option, const char *value,
                                  Text *message) noexcept nogil:
    """Set an option; False, with a message, if the value is not valid for it, or is missing (NULL)."""
    cdef const WatchRow *row = &watch_options[option]
    if row.kind == WATCH_FLAG:
        numbers[option] = 1
        return True
    if value == NULL:
        text_format(message, "--%s wants a value: --%s %s", row.word, row.word, row.value)
        return False
    if row.kind == WATCH_FILE:
        options.junit = value
        return True
    if option == WATCH_OPTION_EXPECT and options.expected_count == EXPECTED_MAX:
        text_format(message, "--expect can be given at most %llu times", <llu>EXPECTED_MAX)
        return False
    if row.kind == WATCH_LEAST and options.has_goal:
        text_format(message, "--%s can be given only once", row.word)
        return False
    if row.kind == WATCH_EXPECTED:
        if expected_parse(&options.expected[options.expected_count], value):
            options.expected_count += 1
            return True
    elif row.kind == WATCH_LEAST:
        options.has_goal = least_parse(&options.goal, value)
        if options.has_goal:
            return True
    elif watch_number_parse(&numbers[option], row, value):
        return True
    text_format(message, "--%s wants ", row.word)
    text_watch_wanted(message, row)
    text_string(message, ", not ")
    text_quoted(message, value)
    return False


cdef inline void text_watch_wanted(Text *text, const WatchRow *row) noexcept nogil:
    """Append a description of the values that an option takes."""
    if row.kind == WATCH_NUMBER and row.max > 1000000:
        text_format(text, "a whole number%s", " that is at least 1" if row.min else "")
    elif row.kind == WATCH_NUMBER:
        text_format(text, "a number from %llu to %llu", <llu>row.min, <llu>row.max)
    elif row.kind == WATCH_RATE:
        text_string(text, "a number above 0 and up to a million")
    elif row.kind == WATCH_TIME:
        text_string(text, "a time above 0 and up to 366 days, such as 500ms, 1s or 2m")
    elif row.kind == WATCH_LIMIT:
        text_string(text, "a time and its unit, such as 500ms or 1s")
    elif row.kind == WATCH_SHARE:
        text_string(text, "a share, such as 20% or 0.5%")
    elif row.kind == WATCH_WORD:
        text_alternatives(text, row.words)
    elif row.kind == WATCH_EXPECTED:
        text_string(text, "a name and a share, such as v2=10% or v2=10%+-3")
    else:
        text_string(text, "a name and the share to reach, above 0 %, such as 'v2 >= 99%'")


cdef inline void watch_options_assign(WatchOptions *options, const double *numbers) noexcept nogil:
    options.rate = numbers[WATCH_OPTION_RATE]
    options.concurrency = <int>numbers[WATCH_OPTION_CONCURRENCY]
    options.keep_alive = numbers[WATCH_OPTION_CONNECTION] != 0
    options.timeout = <int64_t>numbers[WATCH_OPTION_TIMEOUT]
    options.duration = <int64_t>numbers[WATCH_OPTION_DURATION]
    options.count = <int64_t>numbers[WATCH_OPTION_COUNT]
    options.json = numbers[WATCH_OPTION_JSON] != 0
    options.jsonl = numbers[WATCH_OPTION_JSONL] != 0
    options.metrics_port = <int>numbers[WATCH_OPTION_METRICS]
    options.insecure = numbers[WATCH_OPTION_INSECURE] != 0
    options.by = <int>numbers[WATCH_OPTION_BY]
    options.expect_replicas = <int64_t>numbers[WATCH_OPTION_EXPECT_REPLICAS]
    options.max_errors = <int64_t>numbers[WATCH_OPTION_MAX_ERRORS]
    options.max_gap = <int64_t>numbers[WATCH_OPTION_MAX_GAP]
    options.max_p99 = <int64_t>numbers[WATCH_OPTION_MAX_P99]
    options.min_share = numbers[WATCH_OPTION_MIN_SHARE]


cdef inline bint watch_url_set(WatchOptions *options, const char *given, Text *message) noexcept nogil:
    cdef Url url
    cdef Text text
    if given == NULL:
        text_string(message, "it wants the URL where the replicas are served, such as http://localhost:8080/")
        return False
    if not url_parse(&url, given):
        text_quoted(message, given)
        text_string(message, " is not a URL, such as http://localhost:8080/")
        return False
    text_open(&text, options.url, WATCH_URL_MAX - 1)
    text_whoami_url(&text, &url, options.keep_alive, False)
    if not text_fits(&text):
        text_format(message, "the URL is too long; %llu bytes are allowed", <llu>(WATCH_URL_MAX - 1))
        return False
    text_open(&text, options.display_url, WATCH_URL_MAX - 1)
    text_whoami_url(&text, &url, options.keep_alive, True)
    return True


# ---- values -------------------------------------------------------------------------------------------------------

cdef inline bint watch_number_parse(double *number, const WatchRow *row, const char *value) noexcept nogil:
    """A number of the row's kind, which is all of the value."""
    cdef int word = 0
    if row.kind == WATCH_WORD:
        if not word_parse(row.words, value, &word):
            return False
        number[0] = word
        return True
    if row.kind == WATCH_NUMBER:
        return whole_parse(number, row, value)
    if row.kind == WATCH_TIME or row.kind == WATCH_LIMIT:
        if row.kind == WATCH_LIMIT and (value[0] == 0 or 48 <= value[strlen(value) - 1] <= 57):
            return False
        number[0] = time_parse(&value)
        return number[0] >= 1 and value[0] == 0
    number[0] = decimal_parse(&value)
    if row.kind == WATCH_RATE:
        return 0 < number[0] <= <double>row.max and value[0] == 0
    if value[0] == b'%':
        value += 1
    elif is_part(number[0]):
        return False
    number[0] /= 100
    return 0 <= number[0] <= 1 and value[0] == 0


cdef inline bint is_part(double share) noexcept nogil:
    """Whether a number without a sign may be meant as a part of 1."""
    return 0 < share <= 1


cdef inline bint whole_parse(double *number, const WatchRow *row, const char *value) noexcept nogil:
    cdef int64_t whole = 0
    cdef int digits = 0
    while 48 <= value[0] <= 57 and digits < 16:
        whole = whole * 10 + (value[0] - 48)
        value += 1
        digits += 1
    number[0] = <double>whole
    return digits > 0 and value[0] == 0 and row.min <= whole <= row.max


cdef inline double decimal_parse(const char **pos) noexcept nogil:
    """The number at *pos, such as 3, 0.5 or .5, which moves past it; -1 if there is none."""
    cdef const char *text = pos[0]
    cdef double number = 0
    cdef double worth = 1
    cdef int digits = 0
    while 48 <= text[0] <= 57 and digits < 15:
        number = number * 10 + (text[0] - 48)
        text += 1
        digits += 1
    if text[0] == b'.' and 48 <= text[1] <= 57:
        text += 1
        while 48 <= text[0] <= 57:
            worth /= 10
            number += worth * (text[0] - 48)
            text += 1
            digits += 1
    pos[0] = text
    return number if digits else -1


cdef inline double time_parse(const char **pos) noexcept nogil:
    """The us of a time such as 500ms, 1s, 2m or 1h at *pos, which moves past it; below 0 if there is none. Without a
    unit, it is in seconds."""
    cdef double number = decimal_parse(pos)
    cdef double unit = US_PER_SECOND
    if strncmp(pos[0], "ms", 2) == 0:
        unit = US_PER_MS
        pos[0] += strlen("ms")
    elif pos[0][0] == b's':
        pos[0] += 1
    elif pos[0][0] == b'm':
        unit = 60.0 * US_PER_SECOND
        pos[0] += 1
    elif pos[0][0] == b'h':
        unit = 3600.0 * US_PER_SECOND
        pos[0] += 1
    return number * unit if number * unit <= <double>TIME_MAX * US_PER_SECOND else -1


cdef inline const char *skip_spaces(const char *text) noexcept nogil:
    while text[0] == b' ' or text[0] == b'\t':
        text += 1
    return text


cdef inline bint name_parse(Label *name, const char *begin, const char *end) noexcept nogil:
    """The text between these, without the spaces around it; False if nothing is left, or too much."""
    begin = skip_spaces(begin)
    while end > begin and ((end - 1)[0] == b' ' or (end - 1)[0] == b'\t'):
        end -= 1
    if end <= begin or end - begin > LABEL_MAX or not is_printable(begin, end - begin):
        return False
    label_set_plain(name, begin, end - begin)
    return True


cdef inline double percent_parse(const char **pos, bint is_share) noexcept nogil:
    """The share from 0 to 1 in `20%` or `20`, with spaces around; -1 if there is none. 0.2 is none, as it may be meant
    as 20 %; but as a margin it is, as that is in points."""
    cdef double percent
    pos[0] = skip_spaces(pos[0])
    percent = decimal_parse(pos)
    pos[0] = skip_spaces(pos[0])
    if pos[0][0] == b'%':
        pos[0] = skip_spaces(pos[0] + 1)
    elif is_share and is_part(percent):
        return -1
    return percent / 100 if 0 <= percent <= 100 else -1


cdef inline bint expected_parse(WantedShare *wanted, const char *value) noexcept nogil:
    """`v2=10%`, `v2=10%+-3`, `v2=10%+/-3` or `v2=10%±3`. A name may have a = too; the last one counts."""
    cdef const char *sign = value + strlen(value)
    cdef const char *pos
    while sign > value and sign[0] != b'=':
        sign -= 1
    if sign[0] != b'=' or not name_parse(&wanted.name, value, sign):
        return False
    if has_list(value, sign) or has_comparison(value, sign):
        return False
    pos = sign + 1
    wanted.share = percent_parse(&pos, True)
    wanted.margin = DEFAULT_MARGIN
    if pos[0]:
        pos = skip_margin_sign(pos)
        if pos == NULL:
            return False
        wanted.margin = percent_parse(&pos, False)
    return wanted.share >= 0 and wanted.margin >= 0 and pos[0] == 0


cdef inline bint has_list(const char *begin, const char *end) noexcept nogil:
    """Whether a name is several, as in `v1=90%,v2=10%`, of which each needs an option of its own."""
    cdef const char *pos = <const char *>memchr(begin, b'=', end - begin)
    return pos != NULL and memchr(pos, b',', end - pos) != NULL


cdef inline bint has_comparison(const char *begin, const char *end) noexcept nogil:
    """Whether a name ends with what belongs to the sign behind it, as in `v2>=10%`, which is for --until."""
    return (end - 1)[0] == b'<' or ((end - 1)[0] == b'>' and memchr(begin, b'<', end - begin) == NULL)


cdef inline const char *skip_margin_sign(const char *pos) noexcept nogil:
    """What comes after the sign; NULL if there is none."""
    cdef const char **signs = ["+-", "+/-", "\xc2\xb1"]
    cdef int i
    for i in range(3):
        if strncmp(pos, signs[i], strlen(signs[i])) == 0:
            return pos + strlen(signs[i])
    return NULL


cdef inline bint least_parse(WantedShare *wanted, const char *value) noexcept nogil:
    """`v2 >= 99%`; of several >=, the last one counts. There is nothing to wait for in 0 %, which those have who never
    answered."""
    cdef const char *sign = value + strlen(value)
    cdef const char *pos
    while sign > value and not (sign[0] == b'>' and sign[1] == b'='):
        sign -= 1
    if sign[0] != b'>' or not name_parse(&wanted.name, value, sign):
        return False
    pos = sign + strlen(">=")
    wanted.share = percent_parse(&pos, True)
    wanted.margin = 0
    return wanted.share > 0 and pos[0] == 0


# ---- help ---------------------------------------------------------------------------------------------------------

cdef inline void watch_usage(Text *text, const char *program, bint has_tls) noexcept nogil:
    """The text of --help; `has_tls`: the program can ask by https."""
    cdef int option
    text_format(text, "usage: %s [OPTION]... URL\n\n", program)
    text_string(text, "Shows what a load balancer does: asks through it again and again which replica answers.\n"
                "URL is where the replicas are served, such as http://localhost:8080/\n\noptions:\n")
    for option in range(WATCH_OPTIONS_ALL):
        if option == WATCH_OPTION_EXPECT_REPLICAS:
            text_string(text, "\nexpectations, for pipelines:\n")
        if has_tls or option != WATCH_OPTION_INSECURE:
            watch_usage_row(text, &watch_options[option])
    text_string(text, "\nA time is a number with ms, s, m or h, such as 500ms, 1s or 2m.\n\n")
    text_string(text, WATCH_EXIT_CODES)


cdef inline void watch_usage_row(Text *text, const WatchRow *row) noexcept nogil:
    """An option and its explanation, which is wrapped."""
    cdef const char *word = row.help
    cdef size_t begin = text.length
    cdef size_t column, length
    text_format(text, "  --%s", row.word)
    if row.value != NULL:
        text_format(text, " %s", row.value)
    column = text.length - begin
    if column >= HELP_COLUMN:
        text_string(text, "\n")
        column = 0
    while word[0]:
        length = 0
        while word[length] and word[length] != b' ':
            length += 1
        if column > HELP_COLUMN and column + 1 + length > HELP_WIDTH:
            text_string(text, "\n")
            column = 0
        if column <= HELP_COLUMN:
            while column < HELP_COLUMN:
                text_string(text, " ")
                column += 1
        else:
            text_string(text, " ")
            column += 1
        text_put(text, word, length)
        column += length
        word += length + (word[length] == b' ')
    text_string(text, "\n")

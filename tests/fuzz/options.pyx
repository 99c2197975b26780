"""A fuzz target (libFuzzer) for the options, by arguments and by variables of the environment.

For any of them: what is taken is within the range of its option, an address is the same after it was written and read
again, and what is wrong is said in one printable line that fits its buffer.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, strchr, strlen

from yinyang.core.cli.options cimport ACTION_ERROR, ACTION_HEALTHCHECK, ACTION_SERVE, options_parse, usage_message
from yinyang.core.config.config cimport (
    Config, KIND_ADDRESS, KIND_NUMBER, KIND_SECONDS, KIND_SWITCH, KIND_TEXT, KIND_WORD, MS_PER_SECOND, OPTION_COUNT,
    Option, option_table
)
from yinyang.core.os.address cimport Address, address_parse, text_address
from yinyang.core.text.buffer cimport Text, is_printable, text_fits, text_open

cdef extern from "<stdlib.h>" nogil:
    int clearenv()
    int putenv(char *variable)

cdef enum:
    ARGUMENTS_MAX = 32
    MESSAGE_MAX = 5120
    ADDRESS_MAX = 64


cdef void check_address(const char *given) noexcept nogil:
    cdef Address address, again
    cdef char words[ADDRESS_MAX]
    cdef Text text
    text_open(&text, words, ADDRESS_MAX - 1)
    if not address_parse(&address, given, 80):
        abort()
    text_address(&text, &address)
    if not text_fits(&text):
        abort()
    words[text.length] = 0
    if not address_parse(&again, words, 80) or memcmp(&again, &address, sizeof(Address)) != 0:
        abort()


cdef void check_option(const Config *config, int option) noexcept nogil:
    cdef const Option *row = &option_table[option]
    cdef const char *text = config.texts[option]
    cdef int number = config.numbers[option]
    cdef int unit = MS_PER_SECOND if row.kind == KIND_SECONDS else 1
    cdef int words = 0
    if row.kind == KIND_ADDRESS and text != NULL:
        check_address(text)
    elif row.kind == KIND_TEXT and text != NULL:
        if not is_printable(text, strlen(text)) or not <size_t>row.min <= strlen(text) <= <size_t>row.max:
            abort()
    elif row.kind == KIND_NUMBER or row.kind == KIND_SECONDS:
        if not row.min * unit <= number <= row.max * unit and number != row.number * unit:
            abort()
    elif row.kind == KIND_SWITCH:
        if number != 0 and number != 1:
            abort()
    elif row.kind == KIND_WORD:
        while row.words[words] != NULL:
            words += 1
        if not 0 <= number < words:
            abort()


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """Texts, each up to a NUL: arguments up to an empty one, then variables."""
    cdef char *copy = <char *>malloc(size + 1)
    cdef const char *arguments[ARGUMENTS_MAX]
    cdef char words[MESSAGE_MAX]
    cdef Text message
    cdef Config config
    cdef char *pos = copy
    cdef bint are_variables = False
    cdef int count = 0, action, option
    memcpy(copy, data, size)
    copy[size] = 0
    clearenv()
    while pos < copy + size:
        if not pos[0]:
            are_variables = True
        elif not are_variables and count < ARGUMENTS_MAX:
            arguments[count] = pos
            count += 1
        elif are_variables and strchr(pos, b'=') != NULL:
            putenv(pos)
        pos += strlen(pos) + 1
    text_open(&message, words, MESSAGE_MAX)
    action = options_parse(&config, count, arguments, &message)
    if not text_fits(&message) or not is_printable(words, message.length):
        abort()
    if action == ACTION_ERROR and message.length == 0:
        abort()
    if action == ACTION_SERVE or action == ACTION_HEALTHCHECK:
        for option in range(OPTION_COUNT):
            check_option(&config, option)
    text_open(&message, words, MESSAGE_MAX)
    usage_message(&message)
    if not text_fits(&message):
        abort()
    clearenv()
    free(copy)
    return 0

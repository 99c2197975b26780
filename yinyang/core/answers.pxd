"""The prebuilt answers: each one rendered before the first request, some as many copies in a row.

A run of equal answers to pipelined requests is sent straight from the copies. The 29 bytes of each Date are all that
changes, once a second. An answer is known by a number of one byte, and that number is all that a connection
remembers of what its client has not yet taken.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .calendar cimport Date, date_of
from .http1 cimport (
    Framing, METHOD_HEAD, SEEN_ASTERISK, SEEN_UNCLEAN, TARGET_KEPT, WRONG_COUNT, WRONG_METHOD_REFUSED
)
from .page cimport page_render
from .replica cimport Replica
from .system cimport ENOMEM, MAP_PRIVATE, map_memory, munmap
from .text cimport Text, string_at, text_format, text_measure, text_open, text_put, text_string

cdef extern from "errors.h" nogil:
    const unsigned short wrong_statuses[64]
    const char wrong_words[4096]

cdef extern from "words.h" nogil:
    const char *words_of_number(int number)

cdef extern from "routes.h" nogil:
    enum:
        ROUTE_PAGE
        ROUTE_EMPTY
        ROUTE_ALIVE
        ROUTE_WALL
        ROUTE_WHOAMI
        ROUTE_READY
        ROUTE_METRICS
        ROUTES_ALL
        ROUTES_PLAIN
    int route_of(const uint8_t *path, size_t length, int count)

cdef extern from "wall.h" nogil:
    enum:
        WALL_SIZE
    const char *wall_bytes "(const char *)wall"

cdef enum Form:  # a version of HTTP, and whether the connection stays open
    FORM_KEEP  # 1.1 says nothing
    FORM_CLOSE  # 1.1 says close
    FORM_OLD_CLOSE  # 1.0 says nothing
    FORM_OLD_KEEP  # 1.0 says keep-alive
    FORMS

cdef enum:  # in the order of the routes
    ANSWER_PAGE = 0  # + Form, and so on
    ANSWER_PAGE_HEAD = ANSWER_PAGE + FORMS
    ANSWER_EMPTY = ANSWER_PAGE_HEAD + FORMS
    ANSWER_EMPTY_HEAD = ANSWER_EMPTY + FORMS
    ANSWER_ALIVE = ANSWER_EMPTY_HEAD + FORMS
    ANSWER_ALIVE_HEAD = ANSWER_ALIVE + FORMS
    ANSWER_WALL = ANSWER_ALIVE_HEAD + FORMS  # in one form alone, as it is long
    ANSWER_WALL_HEAD
    ANSWER_REDIRECT  # from here on: not prebuilt, but rendered when they are due
    ANSWER_WHOAMI
    ANSWER_READY
    ANSWER_METRICS
    ANSWER_UNREADY
    ANSWER_WRONG  # + what is wrong
    ANSWER_WRONG_HEAD = ANSWER_WRONG + WRONG_COUNT
    ANSWERS = ANSWER_WRONG_HEAD + WRONG_COUNT
    PAGE_COPIES = 32
    DATE_LENGTH = 29
    WRONG_MOST = 256  # bytes of the body of an error

cdef struct Answer:
    uint32_t at  # where in the bytes
    uint32_t length
    uint32_t date  # where in the answer its Date is
    uint32_t copies  # how many stand in a row; 0 if it is not prebuilt

cdef struct Answers:
    const Replica *replica
    char *bytes
    size_t size
    int64_t second  # that the Dates tell
    Answer table[ANSWERS]


cdef inline int answers_open(Answers *answers, const Replica *replica) noexcept nogil:
    """Render everything: first to measure it, then into memory of that size. 0 or -errno. `replica` must stay."""
    cdef Text text
    answers.replica = replica
    text_measure(&text)
    answers_render(answers, &text)
    answers.size = text.length
    answers.bytes = <char *>map_memory(answers.size, MAP_PRIVATE)
    if answers.bytes == NULL:
        return -ENOMEM
    text_open(&text, answers.bytes, answers.size)
    answers_render(answers, &text)
    answers.second = -1
    return 0


cdef inline void answers_close(Answers *answers) noexcept nogil:
    if answers.bytes != NULL:
        munmap(answers.bytes, answers.size)
        answers.bytes = NULL


cdef inline void answers_render(Answers *answers, Text *text) noexcept nogil:
    """The page, to be copied into its answers, and then all of them."""
    cdef int form, wrong
    cdef size_t page
    page_render(text, answers.replica)
    page = text.length
    for form in range(<int>FORMS):
        answer_render(answers, text, ANSWER_PAGE + form, FORMS, 200, form, "Content-Type: text/html; charset=utf-8\r\n",
                      text.at, page)
        if form == FORM_KEEP:
            answer_repeat(answers, text, ANSWER_PAGE + form, PAGE_COPIES)
        answer_render(answers, text, ANSWER_EMPTY + form, FORMS, 200, form, "", "", 0)
        if not answers.replica.plain:
            answer_render(answers, text, ANSWER_ALIVE + form, FORMS, 200, form,
                          "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n", "ok\n", 3)
    if not answers.replica.plain:
        answer_render(answers, text, ANSWER_WALL, ANSWER_WALL_HEAD - ANSWER_WALL, 200, FORM_CLOSE,
                      "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n", wall_bytes, WALL_SIZE)
    for wrong in range(1, WRONG_COUNT):
        answer_wrong(answers, text, wrong)


cdef inline void answer_wrong(Answers *answers, Text *text, int wrong) noexcept nogil:
    """An error ends the connection, whatever its version."""
    cdef const char *fields = "Content-Type: text/plain; charset=utf-8\r\n"
    cdef char bytes[WRONG_MOST]
    cdef Text body
    if wrong == WRONG_METHOD_REFUSED:
        fields = ("Content-Type: text/plain; charset=utf-8\r\n"
                  "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
    text_open(&body, bytes, WRONG_MOST)
    text_format(&body, "%lu %s: %s\n", <uint64_t>wrong_statuses[wrong], words_of_number(wrong_statuses[wrong]),
                string_at(wrong_words, wrong - 1))
    answer_render(answers, text, ANSWER_WRONG + wrong, ANSWER_WRONG_HEAD - ANSWER_WRONG, wrong_statuses[wrong],
                  FORM_CLOSE, fields, bytes, body.length)


cdef inline void answer_render(Answers *answers, Text *text, int whole, int to_head, int status, int form,
                               const char *fields, const char *body, size_t length) noexcept nogil:
    """One answer, its Date to be filled in later. `to_head` numbers later is what HEAD gets, a shorter view of the same
    bytes."""
    cdef Answer *answer = &answers.table[whole]
    answer.at = <uint32_t>text.length
    answer.copies = 1
    text_format(text, "HTTP/1.%lu %lu %s\r\nDate: ", <uint64_t>(form < FORM_OLD_CLOSE), <uint64_t>status,
                words_of_number(status))
    answer.date = <uint32_t>text.length - answer.at
    text_format(text, "Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: %lu\r\n%s", <uint64_t>length, fields)
    head_end(text, form)
    answer.length = <uint32_t>text.length - answer.at
    answer[to_head] = answer[0]
    text_put(text, body, length)
    answer.length = <uint32_t>text.length - answer.at


cdef inline void answer_repeat(Answers *answers, Text *text, int whole, uint32_t copies) noexcept nogil:
    """Put copies behind the answer that is complete."""
    cdef Answer *answer = &answers.table[whole]
    cdef const char *first = text.at + answer.at if text.at != NULL else NULL
    answer.copies = copies
    while copies > 1:
        text_put(text, first, answer.length)
        copies -= 1


cdef inline void head_end(Text *text, int form) noexcept nogil:
    if form == FORM_CLOSE:
        text_string(text, "Connection: close\r\n")
    elif form == FORM_OLD_KEEP:
        text_string(text, "Connection: keep-alive\r\n")
    text_string(text, "\r\n")


# ---- answers that are rendered when asked ---------------------------------------------------------------------------

cdef inline void fresh_begin(Text *text, const Framing *f, int status, int64_t second, const char *type_,
                             const Text *body) noexcept nogil:
    """As far as the fields of its own."""
    cdef char date[DATE_LENGTH + 1]
    date_render(date, second)
    text_format(text, "HTTP/1.%lu %lu %s\r\nDate: %s\r\nContent-Length: %lu\r\nContent-Type: %s\r\n"
                "Cache-Control: no-store\r\n", <uint64_t>f.minor, <uint64_t>status, words_of_number(status),
                <const char *>date, <uint64_t>body.length, type_)


cdef inline void fresh_end(Text *text, const Framing *f, bint keep, const Text *body) noexcept nogil:
    head_end(text, form_of(f, keep))
    if f.method != METHOD_HEAD:
        text_put(text, body.at, body.length)


# ---- the date -----------------------------------------------------------------------------------------------------

cdef inline void date_render(char *at, int64_t second) noexcept nogil:
    """IMF-fixdate (RFC 9110 section 5.6.7), DATE_LENGTH bytes and a NUL. Not by gmtime_r(3): it may take a lock, and a
    worker may be the fork of a program whose other threads held it."""
    cdef const char *days = "Thu\0Fri\0Sat\0Sun\0Mon\0Tue\0Wed"
    cdef const char *months = "Jan\0Feb\0Mar\0Apr\0May\0Jun\0Jul\0Aug\0Sep\0Oct\0Nov\0Dec"
    cdef int64_t day = second // 86400
    cdef uint64_t left = <uint64_t>(second - day * 86400)
    cdef Date date = date_of(day)
    cdef Text text
    text_open(&text, at, DATE_LENGTH)
    text_format(&text, "%s, %02lu %s %lu %02lu:%02lu:%02lu GMT", days + 4 * (day % 7), <uint64_t>date.day,
                months + 4 * (date.month - 1), <uint64_t>date.year, left // 3600, left // 60 % 60, left % 60)
    at[DATE_LENGTH] = 0


cdef inline void answers_set_date(Answers *answers, int64_t second) noexcept nogil:
    """Make all answers tell this second."""
    cdef char date[DATE_LENGTH + 1]
    cdef const Answer *answer
    cdef char *at
    cdef char *end
    cdef uint32_t i
    if answers.second == second:
        return
    answers.second = second
    date_render(date, second)
    for i in range(<uint32_t>ANSWERS):
        answer = &answers.table[i]
        at = answers.bytes + answer.at
        end = at + answer.copies * answer.length
        while at != end:
            memcpy(at + answer.date, date, DATE_LENGTH)
            at += answer.length


# ---- which answer -------------------------------------------------------------------------------------------------

cdef inline int form_of(const Framing *f, bint keep) noexcept nogil:
    if f.minor:
        return FORM_KEEP if keep else FORM_CLOSE
    return FORM_OLD_KEEP if keep else FORM_OLD_CLOSE


cdef inline uint8_t answer_for(const Answers *answers, const Framing *f, const uint8_t *target,
                               bint keep) noexcept nogil:
    """The answer to a framed request; `target` has its first TARGET_KEPT bytes."""
    cdef int route = ROUTE_PAGE
    cdef bint head = f.method == METHOD_HEAD
    if f.seen & SEEN_ASTERISK:
        route = ROUTE_EMPTY
    elif f.seen & SEEN_UNCLEAN and f.target <= TARGET_KEPT:
        return ANSWER_REDIRECT
    elif f.path_end <= TARGET_KEPT:
        route = route_of(target + f.path, f.path_end - f.path, ROUTES_PLAIN if answers.replica.plain else ROUTES_ALL)
    if route >= ROUTE_WHOAMI:
        return <uint8_t>(ANSWER_WHOAMI + route - ROUTE_WHOAMI)
    if route == ROUTE_WALL:
        return <uint8_t>(ANSWER_WALL + head)
    return <uint8_t>((2 * route + head) * FORMS + form_of(f, keep))


cdef inline uint8_t answer_for_wrong(const Framing *f, int wrong) noexcept nogil:
    return <uint8_t>((ANSWER_WRONG_HEAD if f.method == METHOD_HEAD else ANSWER_WRONG) + wrong)


cdef inline bint answer_is_page(uint8_t answer) noexcept nogil:
    """Is a line logged for it?"""
    return answer < ANSWER_EMPTY


cdef inline bint answer_ends(uint8_t answer) noexcept nogil:
    """Does a good answer end the connection, whatever was asked for?"""
    return ANSWER_WALL <= answer < ANSWER_REDIRECT


cdef inline bint answer_is_rendered(uint8_t answer) noexcept nogil:
    return ANSWER_REDIRECT <= answer < ANSWER_WRONG

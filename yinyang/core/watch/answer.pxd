"""The answer to a request of the watch: HTTP/1 as a client reads it (RFC 9112), and the replica that it tells of."""

from libc.stdint cimport int64_t, uint8_t

cdef enum:
    ANSWER_MAX = 81920  # bytes of head and body that are kept

cdef enum AnswerState:
    ANSWER_MORE  # bytes are missing
    ANSWER_DONE
    ANSWER_NOT_HTTP
    ANSWER_TOO_LARGE  # for whoami, which has some hundred bytes
    ANSWER_CUT  # the connection was closed within it

cdef struct Span:  # bytes of an answer; NULL if there is none
    const char *bytes
    size_t length

cdef struct Answer:
    char *buffer  # of ANSWER_MAX bytes
    size_t length  # bytes that were received
    size_t head  # bytes of the head, when it is whole
    int status
    bint keeps_alive
    Span served_by
    Span version
    Span location
    Span body  # when it is done; chunks are joined in place
    # further fields are those of the parser

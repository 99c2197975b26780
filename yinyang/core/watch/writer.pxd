"""Writes texts that others have chosen into formats with characters of their own."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset, strlen

from ..text.buffer cimport Text, html_reference, llu, text_format, text_put, text_string
from ..verdict.words cimport FAILURE_KINDS, failure_words
from .sample cimport LABEL_MAX, Label
from .tally cimport Tally

cdef extern from "text.h" nogil:
    size_t utf8_length(const char *string)  # of the first character; 0 if there is none

cdef enum:
    UTF8_MAX = 4  # bytes of a character

cdef enum Form:
    FORM_PLAIN
    FORM_JSON  # within quotes; also within those of a label of Prometheus
    FORM_XML  # within an element or the quotes of an attribute
    FORM_COMMAND  # the message of a workflow command of GitHub

cdef struct Writer:
    Text *text
    int form


cdef inline const char *escape_of(int form, char byte) noexcept nogil:
    """What stands for a byte; NULL if it stands for itself."""
    if form == FORM_XML:
        return html_reference(byte)  # numeric for both kinds of quotes
    if form == FORM_JSON and byte == b'"':
        return '\\"'
    if form == FORM_JSON and byte == b"\\":
        return "\\\\"
    if form == FORM_COMMAND and byte == b"%":
        return "%25"
    return NULL


cdef inline size_t allowed_length(const char *bytes, const char *end) noexcept nogil:
    """The length of the character that comes next; 0 if it must not be written: a byte that is not UTF-8, a control
    character, or one of those that no XML can have (U+FFFE and U+FFFF). Three bytes behind the end may be read."""
    cdef const uint8_t *byte = <const uint8_t *>bytes
    cdef size_t length = utf8_length(bytes)
    if length > <size_t>(end - bytes) or byte[0] < 32 or byte[0] == 127:
        return 0
    if length == 2 and byte[0] == 0xc2 and byte[1] < 0xa0:  # U+0080 to U+009F
        return 0
    if length == 3 and byte[0] == 0xef and byte[1] == 0xbf and byte[2] >= 0xbe:
        return 0
    return length


cdef inline void write_bytes(const Writer *w, const char *bytes, size_t count) noexcept nogil:
    """Three bytes behind the last one may be read."""
    cdef const char *end = bytes + count
    cdef const char *escape
    cdef size_t length
    while bytes < end:
        length = allowed_length(bytes, end)
        escape = escape_of(w.form, bytes[0])
        if length == 0:
            text_string(w.text, "\xef\xbf\xbd")
        elif escape != NULL:
            text_string(w.text, escape)
        else:
            text_put(w.text, bytes, length)
        bytes += length if length else 1


cdef inline void write_string(const Writer *w, const char *string) noexcept nogil:
    write_bytes(w, string, strlen(string))


cdef inline void write_label(const Writer *w, const Label *label) noexcept nogil:
    """A copy is read, as nothing may lie behind the label."""
    cdef char bytes[LABEL_MAX + UTF8_MAX]
    memcpy(bytes, label.bytes, label.length)
    memset(bytes + label.length, 0, UTF8_MAX)
    write_bytes(w, bytes, label.length)


cdef inline void text_label(Text *text, const Label *label) noexcept nogil:
    text_put(text, label.bytes, label.length)


cdef inline void text_quoted_label(Text *text, const Label *label) noexcept nogil:
    """In quotes, as in JSON and in labels of Prometheus."""
    cdef Writer w
    w.text = text
    w.form = FORM_JSON
    text_string(text, '"')
    write_label(&w, label)
    text_string(text, '"')


cdef inline void text_failure_kind(Text *text, int kind) noexcept nogil:
    if 0 <= kind < FAILURE_KINDS:
        text_string(text, failure_words[kind][0])
    else:
        text_format(text, "status %llu", <llu>kind)


cdef inline void text_failures(Text *text, const Tally *t, const char *none) noexcept nogil:
    """The number of each kind, or that there is none."""
    cdef int i
    for i in range(t.failure_count):
        text_string(text, ", " if i else "")
        text_format(text, "%llu ", <llu>t.failures[i].count)
        text_failure_kind(text, t.failures[i].kind)
    if t.failure_count == 0:
        text_string(text, none)

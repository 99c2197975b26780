"""Writes texts that others have chosen into formats with characters of their own."""

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport strlen

from ..text.buffer cimport Text, html_reference, llu, text_format, text_put, text_string
from ..text.utf8 cimport utf8_next
from ..verdict.words cimport FAILURE_KINDS, failure_words
from .sample cimport Label
from .tally cimport Tally

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


cdef inline bint is_allowed(int32_t character) noexcept nogil:
    """Whether a character may be written: no byte that is not UTF-8 (-1), no control character, and none of those that
    no XML can have (U+FFFE and U+FFFF)."""
    return character >= 32 and not 127 <= character < 160 and character != 0xFFFE and character != 0xFFFF


cdef inline void write_bytes(const Writer *w, const char *bytes, size_t count) noexcept nogil:
    """With U+FFFD for each character that may not be written."""
    cdef const uint8_t *pos = <const uint8_t *>bytes
    cdef const uint8_t *end = pos + count
    cdef const uint8_t *begin
    cdef const char *escape
    while pos < end:
        begin = pos
        escape = escape_of(w.form, <char>begin[0])
        if not is_allowed(utf8_next(&pos, end)):
            text_string(w.text, "\xef\xbf\xbd")
        elif escape != NULL:
            text_string(w.text, escape)
        else:
            text_put(w.text, <const char *>begin, <size_t>(pos - begin))


cdef inline void write_string(const Writer *w, const char *string) noexcept nogil:
    write_bytes(w, string, strlen(string))


cdef inline void write_label(const Writer *w, const Label *label) noexcept nogil:
    write_bytes(w, label.bytes, label.length)


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

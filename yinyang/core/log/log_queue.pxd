"""The log of a program without Python: lines that are due, until its reader has taken them. What log.py is to Python.

Lines of one second are equal, so what is owed is a second, a message and how often: a few bytes for each second in
which the log took nothing. Writing never blocks; where it fails (the reader is gone, the disk is full), it is tried
again a second later.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memmove

from ..os.syscalls cimport ENOMEM, MAP_NORESERVE, MAP_PRIVATE, map_memory, monotonic_ms
from ..text.buffer cimport Text, text_open, text_put, text_string
from ..text.calendar cimport stamp_render
from .log_write cimport log_write
from .timezone cimport Timezone, timezone_offset, timezone_open

cdef enum:
    LOG_QUEUE_SIZE = 16 << 20  # bytes; when full, after a week or so, further pages count as those of the last second
    LINE_MAX = 1024  # bytes
    RETRY_DELAY = 1000  # ms

cdef struct LogEntry:  # and behind it, its message
    int64_t second
    uint64_t count
    uint32_t length  # of the message; 0: it is the log queue's own
    uint32_t size  # of all this, so that the next one is aligned

cdef struct LogQueue:
    int fd
    Timezone timezone
    Text pages  # the message of a page
    char *entries
    size_t first  # entries that is not wholly paid
    size_t last
    size_t end
    size_t offset  # bytes of the first line of the first entries that are written
    int64_t refused_until  # ms


cdef inline int log_queue_open(LogQueue *log, int fd) noexcept nogil:
    """Debts are to be paid to `fd`; the caller puts the message of a page into `pages`. 0 or -errno."""
    log.fd = fd
    timezone_open(&log.timezone)
    log.entries = <char *>map_memory(LOG_QUEUE_SIZE, MAP_PRIVATE | MAP_NORESERVE)
    return 0 if log.entries != NULL else -ENOMEM


cdef inline bint log_queue_has_pending(const LogQueue *log) noexcept nogil:
    return log.first != log.end


cdef inline LogEntry *log_queue_entry(const LogQueue *log, size_t pos) noexcept nogil:
    return <LogEntry *>(log.entries + pos)


cdef inline void log_queue_add_pages(LogQueue *log, int64_t second, uint64_t count) noexcept nogil:
    cdef LogEntry *last = log_queue_entry(log, log.last)
    cdef bint joins = log_queue_has_pending(log) and last.length == 0
    if joins and last.second == second:
        last.count += count
    elif not log_queue_add(log, second, count, NULL, 0) and joins:
        last.count += count


cdef inline void log_queue_add_message(LogQueue *log, int64_t second, const Text *message) noexcept nogil:
    log_queue_add(log, second, 1, message.data, <uint32_t>min(message.length, message.room))


cdef inline bint log_queue_add(LogQueue *log, int64_t second, uint64_t count, const char *message,
                               uint32_t length) noexcept nogil:
    """False if there is no room left."""
    cdef uint32_t size = (<uint32_t>sizeof(LogEntry) + length + 7) & ~<uint32_t>7
    cdef LogEntry *entry
    cdef Text text
    if not log_queue_has_pending(log):
        log.first = 0
        log.end = 0
    elif log.end + size > LOG_QUEUE_SIZE:
        memmove(log.entries, log.entries + log.first, log.end - log.first)
        log.last -= log.first
        log.end -= log.first
        log.first = 0
        if log.end + size > LOG_QUEUE_SIZE:
            return False
    entry = log_queue_entry(log, log.end)
    entry.second = second
    entry.count = count
    entry.length = length
    entry.size = size
    text_open(&text, <char *>(entry + 1), length)
    text_put(&text, message, length)
    log.last = log.end
    log.end += size
    return True


cdef inline void log_queue_flush(LogQueue *log) noexcept nogil:
    """Write what is owed, as far as it can be written now."""
    cdef char buffer[LINE_MAX]
    cdef LogEntry *entry
    cdef Text line
    cdef ssize_t written
    if not log_queue_has_pending(log) or monotonic_ms() < log.refused_until:
        return
    while log_queue_has_pending(log):
        entry = log_queue_entry(log, log.first)
        text_open(&line, buffer, LINE_MAX)
        log_queue_format_line(log, entry, &line)
        written = log_write(log.fd, buffer, line.length, entry.count, log.offset)
        if written < 0:
            log.refused_until = monotonic_ms() + RETRY_DELAY
        if written <= 0:
            return
        written += log.offset
        entry.count -= <uint64_t>written // line.length
        log.offset = <uint64_t>written % line.length
        if entry.count == 0:
            log.first += entry.size


cdef inline void log_queue_format_line(const LogQueue *log, const LogEntry *entry, Text *line) noexcept nogil:
    """As `2026/11/23 15:35:15 MESSAGE`, in local time."""
    stamp_render(line, "%llu/%02llu/%02llu %02llu:%02llu:%02llu ",
                 entry.second + timezone_offset(&log.timezone, entry.second))
    if entry.length:
        text_put(line, <const char *>(entry + 1), entry.length)
    else:
        text_put(line, log.pages.data, log.pages.length)
    if line.length >= line.room:
        line.length = line.room - 1
    text_string(line, "\n")


cdef inline int log_queue_wait_for(const LogQueue *log, int *delay) noexcept nogil:
    """The descriptor that must be writable before `log_queue_flush` is worth calling, or -1; and in `delay` the
    milliseconds that must pass, or -1."""
    cdef int64_t left = log.refused_until - monotonic_ms()
    delay[0] = -1
    if not log_queue_has_pending(log):
        return -1
    if left > 0:
        delay[0] = <int>left
        return -1
    return log.fd

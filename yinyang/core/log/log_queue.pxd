"""Lines of the log that wait until its reader takes them.

Lines of one second are equal, so an entry is a line and a count: about a hundred bytes for each second in which the log
took nothing. Writing never blocks. If it fails (the reader is gone, the disk is full), it is tried again a second
later, so a temporary fault loses no line.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove

from ..os.syscalls cimport ENOMEM, MAP_NORESERVE, MAP_PRIVATE, close, map_memory, monotonic_ms, munmap
from .log_write cimport LOG_WRITE_MAX, log_reopen, log_room, log_write

cdef enum:
    LOG_QUEUE_SIZE = 16 << 20  # bytes; full after about two days with a page in every second
    LOG_QUEUE_RESERVE = 4096  # bytes of it that only lines of pages may use
    RETRY_DELAY = 1000  # ms
    FLUSH_MAX = 4 << 20  # bytes in a row, as a file takes any number

cdef struct LogEntry:  # its line follows it
    uint64_t count  # copies of the line that are still to be written
    uint32_t length  # of the line
    uint32_t size  # of the entry and its line, so that the next entry is aligned
    bint are_pages

cdef struct LogQueue:
    int fd
    bint is_reopened  # the descriptor is this queue's own
    size_t room  # bytes that one call writes at most
    char *buffer  # for the bytes of one call
    char *entries
    size_t first  # position of the oldest entry
    size_t last  # position of the newest entry
    size_t end
    size_t offset  # bytes of the oldest entry's line that are written already
    int64_t refused_until  # ms: after an error, the next try is not earlier


cdef inline int log_queue_open(LogQueue *log, int fd) noexcept nogil:
    """Make an empty queue of lines for the descriptor `fd`; 0 or -errno. The caller sets `log` to zeros."""
    log.entries = <char *>map_memory(LOG_QUEUE_SIZE + <size_t>LOG_WRITE_MAX, MAP_PRIVATE | MAP_NORESERVE)
    if log.entries == NULL:
        return -ENOMEM
    log.buffer = log.entries + LOG_QUEUE_SIZE
    log.fd = log_reopen(fd)
    log.is_reopened = log.fd >= 0
    if not log.is_reopened:
        log.fd = fd
    log.room = log_room(log.fd, log.is_reopened)
    return 0


cdef inline void log_queue_close(LogQueue *log) noexcept nogil:
    """Drop what is pending."""
    if log.entries != NULL:
        munmap(log.entries, LOG_QUEUE_SIZE + <size_t>LOG_WRITE_MAX)
    if log.is_reopened:
        close(log.fd)
    log.is_reopened = False
    log.entries = NULL
    log.first = log.last = log.end = 0


cdef inline bint log_queue_has_pending(const LogQueue *log) noexcept nogil:
    return log.first != log.end


cdef inline LogEntry *log_queue_entry(const LogQueue *log, size_t pos) noexcept nogil:
    return <LogEntry *>(log.entries + pos)


cdef inline void log_queue_add(LogQueue *log, const char *line, size_t length, uint64_t count,
                               bint are_pages) noexcept nogil:
    """Have a line, with its line feed, written `count` times. When the queue is full, pages are counted in the last
    second that it has, and other lines are dropped."""
    cdef LogEntry *last = log_queue_entry(log, log.last)
    cdef bint has_last = log_queue_has_pending(log)
    if has_last and last.length == length and memcmp(last + 1, line, length) == 0:
        last.count += count
    elif log_queue_make_room(log, length, 0 if are_pages else LOG_QUEUE_RESERVE):
        log_queue_append(log, line, <uint32_t>length, count, are_pages)
    elif are_pages and has_last and log_queue_entry(log, log.last).are_pages:
        log_queue_entry(log, log.last).count += count


cdef inline size_t entry_size(size_t length) noexcept nogil:
    return (sizeof(LogEntry) + length + 7) & ~<size_t>7


cdef inline bint log_queue_make_room(LogQueue *log, size_t length, size_t reserve) noexcept nogil:
    """Whether there is room for one more line and `reserve` bytes after it. Entries are moved to the beginning for
    that."""
    cdef size_t limit = LOG_QUEUE_SIZE - reserve
    if length > LOG_QUEUE_SIZE // 2:
        return False
    if log.end + entry_size(length) > limit:
        memmove(log.entries, log.entries + log.first, log.end - log.first)
        log.last -= log.first
        log.end -= log.first
        log.first = 0
    return log.end + entry_size(length) <= limit


cdef inline void log_queue_append(LogQueue *log, const char *line, uint32_t length, uint64_t count,
                                  bint are_pages) noexcept nogil:
    cdef LogEntry *entry = log_queue_entry(log, log.end)
    entry.count = count
    entry.length = length
    entry.size = <uint32_t>entry_size(length)
    entry.are_pages = are_pages
    memcpy(entry + 1, line, length)
    log.last = log.end
    log.end += entry.size


cdef inline void log_queue_flush(LogQueue *log) noexcept nogil:
    """Write the pending lines that can be written now, at most FLUSH_MAX bytes."""
    cdef LogEntry *entry
    cdef size_t left = FLUSH_MAX
    cdef ssize_t written
    if not log_queue_has_pending(log) or monotonic_ms() < log.refused_until:
        return
    while log_queue_has_pending(log) and left:
        entry = log_queue_entry(log, log.first)
        written = log_write(log.fd, log.buffer, log.room, <const char *>(entry + 1), entry.length, entry.count,
                            log.offset)
        if written < 0:
            log.refused_until = monotonic_ms() + RETRY_DELAY
        if written <= 0:
            return
        left -= min(left, <size_t>written)
        log.offset += <size_t>written
        entry.count -= log.offset // entry.length
        log.offset %= entry.length
        if entry.count == 0:
            log.first += entry.size
    if not log_queue_has_pending(log):
        log.first = log.last = log.end = 0


cdef inline int log_queue_wait_for(const LogQueue *log, int *delay) noexcept nogil:
    """What `log_queue_flush` has to wait for: returns the descriptor that must be writable, or -1; `delay` is the
    milliseconds that must pass, or -1."""
    cdef int64_t left = log.refused_until - monotonic_ms()
    delay[0] = -1
    if not log_queue_has_pending(log):
        return -1
    if left > 0:
        delay[0] = <int>left
        return -1
    return log.fd

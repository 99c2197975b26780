"""The log of a program without Python: lines that are due, until its reader has taken them. What log.py is to Python.

Lines of one second are equal, so what is owed is a second, a message and how often: a few bytes for each second in
which the log took nothing. Writing never blocks; where it fails (the reader is gone, the disk is full), it is tried
again a second later.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memmove

from .calendar cimport stamp_render
from .lines cimport lines_write
from .system cimport ENOMEM, MAP_NORESERVE, MAP_PRIVATE, map_memory, monotonic_ms
from .text cimport Text, text_open, text_put, text_string
from .zone cimport Zone, zone_offset, zone_open

cdef enum:
    LEDGER_ROOM = 16 << 20  # bytes; when full, after a week or so, further pages count as those of the last second
    LINE_MOST = 1024  # bytes
    RETRY_AFTER = 1000  # ms

cdef struct Debt:  # and behind it, its message
    int64_t second
    uint64_t count
    uint32_t length  # of the message; 0: it is the ledger's own
    uint32_t size  # of all this, so that the next one is aligned

cdef struct Ledger:
    int fd
    Zone zone
    Text pages  # the message of a page
    char *debts
    size_t first  # debt that is not wholly paid
    size_t last
    size_t end
    size_t offset  # bytes of the first line of the first debt that are written
    int64_t refused_until  # ms


cdef inline int ledger_open(Ledger *ledger, int fd) noexcept nogil:
    """Debts are to be paid to `fd`; the caller puts the message of a page into `pages`. 0 or -errno."""
    ledger.fd = fd
    zone_open(&ledger.zone)
    ledger.debts = <char *>map_memory(LEDGER_ROOM, MAP_PRIVATE | MAP_NORESERVE)
    return 0 if ledger.debts != NULL else -ENOMEM


cdef inline bint ledger_owes(const Ledger *ledger) noexcept nogil:
    return ledger.first != ledger.end


cdef inline Debt *ledger_debt(const Ledger *ledger, size_t at) noexcept nogil:
    return <Debt *>(ledger.debts + at)


cdef inline void ledger_add_pages(Ledger *ledger, int64_t second, uint64_t count) noexcept nogil:
    cdef Debt *last = ledger_debt(ledger, ledger.last)
    cdef bint joins = ledger_owes(ledger) and last.length == 0
    if joins and last.second == second:
        last.count += count
    elif not ledger_add(ledger, second, count, NULL, 0) and joins:
        last.count += count


cdef inline void ledger_add_message(Ledger *ledger, int64_t second, const Text *message) noexcept nogil:
    ledger_add(ledger, second, 1, message.at, <uint32_t>min(message.length, message.room))


cdef inline bint ledger_add(Ledger *ledger, int64_t second, uint64_t count, const char *message,
                            uint32_t length) noexcept nogil:
    """False if there is no room left."""
    cdef uint32_t size = (<uint32_t>sizeof(Debt) + length + 7) & ~<uint32_t>7
    cdef Debt *debt
    cdef Text text
    if not ledger_owes(ledger):
        ledger.first = 0
        ledger.end = 0
    elif ledger.end + size > LEDGER_ROOM:
        memmove(ledger.debts, ledger.debts + ledger.first, ledger.end - ledger.first)
        ledger.last -= ledger.first
        ledger.end -= ledger.first
        ledger.first = 0
        if ledger.end + size > LEDGER_ROOM:
            return False
    debt = ledger_debt(ledger, ledger.end)
    debt.second = second
    debt.count = count
    debt.length = length
    debt.size = size
    text_open(&text, <char *>(debt + 1), length)
    text_put(&text, message, length)
    ledger.last = ledger.end
    ledger.end += size
    return True


cdef inline void ledger_pay(Ledger *ledger) noexcept nogil:
    """Write what is owed, as far as it can be written now."""
    cdef char buffer[LINE_MOST]
    cdef Debt *debt
    cdef Text line
    cdef ssize_t written
    if not ledger_owes(ledger) or monotonic_ms() < ledger.refused_until:
        return
    while ledger_owes(ledger):
        debt = ledger_debt(ledger, ledger.first)
        text_open(&line, buffer, LINE_MOST)
        ledger_line(ledger, debt, &line)
        written = lines_write(ledger.fd, buffer, line.length, debt.count, ledger.offset)
        if written < 0:
            ledger.refused_until = monotonic_ms() + RETRY_AFTER
        if written <= 0:
            return
        written += ledger.offset
        debt.count -= <uint64_t>written // line.length
        ledger.offset = <uint64_t>written % line.length
        if debt.count == 0:
            ledger.first += debt.size


cdef inline void ledger_line(const Ledger *ledger, const Debt *debt, Text *line) noexcept nogil:
    """As `2026/11/23 15:35:15 MESSAGE`, in local time."""
    stamp_render(line, "%lu/%02lu/%02lu %02lu:%02lu:%02lu ", debt.second + zone_offset(&ledger.zone, debt.second))
    if debt.length:
        text_put(line, <const char *>(debt + 1), debt.length)
    else:
        text_put(line, ledger.pages.at, ledger.pages.length)
    if line.length >= line.room:
        line.length = line.room - 1
    text_string(line, "\n")


cdef inline int ledger_wants(const Ledger *ledger, int *most) noexcept nogil:
    """The descriptor that must be writable before `ledger_pay` is worth calling, or -1; and in `most` the milliseconds
    that must pass, or -1."""
    cdef int64_t left = ledger.refused_until - monotonic_ms()
    most[0] = -1
    if not ledger_owes(ledger):
        return -1
    if left > 0:
        most[0] = <int>left
        return -1
    return ledger.fd

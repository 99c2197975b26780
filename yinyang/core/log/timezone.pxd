"""Local time by TZ or /etc/localtime, as localtime(3) reads them.

The C library is not used: musl reads a rule without dates, such as TZ=EST5EDT, as summer time all year.
RFC 9636 describes the files (TZif), and POSIX.1-2024, Base Definitions, 8.3, the rules (TZ).
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp

from ..os.syscalls cimport (
    MAP_PRIVATE, O_CLOEXEC, O_NONBLOCK, O_RDONLY, close, getenv, map_memory, munmap, open, read
)
from ..text.buffer cimport Text, number_parse, text_fits, text_open, text_string
from ..text.calendar cimport DAY_SECONDS, date_of, days_until

cdef enum:
    TZIF_HEADER = 44
    TZIF_MAX = 1 << 20

cdef struct Timezone:
    const uint8_t *file  # as in TZif, or NULL
    int64_t size
    const char *rule  # as in TZ; ends with a NUL or a line feed; NULL for UTC


cdef inline void timezone_open(Timezone *timezone) noexcept nogil:
    """Read TZ, or /etc/localtime if TZ is not set. UTC if the value is not understood."""
    cdef char path[256]
    cdef Text text
    cdef const char *name = getenv("TZ")
    text_open(&text, path, sizeof(path) - 1)
    timezone.file = NULL
    timezone.rule = NULL
    if name == NULL:
        name = "/etc/localtime"
    if name[0] == b':':
        name += 1
    if name[0] != b'/':
        text_string(&text, "/usr/share/zoneinfo/")
    text_string(&text, name)
    if not text_fits(&text):
        return
    path[text.length] = 0
    if not timezone_open_file(timezone, path):
        timezone.rule = name


cdef inline void timezone_close(Timezone *timezone) noexcept nogil:
    if timezone.file != NULL:
        munmap(<void *>timezone.file, TZIF_MAX)
    timezone.file = NULL


cdef inline bint timezone_open_file(Timezone *timezone, const char *path) noexcept nogil:
    """Read the file. It is not mapped, because somebody may shorten it while the server runs."""
    cdef int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    cdef uint8_t *file
    if fd < 0:
        return False
    file = <uint8_t *>map_memory(TZIF_MAX, MAP_PRIVATE)
    timezone.size = file_read(fd, file) if file != NULL else 0
    close(fd)
    if TZIF_HEADER < timezone.size < TZIF_MAX and memcmp(file, "TZif", 4) == 0:
        timezone.file = file
        return True
    if file != NULL:
        munmap(file, TZIF_MAX)
    return False


cdef inline int64_t file_read(int fd, uint8_t *bytes) noexcept nogil:
    """Read at most TZIF_MAX bytes of a file, and return their number."""
    cdef int64_t size = 0
    cdef ssize_t part = 1
    while part > 0 and size < TZIF_MAX:
        part = read(fd, bytes + size, <size_t>(TZIF_MAX - size))
        size += max(part, <ssize_t>0)
    return size


cdef inline int64_t timezone_offset(const Timezone *timezone, int64_t second) noexcept nogil:
    """The seconds by which local time is ahead of UTC, at a second since 1970."""
    cdef const char *rule = timezone.rule
    cdef int64_t offset = 0
    if timezone.file != NULL and tzif_offset(timezone, second, &offset, &rule) or rule == NULL:
        return offset
    return rule_offset(rule, second)


# ---- files --------------------------------------------------------------------------------------------------------

cdef inline uint32_t big_endian(const uint8_t *pos) noexcept nogil:
    return <uint32_t>pos[0] << 24 | <uint32_t>pos[1] << 16 | <uint32_t>pos[2] << 8 | pos[3]


cdef inline int64_t time_at(const uint8_t *pos) noexcept nogil:
    return <int64_t>(<uint64_t>big_endian(pos) << 32 | big_endian(pos + 4))


cdef inline int64_t tzif_block(const uint8_t *header, int64_t time_size) noexcept nogil:
    """The size of the data after a header."""
    cdef int64_t times = big_endian(header + 32)
    return (times * (time_size + 1) + <int64_t>big_endian(header + 36) * 6 + big_endian(header + 40)
            + <int64_t>big_endian(header + 28) * (time_size + 4) + big_endian(header + 24) + big_endian(header + 20))


cdef inline bint tzif_offset(const Timezone *timezone, int64_t second, int64_t *offset,
                             const char **rule) noexcept nogil:
    """True if the table of a file has the offset; otherwise its rule has it, unless that is NULL."""
    cdef const uint8_t *end = timezone.file + timezone.size
    cdef const uint8_t *header = timezone.file + TZIF_HEADER
    cdef const uint8_t *types
    cdef int64_t skipped = tzif_block(timezone.file, 4)
    cdef uint32_t count, i
    cdef uint8_t kind = 0
    if skipped > timezone.size - 2 * TZIF_HEADER:
        return False
    header += skipped
    skipped = tzif_block(header, 8)
    if skipped > end - header - TZIF_HEADER - 1:
        return False
    count = big_endian(header + 32)
    rule[0] = <const char *>header + TZIF_HEADER + skipped + 1  # behind a line feed
    header += TZIF_HEADER
    if count == 0 or second >= time_at(header + 8 * (count - 1)):
        if rule[0][0] != b'\n':
            return False
    i = count
    while i and second < time_at(header + 8 * (i - 1)):
        i -= 1
    if i:
        kind = header[8 * count + i - 1]
    types = header + 9 * count + 6 * kind
    if types + 4 > end:
        return False
    offset[0] = <int32_t>big_endian(types)
    return True


# ---- rules --------------------------------------------------------------------------------------------------------

cdef inline const char *name_end(const char *pos) noexcept nogil:
    """The end of the name of a zone: letters, or any text in angle brackets."""
    if pos[0] == b'<':
        while pos[0] and pos[0] != b'>':
            pos += 1
        return pos + 1 if pos[0] else pos
    while b'a' <= pos[0] | 32 <= b'z':
        pos += 1
    return pos


cdef inline int64_t rule_number(const char **pos, int64_t least, int64_t most) noexcept nogil:
    """The number at *pos within these limits, which are from POSIX; `least` if there is none."""
    return min(max(number_parse(pos), least), most)


cdef inline int64_t clock_parse(const char **pos) noexcept nogil:
    """[+-]hh[:mm[:ss]] in seconds."""
    cdef bint minus = pos[0][0] == b'-'
    cdef int64_t unit = 3600
    cdef int64_t seconds = 0
    if minus or pos[0][0] == b'+':
        pos[0] += 1
    while True:
        seconds += rule_number(pos, 0, 167 if unit == 3600 else 59) * unit
        unit //= 60
        if unit == 0 or pos[0][0] != b':':
            return -seconds if minus else seconds
        pos[0] += 1


cdef inline int64_t change_parse(const char **pos, int year) noexcept nogil:
    """,date[/time] of a change in a year: the seconds since 1970 in local time."""
    cdef int64_t first = days_until(year, 1, 1)
    cdef int64_t day
    cdef int month
    cdef int64_t week
    pos[0] += pos[0][0] == b','  # a rule may end before its second change
    if pos[0][0] == b'M':  # month, week (5 is the last), day of the week
        pos[0] += 1
        month = <int>rule_number(pos, 1, 12)
        pos[0] += pos[0][0] == b'.'
        week = rule_number(pos, 1, 5)
        pos[0] += pos[0][0] == b'.'
        first = days_until(year, month, 1)
        day = first + (rule_number(pos, 0, 6) - (first + 4) % 7 + 7) % 7 + 7 * (week - 1)
        if date_of(day).month != month:
            day -= 7
    elif pos[0][0] == b'J':  # without a leap day, from 1
        pos[0] += 1
        day = rule_number(pos, 1, 365)
        day += first - (day < 60 or days_until(year, 3, 1) - first == 59)
    else:
        day = first + rule_number(pos, 0, 365)
    if pos[0][0] != b'/':
        return day * DAY_SECONDS + 2 * 3600
    pos[0] += 1
    return day * DAY_SECONDS + clock_parse(pos)


cdef inline int64_t rule_offset(const char *rule, int64_t second) noexcept nogil:
    """The offset by a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`."""
    cdef const char *pos = name_end(rule)
    cdef int64_t standard, summer, begin, end
    cdef int year
    if not (pos[0] == b'-' or pos[0] == b'+' or 48 <= pos[0] <= 57):
        return 0
    standard = -clock_parse(&pos)
    if pos[0] == 0 or pos[0] == b'\n':
        return standard
    summer = standard + 3600
    pos = name_end(pos)
    if pos[0] != b',' and pos[0] and pos[0] != b'\n':
        summer = -clock_parse(&pos)
    if pos[0] != b',':
        pos = ",M3.2.0,M11.1.0"  # as nearly all C libraries do
    year = date_of((second + standard) // DAY_SECONDS).year
    begin = change_parse(&pos, year) - standard
    end = change_parse(&pos, year) - summer
    if begin < end:
        return summer if begin <= second < end else standard
    return standard if end <= second < begin else summer

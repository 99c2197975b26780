"""A line of the log, as `2026/11/23 15:35:15 MESSAGE`, in local time."""

from libc.stdint cimport int64_t

from ..text.buffer cimport Text, llu, text_format, text_put, text_string

cdef extern from "<time.h>" nogil:
    ctypedef long long time_t
    struct tm:
        int tm_year  # since 1900
        int tm_mon  # from 0
        int tm_mday
        int tm_hour
        int tm_min
        int tm_sec
    void tzset()
    tm *localtime_r(const time_t *second, tm *fields)


cdef inline void log_line_prepare() noexcept nogil:
    """Read the time zone, from TZ or /etc/localtime, while files can still be opened."""
    tzset()


cdef inline void log_line_render(Text *line, int64_t second, const Text *message) noexcept nogil:
    """With its line feed, also if the message has to be cut off."""
    cdef time_t moment = <time_t>second
    cdef tm fields
    localtime_r(&moment, &fields)
    text_format(line, "%llu/%02llu/%02llu %02llu:%02llu:%02llu ", <llu>fields.tm_year + 1900, <llu>fields.tm_mon + 1,
                <llu>fields.tm_mday, <llu>fields.tm_hour, <llu>fields.tm_min, <llu>fields.tm_sec)
    text_put(line, message.data, min(message.length, message.room))
    line.length = min(line.length, line.room - 1)
    text_string(line, "\n")

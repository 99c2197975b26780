"""Dates of the Gregorian calendar, to and from days since 1970, and their formats.

gmtime_r(3) is not used: it may take a lock, which another thread of the program may have held when it forked a worker.
"""

from libc.stdint cimport int64_t

from .buffer cimport Text, llu, text_format, text_open

cdef extern from "calendar.h" nogil:
    const char *const day_names[7]
    const char *const month_names[12]

cdef enum:
    DAY_SECONDS = 24 * 60 * 60
    HTTP_DATE_LENGTH = 29

cdef struct Date:
    int year
    int month  # 1 to 12
    int day  # 1 to 31


cdef inline Date date_of(int64_t days) noexcept nogil:
    """The date of a day since 1970, from the year 0 on."""
    # years begin on 1 March here, so that a leap day comes last; an era is 400 years
    cdef int64_t shifted = days + 719468
    cdef int era = <int>(shifted // 146097)
    cdef int day_of_era = <int>(shifted % 146097)
    cdef int year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    cdef int day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    cdef int month = (5 * day_of_year + 2) // 153
    cdef Date date
    date.day = day_of_year - (153 * month + 2) // 5 + 1
    date.month = month + 3 if month < 10 else month - 9
    date.year = era * 400 + year_of_era + (month >= 10)
    return date


cdef inline int64_t days_until(int year, int month, int day) noexcept nogil:
    """The inverse of `date_of`."""
    cdef int shifted = year - (month <= 2)
    cdef int era = shifted // 400
    cdef int year_of_era = shifted % 400
    cdef int day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return <int64_t>era * 146097 + 365 * year_of_era + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


cdef inline void stamp_render(Text *text, const char *template, int64_t second) noexcept nogil:
    """Append a date and a time, by a template for year, month, day, hour, minute and second."""
    cdef Date date = date_of(second // DAY_SECONDS)
    cdef llu left = <llu>(second % DAY_SECONDS)
    text_format(text, template, <llu>date.year, <llu>date.month, <llu>date.day, left // 3600,
                left // 60 % 60, left % 60)


cdef inline void http_date_render(char *pos, int64_t second) noexcept nogil:
    """An IMF-fixdate (RFC 9110 section 5.6.7): HTTP_DATE_LENGTH bytes and a NUL."""
    cdef int64_t day = second // DAY_SECONDS
    cdef llu left = <llu>(second % DAY_SECONDS)
    cdef Date date = date_of(day)
    cdef Text text
    text_open(&text, pos, HTTP_DATE_LENGTH)
    text_format(&text, "%s, %02llu %s %llu %02llu:%02llu:%02llu GMT", day_names[day % 7], <llu>date.day,
                month_names[date.month - 1], <llu>date.year, left // 3600, left // 60 % 60, left % 60)
    pos[HTTP_DATE_LENGTH] = 0

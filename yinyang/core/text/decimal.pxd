"""Decimal fractions in text, without printf(3).

Halves are rounded away from 0. There is never an exponent: 1234.5 with 3 significant digits is 1230. What is no number,
or is out of range, is written as ?, and in JSON as null.
"""

from libc.math cimport floor
from libc.stdint cimport uint64_t

from .buffer cimport Text, text_number, text_put, text_string

cdef extern from *:
    const double DECIMAL_LIMIT "1e15"  # numbers are smaller, so that a double has all digits before the point

cdef enum:
    DECIMALS_MAX = 15  # behind the point
    JSON_PLACES = 6


cdef inline bint is_decimal(double number) noexcept nogil:
    """Whether it can be written; not a number (NaN) is smaller than nothing."""
    return -DECIMAL_LIMIT < number < DECIMAL_LIMIT


cdef inline uint64_t power_of_ten(int exponent) noexcept nogil:
    """For exponents from 0 to 19."""
    cdef uint64_t power = 1
    while exponent > 0:
        power *= 10
        exponent -= 1
    return power


cdef inline void text_decimal(Text *text, double number, int places) noexcept nogil:
    """With exactly so many places, at most DECIMALS_MAX, as %.*f of printf(3) has it."""
    text_fraction(text, number, places, False)


cdef inline void text_significant(Text *text, double number, int digits) noexcept nogil:
    """With so many significant digits, at most DECIMALS_MAX, and no zeros at the end of a fraction."""
    cdef double size = abs(number)
    cdef double unit
    cdef int places = digits - 1
    if not is_decimal(number):
        text_string(text, "?")
        return
    while size >= 10:
        size /= 10
        places -= 1
    while 0 < size < 1 and places < DECIMALS_MAX:
        size *= 10
        places += 1
    if places < 0:
        unit = <double>power_of_ten(-places)
        number = floor(abs(number) / unit + 0.5) * unit * (-1 if number < 0 else 1)
    text_fraction(text, number, max(places, 0), True)


cdef inline void text_json_number(Text *text, double number) noexcept nogil:
    """With up to JSON_PLACES places and no zeros at the end of them; null if JSON cannot have it."""
    if is_decimal(number):
        text_fraction(text, number, JSON_PLACES, True)
    else:
        text_string(text, "null")


cdef inline void text_fraction(Text *text, double number, int places, bint is_trimmed) noexcept nogil:
    cdef uint64_t unit = power_of_ten(places)
    cdef uint64_t whole, part
    if not is_decimal(number):
        text_string(text, "?")
        return
    whole = <uint64_t>abs(number)
    part = <uint64_t>((abs(number) - <double>whole) * <double>unit + 0.5)
    if part >= unit:
        part -= unit
        whole += 1
    if number < 0 and (whole or part):
        text_string(text, "-")
    text_number(text, whole)
    if places and (part or not is_trimmed):
        text_places(text, part, places, is_trimmed)


cdef inline void text_places(Text *text, uint64_t part, int places, bint is_trimmed) noexcept nogil:
    """The point, and the digits of a part that are behind it."""
    cdef char digits[DECIMALS_MAX]
    cdef int i
    for i in range(places):
        digits[places - 1 - i] = <char>(48 + part % 10)
        part //= 10
    while is_trimmed and places and digits[places - 1] == 48:
        places -= 1
    text_string(text, ".")
    text_put(text, digits, places)

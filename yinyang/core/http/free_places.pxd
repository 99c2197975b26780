"""Which of some places in a table are free."""

from libc.stdint cimport uint16_t

cdef enum:
    PLACES_MAX = 512

cdef struct FreePlaces:
    uint16_t count
    uint16_t numbers[PLACES_MAX]  # of the free ones


cdef inline void free_places_open(FreePlaces *free, uint16_t count) noexcept nogil:
    """All of `count` places are free, which is at most PLACES_MAX; the lowest one is taken first."""
    free.count = 0
    while free.count < count:
        free.numbers[free.count] = count - 1 - free.count
        free.count += 1


cdef inline uint16_t free_places_take(FreePlaces *free) noexcept nogil:
    """The number of a place that was free. The caller has seen that there is one."""
    free.count -= 1
    return free.numbers[free.count]


cdef inline void free_places_give_back(FreePlaces *free, uint16_t number) noexcept nogil:
    free.numbers[free.count] = number
    free.count += 1

"""How many pages were served in which second: what a worker tells, and the parent turns into lines of the log.

A ring in shared memory with one writer (the worker) and one reader (the parent). A slot is a second and a count; the
newest one still grows while it is read, so the reader remembers how much of it it has taken. When the parent has not
read for as many seconds as there are slots, further pages join the newest slot: counted, with an older second.
"""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "atomic.h" nogil:
    uint64_t atomic_get(const uint64_t *place)
    void atomic_set(uint64_t *place, uint64_t value)
    uint64_t atomic_observe(const uint64_t *place)
    void atomic_publish(uint64_t *place, uint64_t value)

cdef enum:
    JOURNAL_SLOTS = 64  # a power of two

cdef struct Slot:
    int64_t second
    uint64_t count

cdef struct Journal:
    uint64_t newest  # number of the slot that grows; slots are numbered on and on
    uint64_t oldest  # number of the first slot that is not wholly taken
    uint64_t taken  # of the oldest slot; the reader's own
    Slot slots[JOURNAL_SLOTS]


cdef inline Slot *journal_slot(Journal *journal, uint64_t number) noexcept nogil:
    return &journal.slots[number & (JOURNAL_SLOTS - 1)]


cdef inline void journal_add(Journal *journal, int64_t second, uint64_t count) noexcept nogil:
    """The writer's side."""
    cdef uint64_t newest = journal.newest
    cdef Slot *slot = journal_slot(journal, newest)
    if slot.second != second and newest - atomic_observe(&journal.oldest) < JOURNAL_SLOTS - 1:
        newest += 1
        slot = journal_slot(journal, newest)
        slot.second = second
        atomic_set(&slot.count, 0)
        atomic_publish(&journal.newest, newest)
    atomic_set(&slot.count, slot.count + count)


cdef inline bint journal_has_more(Journal *journal) noexcept nogil:
    """The reader's side: is there anything to take?"""
    cdef uint64_t newest = atomic_observe(&journal.newest)
    return newest != journal.oldest or atomic_get(&journal_slot(journal, newest).count) != journal.taken


cdef inline uint64_t journal_take(Journal *journal, int64_t *second) noexcept nogil:
    """The reader's side: pages of the oldest second that has any, taken out; 0 if there is nothing."""
    cdef uint64_t newest = atomic_observe(&journal.newest)
    cdef uint64_t count
    cdef Slot *slot
    while True:
        slot = journal_slot(journal, journal.oldest)
        second[0] = slot.second
        count = atomic_get(&slot.count) - journal.taken
        if journal.oldest == newest:
            journal.taken += count
            return count
        journal.taken = 0
        atomic_publish(&journal.oldest, journal.oldest + 1)
        if count:
            return count

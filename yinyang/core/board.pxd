"""The memory that the parent and its workers share: a seat for each worker, and what holds for all."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from .answers cimport ANSWERS
from .journal cimport Journal, journal_has_more
from .system cimport MAP_SHARED, map_memory, munmap, wall_second

cdef extern from "atomic.h" nogil:
    uint32_t get "atomic_get"(const uint32_t *place)
    uint64_t get_count "atomic_get"(const uint64_t *place)
    int64_t get_moment "atomic_get"(const int64_t *place)
    uint32_t swap "atomic_swap"(uint32_t *place, uint32_t value)
    void barrier "atomic_barrier"()

cdef enum:
    GUARD_ENTERED = 1 << 16

cdef enum Phase:
    PHASE_SERVE
    PHASE_DRAIN  # every answer is the last one on its connection
    PHASE_LAST  # and no connection comes any more

cdef struct Seat:  # written by its worker alone, but for what the journal says otherwise
    uint64_t open  # connections
    uint64_t accepted  # connections, ever
    uint64_t pages  # ever
    uint64_t guards  # GUARD_ENTERED, and of the sandbox those that hold, once the worker has entered it
    int64_t ready_from  # ms; written by the parent: from then on it serves; INT64_MAX: it does not
    uint64_t apart[3]  # keeps the counters of two workers out of one cache line
    uint64_t answered[ANSWERS]  # ever, by the number of the answer; pages are counted above alone
    Journal journal

cdef struct Counts:  # as in a Seat
    uint64_t pages
    uint64_t accepted
    uint64_t open

cdef struct Board:
    uint32_t asleep  # the parent waits, and wants to be rung for the next page
    uint32_t phase
    uint32_t workers
    uint32_t apart
    int64_t started  # s of the wall clock
    uint64_t apart_too[5]
    Seat seats[1]  # `workers` of them


cdef inline size_t board_size(int workers) noexcept nogil:
    return sizeof(Board) + (workers - 1) * sizeof(Seat)


cdef inline Board *board_open(int workers) noexcept nogil:
    """A board of empty seats, or NULL."""
    cdef Board *board = <Board *>map_memory(board_size(workers), MAP_SHARED)
    if board != NULL:
        board.workers = workers
        board.started = wall_second()
    return board


cdef inline void board_close(Board *board) noexcept nogil:
    if board != NULL:
        munmap(board, board_size(board.workers))


cdef inline bint board_has_news(Board *board) noexcept nogil:
    cdef uint32_t i
    for i in range(board.workers):
        if journal_has_more(&board.seats[i].journal):
            return True
    return False


cdef inline uint32_t board_ready(const Board *board, int64_t now) noexcept nogil:
    """How many workers serve, and have not just been restarted for the second time in a row."""
    cdef uint32_t ready = 0
    cdef uint32_t i
    for i in range(board.workers):
        ready += get_moment(&board.seats[i].ready_from) <= now
    return ready


cdef inline Counts board_counts(const Board *board) noexcept nogil:
    """Over all workers."""
    cdef Counts counts
    cdef uint32_t i
    counts.pages = 0
    counts.accepted = 0
    counts.open = 0
    for i in range(board.workers):
        counts.pages += get_count(&board.seats[i].pages)
        counts.accepted += get_count(&board.seats[i].accepted)
        counts.open += get_count(&board.seats[i].open)
    return counts


cdef inline bint board_sleep(Board *board) noexcept nogil:
    """The parent is about to wait without end. False if it must not, as there is news already.

    Either the worker sees the flag, or the parent sees the news: both write first and read after a barrier."""
    swap(&board.asleep, 1)
    barrier()
    if board_has_news(board):
        swap(&board.asleep, 0)
        return False
    return True


cdef inline void board_still_sleeps(Board *board) noexcept nogil:
    """After board_must_wake, when ringing failed."""
    swap(&board.asleep, 1)


cdef inline bint board_must_wake(Board *board) noexcept nogil:
    """A worker has written news: is it the one that must ring?"""
    barrier()
    return get(&board.asleep) != 0 and swap(&board.asleep, 0) != 0

"""How many pages were served in which second: a worker counts them, and the parent turns them into lines of the log.

A ring in shared memory with one writer (the worker) and one reader (the parent). A slot is a second and a count. The
newest slot still grows while it is read, so the reader remembers how much of it it has taken. When the parent has not
read for as many seconds as there are slots, further pages are added to the newest slot: counted, with an older second.
"""

from libc.stdint cimport int64_t, uint64_t

from ..os.atomic cimport atomic_get_u64, atomic_observe_u64, atomic_publish_u64, atomic_set_u64

cdef enum:
    PAGE_RING_SLOTS = 64  # a power of two

cdef struct RingSlot:
    int64_t second
    uint64_t count

cdef struct PageRing:
    uint64_t newest  # number of the slot that grows; numbers go on and on, and the ring has room for the last 64
    uint64_t oldest  # number of the first slot that is not wholly taken
    uint64_t taken  # of the oldest slot; the reader's own
    RingSlot slots[PAGE_RING_SLOTS]


cdef inline RingSlot *page_ring_slot(PageRing *ring, uint64_t number) noexcept nogil:
    return &ring.slots[number & (PAGE_RING_SLOTS - 1)]


# ---- the writer's side --------------------------------------------------------------------------------------------

cdef inline void page_ring_add(PageRing *ring, int64_t second, uint64_t count) noexcept nogil:
    cdef uint64_t newest = ring.newest
    cdef RingSlot *slot = page_ring_slot(ring, newest)
    if slot.second != second and newest - atomic_observe_u64(&ring.oldest) < PAGE_RING_SLOTS - 1:
        newest += 1
        slot = page_ring_slot(ring, newest)
        slot.second = second
        atomic_set_u64(&slot.count, 0)
        atomic_publish_u64(&ring.newest, newest)
    atomic_set_u64(&slot.count, slot.count + count)


# ---- the reader's side --------------------------------------------------------------------------------------------

cdef inline bint page_ring_has_more(PageRing *ring) noexcept nogil:
    """Is there anything to take?"""
    cdef uint64_t newest = atomic_observe_u64(&ring.newest)
    return newest != ring.oldest or atomic_get_u64(&page_ring_slot(ring, newest).count) != ring.taken


cdef inline bint page_ring_peek(PageRing *ring, int64_t *second) noexcept nogil:
    """The oldest second of which there are pages to take; False if there is none. It frees the slots before."""
    cdef uint64_t newest = atomic_observe_u64(&ring.newest)
    cdef RingSlot *slot = page_ring_slot(ring, ring.oldest)
    while ring.oldest != newest and atomic_get_u64(&slot.count) == ring.taken:
        ring.taken = 0
        atomic_publish_u64(&ring.oldest, ring.oldest + 1)
        slot = page_ring_slot(ring, ring.oldest)
    second[0] = slot.second
    return atomic_get_u64(&slot.count) != ring.taken


cdef inline uint64_t page_ring_take(PageRing *ring) noexcept nogil:
    """After page_ring_peek: take the pages of that second, and return how many they are."""
    cdef uint64_t count = atomic_get_u64(&page_ring_slot(ring, ring.oldest).count)
    cdef uint64_t taken = ring.taken
    ring.taken = count
    return count - taken

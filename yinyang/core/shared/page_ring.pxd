"""The number of pages that were served in each second: a worker counts them, and the parent logs them.

The ring is in shared memory, with one writer (the worker) and one reader (the parent). A slot is a second and a count.
The newest slot grows while it is read, so the reader remembers the count that it has taken. If the parent does not read
for as many seconds as there are slots, further pages are added to the newest slot: counted, with an older second.

The reader does not trust the writer. It keeps its own state in private memory, reads each number of the writer once,
and recognises a ring that no honest writer can have made.
"""

from libc.stdint cimport int64_t, uint64_t

from ..os.atomic cimport (
    atomic_get_i64, atomic_get_u64, atomic_observe_u64, atomic_publish_u64, atomic_set_i64, atomic_set_u64
)

cdef enum:
    PAGE_RING_SLOTS = 64  # a power of two

cdef enum Look:  # what page_reader_look finds
    LOOK_NOTHING
    LOOK_PAGES
    LOOK_IMPOSSIBLE  # a ring that no honest writer can have made

cdef struct RingSlot:
    int64_t second
    uint64_t count

cdef struct PageRing:  # written by the worker
    uint64_t newest  # number of the slot that grows; numbers always increase, and the ring has room for the last 64
    RingSlot slots[PAGE_RING_SLOTS]

cdef struct PageReader:
    uint64_t oldest  # number of the first slot that may still have pages to take
    uint64_t taken  # number of its pages that are taken
    int64_t second  # of that slot, as of the last look
    uint64_t found  # number of its pages that are not taken, likewise


cdef inline RingSlot *page_ring_slot(PageRing *ring, uint64_t number) noexcept nogil:
    return &ring.slots[number & (PAGE_RING_SLOTS - 1)]


# ---- the writer's side --------------------------------------------------------------------------------------------

cdef inline void page_ring_add(PageRing *ring, const uint64_t *oldest, int64_t second, uint64_t count) noexcept nogil:
    """Count a page. `oldest` is published by the reader."""
    cdef uint64_t newest = ring.newest
    cdef RingSlot *slot = page_ring_slot(ring, newest)
    if slot.second != second and newest - atomic_observe_u64(oldest) < PAGE_RING_SLOTS - 1:
        newest += 1
        slot = page_ring_slot(ring, newest)
        atomic_set_i64(&slot.second, second)
        atomic_set_u64(&slot.count, 0)
        atomic_publish_u64(&ring.newest, newest)
    atomic_set_u64(&slot.count, slot.count + count)


# ---- the reader's side --------------------------------------------------------------------------------------------

cdef inline int page_reader_look(PageReader *reader, PageRing *ring) noexcept nogil:
    """Find the oldest second with pages to take, and set `second` and `found`; a Look. It passes over slots without
    such pages; the caller then publishes `oldest`."""
    cdef uint64_t newest = atomic_observe_u64(&ring.newest)
    cdef uint64_t count = atomic_get_u64(&page_ring_slot(ring, reader.oldest).count)
    reader.found = 0
    if newest - reader.oldest >= PAGE_RING_SLOTS:
        return LOOK_IMPOSSIBLE
    while count == reader.taken and reader.oldest != newest:
        reader.oldest += 1
        reader.taken = 0
        count = atomic_get_u64(&page_ring_slot(ring, reader.oldest).count)
    if count < reader.taken:
        return LOOK_IMPOSSIBLE
    reader.second = atomic_get_i64(&page_ring_slot(ring, reader.oldest).second)
    reader.found = count - reader.taken
    return LOOK_PAGES if reader.found else LOOK_NOTHING


cdef inline uint64_t page_reader_take(PageReader *reader) noexcept nogil:
    """Take the pages that the last look found, and return their number."""
    cdef uint64_t found = reader.found
    reader.taken += found
    reader.found = 0
    return found

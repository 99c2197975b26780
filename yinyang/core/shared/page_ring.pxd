"""How many pages were served in which second: a worker counts them, and the parent turns them into lines of the log.

A ring in shared memory with one writer (the worker) and one reader (the parent). A slot is a second and a count. The
newest slot still grows while it is read, so the reader remembers how much of it it has taken. When the parent has not
read for as many seconds as there are slots, further pages are added to the newest slot: counted, with an older second.

The reader believes nothing. What it knows of its own lies in its own memory, each number of the writer's is read once,
and a ring that no honest writer can have made is told from one that it can.
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

cdef struct PageRing:  # the writer's
    uint64_t newest  # number of the slot that grows; numbers go on and on, and the ring has room for the last 64
    RingSlot slots[PAGE_RING_SLOTS]

cdef struct PageReader:
    uint64_t oldest  # number of the first slot that is not wholly taken
    uint64_t taken  # of its pages
    int64_t second  # of that slot, as of the last look
    uint64_t found  # pages of it that are not taken, likewise


cdef inline RingSlot *page_ring_slot(PageRing *ring, uint64_t number) noexcept nogil:
    return &ring.slots[number & (PAGE_RING_SLOTS - 1)]


# ---- the writer's side --------------------------------------------------------------------------------------------

cdef inline void page_ring_add(PageRing *ring, const uint64_t *oldest, int64_t second, uint64_t count) noexcept nogil:
    """`oldest` is the reader's, which it publishes."""
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
    """The oldest second of which there are pages to take, into `second` and `found`; a Look. It passes over the slots
    that are wholly taken, after which the caller publishes `oldest`."""
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
    """Take the pages that the last look found; how many they are."""
    cdef uint64_t found = reader.found
    reader.taken += found
    reader.found = 0
    return found

"""The connections of a worker: what is known of each, in tables indexed by its descriptor.

A connection is a Connection and a TimerNode. The tables have room for all admitted connections; their pages are zero
and cost nothing until they are used. More tables hold the beginning of a target while its request is incomplete, the
responses that a slow reader has not taken, what is due later, and sources that PROXY headers tell. Nothing is allocated
later, and a client cannot make its memory grow.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t

from ..http.parser cimport Parser, TARGET_KEPT
from ..http.head_record cimport HEADS_MAX, HeadRecord, HeadRecords, head_records_open
from ..http.proxy_header cimport Source
from ..http.responses cimport Responses
from ..http.send_queue cimport KeptBytes, PendingSend, SendQueue, kept_bytes_open, kept_bytes_size
from ..identity.replica cimport Replica
from ..os.capacity cimport OTHER_DESCRIPTORS, descriptors_for_connections
from ..os.syscalls cimport ENOMEM, MAP_NORESERVE, MAP_PRIVATE, map_memory
from ..routes.faults cimport Faults
from ..shared.scoreboard cimport Scoreboard, WorkerSlot
from .delays cimport Delay, Delays
from .timers cimport TimerNode, Timers

cdef enum:
    CONNECTIONS_FEW = 64  # with memory for fewer, a worker does not start
    DISCARD_MAX = 64 * 1024  # bytes of a body dropped at once

cdef struct Connection:
    Parser parser
    uint32_t count  # requests that are answered
    uint32_t late_in_sending  # ms, in this wait (worker/timers.pxd)
    uint32_t late_in_reading  # ms, in all waits
    uint8_t answered  # the current request has its response, before its body is complete
    uint8_t suspended  # the current request is complete, and not responded to yet; what follows it is kept
    uint8_t route  # of the current request, once its target is complete
    uint8_t ends  # after the responses that are not sent yet
    uint8_t lingers  # when it ends, because the client may still send
    uint8_t events  # that epoll watches for; 0: it does not watch this connection
    uint8_t late  # the delay of the response to the current request is over
    uint8_t preface  # a PROXY header is still to come
    uint16_t preface_length  # bytes of it so far
    uint16_t head  # number of the head record of the current request; 0: it has none

cdef struct Clients:  # large members come last, so the code reaches the others with short offsets
    Connection *table
    Responses *responses
    const Replica *replica
    const Scoreboard *scoreboard
    WorkerSlot *slot
    const uint64_t *ring_oldest  # of the reader of its page ring
    int64_t now  # ms, as of this wake-up
    int64_t second  # of the wall clock, likewise
    uint64_t logged  # lines in the page ring, ever
    uint64_t silent  # connections with nothing to receive when they were accepted, ever
    uint32_t table_size  # the first descriptor that has no place in the tables
    int epoll
    bint log_pages  # whether each page is logged
    Faults faults
    bint draining  # each response is the last one on its connection
    bint ending  # no response is delayed any more
    bint proxy_protocol  # each connection begins with a PROXY header
    uint32_t took  # ms that the current response took; 0 unless it was late
    uint8_t (*targets)[TARGET_KEPT]
    PendingSend *pending_sends
    Source *sources
    Timers timers
    Delays delays
    KeptBytes kept_bytes
    HeadRecords heads
    SendQueue send_queue
    uint8_t buffer[DISCARD_MAX]


cdef inline int clients_open(Clients *clients, int64_t connections) noexcept nogil:
    """Make tables for `connections`, or for as many as descriptors and address space allow. 0 or -errno."""
    cdef size_t size
    cdef char *memory
    connections = max(min(connections, descriptors_for_connections()), <int64_t>1)
    memory = map_tables(connections)
    while memory == NULL and connections > CONNECTIONS_FEW:
        connections //= 2
        memory = map_tables(connections)
    if memory == NULL:
        return -ENOMEM
    size = <size_t>connections + OTHER_DESCRIPTORS
    clients.table_size = <uint32_t>size
    clients.slot.open_max = <uint64_t>connections
    clients.table = <Connection *>memory
    memory += size * sizeof(Connection)
    clients.pending_sends = <PendingSend *>memory
    memory += size * sizeof(PendingSend)
    clients.timers.nodes = <TimerNode *>memory
    memory += size * sizeof(TimerNode)
    clients.targets = <uint8_t (*)[TARGET_KEPT]>memory
    memory += size * TARGET_KEPT
    clients.delays.heap = <Delay *>memory
    memory += size * sizeof(Delay)
    clients.delays.places = <uint32_t *>memory
    memory += size * sizeof(uint32_t)
    clients.sources = <Source *>memory
    memory += size * sizeof(Source)
    head_records_open(&clients.heads, <HeadRecord *>memory)
    kept_bytes_open(&clients.kept_bytes, memory + HEADS_MAX * sizeof(HeadRecord))
    return 0


cdef inline char *map_tables(int64_t connections) noexcept nogil:
    """Memory for all tables, or NULL."""
    cdef size_t size = <size_t>connections + OTHER_DESCRIPTORS
    cdef size_t each = (sizeof(Connection) + sizeof(PendingSend) + sizeof(TimerNode) + TARGET_KEPT + sizeof(Delay)
                        + sizeof(uint32_t) + sizeof(Source))
    return <char *>map_memory(size * each + HEADS_MAX * sizeof(HeadRecord) + kept_bytes_size(),
                              MAP_PRIVATE | MAP_NORESERVE)

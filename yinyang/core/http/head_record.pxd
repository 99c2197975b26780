"""What /echo keeps of the head of a request: the target and the fields, as they came.

A worker has a limited number of places for them, which are not touched before somebody asks for an echo.
"""

from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.string cimport memcpy

from .free_places cimport FreePlaces, free_places_give_back, free_places_open, free_places_take
from .parser cimport Parser, TARGET_KEPT, Target

cdef enum:
    HEAD_KEPT = 8192  # bytes of a head
    HEADS_MAX = 512  # heads of a worker

cdef struct HeadRecord:
    uint16_t target  # bytes of the target, which come first
    uint16_t length  # bytes in all
    bint truncated  # there were more
    uint8_t bytes[8200]  # HEAD_KEPT, and some that stay 0

cdef struct HeadRecords:
    HeadRecord *records  # HEADS_MAX of them; the number of a record is its index and 1
    FreePlaces free


cdef inline void head_records_open(HeadRecords *records, HeadRecord *memory) noexcept nogil:
    records.records = memory
    free_places_open(&records.free, HEADS_MAX)


cdef inline uint16_t head_record_take(HeadRecords *records) noexcept nogil:
    """The number of an empty record; 0 if there is none left."""
    cdef uint16_t number
    if records.free.count == 0:
        return 0
    number = free_places_take(&records.free) + 1
    head_record_of(records, number).target = 0
    head_record_of(records, number).length = 0
    head_record_of(records, number).truncated = False
    return number


cdef inline void head_record_give_back(HeadRecords *records, uint16_t *number) noexcept nogil:
    if number[0]:
        free_places_give_back(&records.free, number[0] - 1)
        number[0] = 0


cdef inline HeadRecord *head_record_of(const HeadRecords *records, uint16_t number) noexcept nogil:
    """NULL for 0."""
    return &records.records[number - 1] if number else NULL


cdef inline void head_record_put_target(HeadRecord *record, const Parser *p, const Target *target,
                                        const uint8_t *kept) noexcept nogil:
    """Keep the part of the target that has come, up to the end of the segment; `kept` has its first TARGET_KEPT bytes,
    as far as they came in earlier segments."""
    cdef uint32_t offset = min(<uint32_t>target.offset, <uint32_t>TARGET_KEPT)
    if record.target < offset:
        head_record_put(record, kept + record.target, kept + offset)
    if target.bytes != NULL and record.length <= target.offset:
        record.truncated = record.truncated or record.length < target.offset
        head_record_put(record, target.bytes, target.bytes + (p.target_length - target.offset))
    record.target = record.length


cdef inline void head_record_put(HeadRecord *record, const uint8_t *begin, const uint8_t *end) noexcept nogil:
    """Keep bytes as far as there is room."""
    cdef size_t length = <size_t>(end - begin)
    if length > <size_t>(HEAD_KEPT - record.length):
        length = <size_t>(HEAD_KEPT - record.length)
        record.truncated = True
    memcpy(record.bytes + record.length, begin, length)
    record.length += <uint16_t>length

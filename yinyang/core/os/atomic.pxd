"""Atomic operations on memory that processes share; csrc/atomic.h says what each one promises."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "atomic.h" nogil:
    void static_assert "STATIC_ASSERT"(bint condition)
    uint32_t atomic_get_u32 "atomic_get"(const uint32_t *place)
    uint64_t atomic_get_u64 "atomic_get"(const uint64_t *place)
    int64_t atomic_get_i64 "atomic_get"(const int64_t *place)
    void atomic_set_u64 "atomic_set"(uint64_t *place, uint64_t value)
    void atomic_set_i64 "atomic_set"(int64_t *place, int64_t value)
    uint64_t atomic_observe_u64 "atomic_observe"(const uint64_t *place)
    void atomic_publish_u32 "atomic_publish"(uint32_t *place, uint32_t value)
    void atomic_publish_u64 "atomic_publish"(uint64_t *place, uint64_t value)
    void atomic_barrier()

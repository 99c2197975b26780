/* Memory shared by processes: the few atomic operations that the page ring and the counters need.
 *
 * Cython has no word for them; these are the compiler's own (GCC manual, "Built-in Functions for Memory Model
 * Aware Atomic Operations"), named for what they promise. */
#ifndef YINYANG_ATOMIC_H
#define YINYANG_ATOMIC_H

#include <stdint.h>

/* Else they would be calls of libatomic, whose locks hold within one process. Nothing here lies across two cache lines,
 * where 64 bits at once would not be atomic on i386: the structs have 64-bit members at multiples of 8 bytes. */
_Static_assert(__atomic_always_lock_free(sizeof(unsigned long long), 0),
               "64-bit atomic operations need a newer CPU, as with CFLAGS=-march=armv6k on the first Raspberry Pi");

#define atomic_get(place) __atomic_load_n((place), __ATOMIC_RELAXED)
#define atomic_set(place, value) __atomic_store_n((place), (value), __ATOMIC_RELAXED)
/* Everything written before a `publish` is visible to whoever saw its value by `observe`. */
#define atomic_observe(place) __atomic_load_n((place), __ATOMIC_ACQUIRE)
#define atomic_publish(place, value) __atomic_store_n((place), (value), __ATOMIC_RELEASE)
/* Orders an earlier write before a later read of another place. */
#define atomic_barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#define STATIC_ASSERT(condition) _Static_assert(condition, #condition)

#endif

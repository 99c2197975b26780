"""The faults of a replica, as they are now: --error-rate and similar options, or what a client has set since.

They fit in one number, which the parent writes and the workers read without a lock.
"""

from libc.stdint cimport uint64_t

from ..config.config cimport Config, SPAN_BITS, span_high, span_low

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_BURN
        OPTION_ERROR_CODE
        OPTION_ERROR_RATE
        OPTION_LATENCY
        LATENCY_MAX
        BURN_MAX

cdef enum:
    PERCENT_MAX = 100
    STATUS_MIN = 200
    STATUS_MAX = 599

cdef enum:  # positions in the number
    LATENCY_HIGH_AT = SPAN_BITS
    RATE_AT = 2 * SPAN_BITS
    BURN_AT = RATE_AT + 7
    CODE_AT = BURN_AT + 10

cdef struct FaultSettings:
    int latency_low  # ms
    int latency_high
    int rate  # percent
    int burn  # ms of CPU time
    int code  # a status


cdef inline void fault_settings_of(FaultSettings *settings, const Config *config) noexcept nogil:
    """Those of the options."""
    settings.rate = config.numbers[OPTION_ERROR_RATE]
    settings.code = config.numbers[OPTION_ERROR_CODE]
    settings.latency_low = span_low(config.numbers[OPTION_LATENCY])
    settings.latency_high = span_high(config.numbers[OPTION_LATENCY])
    settings.burn = config.numbers[OPTION_BURN]


cdef inline uint64_t fault_settings_pack(const FaultSettings *settings) noexcept nogil:
    return (<uint64_t>settings.latency_low | <uint64_t>settings.latency_high << LATENCY_HIGH_AT
            | <uint64_t>settings.rate << RATE_AT | <uint64_t>settings.burn << BURN_AT
            | <uint64_t>settings.code << CODE_AT)


cdef inline bint fault_settings_unpack(FaultSettings *settings, uint64_t packed) noexcept nogil:
    """False if the values are not valid."""
    settings.latency_low = <int>(packed & ((1 << SPAN_BITS) - 1))
    settings.latency_high = <int>(packed >> LATENCY_HIGH_AT & ((1 << SPAN_BITS) - 1))
    settings.rate = <int>(packed >> RATE_AT & 127)
    settings.burn = <int>(packed >> BURN_AT & 1023)
    settings.code = <int>(packed >> CODE_AT & 1023)
    return (settings.latency_low <= settings.latency_high <= LATENCY_MAX and settings.rate <= PERCENT_MAX
            and settings.burn <= BURN_MAX and STATUS_MIN <= settings.code <= STATUS_MAX
            and packed >> CODE_AT <= STATUS_MAX)


cdef inline bint faults_are_set(uint64_t packed) noexcept nogil:
    """Whether any answer is an error, late or costly."""
    return packed & ((<uint64_t>1 << CODE_AT) - 1) != 0

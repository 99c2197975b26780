"""What happened so far, counted: replicas and groups of them, failures, request rates, gaps and latencies.

Memory does not grow with time.
"""

from libc.stdint cimport int16_t, int32_t, int64_t

from ..verdict.evidence cimport Evidence, SOURCES_MAX
from ..verdict.verdict cimport STATUS_END
from .options cimport WatchOptions
from .sample cimport Described, Label

cdef enum:
    REPLICAS_MAX = 1024  # that are told apart; a further one takes the place of the one that is silent the longest
    SERIES_MAX = 1024  # replicas and versions of them, for Prometheus
    BUCKETS = 1024  # of latencies; each bound is 1.02 of the one before, from 1 us
    RATE_WINDOW = 5  # seconds over which the current rate is measured
    GOAL_WINDOW = 20  # seconds of the latest answers, ...
    GOAL_SLICES = 200  # ... counted by tenths of a second
    GOAL_MIN_ANSWERS = 20  # in that time, to judge a share

cdef struct Counts:  # the answers of a replica or of a group
    int64_t first, last  # when it answered
    int64_t answers
    int64_t answers_without_cookie  # which show how the balancer chooses

cdef struct SeenReplica:  # in order of first answers
    Described described  # as it did last
    Counts counts
    int32_t group
    int32_t source  # in the evidence of hosts; NO_SOURCE if it has none

cdef struct SeenGroup:  # in order of first answers
    Label name  # the version, zone or node; of a replica for itself, its host
    Counts counts
    int64_t failures  # answers of its replicas that were failures, as far as they said whose they were
    int64_t last_failure  # when the latest of these came; NEVER if none did
    int64_t present  # answers to requests without a cookie since the latest group came or came back
    int32_t source  # in the evidence of groups; NO_SOURCE if it has none

cdef struct Series:  # the answers of a replica while it had a version
    Label host
    Label version
    int64_t answers

cdef struct FailureCount:
    int32_t kind  # as in WatchSample
    int64_t count
    int64_t last  # when the latest came

cdef struct Slice:  # the answers of a tenth of a second
    int64_t number
    int32_t answers
    int32_t hits

cdef struct Tally:
    const WatchOptions *options
    int64_t begin
    int64_t samples
    int64_t answers
    int64_t answers_without_cookie
    int replica_count
    SeenReplica replicas[REPLICAS_MAX]
    int group_count
    SeenGroup groups[REPLICAS_MAX]
    int series_count
    Series series[SERIES_MAX]
    int failure_count  # kinds that came, in order of the first of each
    FailureCount failures[STATUS_END]

    # gaps: times without an answer around failures, each from the last answer before one to the first one after it
    int64_t last_answer  # or the beginning
    bint is_failing
    int64_t latest_gap, longest_gap  # NOT_GIVEN if there was none

    int64_t latencies[BUCKETS]
    int64_t latency_total  # us

    int64_t ended_in[RATE_WINDOW + 1]  # samples by the second in which they ended, modulo their number
    int64_t latest_second  # since the beginning

    Slice goal_slices[GOAL_SLICES]
    int64_t goal_reached  # when; NOT_GIVEN: not yet

    int64_t waiting  # requests that are under way, ...
    int64_t waiting_since  # ... and when the first of them began

    Evidence by_host
    Evidence by_group  # unused if each replica is a group
    int32_t replica_of_source[SOURCES_MAX]  # in by_host; NOBODY if the source stands for none
    int32_t group_of_source[SOURCES_MAX]  # in by_group

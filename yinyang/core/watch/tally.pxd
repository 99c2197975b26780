"""What happened so far, counted: replicas and groups of them, failures, request rates, gaps and latencies.

Memory does not grow with time.
"""

from libc.math cimport ceil, floor, log, pow, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ..text.buffer cimport Text, llu, text_fits, text_format, text_open, text_put
from ..verdict.evidence cimport (
    CHANGE_NONE, CHANGE_RESTARTED, Evidence, NO_SOURCE, SOURCES_MAX, Sample, TIE_CONNECTION, TIE_COOKIE, TIE_NONE,
    evidence_add, evidence_forget, evidence_open, may_be_gone, source_goes
)
from ..verdict.verdict cimport STATUS_END, Verdict, WAITING_AFTER, verdict_find
from ..verdict.words cimport Name, Naming
from .groups cimport by_word, by_words, group_name, is_named
from .options cimport NOT_GIVEN, WatchOptions
from .sample cimport (
    BY_REPLICA, Described, LABEL_MAX, Label, US_PER_MS, US_PER_SECOND, WatchSample, label_copy, label_equals,
    label_set_plain
)

cdef extern from "watch_tally.h" nogil:
    const int64_t NEVER
    const double BUCKET_RATIO
    const double SLOW_PART
    const double SLOW_DEVIATIONS

cdef enum:
    REPLICAS_MAX = 1024  # that are told apart; a further one takes the place of the one that is silent the longest
    SERIES_MAX = 1024  # replicas and versions of them, for Prometheus
    BUCKETS = 1024  # of latencies; each bound is 1.02 of the one before, from 1 us
    RATE_WINDOW = 5  # seconds over which the current rate is measured
    GOAL_WINDOW = 20  # seconds of the latest answers, ...
    GOAL_SLICES = 200  # ... counted by tenths of a second
    GOAL_MIN_ANSWERS = 20  # in that time, to judge a share
    STALL = WAITING_AFTER * US_PER_MS  # us without an answer while requests wait that are a gap
    STALL_LEAST = 100 * US_PER_MS  # the same, where shorter gaps are expected: an answer may take some time
    MIN_ABSENCE = 20  # seconds that a group was silent, to say that it came back
    CONNECTIONS_MAX = 4096  # whose latest source is remembered
    VERDICT_WORDS_MAX = 4096  # bytes of a headline or a detail, which name some groups
    LIVES_MAX = 64  # former lives of replicas that are remembered
    NOBODY = -1

cdef struct Counts:  # the answers of a replica or of a group
    int64_t first, last  # when it answered
    int64_t answers
    int64_t answers_without_cookie  # which show how the balancer chooses

cdef struct SeenReplica:  # in the order in which they came, while none has taken the place of another
    Described described  # as it did last
    Counts counts
    int64_t heard  # when it last answered, or failed
    int32_t group  # that it was in then
    int32_t source  # in the evidence of hosts; NO_SOURCE if it has none

cdef struct SeenGroup:  # as SeenReplica
    Label name  # the version, zone or node; of a replica for itself, its host
    Counts counts
    int64_t failures  # of its replicas, as far as it is known whose they were
    int64_t last_failure  # when the latest of these came; NEVER if none did
    int64_t present  # answers to requests without a cookie since the latest group came or came back
    int32_t replica_count  # those that were in it when they last answered
    int32_t source  # in the evidence of groups, or of hosts if each replica is a group; NO_SOURCE if it has none

cdef struct FormerLife:  # of a replica that describes itself in another way by now; it may still be there
    Described described
    int64_t until  # when it first did so

cdef struct Series:  # the answers of a replica while it had a version
    Label host
    Label version
    int64_t answers
    int64_t last  # when the latest came

cdef struct FailureCount:
    int32_t kind  # as in WatchSample
    int64_t count
    int64_t last  # when the latest came

cdef struct Slice:  # the answers of a tenth of a second
    int64_t number
    int32_t answers
    int32_t hits

cdef struct ConnectionSource:  # of the latest answer or failure on a connection
    int64_t connection  # 0: none
    int32_t source

cdef struct Tally:
    const WatchOptions *options
    int64_t begin
    int64_t samples
    int64_t answers
    int64_t answers_without_cookie
    int replica_count
    SeenReplica replicas[REPLICAS_MAX]
    FormerLife lives[LIVES_MAX]  # a place without a host is free
    int next_life  # the place that is used next
    int group_count
    SeenGroup groups[REPLICAS_MAX]
    int series_count
    Series series[SERIES_MAX]
    int failure_count  # kinds that came, in order of the first of each
    FailureCount failures[STATUS_END]

    # gaps: times without an answer, though requests were under way
    int64_t last_answer  # or the beginning
    bint is_failing
    int64_t latest_gap, longest_gap  # NOT_GIVEN if there was none

    int64_t latencies[BUCKETS]
    int64_t latency_total  # us

    int64_t ended_in[RATE_WINDOW + 1]  # samples by the second in which they ended, modulo their number
    int64_t latest_second  # since the beginning
    int64_t latest_end  # of a sample

    Slice goal_slices[GOAL_SLICES]  # by their numbers, modulo how many there are
    int64_t goal_slice  # the number of the latest
    int64_t goal_reached  # when; NOT_GIVEN: not yet

    int64_t sent  # requests that have ended, or are under way
    int64_t latest_start  # of a request
    int64_t waiting  # requests that are under way, ...
    int64_t waiting_since  # ... and when the first of them began

    Evidence by_host
    Evidence by_group  # unused if each replica is a group; see group_evidence
    int32_t replica_of_source[SOURCES_MAX]  # in by_host; NOBODY if the source stands for none
    int32_t group_of_source[SOURCES_MAX]  # in the evidence of groups
    ConnectionSource host_connections[CONNECTIONS_MAX]  # by connection, modulo their number
    ConnectionSource group_connections[CONNECTIONS_MAX]  # the same, in by_group


cdef inline void tally_open(Tally *t, const WatchOptions *options, int64_t begin) noexcept nogil:
    """Begin to count. The options are borrowed."""
    cdef int i
    memset(t, 0, sizeof(t[0]))
    t.options = options
    t.begin = t.last_answer = t.latest_end = t.latest_start = begin
    t.latest_gap = t.longest_gap = t.goal_reached = NOT_GIVEN
    evidence_open(&t.by_host)
    evidence_open(&t.by_group)
    for i in range(SOURCES_MAX):
        t.replica_of_source[i] = t.group_of_source[i] = NOBODY


cdef inline void tally_add(Tally *t, const WatchSample *sample) noexcept nogil:
    """Count one sample."""
    cdef int failure = sample.failure if 0 <= sample.failure < STATUS_END else 0
    cdef int replica
    t.samples += 1
    t.sent = max(t.sent, t.samples)
    t.latest_start = max(t.latest_start, sample.start)
    t.latest_end = max(t.latest_end, sample.end)
    second_add(t, sample.end)
    gap_add(t, sample)
    replica = replica_of(t, sample)
    if sample.is_answer:
        answer_add(t, sample, replica)
        goal_add(t, sample)
    else:
        failure_add(t, failure, replica, sample.end)
    host_evidence_add(t, sample, failure, replica)
    if t.options.by != BY_REPLICA:
        group_evidence_add(t, sample, failure, replica)


# ---- replicas and groups ------------------------------------------------------------------------------------------

# A replica is known by its host. Where it describes itself in another way than before, it has begun another life, as
# after an update or a restart. But if the former life goes on to answer, there are two of this name.

cdef inline bint is_life(const Described *known, const Described *told, bint is_partial) noexcept nogil:
    """Whether it is the same life; `is_partial`: what is not told may be anything."""
    if not label_equals(&known.host, &told.host):
        return False
    if known.started and told.started and known.started != told.started:
        return False
    return (
        is_same_label(&known.version, &told.version, is_partial) and is_same_label(&known.zone, &told.zone, is_partial)
        and is_same_label(&known.node, &told.node, is_partial)
    )


cdef inline bint is_same_label(const Label *known, const Label *told, bint is_partial) noexcept nogil:
    return label_equals(known, told) or (is_partial and told.length == 0)


cdef inline int life_find(const Tally *t, const Described *told, bint is_partial) noexcept nogil:
    """The replica that has this life, of several the one that was heard of last; NOBODY if there is none."""
    cdef int found = NOBODY
    cdef int i
    for i in range(t.replica_count):
        if is_life(&t.replicas[i].described, told, is_partial):
            if found == NOBODY or t.replicas[i].heard > t.replicas[found].heard:
                found = i
    return found


cdef inline int replica_find(const Tally *t, const Label *host, bint is_latest) noexcept nogil:
    """The replica of this name, of several the one that was heard of last, or first; NOBODY if there is none."""
    cdef int found = NOBODY
    cdef int i
    for i in range(t.replica_count if host.length else 0):
        if label_equals(&t.replicas[i].described.host, host):
            if found == NOBODY or (t.replicas[i].heard > t.replicas[found].heard) == is_latest:
                found = i
    return found


cdef inline int replica_of(Tally *t, const WatchSample *sample) noexcept nogil:
    """The place of the replica that a sample tells of, which may be a new one; NOBODY if it tells of none."""
    cdef const Described *told = &sample.replica
    cdef int replica, i
    if told.host.length == 0:
        return NOBODY
    replica = life_find(t, told, not sample.is_answer)
    for i in range(LIVES_MAX if replica == NOBODY else 0):
        if t.lives[i].described.host.length and is_life(&t.lives[i].described, told, False):
            if sample.start <= t.lives[i].until:  # it was asked before
                return replica_find(t, &told.host, True)
            t.lives[i].described.host.length = 0
            restart_withdraw(t, &told.host)
            return replica_add(t, sample, replica_place(t))
    if replica != NOBODY:
        if sample.is_answer:
            t.replicas[replica].described = told[0]
        t.replicas[replica].heard = sample.end
        return replica
    replica = replica_find(t, &told.host, False)
    if replica == NOBODY:
        return replica_add(t, sample, replica_place(t))
    t.lives[t.next_life].described = t.replicas[replica].described
    t.lives[t.next_life].until = sample.end
    t.next_life = (t.next_life + 1) % LIVES_MAX
    return replica_add(t, sample, replica)


cdef inline void restart_withdraw(Tally *t, const Label *host) noexcept nogil:
    """What looked like a restart was another replica of this name."""
    cdef int i
    for i in range(t.replica_count):
        if label_equals(&t.replicas[i].described.host, host) and t.by_host.change_source == t.replicas[i].source:
            if t.by_host.change == CHANGE_RESTARTED:
                t.by_host.change = CHANGE_NONE


cdef inline int replica_add(Tally *t, const WatchSample *sample, int place) noexcept nogil:
    """Have a replica as the sample tells it at this place, and in its group."""
    cdef SeenReplica *r = &t.replicas[place]
    cdef int group = r.group
    cdef Label name
    r.described = sample.replica
    r.heard = sample.end
    group_name(&sample.replica, t.options.by, &name)
    if t.options.by != BY_REPLICA:
        group = group_find(t, &name)
    if group == NOBODY:
        presence_clear(t)
        replica_set_group(t, r, NOBODY)
        if t.options.by == BY_REPLICA:
            name_number(t, &name)
        group = group_place(t)
        label_copy(&t.groups[group].name, &name)
    replica_set_group(t, r, group)
    return place


cdef inline void name_number(const Tally *t, Label *name) noexcept nogil:
    """Put a number behind a name that another replica has: `web (2)`."""
    cdef char bytes[LABEL_MAX]
    cdef Text text
    cdef Label plain
    cdef int number = 1
    label_copy(&plain, name)
    while group_find(t, name) != NOBODY and number <= REPLICAS_MAX:
        number += 1
        text_open(&text, bytes, LABEL_MAX)
        text_put(&text, plain.bytes, plain.length)
        text_format(&text, " (%llu)", <llu>number)
        if not text_fits(&text):
            return
        label_set_plain(name, bytes, text.length)


cdef inline int group_find(const Tally *t, const Label *name) noexcept nogil:
    """Its place in the groups; NOBODY if there is none."""
    cdef int i
    for i in range(t.group_count):
        if label_equals(&t.groups[i].name, name):
            return i
    return NOBODY


cdef inline void replica_set_group(Tally *t, SeenReplica *replica, int group) noexcept nogil:
    """Move it to a group, or out of all of them."""
    if replica.group != NOBODY:
        t.groups[replica.group].replica_count -= 1
    replica.group = group
    if group != NOBODY:
        t.groups[group].replica_count += 1


cdef inline int replica_place(Tally *t) noexcept nogil:
    """A place for a new replica: where there is none, that of the replica which is silent the longest, of those that no
    source which is there stands for. There are some, as there are fewer sources than replicas."""
    cdef int place = NOBODY
    cdef const SeenReplica *r
    cdef int i
    if t.replica_count < REPLICAS_MAX:
        t.replica_count += 1
        place = t.replica_count - 1
    else:
        for i in range(REPLICAS_MAX):
            r = &t.replicas[i]
            if r.source != NO_SOURCE and t.by_host.sources[r.source].is_active:
                continue
            if place == NOBODY or r.heard < t.replicas[place].heard:
                place = i
        replica_drop_source(t, place)
        replica_set_group(t, &t.replicas[place], NOBODY)
    memset(&t.replicas[place], 0, sizeof(SeenReplica))
    t.replicas[place].source = NO_SOURCE
    t.replicas[place].group = NOBODY
    return place


cdef inline int group_place(Tally *t) noexcept nogil:
    """A place for a new group: where there is none, that of the group which is silent the longest, of those without
    replicas. There are some, as there is a replica that is in no group yet."""
    cdef int place = NOBODY
    cdef int i
    if t.group_count < REPLICAS_MAX:
        t.group_count += 1
        place = t.group_count - 1
    else:
        for i in range(REPLICAS_MAX):
            if t.groups[i].replica_count:
                continue
            if place == NOBODY or group_heard(&t.groups[i]) < group_heard(&t.groups[place]):
                place = i
        group_drop_source(t, place)
    memset(&t.groups[place], 0, sizeof(SeenGroup))
    t.groups[place].source = NO_SOURCE
    t.groups[place].counts.last = t.groups[place].last_failure = NEVER
    return place


cdef inline int64_t group_heard(const SeenGroup *group) noexcept nogil:
    """When it last answered; or last failed, if it never answered."""
    return group.counts.last if group.counts.answers else group.last_failure


cdef inline void counts_add(Counts *counts, const WatchSample *sample) noexcept nogil:
    if counts.answers == 0:
        counts.first = sample.end
    counts.last = sample.end
    counts.answers += 1
    counts.answers_without_cookie += sample.cookie_of.length == 0


cdef inline int answer_group(const Tally *t, const WatchSample *sample, int replica) noexcept nogil:
    """The group that an answer tells; a late one that of a former life."""
    cdef Label name
    cdef int group = NOBODY
    if t.options.by != BY_REPLICA:
        group_name(&sample.replica, t.options.by, &name)
        group = group_find(t, &name)
    return t.replicas[replica].group if group == NOBODY else group


cdef inline void answer_add(Tally *t, const WatchSample *sample, int replica) noexcept nogil:
    """Count an answer of a replica."""
    cdef int group = answer_group(t, sample, replica)
    latency_add(t, sample.end - sample.start)
    series_add(t, sample)
    if is_back(t, group, sample.end):
        presence_clear(t)
    counts_add(&t.replicas[replica].counts, sample)
    counts_add(&t.groups[group].counts, sample)
    t.groups[group].present += sample.cookie_of.length == 0
    t.answers += 1
    t.answers_without_cookie += sample.cookie_of.length == 0


cdef inline bint is_back(const Tally *t, int group, int64_t now) noexcept nogil:
    """Whether a group that answers now was away."""
    return now - group_heard(&t.groups[group]) > MIN_ABSENCE * <int64_t>US_PER_SECOND and group_is_silent(t, group)


cdef inline void presence_clear(Tally *t) noexcept nogil:
    cdef int i
    for i in range(t.group_count):
        t.groups[i].present = 0


cdef inline void failure_add(Tally *t, int kind, int replica, int64_t at) noexcept nogil:
    """replica: whose failure it is; NOBODY if nobody knows."""
    cdef SeenGroup *group
    cdef int i = 0
    while i < t.failure_count and t.failures[i].kind != kind:
        i += 1
    if i == t.failure_count:
        t.failures[i].kind = kind
        t.failures[i].count = 0
        t.failure_count += 1
    t.failures[i].count += 1
    t.failures[i].last = at
    if replica != NOBODY:
        group = &t.groups[t.replicas[replica].group]
        group.failures += 1
        group.last_failure = at


cdef inline void series_add(Tally *t, const WatchSample *sample) noexcept nogil:
    cdef const Described *replica = &sample.replica
    cdef Series *oldest = &t.series[0]
    cdef Series *s
    cdef int i
    for i in range(t.series_count):
        s = &t.series[i]
        if label_equals(&s.host, &replica.host) and label_equals(&s.version, &replica.version):
            s.answers += 1
            s.last = sample.end
            return
        if s.last < oldest.last:
            oldest = s
    if t.series_count < SERIES_MAX:
        oldest = &t.series[t.series_count]
        t.series_count += 1
    label_copy(&oldest.host, &replica.host)
    label_copy(&oldest.version, &replica.version)
    oldest.answers = 1
    oldest.last = sample.end


cdef inline double tally_share(const Tally *t, const Counts *counts) noexcept nogil:
    """The share of a replica or group in all answers to requests without a cookie, from 0 to 1."""
    if t.answers_without_cookie == 0:
        return 0
    return <double>counts.answers_without_cookie / <double>t.answers_without_cookie


cdef inline bint replica_is_silent(const Tally *t, const SeenReplica *r) noexcept nogil:
    """Whether it is gone, or might be."""
    return r.source == NO_SOURCE or not t.by_host.sources[r.source].is_active or may_be_gone(&t.by_host, r.source)


cdef inline bint group_is_silent(const Tally *t, int group) noexcept nogil:
    """Whether all of its replicas are gone, or might be; or are in other groups."""
    cdef int i
    for i in range(t.replica_count):
        if t.replicas[i].group == group and not replica_is_silent(t, &t.replicas[i]):
            return False
    return True


cdef inline const SeenReplica *group_replica(const Tally *t, int group) noexcept nogil:
    """The first replica of a group; NULL if it has none."""
    cdef int i
    for i in range(t.replica_count):
        if t.replicas[i].group == group:
            return &t.replicas[i]
    return NULL


cdef inline const Label *replica_display_name(const Tally *t, const SeenReplica *r) noexcept nogil:
    """Its short name if no other replica has the same one; else its name as a group."""
    cdef int i
    for i in range(t.replica_count):
        if &t.replicas[i] != r and label_equals(&t.replicas[i].described.short_name, &r.described.short_name):
            return &t.groups[r.group].name
    return &r.described.short_name


cdef inline const Label *group_display_name(const Tally *t, int group) noexcept nogil:
    """What to call a group: a replica for itself as above, any other by its name."""
    cdef const SeenReplica *replica = NULL
    if t.options.by == BY_REPLICA:
        replica = group_replica(t, group)
    if replica == NULL:
        return &t.groups[group].name
    return replica_display_name(t, replica)


# ---- the evidence -------------------------------------------------------------------------------------------------
# A source is a number, which stands for a replica or a group from when it is needed first until another one needs it.

cdef inline int source_choose(const Evidence *e, const int32_t *holders, int reserved) noexcept nogil:
    """A number that stands for nobody, or else for the one who is gone the longest; NO_SOURCE if all are there. Never
    the reserved one, unless that is NO_SOURCE."""
    cdef int chosen = NO_SOURCE
    cdef int i
    for i in range(SOURCES_MAX):
        if i == reserved or e.sources[i].is_active:
            continue
        if holders[i] == NOBODY:
            return i
        if chosen == NO_SOURCE or e.sources[i].went_at < e.sources[chosen].went_at:
            chosen = i
    return chosen


cdef inline void source_forget(Evidence *e, ConnectionSource *connections, int source, int64_t now) noexcept nogil:
    """Have a number stand for nobody."""
    cdef int i
    if e.sources[source].is_active:
        source_goes(e, source, now // US_PER_MS)
    evidence_forget(e, source)
    for i in range(CONNECTIONS_MAX):
        if connections[i].source == source:
            connections[i].connection = 0


cdef inline void replica_drop_source(Tally *t, int replica) noexcept nogil:
    cdef SeenReplica *r = &t.replicas[replica]
    if r.source == NO_SOURCE:
        return
    source_forget(&t.by_host, t.host_connections, r.source, t.latest_end)
    t.replica_of_source[r.source] = NOBODY
    if t.options.by == BY_REPLICA:
        t.group_of_source[r.source] = NOBODY
        t.groups[r.group].source = NO_SOURCE
    r.source = NO_SOURCE


cdef inline void group_drop_source(Tally *t, int group) noexcept nogil:
    cdef SeenGroup *g = &t.groups[group]
    if g.source == NO_SOURCE:
        return
    source_forget(&t.by_group, t.group_connections, g.source, t.latest_end)
    t.group_of_source[g.source] = NOBODY
    g.source = NO_SOURCE


cdef inline int replica_source(Tally *t, int replica, int reserved) noexcept nogil:
    """The number of a replica, which gets one if it has none; NO_SOURCE if there is none."""
    cdef SeenReplica *r
    cdef int source
    if replica == NOBODY:
        return NO_SOURCE
    r = &t.replicas[replica]
    if r.source != NO_SOURCE:
        return r.source
    source = source_choose(&t.by_host, t.replica_of_source, reserved)
    if source == NO_SOURCE:
        return NO_SOURCE
    if t.replica_of_source[source] != NOBODY:
        replica_drop_source(t, t.replica_of_source[source])
    r.source = source
    t.replica_of_source[source] = replica
    if t.options.by == BY_REPLICA:
        t.groups[r.group].source = source
        t.group_of_source[source] = r.group
    return source


cdef inline int group_source(Tally *t, int replica, int reserved) noexcept nogil:
    """The same for the group of a replica."""
    cdef SeenGroup *g
    cdef int source
    if replica == NOBODY:
        return NO_SOURCE
    g = &t.groups[t.replicas[replica].group]
    if g.source != NO_SOURCE:
        return g.source
    source = source_choose(&t.by_group, t.group_of_source, reserved)
    if source == NO_SOURCE:
        return NO_SOURCE
    if t.group_of_source[source] != NOBODY:
        group_drop_source(t, t.group_of_source[source])
    g.source = source
    t.group_of_source[source] = t.replicas[replica].group
    return source


cdef inline int connection_source(ConnectionSource *connections, int64_t connection, int source) noexcept nogil:
    """The source of the latest sample on a connection, which is this one from now on; NO_SOURCE if there was none."""
    cdef ConnectionSource *kept = &connections[<uint64_t>connection % CONNECTIONS_MAX]
    cdef int former = kept.source if kept.connection == connection else NO_SOURCE
    kept.connection = connection
    kept.source = source
    return former


cdef inline void lead_by_connection(Sample *sample, ConnectionSource *connections, int64_t connection) noexcept nogil:
    """Say whether a connection led to its latest source."""
    if connection == 0 or sample.source == NO_SOURCE:
        return
    sample.owner = connection_source(connections, connection, sample.source)
    if sample.owner != NO_SOURCE:
        sample.tie = TIE_CONNECTION


cdef inline void sample_begin(Tally *t, Sample *known, const WatchSample *sample, int failure) noexcept nogil:
    """What is the same in each evidence."""
    known.at = t.latest_end // US_PER_MS
    known.failure = -1 if sample.is_answer else failure
    known.tie = TIE_COOKIE if sample.cookie_of.length else TIE_NONE
    known.owner = NO_SOURCE
    known.started = 0


cdef inline void host_evidence_add(Tally *t, const WatchSample *sample, int failure, int replica) noexcept nogil:
    cdef Sample known
    sample_begin(t, &known, sample, failure)
    known.source = replica_source(t, replica, NO_SOURCE)
    if known.tie == TIE_COOKIE:
        known.owner = replica_source(t, replica_find(t, &sample.cookie_of, True), known.source)
    else:
        lead_by_connection(&known, t.host_connections, sample.connection)
    if sample.is_answer:
        known.started = sample.replica.started
    evidence_add(&t.by_host, &known)


cdef inline void group_evidence_add(Tally *t, const WatchSample *sample, int failure, int replica) noexcept nogil:
    cdef Sample known
    sample_begin(t, &known, sample, failure)
    known.source = group_source(t, replica, NO_SOURCE)
    if known.tie == TIE_COOKIE:
        known.owner = group_source(t, replica_find(t, &sample.cookie_of, True), known.source)
    else:
        lead_by_connection(&known, t.group_connections, sample.connection)
    evidence_add(&t.by_group, &known)


cdef inline const Evidence *group_evidence(const Tally *t) noexcept nogil:
    """The evidence of groups."""
    if t.options.by == BY_REPLICA:
        return &t.by_host
    return &t.by_group


cdef inline void tally_verdict(const Tally *t, Verdict *verdict, int64_t now) noexcept nogil:
    """The verdict on the balancing, whose sources are groups."""
    verdict_find(verdict, group_evidence(t), now // US_PER_MS, t.waiting, t.waiting_since // US_PER_MS)


cdef inline void tally_naming(const Tally *t, Naming *naming, Name *names) noexcept nogil:
    """What to call the sources of the verdict; `names` has SOURCES_MAX places. Both borrow from the tally."""
    cdef const Label *name
    cdef int i
    naming.names = names
    naming.one = by_word(t.options.by)
    naming.several = by_words(t.options.by)
    for i in range(SOURCES_MAX):
        names[i].bytes = "?"
        names[i].length = 1
        if t.group_of_source[i] != NOBODY:
            name = group_display_name(t, t.group_of_source[i])
            names[i].bytes = &name.bytes[0]
            names[i].length = name.length


# ---- gaps ---------------------------------------------------------------------------------------------------------
# A gap is the time from the last answer before a failure to the first one after it, or a time in which requests waited
# and none was answered, if that is long. The beginning counts as an answer, so that a gap there has a beginning too.

cdef inline void gap_add(Tally *t, const WatchSample *sample) noexcept nogil:
    """A request was answered, or failed; a little earlier than the one before, at times."""
    cdef int64_t since = max(t.last_answer, min(sample.start, t.waiting_since) if t.waiting else sample.start)
    if not sample.is_answer:
        t.is_failing = True
        return
    if t.is_failing:
        gap_note(t, sample.end - t.last_answer)
    elif is_gap(t, sample.end - since):
        gap_note(t, sample.end - since)
    t.last_answer = max(sample.end, t.last_answer)
    t.is_failing = False


cdef inline void gap_note(Tally *t, int64_t length) noexcept nogil:
    t.latest_gap = max(0, length)
    t.longest_gap = max(t.latest_gap, t.longest_gap)


cdef inline bint is_gap(const Tally *t, int64_t length) noexcept nogil:
    """Whether so long a time without an answer, in us, is a gap where nothing fails: from the time on for which it is
    said that requests wait, or longer than what is expected. How long answers take is not known before the first."""
    if t.answers and t.options.max_gap != NOT_GIVEN and length > max(t.options.max_gap, <int64_t>STALL_LEAST):
        return True
    return length > STALL


cdef inline int64_t gap_latest(const Tally *t, int64_t now) noexcept nogil:
    """The length of the latest gap in us, which may last until now; NOT_GIVEN if there was none."""
    cdef int64_t stalled = now - max(t.last_answer, t.waiting_since)
    if t.is_failing:
        return max(0, now - t.last_answer)
    return stalled if t.waiting and is_gap(t, stalled) else t.latest_gap


cdef inline void tally_end(Tally *t, int64_t now) noexcept nogil:
    """What is still under way is given up, and told of no more; a gap that it has is kept."""
    if not t.is_failing and gap_latest(t, now) != t.latest_gap:
        gap_note(t, gap_latest(t, now))
    t.waiting = 0


cdef inline int64_t gap_longest(const Tally *t, int64_t now) noexcept nogil:
    """The same of the longest one."""
    return max(gap_latest(t, now), t.longest_gap)


# ---- latencies ----------------------------------------------------------------------------------------------------
# They are counted in buckets that grow exponentially, so that quantiles are right to 1 %.

cdef inline void latency_add(Tally *t, int64_t us) noexcept nogil:
    cdef double bucket = log(<double>max(us, 1)) / log(BUCKET_RATIO) + 0.5
    t.latency_total += max(us, 0)
    t.latencies[<int>min(bucket, BUCKETS - 1)] += 1


cdef inline int64_t latency_count_up_to(const Tally *t, double seconds) noexcept nogil:
    """How many latencies were at most as long as this, right to 1 % of the time."""
    cdef double us = seconds * US_PER_SECOND
    cdef int64_t count = 0
    cdef int limit, i
    if us < 1:
        return 0
    limit = <int>min(floor(log(us) / log(BUCKET_RATIO)), BUCKETS - 1)
    for i in range(limit + 1):
        count += t.latencies[i]
    return count


cdef inline double latency_quantile(const Tally *t, double part) noexcept nogil:
    """The latency in us that this part (0 to 1) of all did not exceed; NOT_GIVEN if there is none."""
    cdef int64_t rank = max(1, <int64_t>ceil(part * <double>t.answers))
    cdef int i
    for i in range(BUCKETS):
        rank -= t.latencies[i]
        if rank <= 0:
            return pow(BUCKET_RATIO, i)
    return NOT_GIVEN


# ---- rates --------------------------------------------------------------------------------------------------------

cdef inline void second_add(Tally *t, int64_t end) noexcept nogil:
    cdef int64_t second = max(0, end - t.begin) // US_PER_SECOND
    if second > t.latest_second + RATE_WINDOW:
        memset(t.ended_in, 0, sizeof(t.ended_in))
        t.latest_second = second
    while t.latest_second < second:
        t.latest_second += 1
        t.ended_in[t.latest_second % (RATE_WINDOW + 1)] = 0
    if second >= t.latest_second - RATE_WINDOW:
        t.ended_in[second % (RATE_WINDOW + 1)] += 1


cdef inline double rate_current(const Tally *t, int64_t now) noexcept nogil:
    """Requests per second that ended in the last 5 seconds that are over."""
    cdef int64_t passed = max(0, now - t.begin)
    cdef int64_t whole = passed // US_PER_SECOND
    cdef int64_t second = max(max(0, whole - RATE_WINDOW), t.latest_second - RATE_WINDOW)
    cdef int64_t count = 0
    if whole < 1:
        return rate_average(t, now)
    while second < whole and second <= t.latest_second:
        count += t.ended_in[second % (RATE_WINDOW + 1)]
        second += 1
    return <double>count / <double>min(whole, RATE_WINDOW)


cdef inline int64_t sending_time(const Tally *t, int64_t now) noexcept nogil:
    """For how long requests were sent: without the wait for the last answers."""
    cdef int64_t end = now
    if t.options.duration != NOT_GIVEN:
        end = min(end, t.begin + t.options.duration)
    if t.options.count != NOT_GIVEN and t.sent >= t.options.count:
        end = min(end, t.latest_start)
    return max(0, end - t.begin)


cdef inline double rate_average(const Tally *t, int64_t now) noexcept nogil:
    """Requests that were sent per second; of one that was sent at once, until now."""
    cdef int64_t time = sending_time(t, now)
    if time == 0:
        time = now - t.begin
    return <double>t.sent * US_PER_SECOND / <double>time if time > 0 else 0


cdef inline bint rate_is_slow(const Tally *t, int64_t now) noexcept nogil:
    """Whether requests were sent more slowly than asked for, by more than a tenth and than chance explains."""
    cdef double expected = t.options.rate * <double>sending_time(t, now) / US_PER_SECOND
    return <double>t.sent < SLOW_PART * expected - SLOW_DEVIATIONS * sqrt(expected)


# ---- the goal -----------------------------------------------------------------------------------------------------
# A group's share of the latest answers to requests without a cookie, until it is large enough.

cdef inline void goal_add(Tally *t, const WatchSample *answer) noexcept nogil:
    cdef int64_t number = max(0, answer.end - t.begin) * GOAL_SLICES // (GOAL_WINDOW * <int64_t>US_PER_SECOND)
    cdef Slice *s = &t.goal_slices[number % GOAL_SLICES]
    if not t.options.has_goal or t.goal_reached != NOT_GIVEN or answer.cookie_of.length:
        return
    t.goal_slice = max(t.goal_slice, number)
    if number > s.number:
        s.number = number
        s.answers = s.hits = 0
    elif number < s.number:
        return  # too old
    s.answers += 1
    s.hits += is_named(&answer.replica, t.options.by, &t.options.goal.name)
    if goal_answers(t) >= GOAL_MIN_ANSWERS and goal_share(t) >= t.options.goal.share:
        t.goal_reached = answer.end


cdef inline bint is_latest_slice(const Tally *t, const Slice *s) noexcept nogil:
    return s.number > t.goal_slice - GOAL_SLICES


cdef inline int64_t goal_answers(const Tally *t) noexcept nogil:
    """The number of the latest answers."""
    cdef int64_t answers = 0
    cdef int i
    for i in range(GOAL_SLICES):
        if is_latest_slice(t, &t.goal_slices[i]):
            answers += t.goal_slices[i].answers
    return answers


cdef inline double goal_share(const Tally *t) noexcept nogil:
    """The group's share of them, from 0 to 1; 0 if there is none."""
    cdef int64_t answers = goal_answers(t)
    cdef int64_t hits = 0
    cdef int i
    for i in range(GOAL_SLICES):
        if is_latest_slice(t, &t.goal_slices[i]):
            hits += t.goal_slices[i].hits
    return <double>hits / <double>answers if answers else 0

"""A fuzz target (libFuzzer) for the verdict: whatever samples come, in any order, and however late one looks.

For any samples: as many sources are there as are counted; shares are between their bounds, which are from 0 to 1; words
fit into the buffer, and there are some.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport abort, free, malloc

from yinyang.core.text.buffer cimport Text, text_fits, text_open
from yinyang.core.verdict.evidence cimport (
    Evidence, NO_SOURCE, SOURCES_MAX, Sample, evidence_add, evidence_forget, evidence_open
)
from yinyang.core.verdict.verdict cimport Verdict, verdict_find
from yinyang.core.verdict.words cimport Name, Naming, text_detail, text_headline

cdef enum:
    RECORD = 4  # bytes of a sample, or of a command
    WORDS_MAX = 1024
    NAME_LENGTH = 5


cdef void check(const Evidence *e, const Verdict *v, const Naming *naming) noexcept nogil:
    cdef char words[WORDS_MAX]
    cdef Text text
    cdef int active = 0
    cdef int i
    for i in range(SOURCES_MAX):
        active += e.sources[i].is_active
        if not -1e-6 <= v.low[i] <= v.seen[i] + 1e-6 or not v.seen[i] <= v.high[i] + 1e-6 <= 1 + 2e-6:
            abort()
    if active != e.active:
        abort()
    text_open(&text, words, WORDS_MAX)
    text_headline(&text, v, naming)
    if not text_fits(&text) or text.length == 0:
        abort()
    text_detail(&text, v, naming)
    if not text_fits(&text):
        abort()


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    """Four bytes are a sample: the time since the one before, the source or command, the failure, and the tie."""
    cdef Evidence *e = <Evidence *>malloc(sizeof(Evidence))
    cdef Verdict *v = <Verdict *>malloc(sizeof(Verdict))
    cdef Name names[SOURCES_MAX]
    cdef Naming naming
    cdef Sample sample
    cdef size_t place
    cdef int i
    cdef const uint8_t *record
    for i in range(SOURCES_MAX):
        names[i].bytes = "web-1"
        names[i].length = NAME_LENGTH
    naming.names = names
    naming.one = "replica"
    naming.several = "replicas"
    evidence_open(e)
    sample.at = 0
    for place in range(size // RECORD):
        record = data + place * RECORD
        sample.at += <int64_t>record[0] * (1000 if record[0] > 200 else 1)
        sample.source = record[1] if record[1] != 255 else NO_SOURCE
        sample.failure = -1 if record[2] < 128 else record[2] - 128 if record[2] < 140 else 340 + record[2]
        sample.tie = record[3] & 3 if (record[3] & 3) < 3 else 0
        sample.owner = NO_SOURCE if record[3] & 4 else record[3] >> 3
        sample.started = 0 if record[2] & 1 else record[2] & 6
        evidence_add(e, &sample)
        if record[3] == 255 and not e.sources[record[1]].is_active:
            evidence_forget(e, record[1])
        if place % 8 == 0 or record[0] > 200:
            verdict_find(v, e, sample.at + record[3], record[2] & 7, sample.at - record[0])
            check(e, v, &naming)
    free(v)
    free(e)
    return 0

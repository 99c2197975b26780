"""Checks what the user expects of the balancer against what was seen, and tells of it: for people, for GitHub's pages
of a run, and as JUnit XML, which pipelines show as tests.

Expectations have numbers. The first one is always there: if anything was asked, something was answered.
"""

from libc.stdint cimport int64_t

from ..text.buffer cimport Text, llu, text_fits, text_format, text_number, text_open, text_string
from ..text.decimal cimport text_decimal, text_significant
from ..verdict.words cimport text_count
from .groups cimport by_word, is_named
from .options cimport NOT_GIVEN, WantedShare, WatchOptions
from .sample cimport BY_NODE, BY_REPLICA, Label, US_PER_MS, US_PER_SECOND, label_equals
from .tally cimport (
    GOAL_MIN_ANSWERS, GOAL_WINDOW, Tally, gap_longest, goal_answers, goal_share, group_is_silent, latency_quantile,
    tally_share
)
from .writer cimport FORM_COMMAND, FORM_PLAIN, FORM_XML, Writer, text_failures, write_label, write_string

cdef enum Expected:
    EXPECTED_ANSWER  # some request is answered, if there is any
    EXPECTED_REPLICAS
    EXPECTED_ERRORS
    EXPECTED_GAP
    EXPECTED_P99
    EXPECTED_LEAST_SHARE
    EXPECTED_SHARE
    EXPECTED_GOAL

cdef enum:
    ENOUGH_ANSWERS = 5  # of a share that is to be told from another one
    EXPECTED_WORDS_MAX = 1024  # bytes of what is expected: a sentence with a name, of whose bytes each becomes up to 3

cdef struct Expectation:
    int kind
    const WantedShare *wanted  # of EXPECTED_SHARE and EXPECTED_GOAL


# ---- which there are ----------------------------------------------------------------------------------------------

cdef inline int expectation_count(const Tally *t) noexcept nogil:
    cdef int count = t.options.expected_count + t.options.has_goal
    cdef int kind
    for kind in range(<int>EXPECTED_SHARE):
        count += is_stated(t.options, kind)
    return count


cdef inline bint is_stated(const WatchOptions *options, int kind) noexcept nogil:
    """Of those that there is one of."""
    if kind == EXPECTED_REPLICAS:
        return options.expect_replicas != NOT_GIVEN
    if kind == EXPECTED_ERRORS:
        return options.max_errors != NOT_GIVEN
    if kind == EXPECTED_GAP:
        return options.max_gap != NOT_GIVEN
    if kind == EXPECTED_P99:
        return options.max_p99 != NOT_GIVEN
    if kind == EXPECTED_LEAST_SHARE:
        return options.min_share >= 0
    return kind == EXPECTED_ANSWER


cdef inline Expectation expectation_find(const WatchOptions *options, int number) noexcept nogil:
    """The one that has this number, which is below their count."""
    cdef Expectation found
    found.wanted = NULL
    for found.kind in range(<int>EXPECTED_SHARE):
        if is_stated(options, found.kind):
            if number == 0:
                return found
            number -= 1
    found.kind = EXPECTED_SHARE if number < options.expected_count else EXPECTED_GOAL
    found.wanted = &options.goal
    if found.kind == EXPECTED_SHARE:
        found.wanted = &options.expected[number]
    return found


# ---- whether they hold --------------------------------------------------------------------------------------------

cdef struct LeastShare:  # of those that are there
    int group  # the one that has it; -1: nobody has answered
    double share
    int64_t total  # answers


cdef inline bint expectation_holds(const Tally *t, int number, int64_t now) noexcept nogil:
    """Whether what was expected and what was seen agree; `now` in us."""
    cdef Expectation one = expectation_find(t.options, number)
    cdef LeastShare least
    if one.kind == EXPECTED_ANSWER:
        return t.answers > 0 or (t.samples == 0 and gap_longest(t, now) == NOT_GIVEN)
    if one.kind == EXPECTED_REPLICAS:
        return answering_count(t) == t.options.expect_replicas
    if one.kind == EXPECTED_ERRORS:
        return t.samples - t.answers <= t.options.max_errors
    if one.kind == EXPECTED_GAP:
        return gap_longest(t, now) <= t.options.max_gap
    if one.kind == EXPECTED_P99:
        return 0 <= latency_quantile(t, 0.99) <= t.options.max_p99
    if one.kind == EXPECTED_LEAST_SHARE:
        least = least_share(t)
        return least.share >= t.options.min_share or comes_too_late(t, least)
    if one.kind == EXPECTED_SHARE:
        return share_holds(t, one.wanted)
    return t.goal_reached != NOT_GIVEN


cdef inline bint expectations_hold(const Tally *t, int64_t now) noexcept nogil:
    """Whether all of them do."""
    cdef int number
    for number in range(expectation_count(t)):
        if not expectation_holds(t, number, now):
            return False
    return True


cdef inline LeastShare least_share(const Tally *t) noexcept nogil:
    """Groups that left do not count, nor does the time before the latest came: a roll-out without a fault passes."""
    cdef LeastShare least
    cdef int group
    least.group = -1
    least.total = 0
    for group in range(t.group_count):
        if not group_is_silent(t, group):
            least.total += t.groups[group].present
            if least.group < 0 or t.groups[group].present < t.groups[least.group].present:
                least.group = group
    if t.answers_without_cookie == 0:
        least.group = -1
    least.share = -1 if least.group < 0 else 0
    if least.total:
        least.share = <double>t.groups[least.group].present / <double>least.total
    return least


cdef inline bint comes_too_late(const Tally *t, LeastShare least) noexcept nogil:
    """Whether the latest came so shortly before the end that its share cannot be told from the least one."""
    return (
        least.group >= 0 and <double>least.total * t.options.min_share < ENOUGH_ANSWERS
        and 2 * least.total <= t.answers_without_cookie
    )


cdef inline int answering_count(const Tally *t) noexcept nogil:
    """How many replicas have answered; others are known by their failures alone."""
    cdef int count = 0
    cdef int i
    for i in range(t.replica_count):
        count += t.replicas[i].counts.answers > 0
    return count


cdef inline bint share_holds(const Tally *t, const WantedShare *wanted) noexcept nogil:
    """Whether the share is within its margin; one that is to be above 0 also takes an answer, however wide that is."""
    cdef NamedShare found = wanted_share(t, wanted)
    if t.answers_without_cookie == 0 or (wanted.share > 0 and found.share == 0):
        return False
    return abs(found.share - wanted.share) <= wanted.margin


cdef struct NamedShare:  # of the groups that a user means by a name
    bint is_there  # there is such a group
    double share  # of all of them together


cdef inline NamedShare wanted_share(const Tally *t, const WantedShare *wanted) noexcept nogil:
    cdef NamedShare found
    cdef int i
    found.is_there = False
    found.share = 0
    if t.options.by == BY_REPLICA:  # each is a group, and has two names
        for i in range(t.replica_count):
            if is_named(&t.replicas[i].described, BY_REPLICA, &wanted.name):
                found.is_there = True
                found.share += tally_share(t, &t.replicas[i].counts)
        return found
    for i in range(t.group_count):
        if label_equals(&t.groups[i].name, &wanted.name):
            found.is_there = True
            found.share += tally_share(t, &t.groups[i].counts)
    return found


# ---- in words -----------------------------------------------------------------------------------------------------

cdef inline void text_expected_words(Text *text, const Tally *t, int number) noexcept nogil:
    """What is expected."""
    cdef Writer w
    w.text = text
    w.form = FORM_PLAIN
    write_expected(&w, t, number)


cdef inline void text_seen_words(Text *text, const Tally *t, int number, int64_t now) noexcept nogil:
    """What was seen instead, or what agrees with it; `now` in us."""
    cdef Writer w
    w.text = text
    w.form = FORM_PLAIN
    write_seen(&w, t, number, now)


cdef inline void write_expected(const Writer *w, const Tally *t, int number) noexcept nogil:
    cdef const WatchOptions *options = t.options
    cdef Expectation one = expectation_find(options, number)
    if one.kind == EXPECTED_ANSWER:
        write_string(w, "an answer")
    elif one.kind == EXPECTED_REPLICAS:
        write_string(w, "exactly ")
        text_count(w.text, options.expect_replicas, "replica", "replicas")
    elif one.kind == EXPECTED_ERRORS:
        write_string(w, "at most ")
        text_count(w.text, options.max_errors, "error", "errors")
    elif one.kind == EXPECTED_GAP:
        write_string(w, "no gap longer than ")
        text_significant(w.text, <double>options.max_gap / US_PER_SECOND, 6)
        write_string(w, " s")
    elif one.kind == EXPECTED_P99:
        write_string(w, "99 % of answers within ")
        text_significant(w.text, <double>options.max_p99 / US_PER_MS, 10)
        write_string(w, " ms")
    elif one.kind == EXPECTED_LEAST_SHARE:
        write_string(w, "each ")
        write_string(w, by_word(options.by))
        write_string(w, " gives at least ")
        write_percent(w, options.min_share)
        write_string(w, " of the answers")
    else:
        write_expected_share(w, one)


cdef inline void write_expected_share(const Writer *w, Expectation one) noexcept nogil:
    write_label(w, &one.wanted.name)
    write_string(w, " gives " if one.kind == EXPECTED_SHARE else " to reach ")
    write_percent(w, one.wanted.share)
    if one.kind == EXPECTED_SHARE:
        write_string(w, " of the answers, give or take ")
        text_significant(w.text, 100 * one.wanted.margin, 6)
    else:
        text_format(w.text, " of the answers of the last %llu s", <llu>GOAL_WINDOW)


cdef inline void write_percent(const Writer *w, double share) noexcept nogil:
    """As the user gave it."""
    text_significant(w.text, 100 * share, 6)
    write_string(w, " %")


cdef inline void write_seen(const Writer *w, const Tally *t, int number, int64_t now) noexcept nogil:
    cdef Expectation one = expectation_find(t.options, number)
    if one.kind == EXPECTED_ANSWER:
        write_answers(w, t, gap_longest(t, now))
    elif one.kind == EXPECTED_REPLICAS:
        write_hosts(w, t)
    elif one.kind == EXPECTED_ERRORS:
        text_format(w.text, "%llu of ", <llu>(t.samples - t.answers))
        write_requests(w, t)
    elif one.kind == EXPECTED_GAP:
        write_gap(w, gap_longest(t, now))
    elif one.kind == EXPECTED_P99:
        write_p99(w, <double>latency_quantile(t, 0.99))
    elif one.kind == EXPECTED_LEAST_SHARE:
        write_least_share(w, t)
    elif one.kind == EXPECTED_SHARE:
        write_seen_share(w, t, one.wanted)
    else:
        write_goal(w, t)


cdef inline void write_answers(const Writer *w, const Tally *t, int64_t waited) noexcept nogil:
    if t.answers == 0 and t.samples == 0 and waited != NOT_GIVEN:
        write_string(w, "none for ")
        text_decimal(w.text, <double>waited / US_PER_SECOND, 1)
        write_string(w, " s")
    elif t.answers or not t.samples:
        text_count(w.text, t.answers, "answer", "answers")
    else:
        write_string(w, "none to ")
        write_requests(w, t)


cdef inline void write_requests(const Writer *w, const Tally *t) noexcept nogil:
    """How many there were, and which failures."""
    text_count(w.text, t.samples, "request", "requests")
    write_string(w, " (")
    text_failures(w.text, t, "none")
    write_string(w, ")")


cdef inline void write_hosts(const Writer *w, const Tally *t) noexcept nogil:
    cdef const char *before = ": "
    cdef int i
    text_number(w.text, <llu>answering_count(t))
    for i in range(t.replica_count):
        if t.replicas[i].counts.answers:
            write_string(w, before)
            write_label(w, &t.replicas[i].described.host)
            before = ", "


cdef inline void write_gap(const Writer *w, int64_t longest) noexcept nogil:
    if longest <= 0:
        write_string(w, "no gap")
        return
    write_string(w, "one of ")
    text_decimal(w.text, <double>longest / US_PER_SECOND, 3)
    write_string(w, " s")


cdef inline void write_p99(const Writer *w, double p99) noexcept nogil:
    if p99 < 0:
        write_string(w, "no answer")
        return
    write_string(w, "within ")
    text_significant(w.text, p99 / US_PER_MS, 3)
    write_string(w, " ms")


cdef inline void write_least_share(const Writer *w, const Tally *t) noexcept nogil:
    cdef LeastShare least = least_share(t)
    if least.group < 0:
        write_string(w, "no answer")
        return
    if comes_too_late(t, least):
        write_string(w, "too few to tell: ")
        text_count(w.text, least.total, "answer", "answers")
        write_string(w, " since the latest came")
        return
    write_label(w, &t.groups[least.group].name)
    write_string(w, " ")
    write_part(w, least.share, least.total)


cdef inline void write_part(const Writer *w, double share, int64_t total) noexcept nogil:
    text_decimal(w.text, 100 * share, 1)
    write_string(w, " % of ")
    text_number(w.text, <llu>total)


cdef inline void write_seen_share(const Writer *w, const Tally *t, const WantedShare *wanted) noexcept nogil:
    cdef NamedShare found = wanted_share(t, wanted)
    if found.is_there and t.answers:
        write_part(w, found.share, t.answers_without_cookie)
    else:
        write_absent(w, t, &wanted.name)


cdef inline void write_goal(const Writer *w, const Tally *t) noexcept nogil:
    if t.goal_reached != NOT_GIVEN:
        write_string(w, "reached after ")
        text_decimal(w.text, <double>(t.goal_reached - t.begin) / US_PER_SECOND, 1)
        write_string(w, " s")
    elif wanted_share(t, &t.options.goal).is_there:
        write_part(w, goal_share(t), goal_answers(t))
        if goal_answers(t) < GOAL_MIN_ANSWERS:
            text_format(w.text, ", and it takes %llu", <llu>GOAL_MIN_ANSWERS)
    else:
        write_absent(w, t, &t.options.goal.name)


cdef inline void write_absent(const Writer *w, const Tally *t, const Label *name) noexcept nogil:
    """That there is no group of this name, and which there are; and how to group, so that there is one."""
    cdef int by, i
    if t.answers == 0:
        write_string(w, "no answer")
        return
    write_string(w, "no ")
    write_string(w, by_word(t.options.by))
    write_string(w, " ")
    write_label(w, name)
    for i in range(t.group_count):
        write_string(w, ", " if i else ", but ")
        write_label(w, &t.groups[i].name)
    for by in range(BY_NODE + 1):
        for i in range(t.replica_count):
            if is_named(&t.replicas[i].described, by, name):
                write_string(w, "; it is a ")
                write_string(w, by_word(by))
                write_string(w, ": use --by ")
                write_string(w, by_word(by))
                return


# ---- at the end ---------------------------------------------------------------------------------------------------

cdef inline void text_closing(Text *text, const Tally *t, int64_t now, bint unicode, bint github) noexcept nogil:
    """A line for each, with a mark for whether it holds; none if only the one holds that is always there. Then, for
    `github`, a workflow command for each that does not hold."""
    cdef int count = expectation_count(t)
    cdef int width = 0
    cdef int number
    if count == 1 and expectation_holds(t, 0, now):
        return
    for number in range(count):
        width = max(width, expected_width(t, number))
    for number in range(count):
        text_closing_line(text, t, number, now, unicode, width)
    for number in range(count if github else 0):
        if not expectation_holds(t, number, now):
            text_command(text, t, number, now)


cdef inline int expected_width(const Tally *t, int number) noexcept nogil:
    """The characters of what is expected."""
    cdef char bytes[EXPECTED_WORDS_MAX]
    cdef Text words
    cdef size_t i
    cdef int width = 0
    text_open(&words, bytes, EXPECTED_WORDS_MAX)
    text_expected_words(&words, t, number)
    for i in range(words.length if text_fits(&words) else 0):
        width += (bytes[i] & 0xc0) != 0x80  # the first byte of a character of UTF-8
    return width


cdef inline void text_closing_line(Text *text, const Tally *t, int number, int64_t now, bint unicode,
                                   int width) noexcept nogil:
    if expectation_holds(t, number, now):
        text_string(text, "\xe2\x9c\x93" if unicode else "ok  ")
    else:
        text_string(text, "\xe2\x9c\x97" if unicode else "FAIL")
    text_string(text, " expected ")
    text_expected_words(text, t, number)
    text_string(text, ",")
    width -= expected_width(t, number)
    while width > 0:
        text_string(text, " ")
        width -= 1
    text_string(text, " seen: ")
    text_seen_words(text, t, number, now)
    text_string(text, "\n")


cdef inline void text_command(Text *text, const Tally *t, int number, int64_t now) noexcept nogil:
    """A workflow command of GitHub, which has the expectation at the page of the run."""
    cdef Writer w
    w.text = text
    w.form = FORM_COMMAND
    text_string(text, "::error title=yinyang.watch::")
    write_disagreement(&w, t, number, now)
    text_string(text, "\n")


cdef inline void write_disagreement(const Writer *w, const Tally *t, int number, int64_t now) noexcept nogil:
    write_string(w, "expected ")
    write_expected(w, t, number)
    write_string(w, ", seen: ")
    write_seen(w, t, number, now)


cdef inline void text_junit(Text *text, const Tally *t, int64_t now, const char *problem) noexcept nogil:
    """A file of JUnit XML: a test suite for the watch, with a test case for each expectation; or if it could not go on
    because of a problem, with one that is in error."""
    cdef int count = 0 if problem != NULL else expectation_count(t)
    cdef int failures = 0
    cdef int number
    cdef Writer w
    w.text = text
    w.form = FORM_XML
    for number in range(count):
        failures += not expectation_holds(t, number, now)
    text_string(text, "<?xml version='1.0' encoding='utf-8'?>\n<testsuites><testsuite name=\"yinyang.watch ")
    write_string(&w, t.options.display_url)
    text_format(text, '" tests="%llu" failures="%llu" errors="%llu" time="', <llu>(count + (problem != NULL)),
                <llu>failures, <llu>(problem != NULL))
    text_decimal(text, <double>(now - t.begin) / US_PER_SECOND, 3)
    text_string(text, '">')
    for number in range(count):
        write_test_case(&w, t, number, now)
    if problem != NULL:
        text_string(text, '<testcase classname="yinyang.watch" name="to go on"><error message="')
        write_string(&w, problem)
        text_string(text, '" /></testcase>')
    text_string(text, "</testsuite></testsuites>")


cdef inline void write_test_case(const Writer *w, const Tally *t, int number, int64_t now) noexcept nogil:
    text_string(w.text, '<testcase classname="yinyang.watch" name="')
    write_expected(w, t, number)
    text_string(w.text, '">')
    if expectation_holds(t, number, now):
        text_string(w.text, "<system-out>")
        write_seen(w, t, number, now)
        text_string(w.text, "</system-out>")
    else:
        text_string(w.text, '<failure message="')
        write_disagreement(w, t, number, now)
        text_string(w.text, '" />')
    text_string(w.text, "</testcase>")

"""The life of a server, the same in both shapes: its phases and its log records.

    opened --supervisor_start--> serving --stop--> draining --deadline--> stopping --workers ended-->
    last lines --> over

The last lines end when they are written, when the log refuses them, or at a deadline. A second stop ends the server at
once.

The caller repeats `server_wait` until it returns False. After each call it logs what there is: as lines, by
`server_write_log`, or record by record, by `server_next_record`.
"""

from libc.stdint cimport int64_t, uint64_t

from ..identity.replica cimport Replica
from ..log.log_line cimport log_line_render
from ..log.log_queue cimport LogQueue, log_queue_add, log_queue_flush
from ..log.timezone cimport Timezone
from ..os.listener cimport listening_message
from ..os.syscalls cimport monotonic_ms, wall_second
from ..text.buffer cimport Text, text_format, text_open
from .messages cimport (
    supervisor_failure_message, supervisor_take_death, supervisor_take_listener, supervisor_take_readiness,
    supervisor_take_sandbox
)
from .pages cimport supervisor_look, supervisor_take_pages
from .state cimport Supervisor
from .supervisor cimport (
    supervisor_has_failed, supervisor_is_over, supervisor_kill, supervisor_stop, supervisor_stop_timeout,
    supervisor_wait
)

cdef enum:
    RECORD_MAX = 1024  # bytes of a message
    LINE_MAX = 1100  # bytes: a message and its time
    PAGE_RECORDS_MAX = 128  # in a turn: twice the seconds that a page ring holds

cdef enum Greeting:  # the messages at the start that are logged
    GREETING_NONE
    GREETING_SERVING
    GREETING_LISTENING

cdef struct LogRecord:
    int64_t second  # since 1970
    uint64_t count  # of equal records
    bint are_pages
    bint is_warning
    const char *image_template  # of a message about the image, with its host and colour; NULL: another message
    Text message

cdef struct Server:
    Supervisor supervisor
    int greeting
    int stops  # number of requests to stop
    int page_records  # of this turn
    int64_t log_deadline  # ms: pending lines are not waited for any longer
    char message[RECORD_MAX]  # of the last record


cdef inline bint server_wait(Server *server, int stops, int log, int timeout) noexcept nogil:
    """Wait for something to do or to log, until the descriptor `log` can be written, or for `timeout` ms (both from
    log_queue_wait_for). False when all is over, or when server_has_failed. `stops` is the number of requests to stop: 1
    to drain and write the last lines; 2 to end at once."""
    if stops and not server.stops:
        server.log_deadline = monotonic_ms() + supervisor_stop_timeout(&server.supervisor)
    server.stops = stops
    server.page_records = 0
    if stops == 1:
        supervisor_stop(&server.supervisor)
    elif stops > 1:
        supervisor_kill(&server.supervisor)
    if supervisor_is_over(&server.supervisor):
        # wait for a log that may take its last lines soon, not for one that refuses them
        if monotonic_ms() >= server.log_deadline or stops > 1 or log < 0 and not supervisor_look(&server.supervisor):
            return False
        timeout = <int>(server.log_deadline - monotonic_ms())
    supervisor_wait(&server.supervisor, log, timeout)
    return not supervisor_has_failed(&server.supervisor)


cdef inline bint server_has_failed(const Server *server, Text *message) noexcept nogil:
    """After server_wait has returned False: whether the server could not serve at all. The message says why."""
    if not supervisor_has_failed(&server.supervisor):
        return False
    supervisor_failure_message(&server.supervisor, message)
    return True


# ---- the log ------------------------------------------------------------------------------------------------------

cdef inline bint server_next_record(Server *server, LogRecord *record) noexcept nogil:
    """The next thing to log; False when there is none, for now. Its message stays until the next call."""
    cdef Supervisor *supervisor = &server.supervisor
    cdef int64_t second = 0
    cdef uint64_t pages
    text_open(&record.message, server.message, RECORD_MAX)
    record.second = wall_second()
    record.count = 1
    record.are_pages = False
    record.is_warning = False
    record.image_template = NULL
    if server.greeting == GREETING_NONE:
        server.greeting = GREETING_SERVING
        record_image(record, supervisor.replica, "Serving image, host: %s, colour: %s")
        return True
    if server.greeting == GREETING_SERVING:
        server.greeting = GREETING_LISTENING
        listening_message(&record.message, supervisor.listener, supervisor.listener_is_shared,
                          supervisor.listener_has_both, supervisor.workers)
        return True
    pages = supervisor_take_pages(supervisor, &second) if server.page_records < PAGE_RECORDS_MAX else 0
    if pages:
        server.page_records += 1
        record.second = second
        record.count = pages
        record.are_pages = True
        record_image(record, supervisor.replica, "Served image, host: %s, colour: %s")
        return True
    if supervisor_take_sandbox(supervisor, &record.message) or supervisor_take_readiness(supervisor, &record.message):
        return True
    record.is_warning = True
    return supervisor_take_listener(supervisor, &record.message) or supervisor_take_death(supervisor, &record.message)


cdef inline void record_image(LogRecord *record, const Replica *replica, const char *template) noexcept nogil:
    record.image_template = template
    text_format(&record.message, template, replica.identity.name, replica.identity.colours[0])


cdef inline void server_write_log(Server *server, LogQueue *log, const Timezone *timezone) noexcept nogil:
    """Add a line for each record, and write what the log takes."""
    cdef LogRecord record
    cdef char buffer[LINE_MAX]
    cdef Text line
    while server_next_record(server, &record):
        text_open(&line, buffer, LINE_MAX)
        log_line_render(&line, timezone, record.second, &record.message)
        log_queue_add(log, buffer, line.length, record.count, record.are_pages)
    log_queue_flush(log)

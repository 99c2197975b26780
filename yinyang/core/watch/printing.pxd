"""What a watch prints meanwhile and at its end, and how it writes that to readers that may take nothing."""

from libc.stdint cimport int64_t
from libc.string cimport memset, strcmp

from ..log.log_write cimport log_reopen, log_room, log_write
from ..os.syscalls cimport (
    EAGAIN, EINTR, EINVAL, POLLIN, POLLOUT, errno, ftruncate, getenv, monotonic_us, poll, pollfd, wall_ms
)
from ..text.buffer cimport Text, text_fits, text_format, text_open, text_quoted, text_string, text_system_error
from .expectations cimport text_closing, text_junit
from .page cimport page_must_grow, page_open
from .report cimport text_report, text_run_line, text_sample_line, text_summary_line
from .sample cimport US_PER_MS, US_PER_SECOND
from .signals cimport watch_read_signals
from .state cimport (
    EXIT_WRONG, MODE_LINES, MODE_SAMPLES, MODE_SCREEN, WATCH_MESSAGE_MAX, Output, Watch, watch_end, watch_note_waits
)
from .tally cimport Tally
from .terminal cimport terminal_begin, terminal_frame_end, terminal_home, terminal_resize
from .view cimport View, view_draw
from .writer cimport FORM_PLAIN, Writer, write_string

cdef enum:
    FRAME = US_PER_SECOND // 8  # us, from one picture to the next
    LINE = US_PER_SECOND  # from one line to the next

cdef enum Print:
    PRINT_LINE
    PRINT_FRAME
    PRINT_LAST_FRAME
    PRINT_REPORT
    PRINT_RUN
    PRINT_SAMPLE
    PRINT_CLOSING
    PRINT_JUNIT
    PRINT_PROBLEM


cdef inline void text_problem(Text *text, const char *words) noexcept nogil:
    """A line whose words may repeat any bytes of an argument."""
    cdef Writer writer
    writer.text = text
    writer.form = FORM_PLAIN
    text_string(text, "yinyang watch: ")
    write_string(&writer, words)
    text_string(text, "\n")


cdef inline void text_unwritten(Text *message, const char *path, int error) noexcept nogil:
    text_quoted(message, path)
    text_string(message, " cannot be written: ")
    text_system_error(message, error)


cdef inline void output_open(Output *output, int fd) noexcept nogil:
    """Write to this descriptor without blocking, as signals would not end that."""
    cdef int reopened = log_reopen(fd)
    output.fd = reopened if reopened >= 0 else fd
    output.room = log_room(output.fd, reopened >= 0)
    output.error = 0


cdef inline void watch_print_begin(Watch *w, int64_t now) noexcept nogil:
    cdef char bytes[64]
    cdef Text text
    text_open(&text, w.title, sizeof(w.title) - 1)
    text_format(&text, "%s (%s connections)", w.options.display_url, "same" if w.options.keep_alive else "new")
    if w.mode == MODE_SAMPLES:
        watch_print(w, &w.output, PRINT_RUN, now)
    elif w.mode == MODE_SCREEN:
        text_open(&text, bytes, sizeof(bytes))
        terminal_begin(&text)
        watch_write(w, &w.output, bytes, text.length)
        watch_print(w, &w.output, PRINT_FRAME, now)


cdef inline void watch_print_meanwhile(Watch *w, int64_t now) noexcept nogil:
    cdef int64_t interval = FRAME if w.mode == MODE_SCREEN else LINE
    if w.mode == MODE_SCREEN:
        terminal_resize(&w.terminal)  # a process in the background gets no SIGWINCH
        watch_print(w, &w.output, PRINT_FRAME, now)
    elif w.mode == MODE_LINES:
        watch_print(w, &w.output, PRINT_LINE, now)
    w.print_due = max(w.print_due + interval, now)


cdef inline void watch_print_last(Watch *w, int64_t now) noexcept nogil:
    if w.mode == MODE_SCREEN:
        watch_print(w, &w.output, PRINT_LAST_FRAME, now)
    elif w.mode == MODE_LINES:
        watch_print(w, &w.output, PRINT_LINE, now)
    elif w.options.json:
        watch_print(w, &w.output, PRINT_REPORT, now)


cdef inline void watch_write_junit(Watch *w, int64_t now) noexcept nogil:
    cdef Text text
    if w.junit.fd < 0:
        return
    if ftruncate(w.junit.fd, 0) < 0 and errno != EINVAL:  # a pipe or a device cannot be cut
        w.junit.error = errno
    watch_print(w, &w.junit, PRINT_JUNIT, now)
    if w.junit.error and not w.problem:
        text_open(&text, w.message, WATCH_MESSAGE_MAX - 1)
        text_unwritten(&text, w.options.junit, w.junit.error)
        w.problem = EXIT_WRONG


cdef inline void watch_print(Watch *w, Output *output, int what, int64_t now) noexcept nogil:
    """Write a text about what is known now."""
    cdef Text text
    if not w.is_over:  # else all that waited is given up
        watch_note_waits(w)
    if not page_open(&w.page, &text):
        return
    watch_render(w, &text, what, now)
    while page_must_grow(&w.page, &text):
        page_open(&w.page, &text)
        watch_render(w, &text, what, now)
    if text_fits(&text):
        watch_write(w, output, text.data, text.length)


cdef inline void watch_render(Watch *w, Text *text, int what, int64_t now) noexcept nogil:
    cdef const Tally *tally = &w.tally
    if what == PRINT_LINE:
        text_summary_line(text, tally, now)
        text_string(text, "\n")
    elif what == PRINT_FRAME:
        terminal_home(text)
        watch_draw(w, text, now, False)
        terminal_frame_end(text)
    elif what == PRINT_LAST_FRAME:
        watch_draw(w, text, now, True)
    elif what == PRINT_REPORT:
        text_report(text, tally, now, w.ended)
        text_string(text, "\n")
    elif what == PRINT_RUN:
        text_run_line(text, &w.options, wall_ms())
        text_string(text, "\n")
    elif what == PRINT_SAMPLE:
        text_sample_line(text, w.sample, wall_ms())
        text_string(text, "\n")
    elif what == PRINT_CLOSING:
        text_closing(text, tally, now, w.terminal.unicode, is_in_github())
    elif what == PRINT_JUNIT:
        text_junit(text, tally, now, w.message if w.problem else NULL)
    else:
        text_problem(text, w.message)


cdef inline bint is_in_github() noexcept nogil:
    """Whether this is a step of GitHub Actions."""
    cdef const char *value = getenv("GITHUB_ACTIONS")
    return value != NULL and strcmp(value, "true") == 0


cdef inline void watch_draw(Watch *w, Text *text, int64_t now, bint show_all) noexcept nogil:
    cdef View view
    memset(&view, 0, sizeof(view))
    view.width = w.terminal.width
    view.height = w.terminal.height
    view.colours = w.terminal.colours
    view.unicode = w.terminal.unicode
    view.show_all = show_all
    view.title = w.title
    view_draw(text, &w.tally, now, &view)


cdef inline void watch_write(Watch *w, Output *output, const char *bytes, size_t length) noexcept nogil:
    """Write all, as long as the reader takes it; after a signal, it has to do so soon."""
    cdef ssize_t written
    while length and not output.error:
        written = log_write(output.fd, NULL, output.room, bytes, length, 1, 0)
        if written > 0:
            bytes += written
            length -= <size_t>written
        elif written < 0:
            output_fail(w, output, <int>-written)
        elif not watch_wait_for_room(w, output.fd):
            output_fail(w, output, EAGAIN)


cdef inline void output_fail(Watch *w, Output *output, int error) noexcept nogil:
    output.error = error
    if output == &w.output and not w.is_over:
        watch_end(w, "signal")


cdef inline bint watch_wait_for_room(Watch *w, int fd) noexcept nogil:
    """Wait until a descriptor takes bytes; False if it takes too long after a signal."""
    cdef pollfd fds[2]
    cdef int64_t left = -1
    if w.signal:
        left = w.give_up_at - monotonic_us()
        if left <= 0:
            return False
        left = left // US_PER_MS + 1
    fds[0].fd = fd
    fds[0].events = POLLOUT
    fds[1].fd = w.signals if w.signals else -1  # not yet open
    fds[1].events = POLLIN
    fds[0].revents = fds[1].revents = 0
    if poll(fds, 2, <int>left) < 0 and errno != EINTR:
        return False
    if fds[1].revents:
        watch_read_signals(w)
    return True

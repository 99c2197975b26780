"""A line of the log, as `2026/11/23 15:35:15 MESSAGE`, in local time."""

from libc.stdint cimport int64_t

from ..text.buffer cimport Text, text_put, text_string
from ..text.calendar cimport stamp_render
from .timezone cimport Timezone, timezone_offset


cdef inline void log_line_render(Text *line, const Timezone *timezone, int64_t second,
                                 const Text *message) noexcept nogil:
    """Render a line. It ends with a line feed even if the message is cut off."""
    stamp_render(line, "%llu/%02llu/%02llu %02llu:%02llu:%02llu ", second + timezone_offset(timezone, second))
    text_put(line, message.data, min(message.length, message.room))
    line.length = min(line.length, line.room - 1)
    text_string(line, "\n")

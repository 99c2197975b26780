"""The state of a watch for a terminal of any size: a header, the verdict, failures, the groups, and some figures.

A frame never has more lines than the terminal, nor a line more columns; so the terminal neither wraps nor scrolls.
Where there are few lines, the verdict, failures and figures leave some to the groups, of which the most interesting
come first.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint8_t
from libc.string cimport memset, strlen

from ..identity.identity cimport COLOUR_LENGTH
from ..text.buffer cimport Text, hex_digit, llu, text_format, text_number, text_open, text_put, text_string
from ..text.decimal cimport text_decimal
from ..text.utf8 cimport REPLACEMENT, utf8_next
from ..verdict.evidence cimport SOURCES_MAX, TIE_NONE
from ..verdict.verdict cimport (
    STATE_DOWN, STATE_FAILING, STATE_FINE, SPREAD_EVEN, SPREAD_TURNS, Verdict
)
from ..verdict.words cimport Name, Naming, text_count, text_detail, text_headline
from .report cimport text_figures
from .sample cimport BY_REPLICA, LABEL_MAX, Label, US_PER_SECOND
from .tally cimport (
    FailureCount, REPLICAS_MAX, SeenGroup, SeenReplica, Tally, VERDICT_WORDS_MAX, group_display_name, group_heard,
    rate_current, replica_is_silent, tally_naming, tally_share, tally_verdict
)
from .writer cimport text_failure_kind

cdef extern from "char_widths.h" nogil:
    int char_width(uint32_t code)
    bint char_is_hidden(uint32_t code)

cdef extern from "terminal_colours.h" nogil:
    const uint8_t basic_colours[16][3]

cdef enum:
    SYMBOL_WIDTH = 3  # columns
    NAME_MIN = 4  # columns, of names and versions
    ABOUT_MAX = 16  # columns
    BAR_MIN = 8  # columns
    BAR_MAX = 24  # columns
    MIN_WIDTH_FOR_VERSIONS = 30  # columns, and for how many replicas a group has
    MIN_WIDTH_FOR_STATES = 44  # columns
    MIN_WIDTH_FOR_BARS = 64  # columns
    MIN_HEIGHT_FOR_GAP = 12  # lines, and for the empty one
    CELL_MAX = 64  # bytes of a cell that is no name

    STARTUP = 5  # seconds from the beginning in which those that are there are seen first
    RECENT_SECONDS = 20  # for which a group is new, and for which it counts as failing after a failure

cdef struct View:
    int width, height  # columns and lines of the terminal
    int colours  # 0: none, 16, 256 or 1 << 24
    bint unicode  # or else ASCII
    bint show_all  # all groups, however many lines they take: for the normal screen, at the end
    const char *title

# ---- characters -----------------------------------------------------------------------------------------------------

cdef enum:
    PLUS_MINUS = 0xb1

cdef struct Glyph:  # a character as it is shown
    uint32_t code
    size_t length  # the bytes that it stands for
    int width  # columns


cdef inline Glyph glyph_read(const View *view, const char *bytes, size_t length) noexcept nogil:
    """The one that some bytes begin with; there is at least one byte. REPLACEMENT for a byte that is no UTF-8, and for
    what would control the terminal."""
    cdef const uint8_t *pos = <const uint8_t *>bytes
    cdef int32_t character = utf8_next(&pos, pos + length)
    cdef Glyph glyph
    glyph.length = <size_t>(pos - <const uint8_t *>bytes)
    glyph.code = REPLACEMENT
    if character >= 0 and not char_is_hidden(<uint32_t>character):
        glyph.code = <uint32_t>character
    glyph.width = char_width(glyph.code)
    if not view.unicode and glyph.code == PLUS_MINUS:
        glyph.width = 2
    return glyph


cdef inline int columns_of(const View *view, const char *bytes, size_t length) noexcept nogil:
    """How many columns the bytes take."""
    cdef Glyph glyph
    cdef size_t pos = 0
    cdef int columns = 0
    while pos < length:
        glyph = glyph_read(view, bytes + pos, length - pos)
        pos += glyph.length
        columns += glyph.width
    return columns


cdef inline size_t bytes_within(const View *view, const char *bytes, size_t length, int width) noexcept nogil:
    """How many of the bytes fit into so many columns."""
    cdef Glyph glyph
    cdef size_t pos = 0
    while pos < length:
        glyph = glyph_read(view, bytes + pos, length - pos)
        width -= glyph.width
        if width < 0:
            break
        pos += glyph.length
    return pos


cdef inline size_t line_of(const View *view, const char *bytes, size_t length, int width) noexcept nogil:
    """How many bytes a line of text takes that is broken after a space, or within a word that is wider than the line.
    Spaces at its end may be outside of it."""
    cdef size_t fitting = bytes_within(view, bytes, length, width)
    cdef size_t end
    if fitting == length:
        return length
    if fitting == 0:
        return glyph_read(view, bytes, length).length  # a character that is wider than the line
    end = fitting
    while end > 0 and bytes[end] != b" ":
        end -= 1
    if end == 0:
        return fitting
    while end < length and bytes[end] == b" ":
        end += 1
    return end


cdef inline int lines_of(const View *view, const char *bytes, size_t length) noexcept nogil:
    """How many lines of the view a text takes."""
    cdef size_t line
    cdef int lines = 0
    while length:
        line = line_of(view, bytes, length, view.width)
        bytes += line
        length -= line
        lines += 1
    return lines


# ---- colours --------------------------------------------------------------------------------------------------------

cdef enum:  # a colour is one of these, a number of the 16 basic ones, or RGB plus its red, green and blue
    NO_COLOUR = -1
    RED = 1
    GREEN = 2
    WHITE = 7
    BRIGHT_WHITE = 15
    RGB = 1 << 24
    BAR_BACK = RGB + 0x3a3a3a

cdef enum:  # how text is set off
    PLAIN = 0
    BOLD = 1
    DIM = 2
    REVERSE = 4

cdef struct Style:
    int attributes
    int colour, background


cdef inline Style style_of(int attributes, int colour) noexcept nogil:
    cdef Style style
    style.attributes = attributes
    style.colour = colour
    style.background = NO_COLOUR
    return style


cdef inline int colour_number(const char *name) noexcept nogil:
    """The colour of `#rrggbb`."""
    cdef int colour = 0
    cdef int i
    for i in range(1, COLOUR_LENGTH):
        colour = colour << 4 | (hex_digit(name[i]) & 15)
    return RGB + colour


cdef inline int colour_distance(int colour, int red, int green, int blue) noexcept nogil:
    """The difference of an RGB colour and another one, squared. Eyes see most of the light as green."""
    red -= colour >> 16 & 255
    green -= colour >> 8 & 255
    blue -= colour & 255
    return 2 * red * red + 4 * green * green + 3 * blue * blue


cdef inline int nearest_basic(int colour) noexcept nogil:
    """The number of the nearest of the 16 basic colours."""
    cdef int best = 0
    cdef int least = -1
    cdef int distance, i
    for i in range(16):
        distance = colour_distance(colour, basic_colours[i][0], basic_colours[i][1], basic_colours[i][2])
        if least < 0 or distance < least:
            least = distance
            best = i
    return best


cdef inline int cube_step(int value) noexcept nogil:
    """The nearest of the steps 0, 95, 135, 175, 215 and 255."""
    return 0 if value < 48 else 1 if value < 115 else (value - 35) // 40


cdef inline int step_value(int step) noexcept nogil:
    return 55 + 40 * step if step else 0


cdef inline int nearest_indexed(int colour) noexcept nogil:
    """The number of the nearest of the 256 colours, of which 216 are a cube and 24 grey."""
    cdef int red = cube_step(colour >> 16 & 255)
    cdef int green = cube_step(colour >> 8 & 255)
    cdef int blue = cube_step(colour & 255)
    cdef int mean = ((colour >> 16 & 255) + (colour >> 8 & 255) + (colour & 255)) // 3
    cdef int grey = min(max((mean - 3) // 10, 0), 23)
    cdef int of_cube = colour_distance(colour, step_value(red), step_value(green), step_value(blue))
    if colour_distance(colour, 8 + 10 * grey, 8 + 10 * grey, 8 + 10 * grey) < of_cube:
        return 232 + grey
    return 16 + 36 * red + 6 * green + blue


cdef inline void text_colour(Text *text, const View *view, int colour, bint is_background) noexcept nogil:
    """The parameters of SGR for a colour, each with a semicolon before it; nothing without colours."""
    cdef int base = 40 if is_background else 30
    if colour == NO_COLOUR or view.colours == 0:
        return
    if colour >= RGB and view.colours == 16:
        colour = nearest_basic(colour)
    if colour < 16:
        base += colour if colour < 8 else 60 + colour - 8
        text_format(text, ";%llu", <llu>base)
    elif view.colours == 256:
        text_format(text, ";%llu;5;%llu", <llu>base + 8, <llu>nearest_indexed(colour))
    else:
        text_format(text, ";%llu;2;%llu;", <llu>base + 8, <llu>(colour >> 16 & 255))
        text_format(text, "%llu;%llu", <llu>(colour >> 8 & 255), <llu>(colour & 255))


# ---- lines ----------------------------------------------------------------------------------------------------------

cdef struct Canvas:
    Text *text
    const View *view
    int lines  # that were begun
    int column  # in the last of them
    bint is_styled


cdef inline void canvas_style(Canvas *c, Style style) noexcept nogil:
    """Of what follows, until the next style or the end of the line."""
    cdef char words[CELL_MAX]
    cdef Text text
    text_open(&text, words, sizeof(words))
    if style.attributes & BOLD:
        text_string(&text, ";1")
    if style.attributes & DIM:
        text_string(&text, ";2")
    if style.attributes & REVERSE:
        text_string(&text, ";7")
    text_colour(&text, c.view, style.colour, False)
    text_colour(&text, c.view, style.background, True)
    canvas_unstyle(c)
    if text.length:
        text_string(c.text, "\x1b[")
        text_put(c.text, words + 1, text.length - 1)
        text_string(c.text, "m")
        c.is_styled = True


cdef inline void canvas_unstyle(Canvas *c) noexcept nogil:
    if c.is_styled:
        text_string(c.text, "\x1b[0m")
        c.is_styled = False


cdef inline void canvas_end_line(Canvas *c) noexcept nogil:
    """Erase what the frame before had behind it. In the last column, that would erase the character that is there."""
    canvas_unstyle(c)
    if c.lines == 0:
        return
    if c.view.show_all:
        text_string(c.text, "\n")
        return
    if c.column < c.view.width:
        text_string(c.text, "\x1b[K")
    if c.lines < c.view.height:
        text_string(c.text, "\r\n")


cdef inline void canvas_line(Canvas *c) noexcept nogil:
    """Begin a line, of which the caller has seen that there is room for it."""
    canvas_end_line(c)
    c.lines += 1
    c.column = 0


cdef inline void canvas_glyph(Canvas *c, const Glyph *glyph, const char *bytes) noexcept nogil:
    """Put a character, if the line has room for it."""
    if c.column + glyph.width > c.view.width:
        return
    c.column += glyph.width
    if not c.view.unicode and glyph.code >= 128:
        text_string(
            c.text, "+-" if glyph.code == PLUS_MINUS else "??" if glyph.width == 2 else "?" if glyph.width else ""
        )
    elif glyph.code == REPLACEMENT:
        text_string(c.text, "\xef\xbf\xbd")
    else:
        text_put(c.text, bytes, glyph.length)


cdef inline void canvas_put(Canvas *c, const char *bytes, size_t length) noexcept nogil:
    cdef Glyph glyph
    cdef size_t pos = 0
    while pos < length:
        glyph = glyph_read(c.view, bytes + pos, length - pos)
        canvas_glyph(c, &glyph, bytes + pos)
        pos += glyph.length


cdef inline void canvas_string(Canvas *c, const char *string) noexcept nogil:
    canvas_put(c, string, strlen(string))


cdef inline void canvas_spaces(Canvas *c, int columns) noexcept nogil:
    while columns > 0 and c.column < c.view.width:
        text_string(c.text, " ")
        c.column += 1
        columns -= 1


cdef inline void canvas_cut(Canvas *c, const char *bytes, size_t length, int width) noexcept nogil:
    """Put as much as fits into so many columns, and an ellipsis if that is not all."""
    if width <= 0:
        return
    if columns_of(c.view, bytes, length) <= width:
        canvas_put(c, bytes, length)
        return
    canvas_put(c, bytes, bytes_within(c.view, bytes, length, width - 1))
    canvas_string(c, "\xe2\x80\xa6" if c.view.unicode else "~")


cdef inline void canvas_rest(Canvas *c, const char *bytes, size_t length) noexcept nogil:
    """Put as much as fits into the line."""
    canvas_cut(c, bytes, length, c.view.width - c.column)


cdef inline void canvas_cell(Canvas *c, const char *bytes, size_t length, int width, bint is_right) noexcept nogil:
    """Put a text into so many columns, at their left or right."""
    cdef int free = width - columns_of(c.view, bytes, length)
    cdef int begin = c.column
    if is_right:
        canvas_spaces(c, free)
    canvas_cut(c, bytes, length, width)
    if not is_right:
        canvas_spaces(c, width - (c.column - begin))


# ---- the parts above and below the groups ---------------------------------------------------------------------------

cdef inline void text_clock(Text *text, int64_t us) noexcept nogil:
    """Minutes and seconds, after the hours if there are any."""
    cdef int64_t seconds = max(us, 0) // US_PER_SECOND
    if seconds >= 3600:
        text_format(text, "%llu:%02llu:%02llu", <llu>(seconds // 3600), <llu>(seconds // 60 % 60), <llu>(seconds % 60))
    else:
        text_format(text, "%02llu:%02llu", <llu>(seconds // 60), <llu>(seconds % 60))


cdef inline int64_t whole_seconds(int64_t us) noexcept nogil:
    return (max(us, 0) + US_PER_SECOND // 2) // US_PER_SECOND


cdef inline void draw_header(Canvas *c, const Tally *t, int64_t now) noexcept nogil:
    cdef char words[4 * CELL_MAX]
    cdef Text text
    canvas_line(c)
    text_open(&text, words, sizeof(words))
    text_clock(&text, now - t.begin)
    text_string(&text, " ")
    canvas_style(c, style_of(BOLD, NO_COLOUR))
    canvas_rest(c, words, text.length)
    canvas_unstyle(c)
    text_open(&text, words, sizeof(words))
    text_count(&text, t.samples, "sample, ", "samples, ")
    text_decimal(&text, rate_current(t, now), 1)
    text_format(&text, "/s, %llu failed ", <llu>(t.samples - t.answers))
    canvas_rest(c, words, text.length)
    canvas_style(c, style_of(DIM, NO_COLOUR))
    canvas_rest(c, c.view.title, strlen(c.view.title))


cdef struct Words:  # the verdict
    Style style
    size_t headline  # bytes; the detail is behind them
    Text text
    char bytes[2 * VERDICT_WORDS_MAX]


cdef inline void words_set(Words *w, const View *view, const Tally *t, int64_t now) noexcept nogil:
    cdef Name names[SOURCES_MAX]
    cdef Verdict verdict
    cdef Naming naming
    tally_naming(t, &naming, names)
    tally_verdict(t, &verdict, now)
    w.style = verdict_style(view, &verdict)
    text_open(&w.text, w.bytes, sizeof(w.bytes))
    text_headline(&w.text, &verdict, &naming)
    w.headline = w.text.length
    text_string(&w.text, "  ")
    text_detail(&w.text, &verdict, &naming)
    if w.text.length == w.headline + 2:
        w.text.length = w.headline
    w.text.length = min(w.text.length, w.text.room)
    w.headline = min(w.headline, w.text.room)


cdef inline Style verdict_style(const View *view, const Verdict *v) noexcept nogil:
    cdef Style style = style_of(BOLD, NO_COLOUR)
    if v.state == STATE_DOWN or v.state == STATE_FAILING:
        style.colour = WHITE
        style.background = RED
        if view.colours == 0:
            style.attributes |= REVERSE
    elif v.state == STATE_FINE and v.tie == TIE_NONE and (v.spread == SPREAD_TURNS or v.spread == SPREAD_EVEN):
        style.colour = GREEN
    return style


cdef inline void draw_words(Canvas *c, const Words *w, int lines) noexcept nogil:
    """The verdict in so many lines, of which the last is cut."""
    cdef size_t pos = 0
    cdef size_t end
    while lines > 0 and pos < w.text.length:
        canvas_line(c)
        lines -= 1
        end = pos + line_of(c.view, w.bytes + pos, w.text.length - pos, c.view.width)
        if lines == 0:
            end = w.text.length
        draw_styled(c, w, pos, end)
        pos = end


cdef inline void draw_styled(Canvas *c, const Words *w, size_t pos, size_t end) noexcept nogil:
    """Part of the verdict in one line, with the style of the headline and that of the detail."""
    cdef size_t middle
    end = pos + without_spaces(w.bytes + pos, end - pos)
    middle = min(max(w.headline, pos), end)
    canvas_style(c, w.style)
    canvas_rest(c, w.bytes + pos, middle - pos)
    canvas_style(c, style_of(DIM, NO_COLOUR))
    canvas_rest(c, w.bytes + middle, end - middle)


cdef inline void draw_failure(Canvas *c, const FailureCount *failure, int64_t now) noexcept nogil:
    cdef char words[2 * CELL_MAX]
    cdef Text text
    draw_failure_line(c)
    text_open(&text, words, sizeof(words))
    text_failure_kind(&text, failure.kind)
    text_format(&text, " %llu", <llu>failure.count)
    canvas_rest(c, words, text.length)
    canvas_style(c, style_of(DIM, NO_COLOUR))
    text_open(&text, words, sizeof(words))
    text_format(&text, ", last %llu s ago", <llu>whole_seconds(now - failure.last))
    canvas_rest(c, words, text.length)


cdef inline void draw_failure_line(Canvas *c) noexcept nogil:
    canvas_line(c)
    canvas_style(c, style_of(BOLD, RED))
    canvas_string(c, " !  ")
    canvas_style(c, style_of(PLAIN, RED))


cdef inline void draw_failures(Canvas *c, const Tally *t, int64_t now, int lines) noexcept nogil:
    """The kinds of failure in so many lines; the last says how many have none."""
    cdef int shown = t.failure_count if t.failure_count <= lines else lines - 1
    cdef char words[CELL_MAX]
    cdef Text text
    cdef int i
    for i in range(shown):
        draw_failure(c, &t.failures[i], now)
    if shown < t.failure_count and lines > 0:
        draw_failure_line(c)
        text_open(&text, words, sizeof(words))
        text_number(&text, <llu>(t.failure_count - shown))
        text_string(&text, " other kinds" if shown else " kinds of failure")
        canvas_rest(c, words, text.length)


cdef inline size_t without_spaces(const char *bytes, size_t length) noexcept nogil:
    """How many bytes there are before the spaces at the end."""
    while length and bytes[length - 1] == b" ":
        length -= 1
    return length


cdef inline void draw_wrapped(Canvas *c, const char *bytes, size_t length, int lines) noexcept nogil:
    cdef size_t line
    while lines > 0 and length:
        line = line_of(c.view, bytes, length, c.view.width)
        canvas_line(c)
        canvas_put(c, bytes, without_spaces(bytes, line))
        bytes += line
        length -= line
        lines -= 1


# ---- the groups -----------------------------------------------------------------------------------------------------

cdef enum:  # states of a group, the most interesting first: the order of the rows, of which the last may not fit
    GROUP_FAILING
    GROUP_NEW
    GROUP_LIVE
    GROUP_SILENT
    GROUP_STATES

cdef enum:  # columns
    COLUMN_SYMBOL
    COLUMN_NAME
    COLUMN_ABOUT  # the version, or how many replicas are there
    COLUMN_ANSWERS
    COLUMN_SHARE
    COLUMN_BAR
    COLUMN_STATE
    COLUMNS

cdef struct GroupRow:
    int32_t first  # of its replicas; -1 if it has none
    int32_t replicas
    int32_t there  # replicas that are not silent
    int32_t state

cdef struct Table:
    const Tally *t
    int64_t now
    double largest  # share
    GroupRow groups[REPLICAS_MAX]
    int32_t order[REPLICAS_MAX]  # of the groups
    int widths[COLUMNS]  # 0: the column is not there


cdef inline void table_set(Table *table, const Tally *t, int64_t now) noexcept nogil:
    """Look at all groups, and put them in order."""
    cdef const SeenReplica *replica
    cdef GroupRow *row
    cdef int count = 0
    cdef int i, state
    table.t = t
    table.now = now
    table.largest = 0
    for i in range(t.group_count):
        row = &table.groups[i]
        row.first = -1
        row.replicas = row.there = 0
        table.largest = max(table.largest, tally_share(t, &t.groups[i].counts))
    for i in range(t.replica_count):
        replica = &t.replicas[i]
        if not (0 <= replica.group < t.group_count):
            continue
        row = &table.groups[replica.group]
        if row.first < 0:
            row.first = i
        row.replicas += 1
        row.there += not replica_is_silent(t, replica)
    for i in range(t.group_count):
        table.groups[i].state = group_state(table, i)
    for state in range(GROUP_STATES):
        for i in range(t.group_count):
            if table.groups[i].state == state:
                table.order[count] = i
                count += 1


cdef inline int group_state(const Table *table, int number) noexcept nogil:
    cdef const SeenGroup *group = &table.t.groups[number]
    cdef int64_t recent = RECENT_SECONDS * <int64_t>US_PER_SECOND
    cdef int64_t startup = STARTUP * <int64_t>US_PER_SECOND
    if group.failures and table.now - group.last_failure < recent:
        return GROUP_FAILING
    if table.groups[number].there == 0:
        return GROUP_SILENT
    if table.now - group.counts.first < recent and group.counts.first - table.t.begin > startup:
        return GROUP_NEW
    return GROUP_LIVE


cdef inline void text_about(Text *text, const Table *table, int group) noexcept nogil:
    """What is told of a group beside its name: the version, or how many replicas are there."""
    cdef const GroupRow *row = &table.groups[group]
    cdef const Label *version
    if table.t.options.by != BY_REPLICA:
        text_format(text, "%llu of %llu", <llu>row.there, <llu>row.replicas)
    elif row.first >= 0:
        version = &table.t.replicas[row.first].described.version
        text_put(text, version.bytes, version.length)


cdef inline void text_state(Text *text, const Table *table, int group) noexcept nogil:
    cdef const SeenGroup *g = &table.t.groups[group]
    cdef int64_t age = table.now - group_heard(g)
    cdef int state = table.groups[group].state
    if state == GROUP_FAILING:
        text_format(text, "%llu failed", <llu>g.failures)
    elif state == GROUP_SILENT:
        text_format(text, "silent %llu s", <llu>whole_seconds(age))
    elif age >= US_PER_SECOND:
        text_format(text, "%llu s ago", <llu>whole_seconds(age))
    else:
        text_string(text, "new" if state == GROUP_NEW else "now")


cdef inline void text_cell(Text *text, const Table *table, int group, int column) noexcept nogil:
    """The text of a cell, if it has any."""
    cdef const Label *name
    if column == COLUMN_NAME:
        name = group_display_name(table.t, group)
        text_put(text, name.bytes, name.length)
    elif column == COLUMN_ABOUT:
        text_about(text, table, group)
    elif column == COLUMN_ANSWERS:
        text_number(text, <llu>table.t.groups[group].counts.answers)
    elif column == COLUMN_SHARE:
        text_decimal(text, 100 * tally_share(table.t, &table.t.groups[group].counts), 1)
        text_string(text, " %")
    elif column == COLUMN_STATE:
        text_state(text, table, group)


cdef inline void table_measure(Table *table, const View *view, int rows) noexcept nogil:
    """The widths of the columns that the view may have, as the first rows need them."""
    cdef char words[LABEL_MAX + CELL_MAX]
    cdef Text text
    cdef int i, column
    memset(table.widths, 0, sizeof(table.widths))
    for i in range(rows):
        for column in range(COLUMN_NAME, COLUMNS):
            text_open(&text, words, sizeof(words))
            text_cell(&text, table, table.order[i], column)
            table.widths[column] = max(table.widths[column], columns_of(view, words, text.length))
    table.widths[COLUMN_SYMBOL] = SYMBOL_WIDTH
    table.widths[COLUMN_BAR] = BAR_MAX if view.width >= MIN_WIDTH_FOR_BARS else 0
    table.widths[COLUMN_ABOUT] = min(table.widths[COLUMN_ABOUT], ABOUT_MAX)
    if view.width < MIN_WIDTH_FOR_VERSIONS:
        table.widths[COLUMN_ABOUT] = 0
    if view.width < MIN_WIDTH_FOR_STATES:
        table.widths[COLUMN_STATE] = 0


cdef inline int narrowest(const Table *table, int column) noexcept nogil:
    """The least width of a column."""
    if column == COLUMN_NAME or column == COLUMN_ABOUT:
        return min(table.widths[column], NAME_MIN)
    return BAR_MIN if column == COLUMN_BAR and table.widths[column] else table.widths[column]


cdef inline int table_width(const Table *table, bint at_least) noexcept nogil:
    """The columns that it takes, with those between them."""
    cdef int width = -1
    cdef int column
    for column in range(COLUMNS):
        if table.widths[column]:
            width += 1 + (narrowest(table, column) if at_least else table.widths[column])
    return width


cdef inline void table_fit(Table *table, const View *view) noexcept nogil:
    """Leave out what does not fit, and narrow the bar, then names and versions."""
    cdef int *left_out = [COLUMN_BAR, COLUMN_ABOUT, COLUMN_STATE, COLUMN_ANSWERS, COLUMN_SHARE]
    cdef int excess, i
    for i in range(5):
        if table_width(table, True) > view.width:
            table.widths[left_out[i]] = 0
    excess = table_width(table, False) - view.width
    while excess > 0 and table.widths[COLUMN_BAR] > BAR_MIN:
        table.widths[COLUMN_BAR] -= 1
        excess -= 1
    while excess > 0 and max(table.widths[COLUMN_NAME], table.widths[COLUMN_ABOUT]) > NAME_MIN:
        i = COLUMN_ABOUT if table.widths[COLUMN_ABOUT] > table.widths[COLUMN_NAME] else COLUMN_NAME
        table.widths[i] -= 1
        excess -= 1


cdef inline void draw_symbol(Canvas *c, int circle, int path) noexcept nogil:
    """A replica's symbol in its two colours, which are not the same ones on any terminal."""
    cdef Style style
    if c.view.colours == 16 and nearest_basic(circle) == nearest_basic(path):
        path = 0 if colour_distance(circle, 0, 0, 0) > colour_distance(circle, 255, 255, 255) else BRIGHT_WHITE
        circle = nearest_basic(circle)
    style = style_of(PLAIN, path)
    style.background = circle
    canvas_style(c, style)
    canvas_string(c, " \xe2\x98\xaf " if c.view.unicode else " @ ")


cdef inline void draw_repeated(Canvas *c, const char *string, int count) noexcept nogil:
    while count > 0:
        canvas_string(c, string)
        count -= 1


cdef inline void draw_bar(Canvas *c, double part, int width, Style style) noexcept nogil:
    """A bar, of which a part is filled (0 to 1), to half a column."""
    cdef int halves = <int>(2 * width * min(max(part, 0.0), 1.0))
    cdef int filled = halves // 2
    cdef int free = width - filled - halves % 2
    canvas_style(c, style)
    draw_repeated(c, "\xe2\x94\x81" if c.view.unicode else "#", filled)
    if halves % 2:
        canvas_string(c, "\xe2\x95\xb8" if c.view.unicode else "=")
    if c.view.colours == 0 or not c.view.unicode:
        canvas_unstyle(c)
        canvas_spaces(c, free)
        return
    if free == 0:
        return
    canvas_style(c, style_of(PLAIN, BAR_BACK))
    if filled and halves % 2 == 0:
        canvas_string(c, "\xe2\x95\xba")
        free -= 1
    draw_repeated(c, "\xe2\x94\x81", free)


cdef inline void draw_cell(Canvas *c, const Table *table, int group, int column, int attributes) noexcept nogil:
    cdef char words[LABEL_MAX + CELL_MAX]
    cdef Text text
    cdef bint is_failing = column == COLUMN_STATE and table.groups[group].state == GROUP_FAILING
    text_open(&text, words, sizeof(words))
    text_cell(&text, table, group, column)
    canvas_style(c, style_of(attributes, RED if is_failing else NO_COLOUR))
    canvas_cell(c, words, text.length, min(table.widths[column], c.view.width - c.column),
                column == COLUMN_ANSWERS or column == COLUMN_SHARE)


cdef inline void draw_row(Canvas *c, const Table *table, int group) noexcept nogil:
    cdef const GroupRow *row = &table.groups[group]
    cdef int attributes = DIM if row.state == GROUP_SILENT else PLAIN
    cdef int circle = RGB + 0x808080
    cdef int path = RGB
    cdef double share = tally_share(table.t, &table.t.groups[group].counts)
    cdef int column
    if row.first >= 0:
        circle = colour_number(table.t.replicas[row.first].described.colours[0])
        path = colour_number(table.t.replicas[row.first].described.colours[1])
    canvas_line(c)
    draw_symbol(c, circle, path)
    for column in range(COLUMN_NAME, COLUMNS):
        if table.widths[column] == 0:
            continue
        canvas_unstyle(c)
        canvas_spaces(c, 1)
        if column == COLUMN_BAR:
            draw_bar(c, share / table.largest if table.largest > 0 else 0, table.widths[column],
                     style_of(attributes, circle))
        else:
            draw_cell(c, table, group, column, attributes)


cdef inline void draw_groups(Canvas *c, Table *table, int rows, bint has_more) noexcept nogil:
    """The first rows, and how many there are beside them."""
    cdef char words[CELL_MAX]
    cdef Text text
    cdef int i
    table_measure(table, c.view, rows)
    table_fit(table, c.view)
    for i in range(rows):
        draw_row(c, table, table.order[i])
    if has_more:
        canvas_line(c)
        canvas_style(c, style_of(DIM, NO_COLOUR))
        text_open(&text, words, sizeof(words))
        text_format(&text, "... and %llu more", <llu>(table.t.group_count - rows))
        canvas_rest(c, words, text.length)


# ---- the whole ------------------------------------------------------------------------------------------------------

cdef struct Layout:  # the lines of each part
    int header, words, failures, gap, rows, more, figures


cdef inline int take(int *rest, int wanted, int most) noexcept nogil:
    """So many of the lines that remain."""
    cdef int taken = max(min(wanted, min(most, rest[0])), 0)
    rest[0] -= taken
    return taken


cdef inline Layout layout_of(const View *view, const Tally *t, int words, int figures) noexcept nogil:
    """Of a verdict and figures that would take so many lines."""
    cdef int rest = view.height
    cdef Layout l
    if view.show_all:  # all that there may be
        rest = words + figures + t.failure_count + t.group_count + 2
    l.header = take(&rest, 1, rest - 1)
    l.words = take(&rest, words, rest if view.show_all else max(1, rest // 2))
    l.failures = take(&rest, t.failure_count, rest if view.show_all else rest // 2)
    l.gap = take(&rest, 1, 1 if view.height >= MIN_HEIGHT_FOR_GAP or view.show_all else 0)
    l.figures = take(&rest, figures, figures if rest - figures >= min(t.group_count, 3) else 0)
    l.rows = t.group_count
    l.more = 0
    if l.rows > rest:
        l.more = rest >= 2
        l.rows = rest - l.more
    return l


cdef inline void view_draw(Text *text, const Tally *t, int64_t now, const View *view) noexcept nogil:
    """Draw the tally as it is now, from where the cursor is: at the top of the screen, unless all groups are shown."""
    cdef char figures[4 * CELL_MAX]
    cdef Text figure_text
    cdef Canvas canvas
    cdef Layout layout
    cdef Words words
    cdef Table table
    if view.width < 1 or view.height < 1:
        return
    canvas.text = text
    canvas.view = view
    canvas.lines = canvas.column = 0
    canvas.is_styled = False
    words_set(&words, view, t, now)
    text_open(&figure_text, figures, sizeof(figures))
    text_figures(&figure_text, t, now, "")
    figure_text.length = min(figure_text.length, figure_text.room)
    layout = layout_of(view, t, lines_of(view, words.bytes, words.text.length),
                       lines_of(view, figures, figure_text.length))
    if layout.header:
        draw_header(&canvas, t, now)
    draw_words(&canvas, &words, layout.words)
    draw_failures(&canvas, t, now, layout.failures)
    if layout.gap:
        canvas_line(&canvas)
    table_set(&table, t, now)
    draw_groups(&canvas, &table, layout.rows, layout.more)
    draw_wrapped(&canvas, figures, figure_text.length, layout.figures)
    canvas_end_line(&canvas)
    if not view.show_all and canvas.lines < view.height:
        text_string(text, "\x1b[J")

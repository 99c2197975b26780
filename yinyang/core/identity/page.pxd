"""Replica -> the HTML document.

With the palette `original`, it is byte for byte the page of the original. With another one, it is made for an audience:
the symbol fills the screen of a projector or a phone, and the icon has its colours, so that tabs differ.
"""

from libc.string cimport strlen

from ..text.buffer cimport Text, text_format, text_html, text_string
from .identity cimport Identity, PALETTE_ORIGINAL
from .replica cimport Replica


cdef inline void page_render(Text *text, const Replica *replica) noexcept nogil:
    if replica.identity.palette == PALETTE_ORIGINAL:
        original_page_render(text, replica)
    else:
        large_page_render(text, replica)


cdef inline void original_page_render(Text *text, const Replica *replica) noexcept nogil:
    cdef const Identity *identity = &replica.identity
    text_string(text, "<!DOCTYPE html><html><head><title>")
    text_html(text, replica.title, strlen(replica.title))
    text_string(text, "</title></head><body><h1>")
    text_html(text, identity.name, identity.length)
    text_format(
        text, '</h1><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400">'
        '<circle cx="50" cy="50" r="48" fill="%s" stroke="#000"/>'
        '<path d="M50,2a48,48 0 1 1 0,96a24 24 0 1 1 0-48a24 24 0 1 0 0-48" fill="#000"/>'
        '<circle cx="50" cy="26" r="6" fill="#000"/><circle cx="50" cy="74" r="6" fill="#FFF"/></svg></body></html>',
        identity.colours[0])


cdef inline void large_page_render(Text *text, const Replica *replica) noexcept nogil:
    cdef const Identity *identity = &replica.identity
    text_string(
        text, '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>')
    text_html(text, replica.title, strlen(replica.title))
    text_string(text, '</title><link rel="icon" href="data:image/svg+xml,')
    text_string(text, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 100 100'>")
    text_symbol(text, identity, "%23")  # as # stands in a URL
    text_string(
        text, '</svg>"><style>'
        'body{margin:0;height:100vh;display:flex;flex-direction:column;text-align:center;font-family:sans-serif}'
        'h1{margin:.3em;font-size:min(6vw,3rem);overflow-wrap:anywhere}'
        'svg{flex:1;min-height:0}'
        '</style></head><body><h1>')
    text_html(text, identity.name, identity.length)
    text_string(text, '</h1><svg viewBox="0 0 100 126">')
    text_symbol(text, identity, "#")
    # below the symbol, for those who do not see colours
    text_string(text, '<text x="50" y="122" text-anchor="middle" font-size="18">')
    text_html(text, identity.short, strlen(identity.short))
    text_string(text, "</text></svg></body></html>")


cdef inline void text_symbol(Text *text, const Identity *identity, const char *hash) noexcept nogil:
    """In both colours; `hash` is the # that colours begin with."""
    cdef const char *light = identity.colours[0] + 1
    cdef const char *dark = identity.colours[1] + 1
    text_format(
        text, "<circle cx='50' cy='50' r='48' fill='%s%s' stroke='%s000'/>"
        "<path d='M50,2a48,48 0 1 1 0,96a24 24 0 1 1 0-48a24 24 0 1 0 0-48' fill='%s%s'/>"
        "<circle cx='50' cy='26' r='6' fill='%s%s'/><circle cx='50' cy='74' r='6' fill='%s%s'/>",
        hash, light, hash, hash, dark, hash, dark, hash, light)

"""Replica -> the HTML document. With the palette `original`, it is byte for byte the page of the original."""

from libc.string cimport strlen

from ..text.buffer cimport Text, text_format, text_html, text_string
from .identity cimport Identity, PALETTE_ORIGINAL
from .replica cimport Replica


cdef inline void page_render(Text *text, const Replica *replica) noexcept nogil:
    cdef const Identity *identity = &replica.identity
    cdef bint original = identity.palette == PALETTE_ORIGINAL
    cdef const char *light = "#FFF"
    cdef const char *dark = "#000"
    if not original:
        light = identity.colours[0]
        dark = identity.colours[1]
    text_string(text, "<!DOCTYPE html><html><head><title>")
    text_html(text, replica.title, strlen(replica.title))
    text_string(text, "</title></head><body><h1>")
    text_html(text, identity.name, identity.length)
    text_format(
        text, '</h1><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400">'
        '<circle cx="50" cy="50" r="48" fill="%s" stroke="#000"/>'
        '<path d="M50,2a48,48 0 1 1 0,96a24 24 0 1 1 0-48a24 24 0 1 0 0-48" fill="%s"/>'
        '<circle cx="50" cy="26" r="6" fill="%s"/><circle cx="50" cy="74" r="6" fill="%s"/>',
        identity.colours[0], dark, dark, light)
    if not original:  # below the symbol, for those who do not see colours
        text_string(text, '<text x="50" y="122" text-anchor="middle" font-size="18">')
        text_html(text, identity.short, strlen(identity.short))
        text_string(text, "</text>")
    text_string(text, "</svg></body></html>")

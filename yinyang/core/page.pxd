"""Identity -> the HTML document. Byte for byte the page of the original."""

from .identity cimport COLOUR_LENGTH, Identity
from .text cimport Text, text_html, text_put, text_string


cdef inline void page_render(Text *text, const Identity *identity, const char *title,
                             size_t title_length) noexcept nogil:
    text_string(text, "<!DOCTYPE html><html><head><title>")
    text_html(text, title, title_length)
    text_string(text, "</title></head><body><h1>")
    text_html(text, identity.name, identity.length)
    text_string(text, '</h1><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400">'
                '<circle cx="50" cy="50" r="48" fill="')
    text_put(text, identity.colour, COLOUR_LENGTH)
    text_string(text, '" stroke="#000"/>'
                '<path d="M50,2a48,48 0 1 1 0,96a24 24 0 1 1 0-48a24 24 0 1 0 0-48" fill="#000"/>'
                '<circle cx="50" cy="26" r="6" fill="#000"/>'
                '<circle cx="50" cy="74" r="6" fill="#FFF"/></svg></body></html>')

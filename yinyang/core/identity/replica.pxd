"""A replica: the part of its responses that never changes."""

from libc.string cimport strlen

from ..config.config cimport Config
from .identity cimport Identity, identity_set

cdef extern from "option_table.h" nogil:
    enum:
        OPTION_NAME
        OPTION_NAMESPACE
        OPTION_NODE
        OPTION_PALETTE
        OPTION_CONTROL
        OPTION_FAULTS
        OPTION_PLAIN
        OPTION_SERVED_BY
        OPTION_TEXT
        OPTION_ZONE
        OPTION_TITLE
        OPTION_APP_VERSION

cdef extern from "whoami.h" nogil:
    enum:  # optional texts
        ABOUT_VERSION
        ABOUT_NODE
        ABOUT_NAMESPACE
        ABOUT_ZONE
        ABOUTS

cdef struct Replica:
    Identity identity
    const char *title
    const char *about[ABOUTS]  # NULL where it is not set
    const char *text  # in place of the page; NULL: none
    bint served_by  # the page tells the name and the version in its header, too
    bint plain  # every path is the page, as in the original
    bint control  # clients may change its readiness and its faults
    bint faults_on_request  # a request may ask for a fault of its own


cdef inline void replica_set(Replica *replica, const Config *config) noexcept nogil:
    """Fill a replica from a complete config, whose texts it borrows."""
    cdef const char *name = config.texts[OPTION_NAME]
    identity_set(&replica.identity, name, strlen(name), config.numbers[OPTION_PALETTE])
    replica.title = config.texts[OPTION_TITLE]
    replica.text = config.texts[OPTION_TEXT]
    replica.served_by = config.numbers[OPTION_SERVED_BY]
    replica.plain = config.numbers[OPTION_PLAIN]
    replica.control = config.numbers[OPTION_CONTROL]
    replica.faults_on_request = config.numbers[OPTION_FAULTS]
    replica.about[ABOUT_VERSION] = config.texts[OPTION_APP_VERSION]
    replica.about[ABOUT_NODE] = config.texts[OPTION_NODE]
    replica.about[ABOUT_NAMESPACE] = config.texts[OPTION_NAMESPACE]
    replica.about[ABOUT_ZONE] = config.texts[OPTION_ZONE]

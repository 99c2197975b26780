"""Groups of replicas: each for itself, or those with the same version, zone or node together."""

from libc.string cimport memcpy, strlen

from .sample cimport BY_NODE, BY_REPLICA, BY_VERSION, BY_ZONE, Described, Label, label_copy, label_equals


cdef inline const char *by_word(int by) noexcept nogil:
    """What the replicas of a group have in common."""
    return "version" if by == BY_VERSION else "zone" if by == BY_ZONE else "node" if by == BY_NODE else "replica"


cdef inline const char *by_words(int by) noexcept nogil:
    """The plural of that."""
    return "versions" if by == BY_VERSION else "zones" if by == BY_ZONE else "nodes" if by == BY_NODE else "replicas"


cdef inline const Label *label_by(const Described *replica, int by) noexcept nogil:
    """The name of a replica's group, as the replica tells it; empty if it tells none."""
    if by == BY_VERSION:
        return &replica.version
    if by == BY_ZONE:
        return &replica.zone
    if by == BY_NODE:
        return &replica.node
    return &replica.host


cdef inline void group_name(const Described *replica, int by, Label *name) noexcept nogil:
    """The name of a replica's group, such as `no version` if it has none; of a replica for itself, its host."""
    cdef const char *word = by_word(by)
    label_copy(name, label_by(replica, by))
    if name.length == 0:
        memcpy(name.bytes, b"no ", 3)
        memcpy(name.bytes + 3, word, strlen(word))
        name.length = <unsigned char>(3 + strlen(word))


cdef inline bint is_named(const Described *replica, int by, const Label *name) noexcept nogil:
    """Whether a user who says this name means the replica's group: a replica may be called by its short name, too."""
    cdef Label group
    group_name(replica, by, &group)
    return label_equals(name, &group) or (by == BY_REPLICA and label_equals(name, &replica.short_name))

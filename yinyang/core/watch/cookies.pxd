"""Cookies that replicas, or a balancer in front of them, have set: the latest ones of each replica.

Which request carries cookies, and those of which replica, is random: in turn, it might keep step with a rotation.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from ..text.buffer cimport is_printable
from .answer cimport Answer, Span, answer_cookie, span_is, span_set
from .sample cimport Label, label_copy, label_equals

cdef enum:
    JAR_REPLICAS = 64  # whose cookies are kept
    COOKIES_MAX = 2048  # bytes of the cookies of a replica
    COOKIE_ONE_IN = 5  # requests, once there is a cookie

cdef struct Cookies:
    Label host  # of the replica that they came with
    uint64_t stored  # when, by the jar's count
    size_t length
    char bytes[COOKIES_MAX]  # `name=value; name=value`, for the field Cookie; there is no control byte in it

cdef struct CookieJar:
    bint is_secure  # the connection is encrypted, so that cookies with the attribute Secure may be sent
    uint64_t stores
    int count
    Cookies cookies[JAR_REPLICAS]


cdef inline void jar_open(CookieJar *jar, bint is_secure) noexcept nogil:
    jar.is_secure = is_secure
    jar.stores = 0
    jar.count = 0


cdef inline void jar_store(CookieJar *jar, const Label *host, const Answer *a) noexcept nogil:
    """Keep the cookies that an answer of this replica sets, in place of its former ones, if it sets any."""
    cdef Cookies *cookies = NULL
    cdef Span line
    cdef size_t pos = 0
    while answer_cookie(a, &pos, &line):
        if cookie_is_kept(&line, jar.is_secure):
            if cookies == NULL:
                cookies = jar_place(jar, host)
            cookies_put(cookies, &line)


cdef inline int jar_choose(const CookieJar *jar, uint64_t random) noexcept nogil:
    """The replica whose cookies the next request carries, as a place in `cookies`; -1 if it is to carry none. `random`
    has 64 random bits."""
    if jar.count == 0 or <uint32_t>random >= 0xFFFFFFFFU // COOKIE_ONE_IN:
        return -1
    return <int>((random >> 32) * <uint64_t>jar.count >> 32)


cdef inline Cookies *jar_place(CookieJar *jar, const Label *host) noexcept nogil:
    """An empty place for the cookies of a replica: its own, a free one, or that of the one which was stored first."""
    cdef int place = 0
    cdef int i
    for i in range(jar.count):
        if label_equals(&jar.cookies[i].host, host):
            place = i
            break
        if jar.cookies[i].stored < jar.cookies[place].stored:
            place = i
    else:
        if jar.count < JAR_REPLICAS:
            place = jar.count
            jar.count += 1
    jar.stores += 1
    jar.cookies[place].stored = jar.stores
    jar.cookies[place].length = 0
    label_copy(&jar.cookies[place].host, host)
    return &jar.cookies[place]


# ---- a line of Set-Cookie, as in RFC 6265 section 5.2 ---------------------------------------------------------------

cdef inline bint part_next(Span *rest, Span *name, Span *value) noexcept nogil:
    """The next part up to a semicolon, which is taken off `rest`; False at the end. Without `=`, its value is NULL."""
    cdef const char *begin = rest.bytes
    cdef const char *end
    cdef const char *stop
    cdef const char *equals
    if begin == NULL:
        return False
    end = begin + rest.length
    stop = <const char *>memchr(begin, b';', rest.length)
    if stop != NULL:
        rest.bytes = stop + 1
        rest.length = <size_t>(end - stop) - 1
    else:
        stop = end
        rest.bytes = NULL
        rest.length = 0
    equals = <const char *>memchr(begin, b'=', <size_t>(stop - begin))
    span_set(name, begin, stop if equals == NULL else equals)
    value.bytes = NULL
    value.length = 0
    if equals != NULL:
        span_set(value, equals + 1, stop)
    return True


cdef inline bint cookie_is_kept(const Span *line, bint is_secure) noexcept nogil:
    """Whether it sets a cookie that may be sent, and does not delete one."""
    cdef Span rest = line[0]
    cdef Span name, value
    if not part_next(&rest, &name, &value) or name.length == 0 or value.length == 0:
        return False
    if value.length == 2 and memcmp(value.bytes, b'""', 2) == 0:
        return False
    if name.length + 1 + value.length > COOKIES_MAX:
        return False
    if not is_printable(name.bytes, name.length) or not is_printable(value.bytes, value.length):
        return False
    while part_next(&rest, &name, &value):
        if span_is(&name, "max-age") and is_over(&value):
            return False
        if span_is(&name, "secure") and not is_secure:
            return False
    return True


cdef inline bint is_over(const Span *age) noexcept nogil:
    """Whether a Max-Age is 0 or less."""
    cdef size_t i
    if age.length and age.bytes[0] == b'-':
        return True
    for i in range(age.length):
        if age.bytes[i] != b'0':
            return False
    return age.length > 0


cdef inline void cookies_put(Cookies *cookies, const Span *line) noexcept nogil:
    """Append a cookie that is kept, in place of one with the same name. One that has no room is left out."""
    cdef Span rest = line[0]
    cdef Span name, value
    part_next(&rest, &name, &value)
    cookies_drop(cookies, &name)
    if cookies.length + 2 + name.length + 1 + value.length > COOKIES_MAX + 2 * (cookies.length == 0):
        return
    if cookies.length:
        cookies_append(cookies, b"; ", 2)
    cookies_append(cookies, name.bytes, name.length)
    cookies_append(cookies, b"=", 1)
    cookies_append(cookies, value.bytes, value.length)


cdef inline void cookies_append(Cookies *cookies, const char *bytes, size_t length) noexcept nogil:
    memcpy(cookies.bytes + cookies.length, bytes, length)
    cookies.length += length


cdef inline void cookies_drop(Cookies *cookies, const Span *name) noexcept nogil:
    """Forget the cookie of this name, if there is one."""
    cdef Span rest, other, value
    cdef size_t begin = 0
    cdef size_t end
    rest.bytes = cookies.bytes
    rest.length = cookies.length
    while begin < cookies.length and part_next(&rest, &other, &value):
        end = cookies.length if rest.bytes == NULL else <size_t>(rest.bytes - cookies.bytes) + 1
        if other.length == name.length and memcmp(other.bytes, name.bytes, name.length) == 0:
            memmove(cookies.bytes + begin, cookies.bytes + end, cookies.length - end)
            cookies.length -= end - begin
            if begin and begin == cookies.length:
                cookies.length -= 2  # the separator before it
            return
        begin = end

/* The errors in a request, each with its status (RFC 9110 section 15) and its message.
 *
 * A message says what is wrong and what would be right. With the status, it is the body of the response. */
#ifndef YINYANG_HTTP_ERRORS_H
#define YINYANG_HTTP_ERRORS_H

#define HTTP_ERRORS(X) \
    X(ERROR_METHOD, 400, "the request must begin with a method, one space and a target, as in: GET / HTTP/1.1") \
    X(ERROR_TLS, 400, "this looks like TLS, but the port speaks plain HTTP: use http:// instead of https://") \
    X(ERROR_HTTP_2, 400, "this looks like HTTP/2, but the port speaks HTTP/1.1 only") \
    X(ERROR_PROXY_HEADER, 400, \
      "this looks like a header of the PROXY protocol: start with --proxy-protocol and send one, or send none") \
    X(ERROR_PROXY_MISSING, 400, \
      "with --proxy-protocol each connection must begin with a PROXY header, version 1 or 2, as a proxy sends it") \
    X(ERROR_PROXY_WRONG, 400, "the PROXY header must be valid, with addresses of IPv4 or IPv6 and ports") \
    X(ERROR_PROXY_TWICE, 400, \
      "a connection has one PROXY header, and here came another one: of several proxies in a row, let one add it") \
    X(ERROR_SSH, 400, "this looks like SSH, but the port speaks HTTP") \
    X(ERROR_SOCKS, 400, "this looks like SOCKS, but the port speaks HTTP, and this server is no proxy") \
    X(ERROR_TARGET, 400, \
      "the target must be a path without spaces or # such as /x?y, a whole http:// address, or * with OPTIONS") \
    X(ERROR_PERCENT, 400, "a % in the path must be followed by two hexadecimal digits") \
    X(ERROR_AUTHORITY, 400, \
      "the address in the target must name a host, without user name, and a port of digits only") \
    X(ERROR_VERSION, 400, "the request line must end in one space, HTTP/1.1 or HTTP/1.0, and CR LF") \
    X(ERROR_VERSION_MISSING, 400, \
      "the request line has no version, as in HTTP/0.9: it must end in one space, HTTP/1.1 or HTTP/1.0, and CR LF") \
    X(ERROR_LINE_END, 400, "each line must end in CR LF, and CR or LF can stand nowhere else") \
    X(ERROR_FIELD_NAME, 400, "a header line must begin with a name, then a colon with no space before it") \
    X(ERROR_FIELD_VALUE, 400, "a header value must not hold control bytes other than HTAB") \
    X(ERROR_HOST_MISSING, 400, "an HTTP/1.1 request must have a Host header") \
    X(ERROR_HOST_TWICE, 400, "there must not be more than one Host header") \
    X(ERROR_HOST, 400, "the Host header must be a host name or address, and perhaps a colon and a port") \
    X(ERROR_LENGTH, 400, "Content-Length must be one decimal number below 2^63") \
    X(ERROR_LENGTH_TWICE, 400, "there must not be more than one Content-Length header") \
    X(ERROR_LENGTH_AND_CODING, 400, "Content-Length and Transfer-Encoding must not stand together") \
    X(ERROR_CODING_IN_1_0, 400, "an HTTP/1.0 request must not have a Transfer-Encoding header") \
    X(ERROR_CODING_ORDER, 400, "chunked must be the last transfer coding, and stand once") \
    X(ERROR_CHUNK_SIZE, 400, "a chunk must begin with its size, 1 to 16 hexadecimal digits, and CR LF") \
    X(ERROR_CHUNK_EXTENSION, 400, \
      "a chunk extension must be ;name or ;name=value, where a value is a token or a closed quoted string") \
    X(ERROR_CHUNK_LINE, 400, "the line before a chunk must not be longer than 4 KiB") \
    X(ERROR_CHUNK_END, 400, "the data of a chunk must be as long as its size says, and be followed by CR LF") \
    X(ERROR_CHUNK_EXTRA, 400, "chunk extensions and trailers must not be longer than 16 KiB in all") \
    X(ERROR_INCOMPLETE, 400, "the request ended before it was complete") \
    X(ERROR_METHOD_REFUSED, 405, "this server is no proxy: CONNECT and TRACE are refused") \
    X(ERROR_SLOW_HEAD, 408, "the head of the request did not arrive in time") \
    X(ERROR_SLOW_BODY, 408, "the body of the request did not arrive in time") \
    X(ERROR_TARGET_LONG, 414, "the target must not be longer than 16 KiB") \
    X(ERROR_EXPECTATION, 417, "the only expectation that can be met is 100-continue") \
    X(ERROR_HEAD_LONG, 431, "the head of the request must not be longer than 64 KiB") \
    X(ERROR_METHOD_UNKNOWN, 501, "the method must be GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in upper case") \
    X(ERROR_CODING_UNKNOWN, 501, "the only transfer coding that is understood is chunked") \
    X(ERROR_VERSION_UNKNOWN, 505, "the versions of HTTP that are understood are 1.1 and 1.0")

enum http_error {
    ERROR_NOTHING,
#define X(name, status, message) name,
    HTTP_ERRORS(X)
#undef X
        ERROR_COUNT,
};

static const struct http_error_row {
    int status;
    const char *message;
} http_errors[ERROR_COUNT] = {
#define X(name, status, message) [name] = {status, message},
    HTTP_ERRORS(X)
#undef X
};

#endif

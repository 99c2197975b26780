"""The requests that the benchmarks send."""

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

# Templates for with_target().
SMALL = b"GET @TARGET@ HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n"
SMALL_CLOSE = b"GET @TARGET@ HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n\r\n"
BROWSER = (
    b"GET @TARGET@ HTTP/1.1\r\nHost: demo.example.org:8080\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n"
    b'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    b"Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789\r\n\r\n"
)


def with_target(template: bytes, target: str = "/") -> bytes:
    """A request for this target."""
    return template.replace(b"@TARGET@", target.encode())

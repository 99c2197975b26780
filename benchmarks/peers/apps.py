"""The page as an application for Python servers: `asgi` and `wsgi` for servers that run such an application, and a
function for each server with an interface of its own.

    python apps.py fastpysgi|socketify|robyn PORT
"""

import importlib
import sys

NAME, COLOUR = "vm", "#b8d868"
PAGE = (
    f"<!DOCTYPE html><html><head><title>Go scaling demo</title></head><body><h1>{NAME}</h1>"
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400">'
    f'<circle cx="50" cy="50" r="48" fill="{COLOUR}" stroke="#000"/>'
    '<path d="M50,2a48,48 0 1 1 0,96a24 24 0 1 1 0-48a24 24 0 1 0 0-48" fill="#000"/>'
    '<circle cx="50" cy="26" r="6" fill="#000"/><circle cx="50" cy="74" r="6" fill="#FFF"/></svg></body></html>'
).encode()
TYPE = "text/html; charset=utf-8"
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", TYPE.encode()), (b"content-length", str(len(PAGE)).encode())],
}
BODY = {"type": "http.response.body", "body": PAGE}


async def asgi(scope, _receive, send):
    """For uvicorn and granian."""
    if scope["type"] == "http":
        await send(START)
        await send(BODY)


def wsgi(_environ, start_response):
    """For fastpysgi."""
    start_response("200 OK", [("Content-Type", TYPE), ("Content-Length", str(len(PAGE)))])
    return [PAGE]


def serve_fastpysgi(fastpysgi, port):
    fastpysgi.run(wsgi, "127.0.0.1", port)


def serve_socketify(socketify, port):
    app = socketify.App()

    def page(response, _request):
        response.write_header("Content-Type", TYPE)
        response.end(PAGE)

    app.any("/*", page)
    app.listen(socketify.AppListenOptions(port=port, host="127.0.0.1"))
    app.run()


def serve_robyn(robyn, port):
    app = robyn.Robyn(__file__)
    answer = robyn.Response(status_code=200, headers=robyn.Headers({"Content-Type": TYPE}), description=PAGE)
    app.get("/", const=True)(lambda: answer)
    app.start(host="127.0.0.1", port=port)


if __name__ == "__main__":
    name, port = sys.argv[1], int(sys.argv.pop())
    globals()[f"serve_{name}"](importlib.import_module(name), port)

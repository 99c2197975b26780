"""A replica you can see: a tiny HTTP server that paints its own host name.

>>> import yinyang
>>> yinyang.identify("vm").colour
'#b8d868'
>>> with yinyang.Server(name="vm") as server:
...     print(server.url)  # doctest: +SKIP
http://[::1]:35977/
"""

import yinyang._light  # noqa: F401  (first)
from yinyang._core import Identity, identify, render_page
from yinyang._core import version as __version__
from yinyang.server import Counts, Server

__all__ = ["Counts", "Identity", "Server", "__version__", "identify", "render_page"]

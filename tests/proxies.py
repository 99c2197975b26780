"""nginx and HAProxy as processes on 127.0.0.1, for the tests that put one in front of the server."""

import os
import socket
import subprocess
from pathlib import Path

from conftest import needs

# What nginx is told in every test: to stay in the foreground, and to keep all that it writes in {folder}. What comes
# next is within `http`.
NGINX_BEGIN = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
"""


def start_proxy(
    tool: str, template: str, folder: Path, output: object, **given: object
) -> tuple[subprocess.Popen, int]:
    """The process, and its port. The template is filled in with what is given, `folder`, `port` and `listener`: the
    descriptor of a socket that listens already, so that the port is surely free."""
    configuration = folder / "configuration"
    command = {"nginx": ["-e", str(folder / "errors"), "-c"], "haproxy": ["-db", "-f"]}[tool]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        configuration.write_text(template.format(folder=folder, port=port, listener=number, **given))
        process = subprocess.Popen(
            [needs(tool), *command, str(configuration)],
            pass_fds=[number],
            stdout=output,
            env=os.environ | {"NGINX": f"{number};"},  # as it hands a listening socket to its successor
        )
    return process, port

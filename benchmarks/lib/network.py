"""Network namespaces for a benchmark and the processes that it starts."""

import ctypes
import os
import subprocess
import sys

CLONE_NEWNET = 0x40000000


def enter_network_namespace() -> None:
    """Enter a new namespace that has only a loopback device. Raises OSError without the privilege, or without ip(8)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def isolate_network() -> None:
    """Enter a new namespace if that is permitted. There, no firewall tracks connections: on a host that does so, new
    connections are dropped once the table of the firewall is full."""
    try:
        enter_network_namespace()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"in the network of the host, which may drop connections: {error}", file=sys.stderr)

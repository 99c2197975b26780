"""A network of this process's own, and of its children's."""

import ctypes
import os
import subprocess
import sys

CLONE_NEWNET = 0x40000000


def enter_own_network() -> None:
    """With nothing but a loopback device. OSError if it is not permitted, or there is no ip(8) to set that up."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def leave_shared_network() -> None:
    """So that connections are not tracked: a host whose firewall does that drops new ones when its table is full."""
    try:
        enter_own_network()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"in the network of the host, which may drop connections: {error}", file=sys.stderr)

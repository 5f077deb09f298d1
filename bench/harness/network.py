"""A network of the bench's own, so that hob's bridge and rules touch nothing of the machine's."""

import contextlib
import ctypes
import os

from .programs import Failed, output

CLONE_NEWNET = 0x40000000
SELF = "/proc/self/ns/net"


@contextlib.contextmanager
def own_network():
    """What is started inside of `with` has nothing but a loopback interface. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open(SELF, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise Failed(f"no network of its own: {os.strerror(ctypes.get_errno())} (it needs root)")
        try:
            output(["ip", "link", "set", "lo", "up"])
            yield
        finally:
            if libc.setns(before, CLONE_NEWNET) != 0:
                # Nothing that follows would measure what it says.
                os._exit(1)
    finally:
        os.close(before)

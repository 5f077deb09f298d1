# tries: reaches unix sockets of the machine: of hob, of Docker, and those without a path
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import os
import socket
from attack import must_fail


def connect(address):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as visitor:
            visitor.settimeout(1)
            try:
                visitor.connect(address)
            except OSError:
                continue
            return visitor.getsockname(), address
    raise OSError("nobody there")


for address in ("\0" + os.environ["HOSTILE_ABSTRACT"], os.environ["HOSTILE_SOCKET"], "/var/run/docker.sock",
                "/run/containerd/containerd.sock", "/run/dbus/system_bus_socket", "/run/systemd/private",
                "/run/systemd/journal/stdout", "/dev/log", "\0/tmp/.X11-unix/X0", "/tmp/.X11-unix/X0"):
    must_fail(f"a connection to {address!r}", connect, address)
print("done", flush=True)

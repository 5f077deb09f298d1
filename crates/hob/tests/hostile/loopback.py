# tries: reaches services of the machine that listen on its loopback address, hob's own among them
# limits: time=15s
# expect: reason=ok code=0
# expect-output: done
import os
import socket
from attack import must_fail


def connect(address, port):
    visitor = socket.create_connection((address, port), 0.2)
    # By chance it may have met itself.
    if visitor.getsockname() == visitor.getpeername():
        visitor.close()
        raise OSError("nobody but itself")
    return visitor


ports = [int(os.environ[name]) for name in ("HOSTILE_LISTENER", "HOSTILE_API")]
for port in ports + [22, 53, 80, 443, 631, 2375, 5432, 6379, 8080, 8082, 9090]:
    for address in ("127.0.0.1", "127.0.1.1", "localhost", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"):
        must_fail(f"a connection to {address} {port}", connect, address, port)
for port in range(1, 65536, 31):
    try:
        with socket.socket() as visitor:
            visitor.settimeout(0.2)
            visitor.bind(("127.0.0.2", 0))
            visitor.connect(("127.0.0.1", port))
            print("BROKEN: somebody listens at", port, flush=True)
    except OSError:
        pass
# Its own are there for a while.
own = ("0100007F:", "0200007F:")
for name in ("/proc/net/tcp", "/proc/net/unix", "/proc/net/route", "/proc/net/arp"):
    try:
        lines = open(name).read().splitlines()[1:]
    except OSError:
        continue
    lines = [line for line in lines if not any(address in line for address in own)]
    if lines:
        print("BROKEN: sees connections in", name, lines[:2], flush=True)
print("done", flush=True)

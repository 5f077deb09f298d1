# tries: opens sockets that are no ordinary ones
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: netlink 15
# expect-output: done
import socket
import struct
from attack import must_fail

NAMES = {3: "AX25", 8: "X25", 17: "PACKET", 21: "RDS", 29: "CAN", 30: "TIPC", 31: "BLUETOOTH", 35: "PHONET",
         36: "IEEE802154", 38: "ALG", 39: "NFC", 40: "VSOCK", 41: "KCM", 42: "QIPCRTR", 43: "SMC", 44: "XDP"}
for family, name in NAMES.items():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        must_fail(f"a socket of {name}", socket.socket, family, kind, 0)
for family in (socket.AF_INET, socket.AF_INET6):
    for protocol in (1, 6, 17, 58, 255):
        must_fail("a raw socket", socket.socket, family, socket.SOCK_RAW, protocol)
    for protocol in (132, 33, 262):  # SCTP, DCCP, MPTCP
        must_fail(f"a socket of protocol {protocol}", socket.socket, family, socket.SOCK_STREAM, protocol)


def add_interface():
    """By rtnetlink, as `ip link add type dummy`."""
    asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    kind = struct.pack("<HH", 10, 1) + b"dummy\0\0\0"
    info = struct.pack("<HH", 4 + len(kind), 18) + kind
    body = struct.pack("<BxHiII", 0, 0, 0, 0, 0) + info
    asked.send(struct.pack("<IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
    code = struct.unpack("<i", asked.recv(4096)[16:20])[0]
    if code:
        raise OSError(-code, "netlink")


must_fail("an interface", add_interface)
for protocol in (2, 4, 5, 6, 9, 11, 12, 15, 16, 19):  # netfilter, audit, kobject events, generic, crypto …
    must_fail(f"netlink {protocol}", socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, protocol)
print("done", flush=True)

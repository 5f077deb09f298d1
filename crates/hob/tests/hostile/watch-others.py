# tries: sees what others on the machine read and run, by the files that all share
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: watches
# gvisor-allows: filter
# gvisor-allows: TCP_ULP
# expect-output: done
import ctypes
import fcntl
import os
import socket
import struct
from attack import NUMBERS, libc, must_fail, must_not_exist

shared = "/usr/bin/env"
NUMBERS.update(openat2=437, cachestat=451)


def watch(bits):
    events = libc.inotify_init1(os.O_NONBLOCK)
    if libc.inotify_add_watch(events, shared.encode(), bits) >= 0:
        print("BROKEN: watches", hex(bits), flush=True)
    os.close(events)


for bits in (0x1, 0x10, 0x20, 0x31, 0xFFF):
    watch(bits)
must_fail("F_NOTIFY", fcntl.fcntl, os.open("/usr/bin", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS)
descriptor = os.open(shared, os.O_RDONLY)
page = bytearray(4096)
must_fail("RWF_NOWAIT", os.preadv, descriptor, [page], 0, os.RWF_NOWAIT)
must_not_exist("openat2", -100, shared.encode(), struct.pack("<QQQ", 0, 0, 0x20), 24)
must_not_exist("cachestat", descriptor, struct.pack("<QQ", 0, 4096), ctypes.create_string_buffer(40), 0)
# Programs that the kernel runs over what comes in, and modules of the kernel.
with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
    accept_all = struct.pack("<HBBI", 6, 0, 0, 0xFFFF)
    code = ctypes.create_string_buffer(accept_all)
    program = struct.pack("<HxxxxxxQ", 1, ctypes.addressof(code))
    for option in (26, 51):
        must_fail(f"filter {option}", udp.setsockopt, socket.SOL_SOCKET, option, program)
    for option in (50, 52):
        must_fail(f"filter {option}", udp.setsockopt, socket.SOL_SOCKET, option, descriptor)
    must_fail("TCP_ULP", tcp.setsockopt, socket.IPPROTO_TCP, 31, b"tls")
print("done", flush=True)

# tries: makes namespaces, where it would be root, and enters those of others
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: unshare
# gvisor-allows: a child in a namespace of its own
# expect-output: done
import ctypes
import os
import signal
import struct
from attack import NUMBERS, libc, must_fail, must_not_exist, syscall

FLAGS = {"time": 0x80, "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
         "pid": 0x20000000, "net": 0x40000000}


def child(what, make):
    """Makes a child by this call, which must fail."""
    try:
        pid = make()
    except OSError:
        return
    if pid == 0:
        os._exit(0)
    print("BROKEN: a child in a namespace of its own:", what, flush=True)


for name, flag in FLAGS.items():
    for more in (0, FLAGS["user"]):
        must_not_exist("unshare", flag | more)
        if flag | more != 0x80:
            child(name, lambda: syscall("clone", flag | more | signal.SIGCHLD, 0, 0, 0, 0))
        child(name, lambda: syscall("clone3", struct.pack("<8Q", flag | more, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64))
for pid in ("1", "self", str(os.getppid())):
    for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
        try:
            descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
        except OSError:
            continue
        must_not_exist("setns", descriptor, 0)
try:
    must_not_exist("setns", syscall("pidfd_open", 1, 0), FLAGS["mount"])
except OSError:
    pass
print("done", flush=True)

# tries: puts a filter of its own before hob's, and asks the kernel to tell it of calls in place of refusing them
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: unshare
# expect-output: done
import ctypes
import os
import struct
from attack import libc, must_not_exist

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE, PR_CAPBSET_READ, PR_SET_MM = 22, 38, 4, 23, 35
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
allow = struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000)
program = ctypes.create_string_buffer(allow)
filter_ = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 1, ctypes.addressof(program)))
libc.prctl(PR_SET_SECCOMP, 2, ctypes.addressof(filter_), 0, 0)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0:
    print("BROKEN: takes no-new-privileges back", flush=True)
if libc.prctl(PR_SET_MM, 1, 0, 0, 0) == 0:
    print("BROKEN: moves its memory", flush=True)
must_not_exist("unshare", 0x10000000)
must_not_exist("keyctl", 0, -3, 1, 0, 0)
must_not_exist("bpf", 0, b"\0" * 120, 120)
print("done", flush=True)

# tries: traces and reads other processes: its init, its parent, a sibling
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: ptrace
# expect-output: done
import ctypes
import os
import signal
import time
from attack import must_fail, must_not_exist, read

sibling = os.fork()
if sibling == 0:
    while True:
        signal.pause()
ATTACH, SEIZE, TRACEME = 16, 0x4206, 0
room = ctypes.create_string_buffer(64)
local = (ctypes.c_size_t * 2)(ctypes.addressof(room), 64)
for pid in (1, os.getppid(), sibling):
    for request in (ATTACH, SEIZE):
        must_not_exist("ptrace", request, pid, 0, 0)
    for name in ("process_vm_readv", "process_vm_writev"):
        remote = (ctypes.c_size_t * 2)(ctypes.addressof(room), 64)
        must_not_exist(name, pid, ctypes.cast(local, ctypes.c_void_p), 1, ctypes.cast(remote, ctypes.c_void_p), 1, 0)
    must_not_exist("kcmp", pid, os.getpid(), 0, 0, 0)
    must_not_exist("move_pages", pid, 0, 0, 0, 0, 0)
must_not_exist("ptrace", TRACEME, 0, 0, 0)
for pid in (1, os.getppid()):
    if pid == os.getpid():
        continue
    for mode in ("rb", "r+b"):
        must_fail(f"memory of {pid}", open, f"/proc/{pid}/mem", mode)
    must_fail(f"what {pid} runs, for writing", open, f"/proc/{pid}/exe", "r+b")
must_fail("what it runs itself, for writing", open, "/proc/self/exe", "r+b")
os.kill(sibling, signal.SIGKILL)
print("done", flush=True)

# tries: types into the terminal of whoever started hob
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import fcntl
import os
from attack import must_fail, must_not_exist

TIOCSTI, TIOCLINUX, TIOCSCTTY, TIOCCONS = 0x5412, 0x541C, 0x540E, 0x541D
for descriptor in range(3):
    for request in (TIOCSTI, TIOCLINUX, TIOCSCTTY, TIOCCONS):
        must_fail(f"ioctl {request:x} of {descriptor}", fcntl.ioctl, descriptor, request, b"\x03")
        # The kernel looks at 32 bits of it, and a list of calls may look at all 64.
        must_not_exist("ioctl", descriptor, request | 1 << 32, b"\x03")
for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/pts/0", "/dev/vcs", "/dev/uinput"):
    must_fail(path, os.open, path, os.O_RDWR | os.O_NOCTTY)
print("done", flush=True)

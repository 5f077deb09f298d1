# tries: finds what an earlier run has left, or one that runs beside it
# after: leftovers-plant.py
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import os
import socket
from attack import libc, must_fail

WORD = "left-by-another-run"
for folder in ("/box", "/tmp", "/dev/shm", "/var/tmp", "/run", "/home", "/dev/mqueue", "/proc/self", "/"):
    try:
        names = set(os.listdir(folder))
    except OSError:
        continue
    if WORD in names:
        print("BROKEN: finds", WORD, "in", folder, flush=True)
    if folder in ("/tmp", "/dev/shm", "/var/tmp", "/dev/mqueue") and names:
        print("BROKEN:", folder, "has", names, flush=True)
    if folder == "/box":
        extra = {name for name in names if name not in ("attack.py", "__pycache__") and not name.startswith("main")}
        if extra:
            print("BROKEN: /box has", extra, flush=True)
KEY = 0x68_6F_62
for name, call in (("shm", lambda: libc.shmget(KEY, 0, 0)), ("msg", lambda: libc.msgget(KEY, 0)),
                   ("sem", lambda: libc.semget(KEY, 0, 0))):
    if call() >= 0:
        print("BROKEN: finds", name, flush=True)
for name in ("shm", "msg", "sem"):
    try:
        if len(open("/proc/sysvipc/" + name).read().splitlines()) > 1:
            print("BROKEN: sees others'", name, flush=True)
    except OSError:
        pass
must_fail("a queue", lambda: 1 if libc.mq_open(b"/" + WORD.encode(), os.O_RDONLY) >= 0 else os.stat("/none"))


def connect(family, address):
    with socket.socket(family) as visitor:
        visitor.settimeout(1)
        visitor.connect(address)
        return visitor.recv(64)


must_fail("a socket by its name", connect, socket.AF_UNIX, "\0" + WORD)
must_fail("a port", connect, socket.AF_INET, ("127.0.0.1", 45454))
print("done", flush=True)

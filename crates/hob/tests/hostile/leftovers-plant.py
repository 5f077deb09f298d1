# tries: leaves something for the next run in every place that it can write to or name
# limits: time=10s
# expect: reason=ok code=0
# expect-output: planted
import ctypes
import os
import signal
import socket
from attack import libc

WORD = "left-by-another-run"
for folder in ("/box", "/tmp", "/dev/shm", "/var/tmp", "/run", "/home", "/dev/mqueue", "/proc/self", "/"):
    try:
        with open(f"{folder}/{WORD}", "w") as file:
            file.write(WORD)
    except OSError:
        pass
KEY, IPC_CREAT = 0x68_6F_62, 0o1000
shared = libc.shmget(KEY, 4096, IPC_CREAT | 0o666)
if shared >= 0:
    libc.shmat.restype = ctypes.c_void_p
    where = libc.shmat(shared, None, 0)
    if where not in (None, ctypes.c_void_p(-1).value):
        ctypes.memmove(where, WORD.encode(), len(WORD))
libc.msgget(KEY, IPC_CREAT | 0o666)
libc.semget(KEY, 1, IPC_CREAT | 0o666)
try:
    libc.mq_open(b"/" + WORD.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
except AttributeError:
    pass
# Somebody stays to hold a name, if he can.
if os.fork() == 0:
    os.setsid()
    keeper = socket.socket(socket.AF_UNIX)
    keeper.bind("\0" + WORD)
    keeper.listen()
    port = socket.socket()
    try:
        port.bind(("127.0.0.1", 45454))
        port.listen()
    except OSError:
        pass
    while True:
        keeper.accept()[0].send(WORD.encode())
print("planted", flush=True)
if os.environ.get("HOSTILE_STAY"):
    signal.pause()

# tries: has the kernel hold its memory: full pipes, full sockets, descriptors that are under way in sockets
# limits: time=10s memory=48Mi
# expect: reason=memory|ok|exit|timeout
import array
import fcntl
import os
import resource
import socket

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
    while True:
        reader, writer = os.pipe2(os.O_NONBLOCK)
        held += [reader, writer]
        try:
            fcntl.fcntl(writer, 1031, 1 << 20)  # F_SETPIPE_SZ
        except OSError:
            pass
        one, other = socket.socketpair()
        for end in (one, other):
            end.setblocking(False)
        held += [one, other]
        try:
            while True:
                os.write(writer, b"x" * 65536)
        except BlockingIOError:
            pass
        try:
            while True:
                rights = array.array("i", [reader, writer, other.fileno()])
                one.sendmsg([b"x" * 4096], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            pass
except OSError as error:
    print(error, flush=True)

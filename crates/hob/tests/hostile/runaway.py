# tries: is never where it was: each process forks the next and ends, so that no list of processes is true for long
# limits: time=2s pids=48
# expect: reason=timeout|pids gvisor=timeout|pids|memory
import os
import signal

signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def run():
    try:
        os.setsid()
        while os.fork():
            os._exit(0)
    except OSError:
        pass  # a leader already, or not all that are dead have been waited for


for _ in range(8):
    if os.fork() == 0:
        while True:
            run()
while True:
    signal.pause()

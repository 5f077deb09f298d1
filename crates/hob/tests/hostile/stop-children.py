# tries: has children that stand still when they are to be killed
# limits: time=1s pids=64
# expect: reason=timeout
import os
import signal

for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
while True:
    signal.pause()

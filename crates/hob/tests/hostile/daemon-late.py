# tries: has a crowd of daemons outlive the deadline, while it waits for none of them
# limits: time=1s pids=64
# expect: reason=timeout
import os
import signal

for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        os._exit(0)
while True:
    signal.pause()

# tries: leaves a daemon with stdout open: forks twice, is of another session, ignores signals
# limits: time=5s
# expect: reason=ok code=0
# expect-output: gone
# never-output: still here
import os
import signal
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(2)
        os.write(1, b"still here")
        while True:
            time.sleep(1)
    os._exit(0)
os.wait()
print("gone", flush=True)

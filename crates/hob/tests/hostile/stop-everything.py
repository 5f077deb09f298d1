# tries: stops its init, its parent, its group, everybody and itself
# limits: time=1s
# expect: reason=timeout|ok
# expect-output: stopping
import os
import signal

for _ in range(5):
    if os.fork() == 0:
        while True:
            signal.pause()
print("stopping", flush=True)
for whom in (1, os.getppid(), 0, -1, os.getpid()):
    for number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN):
        try:
            os.kill(whom, number)
        except OSError:
            pass
while True:
    signal.pause()

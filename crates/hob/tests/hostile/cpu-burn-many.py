# tries: uses up its processor time by many processes, each of which ends before it has used much
# limits: time=20s cpu=1s pids=64
# expect: reason=timeout
import os

while True:
    for _ in range(4):
        if os.fork() == 0:
            for _ in range(300_000):
                pass
            os._exit(0)
    for _ in range(4):
        os.wait()

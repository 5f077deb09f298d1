# tries: forks for as long as it lives, past every error
# limits: time=10s cpu=1s pids=48
# expect: reason=pids|timeout gvisor=pids|timeout|memory
# fills: pids
import os

while True:
    try:
        os.fork()
    except OSError:
        pass

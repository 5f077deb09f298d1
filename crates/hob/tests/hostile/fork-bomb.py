# tries: forks for as long as it lives, past every error
# limits: time=1s pids=48
# expect: reason=pids|timeout
import os

while True:
    try:
        os.fork()
    except OSError:
        pass

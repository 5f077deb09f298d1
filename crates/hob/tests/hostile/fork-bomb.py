# tries: forks for as long as it lives, past every error
# limits: time=3s pids=48
# expect: reason=pids
import os

while True:
    try:
        os.fork()
    except OSError:
        pass

# tries: leaves children that are dead and that nobody waits for
# limits: time=10s pids=64
# expect: reason=ok code=0
# expect-output: done
import os

for _ in range(40):
    if os.fork() == 0:
        # Its own child becomes the init's.
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
print("done", flush=True)

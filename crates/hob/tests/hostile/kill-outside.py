# tries: sends signals to processes outside, by their numbers there
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: process
# expect-output: done
import os

own = {int(name) for name in os.listdir("/proc") if name.isdigit()}
hob = int(os.environ["HOSTILE_HOB"])
for pid in range(2, 100000):
    if pid in own:
        continue
    try:
        os.kill(pid, 9 if pid == hob else 0)
        print("BROKEN: process", pid, flush=True)
    except ProcessLookupError:
        pass
    except PermissionError:
        print("BROKEN: there is process", pid, flush=True)
if len(own) > 5:
    print("BROKEN: sees", sorted(own))
print("done", flush=True)

# tries: goes out by the roots, working directories and descriptors of other processes
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import os
from attack import read

outside = os.environ["HOSTILE_OUTSIDE"]
for pid in [name for name in os.listdir("/proc") if name.isdigit()] + ["self", "thread-self"]:
    for place in ("root", "cwd", "root/..", "cwd/../../.."):
        for file in (outside + "/file", "/etc/shadow", "/root/.profile"):
            try:
                text = read(f"/proc/{pid}/{place}{file}")
                print("BROKEN: reads", pid, place, file, text[:40], flush=True)
            except OSError:
                pass
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        continue
    for number in numbers:
        for file in (outside + "/file", "/etc/shadow"):
            for up in ("", "/..", "/../.."):
                try:
                    read(f"/proc/{pid}/fd/{number}{up}{file}")
                    print("BROKEN: reads through", pid, number, flush=True)
                except OSError:
                    pass
print("done", flush=True)

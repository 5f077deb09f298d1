# tries: reads the environment and the command line of hob, of its init and of everybody
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import os
from attack import read

known = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PWD", "SHLVL", "_", "TMPDIR", "USER", "OLDPWD", "HOSTNAME"}
for name in os.environ:
    if name not in known and not name.startswith("HOSTILE_"):
        print("BROKEN: has", name, flush=True)
if "PLANTED" in os.environ:
    print("BROKEN: has hob's own environment", flush=True)
for pid in os.listdir("/proc"):
    if not pid.isdigit():
        continue
    for name in ("environ", "cmdline", "auxv", "maps", "stack", "syscall"):
        try:
            text = read(f"/proc/{pid}/{name}")
        except OSError:
            continue
        if b"PLANTED" in text or b"HOB_DATA" in text or b"HOB_CONFIG" in text:
            print("BROKEN: reads", pid, name, text[:80], flush=True)
print("done", flush=True)

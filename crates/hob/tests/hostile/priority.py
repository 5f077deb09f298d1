# tries: has itself preferred to others, and its limits raised
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: nice
# gvisor-allows: setpriority
# expect-output: done
import os
import resource
import struct
from attack import must_fail, must_not_exist

must_fail("nice", os.nice, -5)
must_fail("setpriority", os.setpriority, os.PRIO_PROCESS, 0, -20)
for policy in (os.SCHED_FIFO, os.SCHED_RR):
    must_fail("a real-time class", os.sched_setscheduler, 0, policy, os.sched_param(1))
must_not_exist("ioprio_set", 1, 0, 1 << 13)
for name in dir(resource):
    if not name.startswith("RLIMIT_"):
        continue
    kind = getattr(resource, name)
    soft, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        must_fail(f"raises {name}", resource.setrlimit, kind, (hard + 1, hard + 1))
must_not_exist("prlimit64", 1, 7, struct.pack("<QQ", 1 << 20, 1 << 20), 0)
print("done", flush=True)

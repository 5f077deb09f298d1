# tries: has the kernel end the cage's init, so that the machine is blamed and not the program
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: setpriority
# gvisor-allows: sched_setaffinity
# expect-output: done
import os
import struct
from attack import must_fail, must_not_exist

# Not even a second of processor time: then init has but to reap some orphans.
for kind in range(16):
    must_not_exist("prlimit64", 1, kind, struct.pack("<QQ", 0, 0), 0)
for which, who in ((os.PRIO_PROCESS, 1), (os.PRIO_PGRP, 1), (os.PRIO_USER, os.getuid())):
    must_fail("setpriority", os.setpriority, which, who, 19)
must_fail("sched_setaffinity", os.sched_setaffinity, 1, {0})
must_fail("sched_setscheduler", os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
for which, who in ((1, 1), (2, 1), (3, os.getuid())):
    must_not_exist("ioprio_set", which, who, 3 << 13)
for _ in range(60):
    if os.fork() == 0:
        if os.fork() == 0:
            sum(range(1000))
        os._exit(0)
    os.wait()
print("done", flush=True)

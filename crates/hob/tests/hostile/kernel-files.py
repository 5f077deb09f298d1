# tries: writes to files of the kernel: settings, SysRq, maps of users, scores, control groups
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: /proc/self/oom_score_adj
# expect-output: done
import glob
import os
from attack import must_fail


def write(path, text):
    if os.stat(path).st_rdev == os.stat("/dev/null").st_rdev:
        raise OSError("covered")
    descriptor = os.open(path, os.O_WRONLY)
    try:
        return os.write(descriptor, text)
    finally:
        os.close(descriptor)


for path, text in (
        ("/proc/sysrq-trigger", b"h"), ("/proc/sys/kernel/core_pattern", b"|/box/own"), ("/proc/sys/vm/drop_caches", b"1"),
        ("/proc/sys/kernel/modprobe", b"/box/own"), ("/proc/sys/kernel/hostname", b"hostile"),
        ("/proc/sys/kernel/randomize_va_space", b"0"), ("/proc/sys/net/ipv4/ip_forward", b"1"),
        ("/proc/sys/fs/binfmt_misc/register", b":x:M::MZ::/box/own:"), ("/proc/self/uid_map", b"0 0 4294967295"),
        ("/proc/self/gid_map", b"0 0 4294967295"), ("/proc/self/setgroups", b"allow"), ("/proc/1/oom_score_adj", b"1000"),
        ("/proc/self/oom_score_adj", b"-1000"), ("/proc/self/loginuid", b"0"), ("/proc/self/clear_refs", b"1x"),
        ("/proc/irq/default_smp_affinity", b"1"), ("/proc/mtrr", b"x"), ("/sys/kernel/uevent_helper", b"/box/own"),
        ("/sys/power/state", b"mem"), ("/sys/kernel/mm/transparent_hugepage/enabled", b"never")):
    must_fail(path, write, path, text)
for path in glob.glob("/proc/sys/kernel/*") + glob.glob("/proc/sys/vm/*") + glob.glob("/proc/sys/fs/*"):
    must_fail(path, os.open, path, os.O_WRONLY)
for name in ("cgroup.procs", "tasks", "release_agent", "notify_on_release", "memory.max", "pids.max",
             "memory.limit_in_bytes"):
    for path in glob.glob("/sys/fs/cgroup/**/" + name, recursive=True):
        must_fail(path, os.open, path, os.O_WRONLY)
print("done", flush=True)

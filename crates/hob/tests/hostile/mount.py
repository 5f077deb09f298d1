# tries: mounts, by the old calls and by the new ones
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import os
from attack import must_not_exist

os.makedirs("/tmp/here", exist_ok=True)
for kind in (b"tmpfs", b"proc", b"sysfs", b"cgroup", b"cgroup2", b"overlay", b"devtmpfs", b"debugfs", b"securityfs",
             b"ext4", b"mqueue", b"bpf", b"fuse"):
    must_not_exist("mount", b"none", b"/tmp/here", kind, 0, 0)
    must_not_exist("fsopen", kind, 0)
MS_BIND, MS_REMOUNT, MS_MOVE, MS_REC, MS_SHARED = 4096, 32, 8192, 16384, 1 << 20
must_not_exist("mount", b"/", b"/tmp/here", 0, MS_BIND | MS_REC, 0)
must_not_exist("mount", 0, b"/usr", 0, MS_BIND | MS_REMOUNT, 0)
must_not_exist("mount", 0, b"/", 0, MS_REMOUNT, 0)
must_not_exist("mount", 0, b"/", 0, MS_REC | MS_SHARED, 0)
must_not_exist("mount", b"/box", b"/tmp/here", 0, MS_MOVE, 0)
for place in (b"/proc", b"/dev", b"/tmp", b"/proc/kcore", b"/proc/sys", b"/proc/sysrq-trigger", b"/sys", b"/"):
    must_not_exist("umount2", place, 0)
    must_not_exist("umount2", place, 2)
must_not_exist("pivot_root", b"/tmp", b"/tmp/here")
must_not_exist("open_tree", -100, b"/usr", 1)
must_not_exist("fspick", -100, b"/", 0)
must_not_exist("mount_setattr", -100, b"/usr", 0, bytes(32), 32)
must_not_exist("move_mount", -100, b"/box", -100, b"/tmp/here", 0)
print("done", flush=True)

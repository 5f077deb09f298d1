# tries: reads files of the machine and of hob
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: lists /sys
# expect-output: done
import glob
import os
from attack import read

data = os.environ["HOSTILE_DATA"]
outside = os.environ["HOSTILE_OUTSIDE"]
for path in (
        "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh/ssh_host_ed25519_key", "/etc/machine-id",
        "/var/lib/hob/hob.db", "/var/lib/hob/identity.txt", data + "/planted.txt", data + "/hob.db", outside + "/file",
        "/var/log/syslog", "/var/log/dpkg.log", "/var/lib/dpkg/status", "/boot/grub/grub.cfg", "/dev/mem", "/dev/kmem",
        "/dev/port", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/fuse", "/dev/kvm", "/dev/net/tun",
        "/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/slabinfo",
        "/proc/vmallocinfo", "/proc/pagetypeinfo",
        "/sys/kernel/notes", "/sys/kernel/vmcoreinfo", "/sys/class/net/eth0/address", "/sys/firmware/acpi/tables/DSDT"):
    try:
        text = read(path)
    except OSError:
        continue
    if text:
        print("BROKEN: reads", path, text[:40], flush=True)
for folder in ("/root", "/home", data, outside, "/var/lib", "/run", "/boot", "/mnt", "/media", "/sys", "/var/log",
               "/var/spool", "/etc/ssl/private", "/lost+found"):
    try:
        names = os.listdir(folder)
    except OSError:
        continue
    if names:
        print("BROKEN: lists", folder, names[:5], flush=True)
for line in read("/proc/self/mountinfo").decode().splitlines():
    if data in line or outside in line:
        print("BROKEN: mount tells", line, flush=True)
for path in glob.glob("/run/**/*.sock", recursive=True) + ["/var/run/docker.sock"]:
    if os.path.exists(path):
        print("BROKEN: there is", path, flush=True)
print("done", flush=True)

# tries: the system calls by which cages are broken: bpf, perf, io_uring, userfaultfd, modules, kexec, clocks and more
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: io_uring_setup
# gvisor-allows: syslog
# gvisor-allows: mknodat
# expect-output: done
import ctypes
import os
import struct
from attack import must_fail, must_not_exist

zeros = ctypes.cast(ctypes.create_string_buffer(256), ctypes.c_void_p)
for command in range(0, 36):
    must_not_exist("bpf", command, zeros, 120)
must_not_exist("perf_event_open", struct.pack("<II", 1, 112) + bytes(104), 0, -1, -1, 0)
must_not_exist("io_uring_setup", 4, zeros)
must_not_exist("io_uring_enter", 0, 1, 0, 0, 0, 0)
must_not_exist("io_uring_register", 0, 0, 0, 0)
for flags in (0, 1, os.O_CLOEXEC):
    must_not_exist("userfaultfd", flags)
must_not_exist("init_module", zeros, 256, b"")
must_not_exist("finit_module", 0, b"", 0)
must_not_exist("delete_module", b"dummy", 0)
must_not_exist("kexec_load", 0, 0, 0, 0)
must_not_exist("kexec_file_load", 0, 0, 0, b"", 0)
must_not_exist("reboot", 0xFEE1DEAD - (1 << 32), 672274793, 0, 0)
must_not_exist("swapon", b"/box/swap", 0)
must_not_exist("swapoff", b"/dev/sda2")
must_not_exist("acct", b"/box/acct")
must_not_exist("settimeofday", zeros, 0)
must_not_exist("clock_settime", 0, zeros)
must_not_exist("adjtimex", ctypes.cast(ctypes.create_string_buffer(struct.pack("<I", 0x4000) + bytes(252)),
                                       ctypes.c_void_p))
must_not_exist("sethostname", b"hostile", 7)
must_not_exist("setdomainname", b"hostile", 7)
must_not_exist("quotactl", 0, b"/dev/sda1", 0, zeros)
must_not_exist("quotactl_fd", 0, 0, 0, zeros)
must_not_exist("syslog", 3, zeros, 256)
must_not_exist("syslog", 5, 0, 0)
must_not_exist("vhangup")
must_not_exist("iopl", 3)
must_not_exist("ioperm", 0x70, 2, 1)
must_not_exist("fanotify_init", 0, 0)
must_not_exist("nfsservctl", 0, 0, 0)
must_not_exist("lookup_dcookie", 0, zeros, 256)
must_not_exist("uselib", b"/usr/lib/hostile")
must_not_exist("_sysctl", zeros)
must_not_exist("chroot", b"/tmp")
must_not_exist("migrate_pages", 1, 64, zeros, zeros)
must_not_exist("mknodat", -100, b"/box/mem", 0o020666, 0x101)
must_not_exist("mknodat", -100, b"/box/disk", 0o060666, 0x800)
# Where a process's memory is laid out so that it can be guessed, and pages at address 0.
must_not_exist("personality", 0x0040000)
print("done", flush=True)

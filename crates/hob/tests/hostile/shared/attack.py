"""What the attempts in Python share."""
import ctypes
import os
import platform

libc = ctypes.CDLL(None, use_errno=True)
# Where the two differ; from 424 on all machines have the same numbers.
NUMBERS = {
    "x86_64": dict(
        ptrace=101, process_vm_readv=310, process_vm_writev=311, kcmp=312, mount=165, umount2=166, pivot_root=155,
        chroot=161, unshare=272, setns=308, clone=56, add_key=248, request_key=249, keyctl=250, bpf=321,
        perf_event_open=298, userfaultfd=323, init_module=175, finit_module=313, delete_module=176, kexec_load=246,
        kexec_file_load=320, reboot=169, swapon=167, swapoff=168, acct=163, settimeofday=164, clock_settime=227,
        adjtimex=159, clock_adjtime=305, sethostname=170, setdomainname=171, quotactl=179, syslog=103, vhangup=153,
        iopl=172, ioperm=173, name_to_handle_at=303, open_by_handle_at=304, fanotify_init=300, nfsservctl=180,
        lookup_dcookie=212, personality=135, move_pages=279, migrate_pages=256, capset=126, mknod=133, mknodat=259,
        sched_setscheduler=144, ioprio_set=251, prlimit64=302, modify_ldt=154, uselib=134, _sysctl=156, ioctl=16),
    "aarch64": dict(
        ptrace=117, process_vm_readv=270, process_vm_writev=271, kcmp=272, mount=40, umount2=39, pivot_root=41,
        chroot=51, unshare=97, setns=268, clone=220, add_key=217, request_key=218, keyctl=219, bpf=280,
        perf_event_open=241, userfaultfd=282, init_module=105, finit_module=273, delete_module=106, kexec_load=104,
        kexec_file_load=294, reboot=142, swapon=224, swapoff=225, acct=89, settimeofday=170, clock_settime=112,
        adjtimex=171, clock_adjtime=266, sethostname=161, setdomainname=162, quotactl=60, syslog=116, vhangup=58,
        name_to_handle_at=264, open_by_handle_at=265, fanotify_init=262, nfsservctl=42, lookup_dcookie=18,
        personality=92, move_pages=239, migrate_pages=238, capset=91, mknodat=33, sched_setscheduler=119,
        ioprio_set=30, prlimit64=261, ioctl=29),
}[platform.machine()]
NUMBERS.update(
    pidfd_send_signal=424, io_uring_setup=425, io_uring_enter=426, io_uring_register=427, open_tree=428,
    move_mount=429, fsopen=430, fsconfig=431, fsmount=432, fspick=433, pidfd_open=434, clone3=435, pidfd_getfd=438,
    process_madvise=440, mount_setattr=442, quotactl_fd=443, memfd_secret=447, process_mrelease=448, statmount=457,
    listmount=458)


def syscall(name, *arguments):
    """Its result; raises OSError as Python's own calls do."""
    words = [ctypes.c_char_p(word) if isinstance(word, bytes) else
             word if isinstance(word, ctypes._SimpleCData) or not isinstance(word, int) else ctypes.c_long(word)
             for word in arguments]
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *words)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def must_fail(what, call, *arguments):
    """Says so when it does not."""
    try:
        got = call(*arguments)
    except (OSError, ValueError, PermissionError):
        return
    print("BROKEN:", what, "gave", repr(got)[:200], flush=True)


def must_not_exist(name, *arguments):
    """A system call that is not there, or not for us; on this machine it may have no number at all."""
    if name in NUMBERS:
        must_fail(name, syscall, name, *arguments)


def read(path, limit=65536):
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)

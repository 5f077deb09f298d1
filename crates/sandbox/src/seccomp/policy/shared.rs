//! What holds for every caged program: the spirit of Docker's default profile without what only
//! privileged containers and debuggers need.

#[allow(
    clippy::wildcard_imports,
    reason = "the list of what is used is the policy itself"
)]
use libc::*;

use super::{Group, Must, Rule, group, rule};

/// Flags of `clone` that make namespaces, and with them holes in the kernel reachable.
const NAMESPACES: c_int = CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET;

/// Arguments of `personality` that only ask, or mean an ordinary Linux: as in Docker's profile.
const PERSONALITIES: &[u32] = &[0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Allowed with any argument.
pub(super) const ALLOWED: &[Group] = &[
    group!("reading and writing what is open already":
        SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev
        SYS_lseek SYS_close SYS_close_range SYS_dup SYS_dup3 SYS_flock SYS_sendfile SYS_splice SYS_tee SYS_copy_file_range
        SYS_fsync SYS_fdatasync SYS_sync_file_range
        SYS_fallocate SYS_ftruncate SYS_truncate),
    group!("files and folders: who may touch which is up to the mounts, landlock and permissions":
        SYS_openat SYS_newfstatat SYS_fstat SYS_statx SYS_statfs SYS_fstatfs
        SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_getdents64 SYS_getcwd SYS_chdir SYS_fchdir
        SYS_mkdirat SYS_unlinkat SYS_renameat SYS_renameat2 SYS_linkat SYS_symlinkat
        SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_umask SYS_utimensat
        SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr),
    group!("watching files, timers and events":
        SYS_inotify_init1 SYS_inotify_rm_watch SYS_ppoll SYS_pselect6
        SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2
        SYS_signalfd4 SYS_pipe2 SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime),
    group!("memory":
        SYS_brk SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_msync
        SYS_mlock SYS_mlock2 SYS_munlock SYS_mlockall SYS_munlockall SYS_membarrier
        SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect),
    group!("processes and threads; clone3 is left out, since a filter cannot read its flags":
        SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_getpid SYS_getppid
        SYS_gettid SYS_getpgid SYS_setpgid SYS_getsid SYS_setsid SYS_set_tid_address
        SYS_set_robust_list SYS_get_robust_list SYS_futex SYS_futex_waitv SYS_rseq
        SYS_restart_syscall SYS_prctl SYS_pidfd_open SYS_pidfd_send_signal
        SYS_landlock_create_ruleset SYS_landlock_add_rule
        SYS_landlock_restrict_self SYS_seccomp),
    group!("signals; the pid namespace, or landlock, bounds whom they reach":
        SYS_kill SYS_tkill SYS_tgkill SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigpending
        SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
        SYS_rt_sigtimedwait SYS_sigaltstack),
    group!("scheduling, bounded by the cpu limit":
        SYS_sched_yield SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
        SYS_sched_getscheduler SYS_sched_get_priority_max SYS_sched_get_priority_min
        SYS_sched_rr_get_interval SYS_getpriority SYS_ioprio_get SYS_getcpu),
    group!("time, without setting it":
        SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday
        SYS_times SYS_getitimer SYS_setitimer SYS_timer_create SYS_timer_delete SYS_timer_settime
        SYS_timer_gettime SYS_timer_getoverrun),
    group!("who am I and what may I use; with no capabilities nothing is gained by setting":
        SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups
        SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups
        SYS_setfsuid SYS_setfsgid SYS_capget SYS_capset SYS_getrlimit SYS_setrlimit
        SYS_getrusage SYS_uname SYS_sysinfo SYS_getrandom),
    group!("sockets once they are made; which families may be made stands in FAMILIES":
        SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname
        SYS_getpeername SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg SYS_recvmmsg
        SYS_getsockopt SYS_shutdown),
    #[cfg(target_arch = "x86_64")]
    group!("what newer architectures left out and older programs call":
        SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_getdents SYS_mkdir
        SYS_rmdir SYS_unlink SYS_rename SYS_link SYS_symlink SYS_chmod SYS_chown
        SYS_lchown SYS_utime SYS_utimes SYS_futimesat SYS_poll SYS_select SYS_dup2 SYS_pipe
        SYS_pause SYS_alarm SYS_fork SYS_vfork SYS_getpgrp SYS_time SYS_epoll_create
        SYS_epoll_wait SYS_signalfd SYS_eventfd SYS_inotify_init SYS_arch_prctl),
];

/// Allowed with some arguments.
pub(super) const TESTED: &[Rule] = &[
    rule!("processes and threads, without namespaces of their own":
        SYS_clone, 0 Must::Lack(NAMESPACES.unsigned_abs()); else EPERM),
    rule!("other personalities reach code for dead systems, or switch off what hinders exploits":
        SYS_personality, 0 Must::Be(PERSONALITIES); else EPERM),
];

/// Refused with "operation not permitted": what programs should report, not work around.
pub(super) const REFUSED: &[Group] = &[
    group!("changing what the cage is made of":
        SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_fsopen SYS_fsconfig SYS_fsmount
        SYS_fspick SYS_open_tree SYS_move_mount SYS_mount_setattr SYS_unshare SYS_setns
        SYS_sethostname SYS_setdomainname SYS_quotactl SYS_swapon SYS_swapoff),
    group!("changing or looking into the kernel":
        SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_bpf
        SYS_perf_event_open SYS_syslog SYS_reboot SYS_acct SYS_lookup_dcookie),
    group!("kernel keys, which know no namespaces":
        SYS_add_key SYS_request_key SYS_keyctl),
    group!("reading and steering other processes":
        SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_kcmp SYS_pidfd_getfd
        SYS_process_madvise),
    group!("setting the machine's clock":
        SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex),
    group!("a way round the checks on paths":
        SYS_open_by_handle_at SYS_fanotify_init),
    group!("a rich source of holes in the kernel; libraries do without":
        SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_userfaultfd),
    group!("placing memory by hand, a matter of the whole machine":
        SYS_mbind SYS_set_mempolicy SYS_migrate_pages SYS_move_pages),
    #[cfg(target_arch = "x86_64")]
    group!("raw hardware and ancient interfaces":
        SYS_iopl SYS_ioperm SYS_modify_ldt SYS_uselib SYS_ustat SYS_sysfs SYS__sysctl),
];

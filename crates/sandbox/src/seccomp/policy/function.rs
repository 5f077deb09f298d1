//! What functions may do beside what all may.

#[allow(
    clippy::wildcard_imports,
    reason = "the list of what is used is the policy itself"
)]
use libc::*;

use super::{Group, Must, Policy, Rule, group, rule, shared};

/// What is loaded for a function, or a build.
pub(crate) const FUNCTION: Policy = Policy {
    allowed: &[shared::ALLOWED, ALLOWED],
    tested: &[shared::TESTED, TESTED],
    refused: &[shared::REFUSED],
    pretended: &[],
};

/// Socket families that may be made: local, IPv4, IPv6, and netlink, by which programs list the
/// machine's addresses. Not packets, vsock, bluetooth and the like.
const FAMILIES: &[u32] = &[
    AF_UNIX.unsigned_abs(),
    AF_INET.unsigned_abs(),
    AF_INET6.unsigned_abs(),
    AF_NETLINK.unsigned_abs(),
];

const ALLOWED: &[Group] = &[
    group!("reading and writing as the owner of the machine may":
        SYS_ioctl SYS_fcntl SYS_preadv2 SYS_pwritev2 SYS_fadvise64 SYS_vmsplice SYS_sync SYS_syncfs
        SYS_readahead SYS_socketpair SYS_setsockopt),
    group!("files of every kind; who may touch which is up to the mounts, landlock and permissions":
        SYS_openat2 SYS_mknodat SYS_name_to_handle_at SYS_memfd_create SYS_inotify_add_watch
        SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_removexattr SYS_lremovexattr SYS_fremovexattr),
    group!("scheduling and limits of each of its processes":
        SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler
        SYS_setpriority SYS_ioprio_set SYS_prlimit64),
    group!("memory of every kind":
        SYS_mmap SYS_mincore SYS_remap_file_pages SYS_process_mrelease),
    group!("System V and POSIX shared memory and queues, private to the ipc namespace":
        SYS_shmget SYS_shmat SYS_shmdt SYS_shmctl SYS_semget SYS_semop SYS_semtimedop SYS_semctl
        SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend
        SYS_mq_timedreceive SYS_mq_notify SYS_mq_getsetattr),
    group!("old asynchronous input and output, which databases still use":
        SYS_io_setup SYS_io_destroy SYS_io_submit SYS_io_cancel SYS_io_getevents),
    #[cfg(target_arch = "x86_64")]
    group!("what newer architectures left out and older programs call":
        SYS_mknod),
];

const TESTED: &[Rule] = &[rule!("which sockets may be made stands in FAMILIES":
        SYS_socket, 0 Must::Be(FAMILIES); else EPERM)];

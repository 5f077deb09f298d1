//! What a stranger's program may do beside what all may: enough for shells, interpreters, compilers
//! and what they make. Left out against a function's are what databases want (queues and shared
//! memory of System V, old asynchronous input and output), what has been a hole in the kernel more
//! than once and is hardly used (vmsplice, remap_file_pages), attributes of files, which no size
//! bounds, what tells of others by the files that all share (mincore: which they have read lately;
//! openat2 likewise, by a flag that no filter can see), and whatever reaches the cage's init, which
//! is of the program's own user.

#[allow(
    clippy::wildcard_imports,
    reason = "the list of what is used is the policy itself"
)]
use libc::*;

use super::{Group, Must, Policy, Rule, group, rule, shared};

/// What is loaded for a stranger's program.
pub(crate) const STRANGER: Policy = Policy {
    allowed: &[shared::ALLOWED],
    tested: &[shared::TESTED, TESTED],
    refused: &[shared::REFUSED, REFUSED],
    pretended: &[PRETENDED],
};

/// Local, IPv4 and IPv6, by which a program talks to itself. Not netlink, behind which stands half
/// of the kernel's network: programs that list addresses do without, and the cage has but one.
const FAMILIES: &[u32] = &[
    AF_UNIX.unsigned_abs(),
    AF_INET.unsigned_abs(),
    AF_INET6.unsigned_abs(),
];

/// The family's own, TCP and UDP. Others have the kernel load modules, as SCTP does, or are new, as
/// MPTCP is, without which programs do.
const PROTOCOLS: &[u32] = &[0, IPPROTO_TCP.unsigned_abs(), IPPROTO_UDP.unsigned_abs()];

/// Levels of options that may be set beside those of sockets in general and of TCP. Not those of
/// modules, as encryption in the kernel.
const OPTION_LEVELS: &[u32] = &[IPPROTO_IP.unsigned_abs(), IPPROTO_IPV6.unsigned_abs()];

/// Options of sockets in general that give the kernel a program to run: a compiler in the kernel
/// within a stranger's reach.
const FILTERS: &[u32] = &[
    SO_ATTACH_FILTER.unsigned_abs(),
    SO_ATTACH_BPF.unsigned_abs(),
    SO_ATTACH_REUSEPORT_CBPF.unsigned_abs(),
    SO_ATTACH_REUSEPORT_EBPF.unsigned_abs(),
];

/// Options of TCP that hand the connection over to a module, as that for encryption.
const TCP_MODULES: &[u32] = &[TCP_ULP.unsigned_abs()];

/// The cage's init. It is no process of the program's, and its end is that of all.
const INIT: &[u32] = &[1];

/// Whose priority is set: that of a process, not of its group or user. The first is PRIO_PROCESS,
/// the second IOPRIO_WHO_PROCESS.
const PRIORITY_OF_PROCESS: u32 = 0;
const IOPRIO_OF_PROCESS: u32 = 1;

/// Of what can be watched, what others do by reading: the files of the host are shared.
const READING: u32 = IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE;

/// Of the flags of a read, the one that tells whether the file is in memory: read by somebody.
const IF_IN_MEMORY: u32 = RWF_NOWAIT.unsigned_abs();

/// Requests to files, pipes and sockets: is this a terminal and how wide, how much can be read or
/// is not sent yet, do not block, close on exec. None that types into a terminal (TIOCSTI,
/// TIOCLINUX), none of devices, filesystems and interfaces.
const REQUESTS: &[u32] = &[
    request(TCGETS),
    request(TIOCGWINSZ),
    request(TIOCGPGRP),
    request(FIONREAD),
    request(TIOCOUTQ),
    request(FIONBIO),
    request(FIOASYNC),
    request(FIOCLEX),
    request(FIONCLEX),
];

/// Of the modes of a file that is made, the bit that both kinds of devices have and no other kind.
const DEVICE: u32 = 0o020_000;

/// The kernel takes 32 bits of a request.
const fn request(number: Ioctl) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "as the kernel does")]
    let number = number as u32;
    number
}

const TESTED: &[Rule] = &[
    rule!("which requests are answered stands in REQUESTS":
        SYS_ioctl, 1 Must::Be(REQUESTS); else ENOTTY),
    rule!("which sockets may be made stands in FAMILIES and PROTOCOLS":
        SYS_socket, 0 Must::Be(FAMILIES), 2 Must::Be(PROTOCOLS); else EPERM),
    rule!("pairs are local":
        SYS_socketpair, 0 Must::Be(&[AF_UNIX.unsigned_abs()]); else EPERM),
    rule!("which options may be set stands in OPTION_LEVELS, FILTERS and TCP_MODULES":
        SYS_setsockopt, 1 Must::Be(OPTION_LEVELS);
        1 Must::Be(&[SOL_SOCKET.unsigned_abs()]), 2 Must::Differ(FILTERS);
        1 Must::Be(&[IPPROTO_TCP.unsigned_abs()]), 2 Must::Differ(TCP_MODULES); else ENOPROTOOPT),
    rule!("limits of its own: init's limit of processor time, once lowered, would be its end":
        SYS_prlimit64, 0 Must::Be(&[0]); else EPERM),
    rule!("scheduling, but not that of init, by its number or by groups and users that it is in":
        SYS_setpriority, 0 Must::Be(&[PRIORITY_OF_PROCESS]), 1 Must::Differ(INIT); else EPERM),
    rule!("as with setpriority":
        SYS_ioprio_set, 0 Must::Be(&[IOPRIO_OF_PROCESS]), 1 Must::Differ(INIT); else EPERM),
    rule!("as with setpriority":
        SYS_sched_setaffinity, 0 Must::Differ(INIT); else EPERM),
    rule!("as with setpriority":
        SYS_sched_setattr, 0 Must::Differ(INIT); else EPERM),
    rule!("as with setpriority":
        SYS_sched_setparam, 0 Must::Differ(INIT); else EPERM),
    rule!("as with setpriority":
        SYS_sched_setscheduler, 0 Must::Differ(INIT); else EPERM),
    rule!("watching what changes, but not what others read":
        SYS_inotify_add_watch, 2 Must::Lack(READING); else EPERM),
    rule!("as with inotify, by its predecessor":
        SYS_fcntl, 1 Must::Differ(&[F_NOTIFY.unsigned_abs()]); else EINVAL),
    rule!("reading, without being told whether others have read it before":
        SYS_preadv2, 5 Must::Lack(IF_IN_MEMORY); else EOPNOTSUPP),
    rule!("as with preadv2":
        SYS_pwritev2, 5 Must::Lack(IF_IN_MEMORY); else EOPNOTSUPP),
    rule!("huge pages are set aside for the whole machine, and no limit of memory counts them":
        SYS_mmap, 3 Must::Lack(MAP_HUGETLB.unsigned_abs()); else ENOMEM),
    rule!("as with mmap":
        SYS_memfd_create, 1 Must::Lack(MFD_HUGETLB); else ENOMEM),
    rule!("pipes with a name and sockets, no devices":
        SYS_mknodat, 2 Must::Lack(DEVICE); else EPERM),
    #[cfg(target_arch = "x86_64")]
    rule!("as with mknodat":
        SYS_mknod, 1 Must::Lack(DEVICE); else EPERM),
];

const REFUSED: &[Group] = &[
    group!("a way round the checks on paths, with its first step":
        SYS_name_to_handle_at),
];

const PRETENDED: &[Group] = &[
    group!("has the whole machine write to its disks, and the cage has none":
        SYS_sync SYS_syncfs),
    group!("advice, of which one kind has the kernel forget a file that all share: who reads it next is seen":
        SYS_fadvise64),
];

//! What a stranger's program may do beside what all may: enough for shells, interpreters, compilers
//! and what they make. Left out against a function's are what databases want (queues and shared
//! memory of System V, old asynchronous input and output), what has been a hole in the kernel more
//! than once and is hardly used (vmsplice, remap_file_pages), attributes of files, which no size
//! bounds, and what tells of others (mincore: which files they have read lately).

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

/// Those of sockets in general, of IP and of TCP. Not those of modules, as encryption in the kernel.
const OPTION_LEVELS: &[u32] = &[
    SOL_SOCKET.unsigned_abs(),
    IPPROTO_IP.unsigned_abs(),
    IPPROTO_TCP.unsigned_abs(),
    IPPROTO_IPV6.unsigned_abs(),
];

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
    rule!("which options may be set stands in OPTION_LEVELS":
        SYS_setsockopt, 1 Must::Be(OPTION_LEVELS); else ENOPROTOOPT),
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
];

//! Turns the policy into what the kernel takes, and into what OCI runtimes take.
//!
//! The kernel runs a filter once for each system call that there is when it is loaded, so a chain
//! of comparisons, as libraries make them, costs a quarter of a whole cage. This one is a tree.

use std::{collections::BTreeMap, io};

use libc::{sock_filter, sock_fprog};
use serde_json::{Value, json};

mod policy;

pub(crate) use policy::{FUNCTION, Policy, STRANGER};
use policy::{Group, Must, Rule, Test};

/// What the kernel runs before every system call of a program.
pub(crate) type Filter = Vec<sock_filter>;

/// Bytes of one instruction for the kernel: code, two jumps, operand.
const INSTRUCTION: usize = 8;

// Where the kernel keeps number, architecture and first argument of a call; see seccomp(2).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
/// Bytes of an argument, the lower half of which comes first.
const ARGUMENT: u32 = 8;

/// `AUDIT_ARCH_X86_64` or `AUDIT_ARCH_AARCH64`: the only calls that the numbers are right for.
const NATIVE: u32 = if cfg!(target_arch = "aarch64") {
    0xC000_00B7
} else {
    0xC000_003E
};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = error(libc::EPERM);
const MISSING: u32 = error(libc::ENOSYS);
/// Returns 0 and does nothing.
const PRETEND: u32 = error(0);

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const IF_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;

/// What a call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The same whatever its arguments.
    Always(u32),
    /// Allowed when it passes all tests of one of the ways, else this.
    When(&'static [&'static [Test]], u32),
}

/// What the kernel answers in place of doing anything.
const fn error(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

/// The filter for a policy.
pub(crate) fn compile(policy: &Policy) -> Filter {
    let mut filter = vec![
        step(LOAD, ARCHITECTURE, 0, 0),
        step(IF_EQUAL, NATIVE, 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        step(LOAD, NUMBER, 0, 0),
    ];
    filter.extend(tree(&ranges(&verdicts(policy))));
    filter
}

/// Has the kernel run `filter` before every further system call of this thread, for good.
pub(crate) fn load(filter: &mut Filter) -> io::Result<()> {
    let program = sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies as many instructions as `len` says, all of which are alive.
    let loaded = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if loaded == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The filter's instructions one after the other, as the kernel has them in memory.
pub(crate) fn encode(filter: &Filter) -> Vec<u8> {
    let bytes = filter.iter().flat_map(|step| {
        let (code, k) = (step.code.to_ne_bytes(), step.k.to_ne_bytes());
        [code[0], code[1], step.jt, step.jf, k[0], k[1], k[2], k[3]]
    });
    bytes.collect()
}

/// The inverse of [`encode`]; `None` when bytes are missing.
pub(crate) fn decode(bytes: &[u8]) -> Option<Filter> {
    let (steps, rest) = bytes.as_chunks::<INSTRUCTION>();
    let step = |bytes: &[u8; INSTRUCTION]| sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    (rest.is_empty() && !steps.is_empty()).then(|| steps.iter().map(step).collect())
}

/// A policy as the `linux.seccomp` part of an OCI `config.json`.
pub(crate) fn oci_profile(policy: &Policy) -> Value {
    let names = |lists: &[&[Group]]| -> Vec<&str> {
        let calls = lists
            .iter()
            .copied()
            .flatten()
            .flat_map(|group| group.calls);
        calls.map(|(name, _)| plain(name)).collect()
    };
    let refuse = |lists, errno: i32| json!({ "names": names(lists), "action": "SCMP_ACT_ERRNO", "errnoRet": errno });
    let mut calls = vec![
        json!({ "names": names(policy.allowed), "action": "SCMP_ACT_ALLOW" }),
        refuse(policy.refused, libc::EPERM),
    ];
    if !policy.pretended.is_empty() {
        calls.push(refuse(policy.pretended, 0));
    }
    for rule in policy.tested.iter().copied().flatten() {
        let name = plain(rule.call.0);
        let allow = |args| json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": args });
        calls.extend(ways(rule).into_iter().map(allow));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": [if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }],
        "syscalls": calls,
    })
}

fn plain(name: &str) -> &str {
    name.trim_start_matches("SYS_")
}

/// Each combination of arguments that passes: an OCI rule has one value for each.
fn ways(rule: &Rule) -> Vec<Vec<Value>> {
    rule.ways
        .iter()
        .flat_map(|tests| combinations(tests))
        .collect()
}

fn combinations(tests: &[Test]) -> Vec<Vec<Value>> {
    let compare = |index: u32, op: &str, value: u32| json!({ "index": index, "op": op, "value": value, "valueTwo": 0 });
    let mut ways = vec![Vec::new()];
    for Test { argument, must } in tests {
        let passing: Vec<Vec<Value>> = match must {
            Must::Lack(bits) => vec![vec![compare(*argument, "SCMP_CMP_MASKED_EQ", *bits)]],
            Must::Be(values) => {
                let equal = |value: &u32| vec![compare(*argument, "SCMP_CMP_EQ", *value)];
                values.iter().map(equal).collect()
            }
            Must::Differ(values) => {
                let other = |value: &u32| compare(*argument, "SCMP_CMP_NE", *value);
                vec![values.iter().map(other).collect()]
            }
        };
        let with = |way: &Vec<Value>| -> Vec<Vec<Value>> {
            let add = |more: &Vec<Value>| [way.as_slice(), more].concat();
            passing.iter().map(add).collect()
        };
        ways = ways.iter().flat_map(with).collect();
    }
    ways
}

fn verdicts(policy: &Policy) -> BTreeMap<u32, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut set = |number: libc::c_long, verdict| {
        // Numbers of calls are small and positive.
        verdicts.insert(u32::try_from(number).unwrap_or(u32::MAX), verdict);
    };
    for (lists, answer) in [
        (policy.allowed, ALLOW),
        (policy.refused, REFUSE),
        (policy.pretended, PRETEND),
    ] {
        let groups = lists.iter().copied().flatten();
        for (_, number) in groups.flat_map(|group| group.calls) {
            set(*number, Verdict::Always(answer));
        }
    }
    for rule in policy.tested.iter().copied().flatten() {
        set(rule.call.1, Verdict::When(rule.ways, error(rule.errno)));
    }
    verdicts
}

/// Where each run of numbers with one verdict begins, from 0 to the end of all numbers. What the
/// policy does not name, the x32 calls among them, is missing.
fn ranges(verdicts: &BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = vec![(0, Verdict::Always(MISSING))];
    let mut next = 0;
    let mut begin = |number: u32, verdict: Verdict| match ranges.last_mut() {
        Some(last) if last.1 == verdict => {}
        Some(last) if last.0 == number => last.1 = verdict,
        _ => ranges.push((number, verdict)),
    };
    for (number, verdict) in verdicts {
        if *number > next {
            begin(next, Verdict::Always(MISSING));
        }
        begin(*number, *verdict);
        next = number.saturating_add(1);
    }
    begin(next, Verdict::Always(MISSING));
    ranges
}

/// Halves the ranges until one is left.
fn tree(ranges: &[(u32, Verdict)]) -> Filter {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    match (left, right) {
        ([], [(_, verdict)]) => leaf(verdict),
        (_, [(first, _), ..]) => {
            let (first, left, right) = (*first, tree(left), tree(right));
            // Conditional jumps reach 255 steps, these any distance.
            let over = u32::try_from(left.len()).unwrap_or(u32::MAX);
            let fork = [step(IF_AT_LEAST, first, 0, 1), step(JUMP, over, 0, 0)];
            fork.into_iter().chain(left).chain(right).collect()
        }
        (_, []) => Filter::new(),
    }
}

fn leaf(verdict: &Verdict) -> Filter {
    match verdict {
        Verdict::Always(answer) => vec![step(RETURN, *answer, 0, 0)],
        Verdict::When(ways, otherwise) => {
            let ways = ways.iter().flat_map(|tests| way(tests));
            ways.chain([step(RETURN, *otherwise, 0, 0)]).collect()
        }
    }
}

/// Allows a call that passes all tests, and goes on behind these steps with any other. From the
/// last test to the first, since each that fails jumps over the rest.
fn way(tests: &[Test]) -> Filter {
    let allow = vec![step(RETURN, ALLOW, 0, 0)];
    tests.iter().rev().fold(allow, |rest, one| {
        let mut all = test(one, rest.len());
        all.extend(rest);
        all
    })
}

/// Goes on behind these steps when the argument passes, else so many steps later.
fn test(test: &Test, rest: usize) -> Filter {
    let load = step(LOAD, FIRST_ARGUMENT + ARGUMENT * test.argument, 0, 0);
    let fail = step(JUMP, u32::try_from(rest).unwrap_or(u32::MAX), 0, 0);
    // The lists are short.
    let over = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
    let compared = |steps: Filter| [load].into_iter().chain(steps).chain([fail]).collect();
    match test.must {
        Must::Lack(bits) => vec![load, step(IF_ANY_BIT, bits, 0, 1), fail],
        Must::Be(values) => {
            // A value that is found jumps over the rest of them and the failure.
            let compare = |(index, value): (usize, &u32)| {
                step(IF_EQUAL, *value, over(values.len() - index), 0)
            };
            compared(values.iter().enumerate().map(compare).collect())
        }
        Must::Differ(values) => {
            // A value that is found jumps to the failure, and the last that is not, over it.
            let compare = |(index, value): (usize, &u32)| {
                let left = values.len() - 1 - index;
                step(IF_EQUAL, *value, over(left), u8::from(left == 0))
            };
            compared(values.iter().enumerate().map(compare).collect())
        }
    }
}

fn step(code: u32, operand: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter {
        // All codes are below 256.
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: if_so,
        jf: if_not,
        k: operand,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const POLICIES: [&Policy; 2] = [&FUNCTION, &STRANGER];

    /// Runs a filter as the kernel does.
    fn run(filter: &Filter, architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = filter[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match u32::from(step.code) {
                RETURN => return step.k,
                LOAD if step.k == NUMBER => value = number,
                LOAD if step.k == ARCHITECTURE => value = architecture,
                LOAD => {
                    let argument = (step.k - FIRST_ARGUMENT) / ARGUMENT;
                    value = arguments[usize::try_from(argument).unwrap()];
                }
                JUMP => at += usize::try_from(step.k).unwrap(),
                IF_EQUAL => at += jump(value == step.k),
                IF_AT_LEAST => at += jump(value >= step.k),
                IF_ANY_BIT => at += jump(value & step.k != 0),
                other => panic!("step {other}"),
            }
        }
    }

    fn number(call: libc::c_long) -> u32 {
        u32::try_from(call).unwrap()
    }

    /// What a policy says to a call with these first arguments.
    fn ask(policy: &Policy, call: libc::c_long, first: &[u32]) -> u32 {
        let mut arguments = [0; 6];
        arguments[..first.len()].copy_from_slice(first);
        run(&compile(policy), NATIVE, number(call), arguments)
    }

    #[test]
    fn every_number_gets_what_the_policy_says() {
        for policy in POLICIES {
            let (filter, verdicts) = (compile(policy), verdicts(policy));
            let x32 = 0x4000_0000;
            let numbers = (0..2000).chain(x32..x32 + 2000).chain([u32::MAX]);
            for number in numbers {
                let wanted = match verdicts.get(&number) {
                    Some(Verdict::Always(answer)) => *answer,
                    // Looked at below.
                    Some(_) => continue,
                    None => MISSING,
                };
                assert_eq!(
                    run(&filter, NATIVE, number, [7; 6]),
                    wanted,
                    "call {number}"
                );
            }
            assert_eq!(ask(policy, libc::SYS_clone3, &[]), MISSING);
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        for policy in POLICIES {
            for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWNET] {
                assert_eq!(
                    ask(policy, libc::SYS_clone, &[flag.unsigned_abs() | 17]),
                    REFUSE
                );
            }
            assert_eq!(ask(policy, libc::SYS_clone, &[0x3d_0f00]), ALLOW);
            assert_eq!(ask(policy, libc::SYS_clone, &[17]), ALLOW);
            assert_eq!(ask(policy, libc::SYS_personality, &[0xffff_ffff]), ALLOW);
            assert_eq!(ask(policy, libc::SYS_personality, &[0x0040_0000]), REFUSE);
        }
    }

    #[test]
    fn each_policy_has_its_socket_families() {
        let families = |policy| -> Vec<u32> {
            let made = |family: &u32| ask(policy, libc::SYS_socket, &[*family, 1, 0]) == ALLOW;
            (0..60).filter(made).collect()
        };
        let [unix, inet, inet6, netlink] = [
            libc::AF_UNIX,
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_NETLINK,
        ]
        .map(libc::c_int::unsigned_abs);
        assert_eq!(families(&FUNCTION), [unix, inet, inet6, netlink]);
        assert_eq!(families(&STRANGER), [unix, inet, inet6]);
    }

    #[test]
    fn a_stranger_s_arguments_are_looked_at_beyond_the_first() {
        let ask = |call, arguments: &[u32]| ask(&STRANGER, call, arguments);
        let (sctp, tcp) = (132, 6);
        assert_eq!(ask(libc::SYS_socket, &[2, 1, tcp]), ALLOW);
        assert_eq!(ask(libc::SYS_socket, &[2, 1, sctp]), REFUSE);
        assert_eq!(ask(libc::SYS_socket, &[16, 1, tcp]), REFUSE);
        let [read, steal] = [0x541b, 0x5412];
        assert_eq!(ask(libc::SYS_ioctl, &[0, read]), ALLOW);
        assert_eq!(ask(libc::SYS_ioctl, &[0, steal]), error(libc::ENOTTY));
        let (private, huge) = (0x22, 0x40000);
        assert_eq!(ask(libc::SYS_mmap, &[0, 1, 3, private]), ALLOW);
        assert_eq!(
            ask(libc::SYS_mmap, &[0, 1, 3, private | huge]),
            error(libc::ENOMEM)
        );
        for (kind, answer) in [
            (0o010_000, ALLOW),
            (0o140_000, ALLOW),
            (0o020_000, REFUSE),
            (0o060_000, REFUSE),
        ] {
            assert_eq!(
                ask(libc::SYS_mknodat, &[0, 0, kind | 0o644]),
                answer,
                "{kind:o}"
            );
        }
        assert_eq!(ask(libc::SYS_sync, &[]), PRETEND);
    }

    #[test]
    fn a_stranger_does_not_reach_its_init() {
        let ask = |call, arguments: &[u32]| ask(&STRANGER, call, arguments);
        assert_eq!(ask(libc::SYS_prlimit64, &[0, 7]), ALLOW);
        assert_eq!(ask(libc::SYS_prlimit64, &[1, 0]), REFUSE);
        assert_eq!(ask(libc::SYS_prlimit64, &[2, 0]), REFUSE);
        for call in [
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_setattr,
            libc::SYS_sched_setparam,
            libc::SYS_sched_setscheduler,
        ] {
            assert_eq!((ask(call, &[0]), ask(call, &[2])), (ALLOW, ALLOW));
            assert_eq!(ask(call, &[1]), REFUSE);
        }
        // Of a process, a group, a user; ioprio_set counts from 1.
        for (call, process) in [(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)] {
            assert_eq!(ask(call, &[process, 0]), ALLOW);
            assert_eq!(ask(call, &[process, 1]), REFUSE);
            assert_eq!(ask(call, &[process + 1, 0]), REFUSE);
            assert_eq!(ask(call, &[process + 2, 1000]), REFUSE);
        }
        assert_eq!(ask_a_function(libc::SYS_prlimit64, &[1, 0]), ALLOW);
    }

    fn ask_a_function(call: libc::c_long, arguments: &[u32]) -> u32 {
        ask(&FUNCTION, call, arguments)
    }

    #[test]
    fn a_stranger_does_not_see_what_others_read() {
        let ask = |call, arguments: &[u32]| ask(&STRANGER, call, arguments);
        // What node's fs.watch asks for, and what tells of readers.
        assert_eq!(ask(libc::SYS_inotify_add_watch, &[3, 0, 0xfc6]), ALLOW);
        for reading in [0x1, 0x10, 0x20, 0xfff] {
            assert_eq!(ask(libc::SYS_inotify_add_watch, &[3, 0, reading]), REFUSE);
        }
        let (get_flags, notify) = (3, 1026);
        assert_eq!(ask(libc::SYS_fcntl, &[3, get_flags]), ALLOW);
        assert_eq!(ask(libc::SYS_fcntl, &[3, notify]), error(libc::EINVAL));
        for call in [libc::SYS_preadv2, libc::SYS_pwritev2] {
            assert_eq!(ask(call, &[3, 0, 1, 0, 0, 0x10]), ALLOW);
            let answer = ask(call, &[3, 0, 1, 0, 0, 0x8]);
            assert_eq!(answer, error(libc::EOPNOTSUPP));
        }
        assert_eq!(ask(libc::SYS_fadvise64, &[3, 0, 0, 4]), PRETEND);
        assert_eq!(ask(libc::SYS_openat2, &[]), MISSING);
    }

    #[test]
    fn a_stranger_s_options_of_sockets_are_those_of_their_level() {
        let set = |level: u32, name: u32| ask(&STRANGER, libc::SYS_setsockopt, &[3, level, name]);
        let refused = error(libc::ENOPROTOOPT);
        let (socket, ip, tcp, udp, ipv6, tls) = (1, 0, 6, 17, 41, 282);
        for filter in [26, 50, 51, 52] {
            assert_eq!(set(socket, filter), refused, "{filter}");
        }
        // SO_REUSEADDR; IPV6_V6ONLY, which has the number of a filter; TCP_NODELAY; TCP_ULP.
        assert_eq!(set(socket, 2), ALLOW);
        assert_eq!((set(ipv6, 26), set(ip, 1)), (ALLOW, ALLOW));
        assert_eq!((set(tcp, 1), set(tcp, 26)), (ALLOW, ALLOW));
        assert_eq!(set(tcp, 31), refused);
        assert_eq!((set(udp, 1), set(tls, 1)), (refused, refused));
    }

    #[test]
    fn calls_of_another_architecture_end_the_program() {
        let i386 = 0x4000_0003;
        for policy in POLICIES {
            let answer = run(&compile(policy), i386, number(libc::SYS_read), [0; 6]);
            assert_eq!(answer, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }

    #[test]
    fn the_filter_survives_the_way_to_the_helper() {
        for policy in POLICIES {
            let filter = compile(policy);
            let bytes = encode(&filter);
            let back = decode(&bytes).unwrap();
            assert_eq!(encode(&back), bytes);
            assert!(decode(&bytes[..9]).is_none() && decode(&[]).is_none());
            assert!(filter.len() < 1000, "{} steps", filter.len());
        }
    }

    #[test]
    fn no_call_stands_twice_and_each_entry_has_a_reason() {
        for policy in POLICIES {
            let lists = [policy.allowed, policy.refused, policy.pretended].concat();
            let groups = || lists.iter().copied().flatten();
            let rules = || policy.tested.iter().copied().flatten();
            let mut calls: Vec<_> = groups()
                .flat_map(|group| group.calls)
                .map(|call| call.1)
                .collect();
            calls.extend(rules().map(|rule| rule.call.1));
            let count = calls.len();
            calls.sort_unstable();
            calls.dedup();
            assert_eq!(calls.len(), count);
            assert!(groups().all(|group| !group.reason.is_empty()));
            assert!(rules().all(|rule| !rule.reason.is_empty()));
        }
    }

    #[test]
    fn an_oci_profile_has_a_rule_for_each_combination() {
        let profile = oci_profile(&STRANGER);
        let rules = profile["syscalls"].as_array().unwrap();
        let of = |name: &str| rules.iter().filter(|rule| rule["names"][0] == name).count();
        assert_eq!((of("socket"), of("clone"), of("ioctl")), (9, 1, 9));
        assert_eq!((of("setsockopt"), of("ioprio_set")), (4, 1));
    }
}

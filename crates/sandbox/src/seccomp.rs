//! Turns the policy into what the kernel takes, and into what OCI runtimes take.
//!
//! The kernel runs a filter once for each system call that there is when it is loaded, so a chain
//! of comparisons, as libraries make them, costs a quarter of a whole cage. This one is a tree.

use std::{collections::BTreeMap, io};

use libc::{sock_filter, sock_fprog};
use serde_json::{Value, json};

mod policy;

use policy::{ALLOWED, FAMILIES, Group, NAMESPACES, PERSONALITIES, REFUSED};

/// What the kernel runs before every system call of a program.
pub(crate) type Filter = Vec<sock_filter>;

/// Bytes of one instruction for the kernel: code, two jumps, operand.
const INSTRUCTION: usize = 8;

// Where the kernel keeps number, architecture and first argument of a call; see seccomp(2).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// `AUDIT_ARCH_X86_64` or `AUDIT_ARCH_AARCH64`: the only calls that the numbers are right for.
const NATIVE: u32 = if cfg!(target_arch = "aarch64") {
    0xC000_00B7
} else {
    0xC000_003E
};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
const MISSING: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const IF_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;

/// What a call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The same whatever its arguments.
    Always(u32),
    /// Allowed unless its first argument has one of these bits.
    Without(u32),
    /// Allowed when its first argument is one of these.
    OneOf(Vec<u32>),
}

/// The filter for the policy.
pub(crate) fn compile() -> Filter {
    let mut filter = vec![
        step(LOAD, ARCHITECTURE, 0, 0),
        step(IF_EQUAL, NATIVE, 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        step(LOAD, NUMBER, 0, 0),
    ];
    filter.extend(tree(&ranges(&verdicts())));
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

/// The policy as the `linux.seccomp` part of an OCI `config.json`.
pub(crate) fn oci_profile() -> Value {
    let names = |groups: &[Group]| -> Vec<&str> {
        let calls = groups.iter().flat_map(|group| group.calls);
        calls
            .map(|(name, _)| name.trim_start_matches("SYS_"))
            .collect()
    };
    let when = |name: &str, op: &str, value: u32, two: u32| {
        let test = json!({ "index": 0, "op": op, "value": value, "valueTwo": two });
        json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": [test] })
    };
    let mut calls = vec![
        json!({ "names": names(ALLOWED), "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": names(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM }),
        when("clone", "SCMP_CMP_MASKED_EQ", namespace_mask(), 0),
    ];
    calls.extend(FAMILIES.map(|family| when("socket", "SCMP_CMP_EQ", family.unsigned_abs(), 0)));
    calls.extend(PERSONALITIES.map(|value| when("personality", "SCMP_CMP_EQ", value, 0)));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": [if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }],
        "syscalls": calls,
    })
}

fn verdicts() -> BTreeMap<u32, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut set = |number: libc::c_long, verdict| {
        // Numbers of calls are small and positive.
        verdicts.insert(u32::try_from(number).unwrap_or(u32::MAX), verdict);
    };
    for (groups, answer) in [(ALLOWED, ALLOW), (REFUSED, REFUSE)] {
        for (_, number) in groups.iter().flat_map(|group| group.calls) {
            set(*number, Verdict::Always(answer));
        }
    }
    let families = FAMILIES.map(libc::c_int::unsigned_abs);
    set(libc::SYS_clone, Verdict::Without(namespace_mask()));
    set(libc::SYS_socket, Verdict::OneOf(families.into()));
    set(libc::SYS_personality, Verdict::OneOf(PERSONALITIES.into()));
    verdicts
}

fn namespace_mask() -> u32 {
    let flags = NAMESPACES.iter().map(|flag| flag.unsigned_abs());
    flags.fold(0, |mask, flag| mask | flag)
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
        begin(*number, verdict.clone());
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
    let argument = step(LOAD, FIRST_ARGUMENT, 0, 0);
    let (allow, refuse) = (step(RETURN, ALLOW, 0, 0), step(RETURN, REFUSE, 0, 0));
    match verdict {
        Verdict::Always(answer) => vec![step(RETURN, *answer, 0, 0)],
        Verdict::Without(bits) => vec![argument, step(IF_ANY_BIT, *bits, 1, 0), allow, refuse],
        Verdict::OneOf(values) => {
            // Each that fits is followed by an allow, which the others jump over.
            let tests = values
                .iter()
                .map(|value| [step(IF_EQUAL, *value, 0, 1), allow]);
            [argument]
                .into_iter()
                .chain(tests.flatten())
                .chain([refuse])
                .collect()
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

    /// Runs a filter as the kernel does.
    fn run(filter: &Filter, architecture: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = filter[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match u32::from(step.code) {
                RETURN => return step.k,
                LOAD if step.k == NUMBER => value = number,
                LOAD if step.k == ARCHITECTURE => value = architecture,
                LOAD => value = argument,
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

    #[test]
    fn every_number_gets_what_the_policy_says() {
        let (filter, verdicts) = (compile(), verdicts());
        let x32 = 0x4000_0000;
        let numbers = (0..2000).chain(x32..x32 + 2000).chain([u32::MAX]);
        for number in numbers {
            let wanted = match verdicts.get(&number) {
                Some(Verdict::Always(answer)) => *answer,
                // Looked at below.
                Some(_) => continue,
                None => MISSING,
            };
            assert_eq!(run(&filter, NATIVE, number, 7), wanted, "call {number}");
        }
        assert_eq!(run(&filter, NATIVE, number(libc::SYS_clone3), 0), MISSING);
    }

    #[test]
    fn arguments_are_looked_at() {
        let filter = compile();
        let ask = |call, argument| run(&filter, NATIVE, number(call), argument);
        for flag in NAMESPACES {
            assert_eq!(ask(libc::SYS_clone, flag.unsigned_abs() | 17), REFUSE);
        }
        let thread = 0x3d_0f00;
        assert_eq!(ask(libc::SYS_clone, thread), ALLOW);
        assert_eq!(ask(libc::SYS_clone, 17), ALLOW);
        for family in 0..60 {
            let allowed = FAMILIES.contains(&i32::try_from(family).unwrap());
            let wanted = if allowed { ALLOW } else { REFUSE };
            assert_eq!(ask(libc::SYS_socket, family), wanted, "family {family}");
        }
        assert_eq!(ask(libc::SYS_personality, 0xffff_ffff), ALLOW);
        assert_eq!(ask(libc::SYS_personality, 0x0040_0000), REFUSE);
    }

    #[test]
    fn calls_of_another_architecture_end_the_program() {
        let i386 = 0x4000_0003;
        let answer = run(&compile(), i386, number(libc::SYS_read), 0);
        assert_eq!(answer, libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn the_filter_survives_the_way_to_the_helper() {
        let filter = compile();
        let bytes = encode(&filter);
        let back = decode(&bytes).unwrap();
        assert_eq!(encode(&back), bytes);
        assert!(decode(&bytes[..9]).is_none() && decode(&[]).is_none());
        assert!(filter.len() < 1000, "{} steps", filter.len());
    }

    #[test]
    fn no_call_is_both_allowed_and_refused_and_each_group_has_a_reason() {
        let calls = |groups: &[Group]| -> Vec<libc::c_long> {
            let calls = groups.iter().flat_map(|group| group.calls);
            calls.map(|(_, number)| *number).collect()
        };
        let (allowed, refused) = (calls(ALLOWED), calls(REFUSED));
        let special = [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_socket,
            libc::SYS_personality,
        ];
        assert!(
            refused
                .iter()
                .chain(&special)
                .all(|number| !allowed.contains(number))
        );
        let mut groups = ALLOWED.iter().chain(REFUSED);
        assert!(groups.all(|group| !group.reason.is_empty()));
    }
}

//! Turns the policy into what the kernel takes, and into what OCI runtimes take.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule, sock_filter,
};
use serde_json::{Value, json};

mod policy;

use policy::{ALLOWED, FAMILIES, Group, NAMESPACES, PERSONALITIES, REFUSED};

/// Bytes of one instruction for the kernel: code, two jumps, operand.
const INSTRUCTION: usize = 8;

type Rules = BTreeMap<i64, Vec<Rule>>;

/// Both filters, in the order in which they are to be loaded. Of two answers that weigh the same
/// the kernel takes that of the filter loaded last, so refusals stand at the end.
pub(crate) fn compile() -> Result<[BpfProgram; 2], BackendError> {
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = |rules, other, matching| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, other, matching, std::env::consts::ARCH.try_into()?)?.try_into()
    };
    Ok([
        filter(allowed()?, missing, SeccompAction::Allow)?,
        filter(refusals()?, SeccompAction::Allow, refused)?,
    ])
}

/// One byte string for the helper: each filter's length in instructions, then its instructions.
pub(crate) fn encode(filters: &[BpfProgram]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for filter in filters {
        bytes.extend(
            u32::try_from(filter.len())
                .unwrap_or(u32::MAX)
                .to_ne_bytes(),
        );
        for step in filter {
            bytes.extend(step.code.to_ne_bytes());
            bytes.extend([step.jt, step.jf]);
            bytes.extend(step.k.to_ne_bytes());
        }
    }
    bytes
}

/// The inverse of [`encode`]; `None` when bytes are missing.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<BpfProgram>> {
    let mut filters = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let (steps, rest) = rest.split_at_checked(length.checked_mul(INSTRUCTION)?)?;
        let step = |bytes: &[u8]| sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        filters.push(steps.chunks_exact(INSTRUCTION).map(step).collect());
        bytes = rest;
    }
    Some(filters)
}

/// The policy as the `linux.seccomp` part of an OCI `config.json`.
pub(crate) fn oci_profile() -> Value {
    let names = |groups: &[Group]| -> Vec<&str> {
        let calls = groups.iter().flat_map(|group| group.calls);
        calls
            .map(|(name, _)| name.trim_start_matches("SYS_"))
            .collect()
    };
    let when = |name: &str, op: &str, value: u64, two: u64| {
        let test = json!({ "index": 0, "op": op, "value": value, "valueTwo": two });
        json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": [test] })
    };
    let mut calls = vec![
        json!({ "names": names(ALLOWED), "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": names(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM }),
        when("clone", "SCMP_CMP_MASKED_EQ", namespace_mask(), 0),
    ];
    calls.extend(
        FAMILIES.map(|family| when("socket", "SCMP_CMP_EQ", u64::from(family.unsigned_abs()), 0)),
    );
    calls.extend(PERSONALITIES.map(|value| when("personality", "SCMP_CMP_EQ", value, 0)));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": [if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }],
        "syscalls": calls,
    })
}

fn allowed() -> Result<Rules, BackendError> {
    let mut rules = unconditional(ALLOWED);
    let no_namespace = first_argument(Op::MaskedEq(namespace_mask()), 0)?;
    rules.insert(libc::SYS_clone, vec![Rule::new(vec![no_namespace])?]);
    rules.insert(
        libc::SYS_socket,
        one_of(FAMILIES.map(|family| u64::from(family.unsigned_abs())))?,
    );
    rules.insert(libc::SYS_personality, one_of(PERSONALITIES)?);
    Ok(rules)
}

fn refusals() -> Result<Rules, BackendError> {
    let mut rules = unconditional(REFUSED);
    let with = |flag: &libc::c_int| {
        let flag = u64::from(flag.unsigned_abs());
        Rule::new(vec![first_argument(Op::MaskedEq(flag), flag)?])
    };
    rules.insert(
        libc::SYS_clone,
        NAMESPACES.iter().map(with).collect::<Result<_, _>>()?,
    );
    let other = |family: &libc::c_int| first_argument(Op::Ne, u64::from(family.unsigned_abs()));
    let other = FAMILIES.iter().map(other).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, vec![Rule::new(other)?]);
    Ok(rules)
}

fn unconditional(groups: &[Group]) -> Rules {
    let calls = groups.iter().flat_map(|group| group.calls);
    calls.map(|(_, number)| (*number, Vec::new())).collect()
}

fn one_of<const N: usize>(values: [u64; N]) -> Result<Vec<Rule>, BackendError> {
    let rule = |value| Rule::new(vec![first_argument(Op::Eq, value)?]);
    values.into_iter().map(rule).collect()
}

/// All arguments that the policy looks at are 32 bits wide and stand first.
fn first_argument(op: Op, value: u64) -> Result<Condition, BackendError> {
    Condition::new(0, Width::Dword, op, value)
}

fn namespace_mask() -> u64 {
    NAMESPACES
        .iter()
        .fold(0, |mask, flag| mask | u64::from(flag.unsigned_abs()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_compiles_and_survives_the_way_to_the_helper() {
        let filters = compile().unwrap();
        assert_eq!(decode(&encode(&filters)).unwrap(), filters);
        assert_eq!(decode(&encode(&filters)[..100]), None);
    }

    #[test]
    fn no_call_is_both_allowed_and_refused_and_each_group_has_a_reason() {
        let (allowed, refused) = (unconditional(ALLOWED), unconditional(REFUSED));
        assert!(allowed.keys().all(|number| !refused.contains_key(number)));
        assert!(
            ALLOWED
                .iter()
                .chain(REFUSED)
                .all(|group| !group.reason.is_empty())
        );
        assert!(
            !allowed.contains_key(&libc::SYS_clone3) && !allowed.contains_key(&libc::SYS_clone)
        );
    }
}

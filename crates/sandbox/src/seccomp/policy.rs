//! Which system calls a caged program may make. Data, in groups that share a reason: those that all
//! programs may make stand in `shared`, what only functions may in `function`, what only strangers'
//! programs may, and under which conditions, in `stranger`.
//! What stands in no list is answered with "no such system call", as by an older kernel, so that
//! programs fall back to what they did before it was there.

use libc::c_long;

mod function;
mod shared;
mod stranger;

pub(crate) use function::FUNCTION;
pub(crate) use stranger::STRANGER;

/// Who may do what.
pub(crate) struct Policy {
    /// Allowed with any argument.
    pub(crate) allowed: &'static [&'static [Group]],
    /// Allowed with some arguments.
    pub(crate) tested: &'static [&'static [Rule]],
    /// Refused with "operation not permitted": what programs should report, not work around.
    pub(crate) refused: &'static [&'static [Group]],
    /// Not done, and answered as if it were.
    pub(crate) pretended: &'static [&'static [Group]],
}

/// System calls that share a reason.
pub(crate) struct Group {
    /// Why they are allowed, or refused.
    #[cfg_attr(not(test), allow(dead_code, reason = "read by people and by the test"))]
    pub(crate) reason: &'static str,
    /// Names as in libc, `SYS_` in front, and their numbers on this architecture.
    pub(crate) calls: &'static [Call],
}

/// Name and number of a system call.
pub(crate) type Call = (&'static str, c_long);

/// A system call that is allowed with some arguments.
pub(crate) struct Rule {
    /// Why these and no others.
    #[cfg_attr(not(test), allow(dead_code, reason = "read by people and by the test"))]
    pub(crate) reason: &'static str,
    pub(crate) call: Call,
    /// It is allowed when it passes all tests of one of them.
    pub(crate) ways: &'static [&'static [Test]],
    /// The error of a call that does not pass.
    pub(crate) errno: i32,
}

/// What an argument has to be. Only its lower 32 bits are looked at, which is all that the kernel
/// uses of those that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    /// Which one, from 0.
    pub(crate) argument: u32,
    pub(crate) must: Must,
}

/// What an argument has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    /// None of these bits may be set.
    Lack(u32),
    /// One of these.
    Be(&'static [u32]),
    /// None of these, of which there is one at least.
    Differ(&'static [u32]),
}

macro_rules! group {
    ($reason:literal: $($name:ident)*) => {
        $crate::seccomp::policy::Group {
            reason: $reason,
            calls: &[$((stringify!($name), $name)),*],
        }
    };
}
use group;

macro_rules! rule {
    ($reason:literal: $name:ident, $($($argument:literal $must:expr),+);+; else $errno:expr) => {
        $crate::seccomp::policy::Rule {
            reason: $reason,
            call: (stringify!($name), $name),
            ways: &[$(&[$($crate::seccomp::policy::Test { argument: $argument, must: $must }),+]),+],
            errno: $errno,
        }
    };
}
use rule;

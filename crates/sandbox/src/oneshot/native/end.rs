//! Why a program ended, as far as the kernel can tell.

use hob_model::{End, EndReason};

use super::{super::OneShotEnd, plan::Ended};
use crate::{CageLimits, cage, cgroup::Tally};

/// In place of an exit status, when a signal ended the program.
const NO_STATUS: i32 = -1;

/// `ended` is `None` when the cage's init was killed before it could tell. If hob did not do it, it
/// was a signal like any other: were it the host's fault, a program that finds a way to its init
/// could have the host blamed.
pub(in super::super) fn explain(
    ended: Option<Ended>,
    tally: Tally,
    limits: &CageLimits,
    killed: bool,
) -> OneShotEnd {
    let (code, signal) = match ended {
        Some(Ended::Exited(code)) => (code, None),
        Some(Ended::Signalled(signal)) => (NO_STATUS, Some(signal)),
        None => (NO_STATUS, Some(libc::SIGKILL)),
    };
    let end = if ended == Some(Ended::Exited(0)) {
        End::new(EndReason::Ok, "exit status 0")
    } else if let Some(end) = cage::enforced(tally, limits, killed) {
        end
    } else {
        match ended {
            Some(Ended::Exited(code)) => End::new(EndReason::Exit, format!("exit status {code}")),
            Some(Ended::Signalled(signal)) => {
                End::new(EndReason::Exit, format!("ended by signal {signal}"))
            }
            None => End::new(EndReason::Exit, "ended by signal 9, with its whole sandbox"),
        }
    };
    OneShotEnd { code, signal, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CageLimits = CageLimits {
        memory: 1024,
        cpu_millis: 1,
        pids: 9,
        tmp: 0,
        files: 16,
    };

    #[test]
    fn a_status_above_128_is_no_signal() {
        let explain = |ended, killed| explain(ended, Tally::default(), &LIMITS, killed);
        let faked = explain(Some(Ended::Exited(137)), false);
        assert_eq!((faked.code, faked.signal), (137, None));
        assert_eq!(faked.end.message, "exit status 137");
        let real = explain(Some(Ended::Signalled(9)), false);
        assert_eq!((real.code, real.signal), (-1, Some(9)));
        assert_eq!(real.end.reason, EndReason::Exit);
        assert_eq!(explain(None, true).end.reason, EndReason::Cancelled);
        let lost = explain(None, false);
        assert_eq!((lost.code, lost.signal), (-1, Some(9)));
        assert_eq!(lost.end.reason, EndReason::Exit);
        // It had ended when it was killed.
        assert_eq!(
            explain(Some(Ended::Exited(0)), true).end.reason,
            EndReason::Ok
        );
    }
}

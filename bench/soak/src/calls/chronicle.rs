use std::time::Instant;

use super::{
    fault::Fault,
    functions::Function,
    sample::{Attempt, Span},
};

/// What was done to whom, and when: what the answers are judged by.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    /// In their order.
    pub(super) phases: Vec<(Fault, Span)>,
    /// In their order.
    terms: Vec<Term>,
    /// From SIGKILL to the end of the process.
    pub(super) hob_kills: Vec<Span>,
    /// The same of replicas.
    pub(super) replica_kills: Vec<(Function, Span)>,
}

/// The time in which a revision may answer.
#[derive(Debug)]
struct Term {
    function: Function,
    revision: u32,
    /// The beginning of its deploy.
    from: Instant,
    /// The end of the deploy of the next.
    until: Option<Instant>,
}

impl Chronicle {
    /// The deploy of a revision begins: from now on it may answer.
    pub(super) fn deploys(&mut self, function: Function, revision: u32) {
        self.terms.push(Term {
            function,
            revision,
            from: Instant::now(),
            until: None,
        });
    }

    /// The deploy of a revision was acknowledged: no other answers calls that come from now on.
    pub(super) fn deployed(&mut self, function: Function, revision: u32) {
        let terms = self.terms.iter_mut();
        let former = terms.filter(|term| term.function == function && term.revision != revision);
        for term in former {
            term.until.get_or_insert_with(Instant::now);
        }
    }

    /// Deploys that were acknowledged after the first of each function.
    pub(super) fn redeploys(&self) -> usize {
        self.terms
            .iter()
            .filter(|term| term.until.is_some())
            .count()
    }

    /// When deploys began.
    pub(super) fn deploy_times(&self) -> impl Iterator<Item = Instant> {
        self.terms.iter().map(|term| term.from)
    }

    /// Whether this revision may have answered a call of that time.
    pub(super) fn may_answer(&self, function: Function, revision: u32, call: &Span) -> bool {
        let mut terms = self.terms.iter();
        terms.any(|term| {
            term.function == function
                && term.revision == revision
                && term.from <= call.end
                && term.until.is_none_or(|until| call.start <= until)
        })
    }

    /// Whether hob was killed with this call in its hands: the connection was there before it
    /// had died, and broke after it was killed.
    pub(super) fn hob_died_under(&self, attempt: &Attempt) -> bool {
        self.hob_kills.iter().any(|kill| {
            attempt.opened.is_some_and(|opened| opened <= kill.end)
                && kill.start <= attempt.span.end
                && attempt.span.start <= kill.end
        })
    }

    /// Whether a replica of the function was killed while the call ran.
    pub(super) fn replica_died_under(&self, function: Function, call: &Span) -> bool {
        let mut kills = self.replica_kills.iter();
        kills.any(|(whose, kill)| *whose == function && kill.overlaps(call))
    }
}

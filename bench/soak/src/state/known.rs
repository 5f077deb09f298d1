/// What something may be now: more than one thing after a change that was not acknowledged, since
/// that may have been made or not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known<T>(Vec<T>);

impl<T: Clone + PartialEq> Known<T> {
    pub(super) fn sure(value: T) -> Self {
        Self(vec![value])
    }

    /// After the change to `value`.
    pub(super) fn change(&mut self, value: T, acknowledged: bool) {
        if acknowledged {
            self.0.clear();
        }
        self.0.push(value);
    }

    /// All that it may be, what came last at the end.
    pub(super) fn candidates(&self) -> &[T] {
        &self.0
    }

    pub(super) fn allows(&self, value: &T) -> bool {
        self.0.contains(value)
    }

    /// What it is, if that is known; else what was tried last.
    pub(super) fn last(&self) -> Option<&T> {
        self.0.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_acknowledged_makes_sure() {
        let mut known = Known::sure(1);
        known.change(2, false);
        known.change(3, false);
        assert!([1, 2, 3].iter().all(|value| known.allows(value)));
        known.change(4, true);
        assert_eq!(known, Known::sure(4));
    }
}

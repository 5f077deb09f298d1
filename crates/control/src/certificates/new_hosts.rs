use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

/// Hosts of functions that a first certificate is asked for within [`WINDOW`]. Whoever deploys chooses
/// them, and the account has to keep room for renewals: Let's Encrypt takes 300 orders in 3 hours.
const MOST: usize = 20;
/// See [`MOST`].
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// When first certificates were asked for.
#[derive(Debug, Default)]
pub(super) struct NewHosts(VecDeque<SystemTime>);

impl NewHosts {
    /// Counts one more.
    ///
    /// # Errors
    /// With the time from when on there is room again.
    pub(super) fn take(&mut self, now: SystemTime) -> Result<(), SystemTime> {
        // A clock that was set back forgets them too.
        let recent = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age < WINDOW);
        while self.0.front().is_some_and(|oldest| !recent(oldest)) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some(oldest) if self.0.len() >= MOST => Err(*oldest + WINDOW),
            _ => {
                self.0.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_an_hour_and_no_more() {
        let mut hosts = NewHosts::default();
        let start = SystemTime::UNIX_EPOCH + WINDOW * 1000;
        let minute = Duration::from_secs(60);
        for number in 0..20 {
            assert_eq!(hosts.take(start + minute * number), Ok(()));
        }
        assert_eq!(hosts.take(start + minute * 30), Err(start + WINDOW));
        assert_eq!(hosts.take(start + WINDOW), Ok(()));
        assert_eq!(hosts.take(start + WINDOW), Err(start + minute + WINDOW));
        // The clock was set back.
        assert_eq!(hosts.take(start - WINDOW), Ok(()));
        assert_eq!(hosts.0.len(), 1);
    }
}

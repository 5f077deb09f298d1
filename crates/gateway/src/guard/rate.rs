//! How often callers may call. Limiters are the crate governor's; what is remembered of callers is
//! bounded here.

mod callers;
mod runs;
mod standing;

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, RwLock, TryLockError},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
};
use hob_model::{FunctionName, Rate, RateBy, Route, Routes};

use super::{Asked, Identity};
use crate::error::GatewayError;
use callers::{All, Callers};
use runs::RunRate;
pub(crate) use standing::Standing;

/// How often callers are forgotten that may call as often as new ones, and limiters that no
/// function has any more.
const SWEEP: Duration = Duration::from_secs(10);

/// The limiters of all functions, shared by the gateway's threads.
pub(super) struct Rates {
    /// Of functions that set none.
    usual: Option<Rate>,
    /// By function those of its settings: mostly one, two while a canary has others, or until the
    /// next sweep after a deploy. So a deploy that keeps the setting keeps the counts.
    limiters: RwLock<HashMap<FunctionName, Vec<Arc<Limiter>>>>,
    /// Of runs in sandboxes, which are no function's.
    runs: Option<RunRate>,
    all: All,
    hasher: RandomState,
    swept: Mutex<Instant>,
}

type Governor = RateLimiter<u64, Callers, MonotonicClock, StateInformationMiddleware>;

/// What one setting of a function lets in.
struct Limiter {
    rate: Rate,
    governor: Governor,
}

/// Who counts as one caller.
#[derive(Hash)]
enum Who<'a> {
    V4(Ipv4Addr),
    /// The first half of an address: who has one has all that begin with it.
    V6(u64),
    Header(&'a [u8]),
    Caller(&'static str, &'a [u8]),
}

// === impl Rates ===

impl Rates {
    /// `usual` is for functions that set none, `runs` for runs in sandboxes.
    pub(super) fn new(usual: Option<Rate>, runs: Option<Rate>) -> Self {
        let all = All::default();
        Self {
            usual,
            limiters: RwLock::default(),
            runs: runs.map(|rate| RunRate::new(rate, &all)),
            all,
            hasher: RandomState::new(),
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Counts one more run of `caller`.
    pub(super) fn count_run(&self, caller: IpAddr) -> Result<Option<Standing>, GatewayError> {
        let runs = self.runs.as_ref();
        runs.map(|runs| runs.count(caller)).transpose()
    }

    /// Counts a call where it does not matter who the caller turns out to be.
    pub(super) fn before_auth(&self, asked: &Asked<'_>) -> Result<Option<Standing>, GatewayError> {
        match self.of(asked.route) {
            None => Ok(None),
            Some(rate) => match &rate.by {
                RateBy::Caller => Ok(None),
                RateBy::Address => self.count(rate, asked, &Who::at(asked.caller)),
                RateBy::Header(name) => {
                    let sent = asked.fields.get(name).map(Who::Header);
                    self.count(rate, asked, &sent.unwrap_or(Who::at(asked.caller)))
                }
            },
        }
    }

    /// Counts it where that does.
    pub(super) fn after_auth(
        &self,
        asked: &Asked<'_>,
        identity: Option<&Identity>,
    ) -> Result<Option<Standing>, GatewayError> {
        match self.of(asked.route) {
            Some(rate) if rate.by == RateBy::Caller => {
                let known = identity.map(|who| Who::Caller(who.auth, who.caller.as_bytes()));
                self.count(rate, asked, &known.unwrap_or(Who::at(asked.caller)))
            }
            _ => Ok(None),
        }
    }

    /// Forgets what no longer matters, if it is time.
    pub(super) fn sweep(&self, routes: &Routes, now: Instant) {
        let mut swept = match self.swept.try_lock() {
            Ok(swept) => swept,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread is at it.
            Err(TryLockError::WouldBlock) => return,
        };
        if now.saturating_duration_since(*swept) < SWEEP {
            return;
        }
        *swept = now;
        let mut kept = self.keep(routes);
        kept.extend(self.runs.as_ref().map(RunRate::limiter));
        // It is long, and neither calls nor the gateway's threads need wait for it.
        tokio::task::spawn_blocking(move || {
            for limiter in kept {
                limiter.governor.retain_recent();
            }
        });
    }

    /// Forgets limiters that no function has any more, and returns the others.
    fn keep(&self, routes: &Routes) -> Vec<Arc<Limiter>> {
        let mut limiters = self
            .limiters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        limiters.retain(|function, limiters| {
            let route = routes.get(function);
            limiters.retain(|limiter| {
                route.as_ref().is_some_and(|route| {
                    let canary = route.canary.as_ref().map(|canary| &canary.route);
                    let mut both = [Some(route), canary].into_iter().flatten();
                    both.any(|route| self.of(route) == Some(&limiter.rate))
                })
            });
            !limiters.is_empty()
        });
        limiters.values().flatten().map(Arc::clone).collect()
    }

    fn of<'a>(&'a self, route: &'a Route) -> Option<&'a Rate> {
        let own = route.guard.as_ref().and_then(|guard| guard.rate.as_ref());
        own.or(self.usual.as_ref())
    }

    fn count(
        &self,
        rate: &Rate,
        asked: &Asked<'_>,
        who: &Who<'_>,
    ) -> Result<Option<Standing>, GatewayError> {
        let key = self.hasher.hash_one(who);
        let function = &asked.route.function;
        let counted = {
            let limiters = self.limiters.read().unwrap_or_else(PoisonError::into_inner);
            let known = limiters.get(function);
            let known = known.and_then(|all| all.iter().find(|limiter| limiter.rate == *rate));
            known.map(|limiter| limiter.count(key))
        };
        let counted = counted.unwrap_or_else(|| self.limiter(function, rate).count(key));
        counted.map(Some).map_err(|standing| GatewayError::Rate {
            function: function.to_string(),
            rate: rate.to_string(),
            standing,
        })
    }

    fn limiter(&self, function: &FunctionName, rate: &Rate) -> Arc<Limiter> {
        let mut limiters = self
            .limiters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let own = limiters.entry(function.clone()).or_default();
        // Another thread may have been quicker.
        if let Some(limiter) = own.iter().find(|limiter| limiter.rate == *rate) {
            return Arc::clone(limiter);
        }
        let limiter = Arc::new(Limiter::new(rate.clone(), &self.all));
        own.push(Arc::clone(&limiter));
        limiter
    }
}

// === impl Limiter ===

impl Limiter {
    fn new(rate: Rate, all: &All) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        // Neither is zero: that is checked where a rate is read.
        let quota = Quota::with_period(rate.interval()).unwrap_or(Quota::per_second(burst));
        let quota = quota.allow_burst(burst);
        let governor = RateLimiter::new(quota, Callers::new(all), MonotonicClock);
        Self { rate, governor }
    }

    /// How the caller stands after this call, or why there is none.
    fn count(&self, key: u64) -> Result<Standing, Standing> {
        match self.governor.check_key(&key) {
            Ok(after) => {
                let left = after.remaining_burst_capacity();
                let full = self.rate.interval() * self.rate.burst.saturating_sub(left);
                Ok(Standing::new(&self.rate, left, full))
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.governor.clock().now());
                Err(Standing::new(&self.rate, 0, wait))
            }
        }
    }
}

// === impl Who ===

impl Who<'_> {
    fn at(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use hob_model::{Auth, CanaryRoute, Guard, Target, Timespan, Track};

    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let hasher = RandomState::new();
        let key = |text: &str| hasher.hash_one(Who::at(text.parse().expect("an address")));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    fn route(rate: &Rate) -> Route {
        Route {
            function: "hello".parse().expect("a name"),
            track: Track::Stable,
            revision: "1".into(),
            timeout: Timespan::from_secs(1),
            body_limit: 1,
            output_limit: 1,
            cors: None,
            guard: Some(Arc::new(Guard {
                auth: Auth::None,
                rate: Some(rate.clone()),
            })),
            domains: Vec::new(),
            target: Target::Replicas(Arc::default()),
            counters: Arc::default(),
            canary: None,
        }
    }

    #[test]
    fn a_limiter_goes_with_its_setting_and_its_function() {
        let (rates, routes) = (Rates::new(None, None), Routes::default());
        let [one, other] = ["1/1h", "2/1h"].map(|text| text.parse().expect("a rate"));
        let name: FunctionName = "hello".parse().expect("a name");
        let kept = || {
            rates.keep(&routes);
            let limiters = rates.limiters.read().expect("no panic");
            let all = limiters.get(&name).into_iter().flatten();
            all.map(|limiter| limiter.rate.calls).collect::<Vec<_>>()
        };
        routes.set(route(&one));
        assert!(rates.limiter(&name, &one).count(1).is_ok());
        rates.limiter(&name, &other);
        assert_eq!(kept(), [1]);
        assert!(rates.limiter(&name, &one).count(1).is_err());
        // A canary has its own, beside it.
        let canary = CanaryRoute {
            share: "10%".parse().expect("a share"),
            route: Arc::new(route(&other)),
        };
        rates.limiter(&name, &other);
        routes.set_canary(&name, Some(canary));
        assert_eq!(kept(), [1, 2]);
        routes.set(route(&other));
        assert_eq!(kept(), [2]);
        routes.remove(&name);
        assert_eq!(kept(), [0; 0]);
        assert!(rates.limiters.read().expect("no panic").is_empty());
    }

    #[test]
    fn calls_come_in_bursts_and_then_at_the_rate() {
        let rate: Rate = "2/1h".parse().expect("valid");
        let limiter = Limiter::new(Rate { burst: 3, ..rate }, &All::default());
        let left = |key| limiter.count(key).map(|standing| standing.left());
        assert_eq!([left(1), left(1), left(1)], [Ok(2), Ok(1), Ok(0)]);
        let refused = limiter.count(1).expect_err("too many");
        assert!((1790..=1800).contains(&refused.seconds()), "{refused:?}");
        assert_eq!(left(2), Ok(2));
    }

    #[test]
    fn the_widest_rates_that_may_be_set_can_be_counted() {
        for (text, burst) in [("1000000/1s", 1_000_000), ("1/1d", 30), ("1000000/1d", 1)] {
            let rate: Rate = text.parse().expect("valid");
            let limiter = Limiter::new(Rate { burst, ..rate }, &All::default());
            assert!(limiter.count(1).is_ok(), "{text}");
            let again = limiter.count(1);
            assert_eq!(again.is_ok(), burst > 1, "{text}: {again:?}");
        }
    }
}

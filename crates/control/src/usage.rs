//! How much processor time functions use now, from what they have used so far.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use hob_model::{ReplicaId, openfaas::FunctionUsage, port::Observed, wire::Instance};

/// Looks that are closer than this show the same: less time tells nothing.
const SHORTEST: Duration = Duration::from_secs(1);
/// A look that is older tells of a time that nobody asks for.
const LONGEST: Duration = Duration::from_secs(60);

/// The last look at each replica that somebody asked for. Those of replicas that are gone go with
/// the next look.
#[derive(Default)]
pub(crate) struct Usage(Mutex<HashMap<ReplicaId, Look>>);

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    /// Processor time up to then.
    seconds: f64,
    /// What was shown.
    millicores: f64,
}

// === impl Usage ===

impl Usage {
    /// What the replicas of a function use together: memory at this moment, the processor on
    /// average since somebody last asked, or since their start.
    pub(crate) fn look(&self, observed: Option<&Observed>) -> FunctionUsage {
        let instances = observed.map_or(&[][..], |observed| &observed.instances);
        let now = Instant::now();
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, look| now.duration_since(look.at) <= LONGEST);
        let mut usage = FunctionUsage::default();
        for instance in instances {
            let memory = instance.memory.unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "the API has a float here")]
            let memory = memory as f64;
            usage.total_memory_bytes += memory;
            let former = looks.get(&instance.id).copied();
            if let Some(look) = look(instance, former, now) {
                usage.cpu += look.millicores;
                looks.insert(instance.id.clone(), look);
            }
        }
        usage
    }
}

fn look(instance: &Instance, former: Option<Look>, now: Instant) -> Option<Look> {
    let seconds = instance.cpu_seconds?;
    let (time, used) = match former {
        Some(former) => {
            let time = now.duration_since(former.at);
            if time < SHORTEST {
                return Some(former);
            }
            (time, seconds - former.seconds)
        }
        None => {
            let age = SystemTime::now().duration_since(instance.started_at);
            (age.unwrap_or_default().max(SHORTEST), seconds)
        }
    };
    Some(Look {
        at: now,
        seconds,
        millicores: used.max(0.0) * 1000.0 / time.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use hob_model::wire::InstanceState;

    use super::*;

    fn instance(seconds: f64) -> Instance {
        Instance {
            id: ReplicaId("hello-1".into()),
            function: "hello".parse().expect("valid"),
            revision: "r".into(),
            state: InstanceState::Ready,
            pid: 1,
            memory: Some(1),
            cpu_seconds: Some(seconds),
            in_flight: 0,
            started_at: SystemTime::now() - Duration::from_secs(100),
        }
    }

    #[test]
    fn the_processor_counts_from_the_last_look_on() {
        let start = Instant::now();
        let first = look(&instance(50.0), None, start).expect("counted");
        assert!((first.millicores - 500.0).abs() < 5.0);
        let at = |millis, seconds| {
            let now = start + Duration::from_millis(millis);
            let look = look(&instance(seconds), Some(first), now).expect("counted");
            look.millicores.round() as u64
        };
        assert_eq!(at(2000, 51.0), 500);
        assert_eq!(at(4000, 50.0), 0);
        // Too soon to tell.
        assert_eq!(at(10, 51.0), first.millicores.round() as u64);
    }

    #[test]
    fn replicas_that_nobody_counts_use_memory_only() {
        let mut uncounted = instance(0.0);
        uncounted.cpu_seconds = None;
        assert!(look(&uncounted, None, Instant::now()).is_none());
    }
}

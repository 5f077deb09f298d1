use std::fmt;

use crate::{Memory, Timespan};

use super::RunLimits;

/// Least of each that a run can be asked to do with; below it no interpreter even starts.
const LEAST: RunMaxima = RunMaxima {
    time: Timespan(std::time::Duration::from_millis(1)),
    cpu: Timespan(std::time::Duration::from_millis(1)),
    memory: Memory(1 << 20),
    pids: 1,
    output: Memory(1),
    disk: Memory(4 << 10),
};

/// What a run may use, every part of it said: the owner's maxima, or what an order comes to under
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunMaxima {
    /// From the lease to the kill.
    pub time: Timespan,
    /// Processor time of all its processes together.
    pub cpu: Timespan,
    /// Resident memory, page cache and files together, in bytes.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes of stdout and stderr together.
    pub output: Memory,
    /// Bytes of files that it may write; they count as memory too.
    pub disk: Memory,
}

impl Default for RunMaxima {
    fn default() -> Self {
        Self {
            time: Timespan::from_secs(10),
            cpu: Timespan::from_secs(10),
            memory: Memory(256 << 20),
            pids: 64,
            output: Memory(16 << 20),
            disk: Memory(64 << 20),
        }
    }
}

impl RunMaxima {
    /// What an order that asks for `asked` gets: as asked, and where it asks for nothing, the
    /// most.
    ///
    /// # Errors
    /// When it asks for more than the most, or for so little that nothing can run: one line that
    /// names the limit and the setting.
    pub fn settle(&self, asked: &RunLimits) -> Result<Self, String> {
        Ok(Self {
            time: settle("time", asked.time, LEAST.time, self.time)?,
            cpu: settle("cpu", asked.cpu, LEAST.cpu, self.cpu)?,
            memory: settle("memory", asked.memory, LEAST.memory, self.memory)?,
            pids: settle("pids", asked.pids, LEAST.pids, self.pids)?,
            output: settle("output", asked.output, LEAST.output, self.output)?,
            disk: settle("disk", asked.disk, LEAST.disk, self.disk)?,
        })
    }
}

impl From<RunMaxima> for RunLimits {
    fn from(all: RunMaxima) -> Self {
        Self {
            time: Some(all.time),
            cpu: Some(all.cpu),
            memory: Some(all.memory),
            pids: Some(all.pids),
            output: Some(all.output),
            disk: Some(all.disk),
        }
    }
}

fn settle<T>(key: &str, asked: Option<T>, least: T, most: T) -> Result<T, String>
where
    T: Copy + PartialOrd + fmt::Display,
{
    match asked {
        None => Ok(most),
        Some(asked) if asked > most => Err(format!(
            "limit {key} {asked} is above {most}, the most that a run may have here (sandbox.limits.{key})"
        )),
        Some(asked) if asked < least => Err(format!(
            "limit {key} {asked} is below {least}, the least that a run can have"
        )),
        Some(asked) => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_gets_what_it_asks_for_and_never_more_than_the_owner_allows() {
        let most = RunMaxima::default();
        assert_eq!(most.settle(&RunLimits::default()), Ok(most));
        let asked = RunLimits {
            time: Some(Timespan::from_secs(2)),
            pids: Some(3),
            ..RunLimits::default()
        };
        let settled = most.settle(&asked).expect("below the most");
        assert_eq!(settled.time, Timespan::from_secs(2));
        assert_eq!((settled.pids, settled.cpu), (3, most.cpu));
        let asked = RunLimits {
            memory: Some(Memory(1 << 30)),
            ..RunLimits::default()
        };
        assert_eq!(
            most.settle(&asked).expect_err("too much"),
            "limit memory 1Gi is above 256Mi, the most that a run may have here (sandbox.limits.memory)"
        );
        let asked = RunLimits {
            pids: Some(0),
            ..RunLimits::default()
        };
        let error = most.settle(&asked).expect_err("too little");
        assert_eq!(
            error,
            "limit pids 0 is below 1, the least that a run can have"
        );
    }
}

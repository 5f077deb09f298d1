//! One file of the collection in `tests/hostile`: what it tries, and how that has to end.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{
    caller::Order,
    stage::{MEMORY, PROCESSES},
};

/// Said by an attempt that got what it must not get.
const BROKEN: &str = "BROKEN";
/// What the kernel may let a control group have above its limit for a moment, in bytes.
const MEMORY_SLACK: u64 = 1 << 20;
/// Of the cage, beside the program's.
const OWN_PROCESSES: u64 = 1;
/// What gVisor's kernel may have of its own, which the control group counts too.
const GVISOR_MEMORY: u64 = 64 << 20;
const GVISOR_THREADS: u64 = 512;
/// What attempts in Python share; it goes along as a file.
const SHARED: &str = "attack.py";

/// What stands at the beginning of a file; see `tests/hostile/README.md`.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// The file's name.
    pub(super) name: String,
    text: String,
    tries: String,
    limits: Vec<(String, Value)>,
    stdin: usize,
    /// Run right after this one.
    pub(super) after: Option<String>,
    reasons: Vec<String>,
    /// At level `gvisor`, where that is another one.
    gvisor: Vec<String>,
    /// What gVisor's own kernel lets a program do, since it is nobody's but the program's.
    gvisor_allows: Vec<String>,
    code: Option<i64>,
    signal: Option<i64>,
    outputs: Vec<String>,
    /// Said by whoever ends by himself.
    last_words: Vec<String>,
    nevers: Vec<String>,
    /// Has as many processes at once as it may.
    fills_processes: bool,
}

/// What is left of an answer to be judged.
pub(super) struct Seen<'a> {
    pub(super) said: &'a str,
    pub(super) exit: &'a Value,
    /// The most that it had at once.
    pub(super) processes: u64,
}

// === impl Attempt ===

impl Attempt {
    /// # Panics
    /// When its head is not as it should be: a collection with mistakes proves nothing.
    pub(super) fn read(path: &Path) -> Self {
        let mut attempt = Self {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(path).unwrap(),
            ..Self::default()
        };
        let text = attempt.text.clone();
        let lines = text.lines().filter(|line| !line.starts_with("#!"));
        let head = lines.map_while(|line| line.strip_prefix("# ").or(line.strip_prefix("// ")));
        for line in head {
            let (key, value) = line.split_once(": ").expect("`key: value`");
            attempt.take(key, value);
        }
        let is_complete = !attempt.tries.is_empty() && !attempt.reasons.is_empty();
        assert!(is_complete, "{}: `tries` or `expect`", attempt.name);
        attempt
    }

    fn take(&mut self, key: &str, value: &str) {
        let pairs = || value.split(' ').filter_map(|pair| pair.split_once('='));
        match key {
            "tries" => value.clone_into(&mut self.tries),
            "limits" => self.limits.extend(pairs().map(|(name, value)| {
                let number = value.parse::<u64>().map(Value::from);
                (name.to_owned(), number.unwrap_or_else(|_| value.into()))
            })),
            "stdin" => self.stdin = value.parse().expect("bytes"),
            "after" => self.after = Some(value.to_owned()),
            "expect" => pairs().for_each(|(name, value)| match name {
                "reason" => self.reasons = words(value),
                "gvisor" => self.gvisor = words(value),
                "code" => self.code = Some(value.parse().expect("a number")),
                "signal" => self.signal = Some(value.parse().expect("a number")),
                other => panic!("{}: unknown expectation `{other}`", self.name),
            }),
            "gvisor-allows" => self.gvisor_allows.push(value.to_owned()),
            "expect-output" => self.outputs.push(plain(value)),
            "last-words" => self.last_words.push(plain(value)),
            "fills" if value == "pids" => self.fills_processes = true,
            "never-output" => self.nevers.push(plain(value)),
            other => panic!("{}: unknown key `{other}`", self.name),
        }
    }

    /// What to send for it. Programs in C are built first, in `scratch`.
    pub(super) fn order(&self, folder: &Path, scratch: &Path) -> Order {
        let mut order = match self.name.rsplit_once('.').unwrap().1 {
            "sh" => Order::new("bash", &self.text),
            "js" => Order::new("node", &self.text),
            "py" => {
                let shared = fs::read(folder.join("shared").join(SHARED)).unwrap();
                Order::new("python", &self.text).file(SHARED, &shared)
            }
            "c" => {
                let program = self.build(folder, scratch);
                Order::new("bash", "chmod +x attempt && exec ./attempt").file("attempt", &program)
            }
            other => panic!("{}: nobody knows how to run .{other}", self.name),
        };
        for (name, value) in &self.limits {
            order = order.limit(name, value.clone());
        }
        match self.stdin {
            0 => order,
            bytes => order.stdin(&"x".repeat(bytes)),
        }
    }

    fn build(&self, folder: &Path, scratch: &Path) -> Vec<u8> {
        let program = scratch.join(&self.name).with_extension("");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-static", "-pthread", "-Wall", "-Werror", "-o"]);
        let built = compiler.arg(&program).arg(folder.join(&self.name)).output();
        let built = built.expect("cc starts");
        assert!(built.status.success(), "{}: {built:?}", self.name);
        fs::read(program).unwrap()
    }

    /// Programs of this machine that it takes.
    pub(super) fn needs(&self) -> Option<&'static str> {
        match self.name.rsplit_once('.').unwrap().1 {
            "py" => Some("python3"),
            "js" => Some("node"),
            "c" => Some("cc"),
            _ => None,
        }
    }

    /// What was not as it has to be, one line each.
    pub(super) fn judge(&self, seen: &Seen<'_>, level: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |words: String| faults.push(format!("{}: {words}", self.name));
        let reasons = match level {
            "gvisor" if !self.gvisor.is_empty() => &self.gvisor,
            _ => &self.reasons,
        };
        let reason = seen.exit["end"].as_str().unwrap_or_default();
        if !reasons.iter().any(|one| one == reason) {
            fault(format!("ended with {}, not with {reasons:?}", seen.exit));
        }
        for (name, expected) in [("code", self.code), ("signal", self.signal)] {
            if expected.is_some() && seen.exit[name].as_i64() != expected {
                fault(format!("{name} is not {expected:?} in {}", seen.exit));
            }
        }
        let allowed = |line: &&str| {
            let mut words = self.gvisor_allows.iter();
            level == "gvisor" && words.any(|words| line.contains(words))
        };
        let broken = seen.said.lines().filter(|line| line.contains(BROKEN));
        for line in broken.filter(|line| !allowed(line)) {
            fault(line.to_owned());
        }
        faults.extend(self.judge_use(seen, level));
        let mut fault = |words: String| faults.push(format!("{}: {words}", self.name));
        let last = self.last_words.iter().filter(|_| reason == "ok");
        for words in self.outputs.iter().chain(last) {
            if !seen.said.contains(words) {
                fault(format!("never said {words:?}, but {:?}", start(seen.said)));
            }
        }
        for words in &self.nevers {
            if seen.said.contains(words) {
                fault(format!("said {words:?}"));
            }
        }
        faults
    }

    /// Of what there was more than there may be.
    fn judge_use(&self, seen: &Seen<'_>, level: &str) -> Vec<String> {
        let (own_memory, own_processes) = match level {
            "gvisor" => (GVISOR_MEMORY, GVISOR_THREADS + OWN_PROCESSES),
            _ => (0, OWN_PROCESSES),
        };
        let (memory, processes) = (self.limit("memory", MEMORY), self.limit("pids", PROCESSES));
        let mut faults = Vec::new();
        let mut fault = |words: String| faults.push(format!("{}: {words}", self.name));
        let used = seen.exit["memory"].as_u64();
        if used.is_none_or(|used| used == 0 || used > memory + own_memory + MEMORY_SLACK) {
            fault(format!("{used:?} bytes of memory are more than {memory}"));
        }
        let had = seen.processes;
        if had > processes + own_processes {
            fault(format!("{had} processes are more than {processes}"));
        }
        if self.fills_processes && had < processes {
            fault(format!("{had} processes are not even {processes}"));
        }
        faults
    }

    /// Its own, or the server's.
    fn limit(&self, name: &str, server: u64) -> u64 {
        let mut own = self.limits.iter().filter(|(key, _)| key == name);
        own.next().map_or(server, |(_, value)| {
            let mebibytes = value.as_str().and_then(|text| text.strip_suffix("Mi"));
            let bytes = mebibytes.map(|number| number.parse::<u64>().expect("a number") << 20);
            bytes.or(value.as_u64()).expect("a number, or with `Mi`")
        })
    }
}

fn words(list: &str) -> Vec<String> {
    list.split('|').map(str::to_owned).collect()
}

/// A JSON string where it begins as one, else the words themselves.
fn plain(value: &str) -> String {
    if value.starts_with('"') {
        serde_json::from_str(value).expect("a JSON string")
    } else {
        value.to_owned()
    }
}

/// As much as people want to read.
fn start(text: &str) -> &str {
    text.get(..text.floor_char_boundary(2000)).unwrap_or(text)
}

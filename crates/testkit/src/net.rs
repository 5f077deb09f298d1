use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::AsFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network of its own, as a machine has one: a loopback interface that is up, and nothing else.
/// It goes with the last process in it. Needs root, `unshare`, `nsenter` and `ip`.
#[derive(Debug)]
pub struct Net {
    keeper: Child,
}

impl Net {
    /// Makes it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Self {
        let mut keeper = Command::new("unshare")
            .args(["-n", "sh", "-c", "ip link set lo up && echo up && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let said = keeper.stdout.as_mut().expect("a pipe");
        BufReader::new(said).read_line(&mut line).expect("a line");
        assert_eq!(line, "up\n", "the network comes up");
        Self { keeper }
    }

    /// A run of `program` inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.file().display()))
            .arg(program);
        command
    }

    /// Has programs inside take `address` for this machine's own.
    ///
    /// # Panics
    /// When it cannot be added.
    pub fn own(&self, address: &str) {
        let mut command = self.command("ip");
        let added = command.args(["addr", "add", address, "dev", "lo"]).status();
        assert!(added.expect("ip starts").success(), "{address}");
    }

    /// Does `work` inside, in a thread of its own.
    ///
    /// # Panics
    /// When it cannot get there, or `work` panics.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.file()).expect("the network's file");
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network).expect("root may enter");
                work()
            });
            inside.join().expect("the work does not panic")
        })
    }

    /// Its file on this machine.
    pub fn file(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.keeper.id()).into()
    }
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

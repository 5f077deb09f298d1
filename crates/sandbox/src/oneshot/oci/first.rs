//! The first process of a cage with a kernel of its own. It waits for its order on stdin, starts
//! the program as another user, which can neither see nor stop it, and tells how that ended.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process, thread,
};

use rustix::{
    fs::FileType,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Resource, Rlimit, WaitOptions, setrlimit},
    termios::{OptionalActions, isatty, tcgetattr, tcsetattr},
};

use super::{
    super::native::Ended,
    order::{Head, Kernel, Word},
    room,
};
use crate::{
    BOX,
    native::{identity, launch::memory_file, plan::Failure, program, standard::STRANGER_ID},
};

/// Exit status when there is no program, or nobody left to run it for.
const FAILED: i32 = 125;
/// Added to the number of the signal that ended the program, as shells do.
const SIGNALLED: i32 = 128;

/// Of each file, so that a script among them can be started as it is.
const FILE_MODE: u32 = 0o755;

/// Where the words go.
struct Voice {
    to: File,
    /// Whether only this process can write there, also while the program runs.
    private: bool,
}

/// Never returns before the program has ended.
pub(super) fn run() -> i32 {
    // What a machine's init may have left open. All that is opened from here on, exec closes.
    identity::close_all_but_output();
    match attend() {
        Ok(status) => status,
        Err(error) => {
            // Nobody listens on any other way.
            let _ = io::Write::write_all(&mut io::stderr(), format!("hob: {error}\n").as_bytes());
            FAILED
        }
    }
}

fn attend() -> io::Result<i32> {
    let mut orders = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let voice = Voice::new(&orders)?;
    room::share().map_err(|error| io::Error::other(format!("cannot make the box: {error}")))?;
    Word::Ready(Kernel::own()).send(&voice.to)?;
    let Some(head) = Head::receive(&mut orders)? else {
        return Ok(0);
    };
    let program = match start(&head, &mut orders)? {
        Ok(program) => program,
        Err(failure) => {
            voice.tell(&Word::Failed(failure.clone()))?;
            if !voice.private {
                return Err(io::Error::other(failure.to_string()));
            }
            return Ok(FAILED);
        }
    };
    voice.tell(&Word::Started)?;
    watch(orders);
    let ended = reap_until(program)?;
    bury();
    voice.tell(&Word::Ended(ended))?;
    Ok(match ended {
        Ended::Exited(code) => code,
        Ended::Signalled(signal) => SIGNALLED + signal,
    })
}

/// Without the daemon there is nobody to run anything for. The end of this process is that of
/// all.
fn watch(mut orders: File) {
    thread::spawn(move || {
        let _ = orders.read(&mut [0]);
        process::exit(FAILED)
    });
}

fn reap_until(program: Pid) -> io::Result<Ended> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == program => {
                let signal = status.terminating_signal().map(Ended::Signalled);
                let code = status.exit_status().map(Ended::Exited);
                return Ok(signal.or(code).unwrap_or(Ended::Exited(FAILED)));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends what the program left behind. Some of it may be born while it is counted.
fn bury() {
    loop {
        let _ = identity::signal_all(libc::SIGKILL);
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

// === starting the program ===

/// Returns after its exec.
fn start(head: &Head, orders: &mut File) -> io::Result<Result<Pid, Failure>> {
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(program) = identity::fork()? else {
        drop(told);
        let failure = become_program(head, orders);
        let _ = serde_json::to_writer(File::from(tell), &failure);
        process::exit(FAILED)
    };
    drop(tell);
    let mut failure = Vec::new();
    File::from(told).read_to_end(&mut failure)?;
    Ok(match failure.as_slice() {
        [] => Ok(program),
        failure => Err(serde_json::from_slice(failure)?),
    })
}

/// Returns only why that did not work.
fn become_program(head: &Head, orders: &mut File) -> Failure {
    match prepare(head, orders) {
        Err(failure) => failure,
        Ok(()) => Failure {
            step: None,
            problem: program::replace(&head.argv, &head.env),
        },
    }
}

fn prepare(head: &Head, orders: &mut File) -> Result<(), Failure> {
    identity::new_session().map_err(Failure::at("make a session"))?;
    identity::set_groups(&[])?;
    identity::gain_nothing()?;
    identity::change_user(STRANGER_ID, STRANGER_ID)?;
    identity::drop_capabilities()?;
    rustix::process::chdir(BOX).map_err(Failure::at("enter the box"))?;
    // As the program's user, and before its limits: what it may not write, this may not either,
    // but for the length of a file.
    for (path, length) in &head.files {
        let step = format!("write {}", path.display());
        file(path, *length, orders).map_err(Failure::at(step))?;
    }
    let stdin = input(head.stdin, orders).map_err(Failure::at("keep the input"))?;
    rustix::stdio::dup2_stdin(stdin).map_err(Failure::at("redirect the input"))?;
    limit(head).map_err(Failure::at("set resource limits"))?;
    identity::reset_signals().map_err(Failure::at("reset signals"))
}

fn file(path: &Path, length: u64, orders: &mut File) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut options = File::options();
    options.write(true).create_new(true).mode(FILE_MODE);
    copy(length, orders, &mut options.open(path)?)
}

fn input(length: u64, orders: &mut File) -> io::Result<OwnedFd> {
    if length == 0 {
        return Ok(File::open("/dev/null")?.into());
    }
    let mut file = File::from(memory_file("stdin", &[])?);
    copy(length, orders, &mut file)?;
    file.rewind()?;
    Ok(file.into())
}

fn copy(length: u64, orders: &mut File, to: &mut File) -> io::Result<()> {
    let copied = io::copy(&mut orders.take(length), to)?;
    if copied == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn limit(head: &Head) -> io::Result<()> {
    let set = |resource, value| {
        let both = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, both)
    };
    set(Resource::Nofile, head.open_files)?;
    if let Some(bytes) = head.file_size {
        // The size of what is mounted cannot be changed any more.
        set(Resource::Fsize, bytes)?;
    }
    set(Resource::Core, 0)?;
    // gVisor's kernel has no such limit; there the cgroup on the host's side holds.
    let _ = set(Resource::Nproc, head.processes);
    Ok(())
}

// === impl Voice ===

impl Voice {
    /// gVisor passes a socket on as it is. A virtual machine has a console in place of it, which
    /// carries nothing back; then stderr has to do, which is the program's once that runs.
    fn new(orders: &File) -> io::Result<Self> {
        if FileType::from_raw_mode(rustix::fs::fstat(orders)?.st_mode) == FileType::Socket {
            return Ok(Self {
                to: orders.try_clone()?,
                private: true,
            });
        }
        if isatty(orders) {
            // Or else it would take some bytes of an order for keys.
            let mut raw = tcgetattr(orders)?;
            raw.make_raw();
            tcsetattr(orders, OptionalActions::Now, &raw)?;
        }
        Ok(Self {
            to: File::from(io::stderr().as_fd().try_clone_to_owned()?),
            private: false,
        })
    }

    /// Nothing, where the program could say the same.
    fn tell(&self, word: &Word) -> io::Result<()> {
        match self.private {
            true => word.send(&self.to),
            false => Ok(()),
        }
    }
}

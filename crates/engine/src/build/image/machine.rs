//! Which machine a program is for: an image with a wrong one is never made.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use hob_image::Platform;
use hob_model::port::BuildError;

use crate::build::tree::{NodeKind, Tree};

/// How every ELF file begins.
const MAGIC: [u8; 4] = *b"\x7fELF";
/// Bytes of an ELF header for 64 bits.
const HEADER: usize = 64;
/// `e_machine` of programs for the kernel's own machine, which is the same everywhere.
const EM_BPF: u16 = 247;
/// `p_type` of the segment that names the loader of a dynamic program.
const PT_INTERP: u32 = 3;
/// Segments that are looked at.
const MAX_SEGMENTS: u16 = 128;

/// Architectures by their names in images: bits, byte order, `e_machine`.
const MACHINES: [(&str, Machine); 7] = [
    ("amd64", Machine::little(64, 62)),
    ("arm64", Machine::little(64, 183)),
    ("arm", Machine::little(32, 40)),
    ("386", Machine::little(32, 3)),
    ("riscv64", Machine::little(64, 243)),
    ("ppc64le", Machine::little(64, 21)),
    (
        "s390x",
        Machine {
            bits: 64,
            big: true,
            number: 22,
        },
    ),
];

/// What an ELF header says of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    bits: u8,
    big: bool,
    number: u16,
}

/// How a program is started by the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It needs nothing.
    Static,
    /// It is an ELF program that needs libraries.
    Dynamic,
    /// It needs another program.
    Script,
}

// === impl Machine ===

impl Machine {
    const fn little(bits: u8, number: u16) -> Self {
        Self {
            bits,
            big: false,
            number,
        }
    }

    /// That of a platform.
    pub(super) fn of(platform: &Platform) -> Result<Self, BuildError> {
        let known = MACHINES
            .iter()
            .find(|(name, _)| *name == platform.architecture && platform.os == "linux");
        known.map(|(_, machine)| *machine).ok_or_else(|| {
            let names = MACHINES.map(|(name, _)| format!("linux/{name}"));
            BuildError::Refused(format!(
                "platform `{platform}` is none that hob builds for: use one of {}",
                names.join(", ")
            ))
        })
    }

    fn read(header: &[u8]) -> Option<Self> {
        if header.len() < 20 || !header.starts_with(&MAGIC) {
            return None;
        }
        let big = header[5] == 2;
        Some(Self {
            bits: if header[4] == 1 { 32 } else { 64 },
            big,
            number: number(&header[18..20], big)?,
        })
    }

    fn name(self) -> String {
        let known = MACHINES.iter().find(|(_, machine)| *machine == self);
        known.map_or_else(
            || format!("machine {} with {} bits", self.number, self.bits),
            |(name, _)| (*name).to_owned(),
        )
    }
}

/// Refuses a folder with a program or library for another machine in it.
pub(super) fn check(
    folder: &Path,
    platform: &Platform,
    keep: &dyn Fn(&Path) -> bool,
) -> Result<(), BuildError> {
    let host =
        |error: io::Error| BuildError::Host(format!("cannot look at what the build made: {error}"));
    let wanted = Machine::of(platform)?;
    let tree = Tree::read(folder, None).map_err(host)?;
    tree.check_size()
        .map_err(|error| BuildError::Refused(format!("what the build made: {error}")))?;
    for node in tree.entries() {
        if !matches!(node.kind, NodeKind::File { .. }) || !keep(&node.path) {
            continue;
        }
        let header = beginning(&folder.join(&node.path)).map_err(host)?;
        match Machine::read(&header) {
            Some(machine) if machine != wanted && machine.number != EM_BPF => {
                return Err(wrong(&node.path, machine, platform));
            }
            _ => {}
        }
    }
    Ok(())
}

fn wrong(path: &Path, machine: Machine, platform: &Platform) -> BuildError {
    BuildError::Refused(format!(
        "`{}` is for {}, and the image is for {platform}: leave it out with a .hobignore, build it for $TARGETARCH in `build` of hob.toml, or write a Dockerfile",
        path.display(),
        machine.name(),
    ))
}

/// How the program at `path` is started; `None` when it is none.
pub(super) fn start(path: &Path) -> io::Result<Option<Start>> {
    let header = beginning(path)?;
    if header.starts_with(b"#!") {
        return Ok(Some(Start::Script));
    }
    let Some(machine) = Machine::read(&header) else {
        return Ok(None);
    };
    let file = File::open(path)?;
    Ok(Some(match loader(&file, &header, machine) {
        true => Start::Dynamic,
        false => Start::Static,
    }))
}

/// Whether the program headers name a loader.
fn loader(file: &File, header: &[u8], machine: Machine) -> bool {
    let wide = machine.bits == 64;
    let field = |at: usize, length: usize| {
        let bytes = header.get(at..at + length)?;
        number(bytes, machine.big)
            .map(u64::from)
            .or_else(|| wide_number(bytes, machine.big))
    };
    let (offset, size, count) = if wide {
        (field(32, 8), field(54, 2), field(56, 2))
    } else {
        (field(28, 4), field(42, 2), field(44, 2))
    };
    let (Some(offset), Some(size), Some(count)) = (offset, size, count) else {
        return false;
    };
    (0..count.min(MAX_SEGMENTS.into())).any(|index| {
        let mut kind = [0; 4];
        let place = offset.saturating_add(index * size);
        let read = file.read_exact_at(&mut kind, place).is_ok();
        let kind = if machine.big {
            u32::from_be_bytes(kind)
        } else {
            u32::from_le_bytes(kind)
        };
        read && kind == PT_INTERP
    })
}

fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER);
    File::open(path)?
        .take(HEADER as u64)
        .read_to_end(&mut header)?;
    Ok(header)
}

fn number(bytes: &[u8], big: bool) -> Option<u16> {
    let bytes = bytes.try_into().ok()?;
    Some(if big {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    })
}

/// Of four or eight bytes.
fn wide_number(bytes: &[u8], big: bool) -> Option<u64> {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match bytes.len() {
        4 | 8 if big => Some(bytes.iter().fold(0, fold)),
        4 | 8 => Some(bytes.iter().rev().fold(0, fold)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn header(class: u8, data: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        (header[4], header[5]) = (class, data);
        header[18..20].copy_from_slice(&machine);
        header
    }

    #[test]
    fn a_file_for_another_machine_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("lib")).unwrap();
        fs::write(folder.path().join("lib/x.so"), header(2, 1, [183, 0])).unwrap();
        fs::write(folder.path().join("probe.o"), header(2, 1, [247, 0])).unwrap();
        fs::write(folder.path().join("text"), "\u{7f}ELF no").unwrap();
        let check = |platform: &str, keep: &dyn Fn(&Path) -> bool| {
            check(folder.path(), &platform.parse().unwrap(), keep)
        };
        check("linux/arm64", &|_| true).unwrap();
        check("linux/amd64", &|path| path != Path::new("lib/x.so")).unwrap();
        for platform in ["linux/amd64", "linux/arm/v7", "linux/s390x"] {
            let message = check(platform, &|_| true).unwrap_err().to_string();
            let expected = format!("`lib/x.so` is for arm64, and the image is for {platform}");
            assert!(message.starts_with(&expected), "{message}");
        }
        let message = check("plan9/amd64", &|_| true).unwrap_err().to_string();
        assert!(message.contains("use one of linux/amd64"), "{message}");
    }

    #[test]
    fn a_program_that_needs_a_loader_is_seen() {
        assert_eq!(start(Path::new("/bin/sh")).unwrap(), Some(Start::Dynamic));
        assert_eq!(start(Path::new("/etc/passwd")).unwrap(), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(start(&path).unwrap(), Some(Start::Script));
        fs::write(&path, header(1, 2, [0, 22])).unwrap();
        assert_eq!(start(&path).unwrap(), Some(Start::Static));
    }
}

//! Whether virtual machines can be booted here.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
};

use crate::Able;

const DEVICE: &str = "/dev/kvm";
/// `KVM_GET_API_VERSION`, and the only answer that there has been since 2007.
const GET_VERSION: libc::c_ulong = 0xAE00;
const VERSION: libc::c_int = 12;

const CURE: &str = "run hob where hardware virtualisation is on (in the firmware, or as nested \
                    virtualisation of the machine around this one), or use level `gvisor`";

/// An error says what is missing, and the cure.
pub(super) fn usable() -> Result<(), Able> {
    let device = File::options().read(true).write(true).open(DEVICE);
    let device = device.map_err(|error| {
        Able::no(
            format!("level `vm` needs KVM, and {DEVICE} cannot be opened: {error}"),
            CURE,
        )
    })?;
    // SAFETY: this request takes no argument and touches no memory of ours.
    let version = unsafe { libc::ioctl(device.as_raw_fd(), GET_VERSION, 0) };
    if version != VERSION {
        return Err(Able::no(
            format!(
                "level `vm` needs KVM, and {DEVICE} answers with version {version}, not {VERSION}"
            ),
            CURE,
        ));
    }
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if cfg!(target_arch = "x86_64") && !virtualises(&processor) {
        return Err(Able::no(
            format!(
                "level `vm` needs KVM that boots any kernel, and {DEVICE} here is without the \
                 processor's help (no `vmx` or `svm` in /proc/cpuinfo)"
            ),
            CURE,
        ));
    }
    Ok(())
}

/// Some machines in the cloud have a KVM in software, which runs only kernels made for it.
fn virtualises(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.any(|line| {
        line.split_whitespace()
            .any(|flag| matches!(flag, "vmx" | "svm"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_says_whether_it_virtualises() {
        assert!(virtualises("flags\t\t: fpu vmx sse"));
        assert!(virtualises("model\t: x\nflags\t\t: fpu svm"));
        assert!(!virtualises("flags\t\t: fpu vmxless sse\nmodel name: vmx"));
    }
}

use std::os::fd::BorrowedFd;

use super::{OneShot, OneShotEnd, OneShotSpec, Program, Usage};
use crate::{Able, CageRecord, Sandbox, SandboxError};

#[derive(Debug)]
pub(super) struct Ready {
    cage: crate::Cage,
}

#[derive(Debug)]
pub(super) struct Running {
    cage: crate::Cage,
}

pub(super) fn able(sandbox: &Sandbox) -> Able {
    sandbox.capabilities().container.clone()
}

pub(super) fn prepare(_: &Sandbox, _: OneShotSpec) -> Result<Ready, SandboxError> {
    Err(SandboxError::Spec("not built yet".into()))
}

pub(super) fn remove_orphan(_: &Sandbox, _: &CageRecord) -> Result<bool, SandboxError> {
    Ok(false)
}

impl Ready {
    pub(super) fn record(&self) -> CageRecord {
        self.cage.record()
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.cage.pidfd()
    }

    pub(super) fn start(self, _: &Program) -> Result<OneShot, SandboxError> {
        Err(SandboxError::Spec("not built yet".into()))
    }
}

impl Running {
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.cage.pidfd()
    }

    pub(super) fn kill(&self) {
        self.cage.kill();
    }

    pub(super) fn try_end(&self) -> Result<Option<OneShotEnd>, SandboxError> {
        Ok(None)
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::default()
    }
}

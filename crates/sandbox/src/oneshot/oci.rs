use std::os::fd::BorrowedFd;

use hob_model::sandbox::SandboxLevel;

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

pub(super) fn able(_: &Sandbox, _: SandboxLevel, _: Option<&str>) -> Able {
    Able::no("it is not built yet", "use level `container`")
}

pub(super) fn prepare(_: &Sandbox, _: OneShotSpec) -> Result<Ready, SandboxError> {
    Err(SandboxError::Spec("not built yet".into()))
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

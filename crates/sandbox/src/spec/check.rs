//! What is wrong with a spec, found before anything is made.

use std::path::{Component, Path};

use hob_model::Isolation;

use super::{CageRoot, CageSpec, CageUser, MAX_LAYERS, Mechanism, STOP_SIGNAL};

const MAX_ID: usize = 100;
const MAX_HOSTNAME: usize = 64;
/// Signals are numbered from 1 to this.
const LAST_SIGNAL: i32 = 64;
/// To the kernel, this id means "leave it as it is".
const NO_ID: u32 = u32::MAX;

/// Whether a cage may be called so.
pub(crate) fn is_id(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_ID).contains(&text.len()) && !text.starts_with('-') && text.chars().all(good)
}

impl CageSpec {
    /// What is wrong with the spec, if anything; one line that names the field.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_names()?;
        self.check_program()?;
        self.check_paths()?;
        self.check_layers()?;
        self.check_user()
    }

    fn check_names(&self) -> Result<(), String> {
        if !is_id(&self.id) {
            return Err(format!(
                "id `{}` must be 1 to {MAX_ID} of a-z, 0-9 and -",
                self.id
            ));
        }
        if self.hostname.len() > MAX_HOSTNAME {
            return Err(format!("hostname is longer than {MAX_HOSTNAME} bytes"));
        }
        Ok(())
    }

    fn check_program(&self) -> Result<(), String> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err("argv is empty: name a program".into());
        }
        if self
            .env
            .iter()
            .any(|(name, _)| name.is_empty() || name.contains('='))
        {
            return Err("env has a name that is empty or holds `=`".into());
        }
        let values = self.env.iter().flat_map(|(name, value)| [name, value]);
        if self
            .argv
            .iter()
            .chain(values)
            .any(|text| text.contains('\0'))
        {
            return Err("argv or env holds a NUL byte".into());
        }
        if !(1..=LAST_SIGNAL).contains(&self.stop_signal) {
            return Err(format!(
                "stop_signal {} must be 1 to {LAST_SIGNAL}",
                self.stop_signal
            ));
        }
        if self.stop_signal != STOP_SIGNAL && self.mechanism != Mechanism::Native {
            return Err(format!(
                "stop_signal {} needs hob's own cages: an OCI runtime passes on only {STOP_SIGNAL}",
                self.stop_signal
            ));
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), String> {
        let nowhere = self.cwd.as_os_str().is_empty();
        if !nowhere && !self.cwd.is_absolute() {
            return Err(format!("cwd `{}` is not absolute", self.cwd.display()));
        }
        let binds = self.binds.iter().map(|bind| ("bind target", &bind.target));
        let files = self.files.iter().map(|(path, _)| ("file", path));
        match binds.chain(files).find(|(_, path)| !is_plain(path)) {
            Some((what, path)) => Err(format!(
                "{what} `{}` must be absolute and without `..`",
                path.display()
            )),
            None => Ok(()),
        }
    }

    fn check_layers(&self) -> Result<(), String> {
        let CageRoot::Layers(layers) = &self.root else {
            return Ok(());
        };
        self.only_native_containers("root made of an image's layers")?;
        if layers.is_empty() || layers.len() > MAX_LAYERS {
            return Err(format!(
                "root has {} layers and must have 1 to {MAX_LAYERS}: join some of the image's",
                layers.len()
            ));
        }
        match layers.iter().find(|layer| !layer.is_absolute()) {
            Some(layer) => Err(format!("layer `{}` is not absolute", layer.display())),
            None => Ok(()),
        }
    }

    fn check_user(&self) -> Result<(), String> {
        let CageUser::Of { uid, gid, groups } = &self.user else {
            return Ok(());
        };
        self.only_native_containers("user of an image")?;
        if [uid, gid].into_iter().chain(groups).any(|id| *id == NO_ID) {
            return Err(format!("user has the id {NO_ID}, which stands for none"));
        }
        Ok(())
    }

    fn only_native_containers(&self, what: &str) -> Result<(), String> {
        match (&self.mechanism, self.isolation) {
            (Mechanism::Native, Isolation::Container) => Ok(()),
            (Mechanism::Native, level) => Err(format!(
                "a {what} needs isolation `container` in place of `{level}`"
            )),
            (Mechanism::Oci(program), _) => Err(format!(
                "a {what} needs hob's own cages: set isolation `container` in place of the runtime \
                 `{program}`"
            )),
        }
    }
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

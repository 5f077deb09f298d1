use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// The environment variables of the process, read once; a test puts its own in place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    vars: HashMap<OsString, OsString>,
    /// Whether the user is root, which moves the default places.
    pub(crate) root: bool,
}

impl Environment {
    /// What this process was given.
    pub(crate) fn of_process() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
            root: rustix::process::geteuid().is_root(),
        }
    }

    /// A variable; an empty one counts as not set.
    pub(crate) fn var(&self, name: &str) -> Option<&OsStr> {
        let value = self.vars.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value)
    }

    /// A variable that holds a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from)
    }

    /// A variable that holds text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.var(name)?.to_str()
    }

    /// `$XDG_…` or its default under the home directory, as the XDG base directory
    /// specification has it: a relative path counts as not set.
    pub(crate) fn xdg(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let set = self.path(name).filter(|path| path.is_absolute());
        set.or_else(|| Some(self.path("HOME")?.join(below_home)))
    }

    /// Where programs are looked for.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(self.var("PATH")?)
            .map(|folder| folder.join(name))
            .find(|path| is_executable(path))
    }
}

fn is_executable(path: &std::path::Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(vars: [(&str, &str); N]) -> Self {
        Self {
            vars: vars.map(|(k, v)| (k.into(), v.into())).into(),
            root: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdg_folders_fall_back_to_the_home_directory() {
        let env = Environment::from([("HOME", "/home/ada"), ("XDG_DATA_HOME", "relative")]);
        assert_eq!(
            env.xdg("XDG_DATA_HOME", ".local/share"),
            Some("/home/ada/.local/share".into())
        );
        assert_eq!(Environment::default().xdg("XDG_DATA_HOME", "x"), None);
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert_eq!(Environment::from([("NO_COLOR", "")]).var("NO_COLOR"), None);
    }
}

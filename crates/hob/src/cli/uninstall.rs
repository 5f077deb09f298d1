use clap::Args;

use super::{Context, install::UnitArgs};
use crate::{
    output,
    systemd::{SERVICE, UnitFile, data_in, names},
};

/// Take back `hob install`: stop hob and its replicas, and remove the service
///
/// Functions, their revisions and secrets stay in the data directory.
#[derive(Debug, Args)]
pub(super) struct Uninstall {
    #[command(flatten)]
    place: UnitArgs,
}

impl Uninstall {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let place = self.place.find(&context.env)?;
        let mut files = Vec::new();
        for name in names() {
            let file = UnitFile::read(&place.folder, name)?;
            if file.text().is_some() {
                files.push((name, file));
            }
        }
        if files.is_empty() {
            let shown = place.folder.display();
            return output::line(&format!("hob is not installed in {shown}"));
        }
        if let Some(systemctl) = place.systemctl {
            let names = files.iter().map(|(name, _)| *name);
            let order: Vec<_> = ["disable", "--now"].into_iter().chain(names).collect();
            systemctl.run(&order)?;
        }
        for (_, file) in &files {
            file.remove()?;
            output::line(&format!("removed    {}", file.path().display()))?;
        }
        if let Some(systemctl) = place.systemctl {
            systemctl.run(&["daemon-reload"])?;
        }
        let service = files.iter().find(|(name, _)| *name == SERVICE);
        let data = service.and_then(|(_, file)| data_in(file.text()?));
        if let Some(data) = data {
            output::line(&format!("functions and secrets stay in {data}"))?;
        }
        Ok(())
    }
}

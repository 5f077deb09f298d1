//! Images of functions that are deployed already.

use std::{fs::File, io, path::Path};

use flate2::{Compression, write::GzEncoder};
use hob_model::{Revision, port::BuildError};
use tempfile::NamedTempFile;

use super::super::{builder::Shared, template::Template, templates::Templates};

impl Shared {
    /// Packs the bundle of a function as the folder that it was made of: without what was
    /// installed for this machine, which a build brings anew.
    pub(super) fn pack_bundle(&self, revision: &Revision) -> Result<NamedTempFile, BuildError> {
        let host = |error: io::Error| BuildError::Host(format!("cannot pack the bundle: {error}"));
        let bundle = self.bundles().join(&revision.bundle);
        if !bundle.is_dir() {
            let text = format!(
                "bundle {} is gone: deploy it again",
                revision.short_bundle()
            );
            return Err(BuildError::Host(text));
        }
        let built_in = Templates::built_in().find(&revision.language).cloned();
        let template = built_in.or_else(|| Template::of_function(&bundle).ok());
        let installed = template
            .and_then(|template| template.recipe.dependencies)
            .map(|dependencies| dependencies.folder);
        let scratch = self.config.data.join("tmp");
        let packed = || -> io::Result<NamedTempFile> {
            std::fs::create_dir_all(&scratch)?;
            let mut file = tempfile::Builder::new()
                .suffix(".tar.gz")
                .tempfile_in(&scratch)?;
            pack(&bundle, installed.as_deref(), file.as_file_mut())?;
            Ok(file)
        };
        packed().map_err(host)
    }
}

fn pack(bundle: &Path, left_out: Option<&str>, file: &mut File) -> io::Result<()> {
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
    tar.follow_symlinks(false);
    for entry in std::fs::read_dir(bundle)? {
        let entry = entry?;
        let name = entry.file_name();
        if left_out.is_some_and(|folder| name == folder) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            tar.append_dir_all(&name, entry.path())?;
        } else {
            tar.append_path_with_name(entry.path(), &name)?;
        }
    }
    tar.into_inner()?.finish().map(drop)
}

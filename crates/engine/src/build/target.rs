//! For which machines something is built, where that is not this one.

use hob_image::Platform;

use super::template::Template;

/// A platform, and what is known of the base that the result will stand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) platform: Platform,
    pub(crate) libc: Libc,
    /// Version of what runs the function there: digits and dots, or nothing.
    pub(crate) version: String,
}

/// The C library of a base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Libc {
    #[default]
    Glibc,
    Musl,
}

// === impl Target ===

impl Target {
    /// What scripts and the function's own `build` see of it.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let platform = &self.platform;
        let variant = platform.variant.as_deref().unwrap_or_default();
        let libc = match self.libc {
            Libc::Glibc => "glibc",
            Libc::Musl => "musl",
        };
        [
            ("TARGETOS", platform.os.as_str()),
            ("TARGETARCH", &platform.architecture),
            ("TARGETVARIANT", variant),
            ("TARGETLIBC", libc),
            ("TARGETVERSION", &self.version),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The template with its scripts for images in place of those for this machine.
    pub(crate) fn aim(&self, template: &Template) -> Template {
        let mut template = template.clone();
        let image = template.recipe.image.clone();
        let whole = |script: &str| format!("{}\n{script}", image.prepare);
        if let Some(dependencies) = &mut template.recipe.dependencies {
            let install = image.install.as_ref().unwrap_or(&dependencies.install);
            // What is installed is cached by the text of the script.
            dependencies.install = format!("# {}\n{}", self.line(), whole(install));
        }
        if let Some(handler) = &mut template.recipe.handler {
            let build = image.build.as_ref().or(handler.build.as_ref());
            handler.build = build.map(|script| whole(script));
        }
        if let Some(server) = &mut template.recipe.server {
            server.build = server.build.as_ref().map(|script| whole(script));
        }
        template
    }

    fn line(&self) -> String {
        let variables = self.variables().into_iter();
        let texts = variables.map(|(name, value)| format!("{name}={value}"));
        texts.collect::<Vec<_>>().join(" ")
    }
}

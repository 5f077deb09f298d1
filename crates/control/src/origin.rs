//! What a function is made of, and how that becomes a revision.

use std::{sync::Arc, time::SystemTime};

use hob_image::Digest;
use hob_model::{
    Function, FunctionName, Label, Revision, Run, SecretName, Settings,
    openfaas::FunctionDeployment,
    port::{BuildLine, BuildLog, Packing, Source},
    wire::{DeployEvent, DeployStage, ImageDeploy},
};
use tempfile::TempPath;

use crate::{
    Control, OWN_REGISTRY,
    control::on_disk,
    deploy::DeployError,
    events::Events,
    translate::{keep_guards, lay_over, translate},
};

/// Characters of a bundle's name that the name of an image has at least.
const SHORTEST_BUNDLE: usize = 12;

/// What a function is made of.
pub(crate) enum Origin {
    /// A folder that somebody sent.
    Folder {
        /// Whole and on the disk. The file goes when this is dropped.
        archive: TempPath,
        /// What is laid over its `hob.toml`.
        over: Option<Box<FunctionDeployment>>,
    },
    /// An image of a registry, or of this machine.
    Image(Box<ImageDeploy>),
    /// What a client of OpenFaaS asked for: an image, or by a name like one a bundle.
    Asked(Box<FunctionDeployment>),
}

// === impl Control ===

impl Control {
    /// Builds, pulls or finds what `origin` says. The caller has the function's turn, and holds
    /// the images.
    pub(crate) async fn revision(
        &self,
        name: &FunctionName,
        origin: Origin,
        events: &Events,
    ) -> Result<Revision, DeployError> {
        match origin {
            Origin::Folder { archive, over } => {
                let source = Source {
                    function: name.clone(),
                    archive: archive.to_path_buf(),
                    packing: Packing::Folder,
                };
                let built = self.builder.build(source, build_log(events)).await?;
                match over {
                    None => Ok(built),
                    Some(over) => {
                        let settings = lay_over(*over, &built.settings)?;
                        self.check_secrets(name, &settings.secrets).await?;
                        Ok(with_settings(built, settings))
                    }
                }
            }
            Origin::Image(asked) => {
                let settings = Settings::from(&asked.manifest);
                Ok(self.images.revision(&asked.image, settings, events).await?)
            }
            Origin::Asked(asked) => self.asked(name, *asked, events).await,
        }
    }

    async fn asked(
        &self,
        name: &FunctionName,
        asked: FunctionDeployment,
        events: &Events,
    ) -> Result<Revision, DeployError> {
        let former = self.deployed.get(name);
        let bundle = self.bundle_of(&asked.image, former.as_deref()).await?;
        let is_bundle = |revision: &Revision| !matches!(revision.run, Run::Image(_));
        // What the function has, unless that was another kind of thing.
        let mut base = match (&former, &bundle) {
            (Some(former), _) if is_bundle(&former.revision) == bundle.is_some() => {
                former.revision.settings.clone()
            }
            (_, Some(bundle)) => bundle.settings.clone(),
            (_, None) => Settings::default(),
        };
        if let Some(former) = &former {
            keep_guards(&mut base, &former.revision.settings);
        }
        let image = asked.image.clone();
        let settings = translate(asked, &base)?;
        self.check_secrets(name, &settings.secrets).await?;
        match bundle {
            Some(bundle) => Ok(with_settings(bundle, settings)),
            None => Ok(self.images.revision(&image, settings, events).await?),
        }
    }

    /// The bundle that `image` means: `hob.local/NAME:BUNDLE` names it outright, and any name means
    /// the one of the function that is shown under it. An image of that name goes first.
    async fn bundle_of(
        &self,
        image: &str,
        former: Option<&Function>,
    ) -> Result<Option<Revision>, DeployError> {
        if image.parse().is_ok_and(|name| self.images.is_here(name)) {
            return Ok(None);
        }
        if let Some(start) = bundle_in(image) {
            let deployed = self.deployed.all();
            let mut revisions = deployed.iter().map(|function| &function.revision);
            let found = match revisions.find(|one| one.bundle.starts_with(start)) {
                Some(found) => Some(found.clone()),
                None => self.builder.bundle(start).await?,
            };
            let unknown = || DeployError::NoBundle(start.to_owned());
            return found.map(Some).ok_or_else(unknown);
        }
        let shown = former.filter(|former| image_name(former) == image);
        let shown = shown.map(|former| former.revision.clone());
        Ok(shown.filter(|revision| !matches!(revision.run, Run::Image(_))))
    }

    /// Whether the function's namespace has them all.
    pub(crate) async fn check_secrets(
        &self,
        name: &FunctionName,
        secrets: &[SecretName],
    ) -> Result<(), DeployError> {
        // A function's namespace is one.
        let Ok(namespace) = name.namespace().parse::<Label>() else {
            return Ok(());
        };
        let store = Arc::clone(&self.secrets);
        let secrets = secrets.to_vec();
        let missing = on_disk(move || {
            let mut secrets = secrets.into_iter();
            secrets.find(|secret| !store.holds(&namespace, secret))
        });
        match missing.await {
            None => Ok(()),
            Some(secret) => Err(DeployError::NoSecret {
                secret,
                namespace: name.namespace().to_owned(),
            }),
        }
    }
}

/// The name of the image that clients of OpenFaaS see: the one that they sent, else for a bundle
/// one that means this very bundle.
pub(crate) fn image_name(function: &Function) -> String {
    let revision = &function.revision;
    let sent = revision.settings.openfaas.as_ref();
    match (&revision.run, sent.map(|asked| asked.image.as_str())) {
        (Run::Image(run), _) => run.image.clone(),
        (_, Some(sent)) if !sent.is_empty() => sent.to_owned(),
        _ => {
            let (name, bundle) = (function.name.name(), revision.short_bundle());
            format!("{OWN_REGISTRY}/{name}:{bundle}")
        }
    }
}

/// The beginning of a bundle's name in the name of an image.
fn bundle_in(image: &str) -> Option<&str> {
    let rest = image.strip_prefix(OWN_REGISTRY)?.strip_prefix('/')?;
    let (_, tag) = rest.rsplit_once(':')?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (tag.len() >= SHORTEST_BUNDLE && tag.bytes().all(hex)).then_some(tag)
}

/// The bundle of `built` with other settings.
fn with_settings(built: Revision, settings: Settings) -> Revision {
    // Names and numbers only: this always is JSON.
    let json = serde_json::to_vec(&(&built.bundle, &built.run, &settings)).unwrap_or_default();
    Revision {
        digest: Digest::of(&json).hex().to_owned(),
        settings,
        built_at: SystemTime::now(),
        ..built
    }
}

fn build_log(events: &Events) -> BuildLog {
    let events = events.clone();
    Arc::new(move |line| {
        events.push(match line {
            BuildLine::Step(text) => DeployEvent::Step {
                stage: DeployStage::Building,
                text,
            },
            BuildLine::Output(text) => DeployEvent::Output { text },
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_of_hobs_own_names_a_bundle() {
        let short = "0123456789ab";
        assert_eq!(bundle_in("hob.local/hello:0123456789ab"), Some(short));
        assert_eq!(bundle_in("hob.local/team/hello:0123456789ab"), Some(short));
        for other in [
            "hob.local/hello",
            "hob.local/hello:latest",
            "hob.local/hello:0123456789a",
            "hob.local/hello:0123456789AB",
            "hob.localhost/hello:0123456789ab",
            "registry.example.net/hello:0123456789ab",
        ] {
            assert_eq!(bundle_in(other), None, "{other}");
        }
    }
}

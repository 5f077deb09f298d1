//! Deploys of images.

use std::path::Path;

use clap::Args;
use hob_image::ImageRef;
use hob_model::{Manifest, NameError, SecretName, wire::ImageDeploy};
use http::Method;

use super::{Deployed, SettingArgs, follow, manifest_of};
use crate::{
    cli::progress::Progress,
    client::{Client, full},
    exit::Failure,
};

/// What a deploy of an image says on the command line.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    /// Image to run in place of a folder: registry.example.net/hello:1.0
    #[arg(
        long,
        value_name = "REF",
        group = "source",
        conflicts_with_all = ["filter", "regex", "skip_build"]
    )]
    image: Option<String>,
}

impl ImageArgs {
    /// Whether an image was named.
    pub(super) fn is_given(&self) -> bool {
        self.image.is_some()
    }

    /// The deploy that is asked for, if it is one of an image.
    pub(super) fn asked(
        self,
        folder: Option<&Path>,
        settings: &SettingArgs,
    ) -> anyhow::Result<Option<Box<ImageDeploy>>> {
        let Some(image) = self.image else {
            return Ok(None);
        };
        reference(&image)?;
        let mut manifest = folder.map_or(Ok(Manifest::default()), manifest_of)?;
        manifest.env.extend(settings.env()?);
        manifest.labels.extend(settings.labels()?);
        manifest.annotations.extend(settings.annotations()?);
        for name in settings.secrets() {
            let name: SecretName = name
                .parse()
                .map_err(|error: NameError| Failure::usage(error.to_string()))?;
            if !manifest.secrets.contains(&name) {
                manifest.secrets.push(name);
            }
        }
        Ok(Some(Box::new(ImageDeploy {
            image,
            manifest,
            openfaas: None,
        })))
    }
}

/// What a function is called that has no other name: the last part of the repository's.
pub(super) fn name_of(asked: &ImageDeploy) -> anyhow::Result<String> {
    if let Some(name) = &asked.manifest.name {
        return Ok(name.as_str().to_owned());
    }
    Ok(reference(&asked.image)?.function_name())
}

/// Has the server pull the image, and follows it to the end.
pub(super) async fn send(
    client: &Client,
    path: &str,
    asked: &ImageDeploy,
    progress: &Progress,
) -> anyhow::Result<Deployed> {
    let body = serde_json::to_vec(asked)?;
    let length = body.len() as u64;
    let answer = client
        .stream(Method::PUT, path, full(body), Some(length))
        .await?;
    follow(client.lines(answer), progress).await
}

fn reference(image: &str) -> Result<ImageRef, Failure> {
    image
        .parse()
        .map_err(|error: hob_image::ReferenceError| Failure::usage(error.to_string()))
}

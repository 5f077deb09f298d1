use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Fault;
use crate::FunctionName;

/// One line of the answer to `POST /hob/v1/images/build`, which is a stream of JSON lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum ImageEvent {
    /// hob begins a step.
    Step {
        /// "linux/arm64 on nothing".
        text: String,
    },
    /// A tool of the build wrote a line, or a transfer went on.
    Output {
        /// The line, without its end.
        text: String,
    },
    /// The last line of a build that worked.
    Done {
        /// What its name points to now.
        image: BuiltImage,
        /// From the end of the upload to this line, in milliseconds.
        millis: u64,
    },
    /// The last line of a build that did not.
    Failed {
        /// One line with the cause and the cure.
        message: String,
        /// Who is at fault.
        fault: Fault,
    },
}

/// An image that was built, as `hob build` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuiltImage {
    /// Its name in full.
    pub image: String,
    /// Digest of its manifest, or of the index over several platforms.
    pub digest: String,
    /// What a registry keeps for all platforms together, in bytes.
    pub size: u64,
    /// One for each platform, in the order in which they were asked for.
    pub platforms: Vec<BuiltPlatform>,
    /// Whether it was sent to its registry as well.
    pub pushed: bool,
    /// Bytes that were sent; what the registry had was not sent again.
    pub sent: u64,
}

/// One platform of an image that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuiltPlatform {
    /// `linux/arm64`.
    pub platform: String,
    /// Digest of its manifest.
    pub digest: String,
    /// What a registry sends for it, in bytes.
    pub size: u64,
}

/// What a function of an image is made of: the body of
/// `PUT /hob/v1/functions/NAME/image`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageDeploy {
    /// Name of the image: `registry.example.net/hello:1.0`.
    #[schema(min_length = 1)]
    pub image: String,
    /// What the function may do and use.
    #[serde(default)]
    pub manifest: crate::Manifest,
    /// What a client of OpenFaaS would ask for; it counts in place of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub openfaas: Option<Box<crate::openfaas::FunctionDeployment>>,
}

/// One name in the image store, as `hob image list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageSummary {
    /// The whole name.
    pub image: String,
    /// What it points to.
    pub digest: String,
    /// Platforms of which everything is on this machine.
    pub platforms: Vec<String>,
    /// Bytes of its blobs, compressed; blobs that other images have too are counted as well.
    pub size: u64,
    /// Whether a registry has it: then it can be pulled again.
    pub pulled: bool,
    /// Functions that run it.
    pub functions: Vec<FunctionName>,
}

/// What was pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneSummary {
    /// Names that are gone.
    pub images: Vec<String>,
    /// Bytes that are free now.
    pub bytes: u64,
}

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hob_image::{ImageOrder, MadeImage};
use hob_model::{
    Function, FunctionName,
    port::{BuildError, BuildLine, BuildLog, Packing, Source},
    wire::{BuiltImage, BuiltPlatform, Fault, ImageEvent},
};
use tempfile::TempPath;

use crate::{Control, events::Events};

/// What an image is made of.
pub(crate) enum ImageSource {
    /// A folder that somebody sent.
    Folder(PackedFolder),
    /// A function that is deployed.
    Deployed(Arc<Function>),
}

/// A folder that somebody sent. It goes with its build.
pub(crate) struct PackedFolder {
    /// The file that it is in.
    pub(crate) archive: TempPath,
    /// How it lies in there.
    pub(crate) packing: Packing,
}

// === impl Control ===

impl Control {
    /// Makes an image, and goes on to its end even when nobody reads the events.
    pub(crate) async fn build_image(
        self: Arc<Self>,
        function: FunctionName,
        from: ImageSource,
        order: ImageOrder,
        events: Events<ImageEvent>,
    ) {
        let began = Instant::now();
        let (name, log) = (order.image.to_string(), events.clone());
        // A task of its own, so that even a panic ends the answer with a proper last line.
        let work = tokio::spawn(async move {
            // Builds of one function use the same caches.
            let _turn = self.deploys.take(&function).await;
            let (builder, log) = (&self.image_builder, build_log(log));
            match from {
                ImageSource::Folder(folder) => {
                    let source = Source {
                        function,
                        archive: folder.archive.to_path_buf(),
                        packing: folder.packing,
                    };
                    builder.build_image(source, order, log).await
                }
                ImageSource::Deployed(deployed) => {
                    let _hold = self.bundles.hold().await;
                    builder.export_image(&deployed, order, log).await
                }
            }
        });
        events.finish(match work.await {
            Ok(Ok(made)) => done(name, &made, began.elapsed()),
            Ok(Err(error)) => ImageEvent::Failed {
                message: error.to_string(),
                fault: match error {
                    BuildError::Refused(_) | BuildError::Failed(_) => Fault::Caller,
                    BuildError::Missing(_) | BuildError::Host(_) => Fault::Host,
                },
            },
            Err(_) => ImageEvent::Failed {
                message: format!(
                    "building image `{name}` hit a fault in hob: see the server's log"
                ),
                fault: Fault::Host,
            },
        });
    }
}

fn done(image: String, made: &MadeImage, time: Duration) -> ImageEvent {
    let platforms = made.platforms.iter().map(|one| BuiltPlatform {
        platform: one.platform.to_string(),
        digest: one.digest.to_string(),
        size: one.size,
    });
    ImageEvent::Done {
        image: BuiltImage {
            image,
            digest: made.digest.to_string(),
            size: made.size,
            platforms: platforms.collect(),
            pushed: made.sent.is_some(),
            sent: made.sent.unwrap_or(0),
        },
        millis: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
    }
}

fn build_log(events: Events<ImageEvent>) -> BuildLog {
    Arc::new(move |line| {
        events.push(match line {
            BuildLine::Step(text) => ImageEvent::Step { text },
            BuildLine::Output(text) => ImageEvent::Output { text },
        });
    })
}

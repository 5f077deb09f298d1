use std::{fs::File, io, path::Path, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::header;
use tokio_util::io::ReaderStream;

use super::{
    error::ApiError,
    refusals::{Bad, Conflict, Missing},
    request::NamedFunction,
};
use crate::{Control, control::blocking};

/// A gzip-compressed tar of the function as a folder that runs without hob.
///
/// Put together on the disk first, so that whatever fails is an error and never half an archive.
#[utoipa::path(get, path = "/hob/v1/functions/{name}/export", tag = "functions",
    params(NamedFunction),
    responses((status = 200, content_type = "application/gzip"), Bad, Missing, Conflict))]
pub(super) async fn download(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
) -> Result<Response, ApiError> {
    let hold = control.bundles.hold().await;
    let function = control.function(&name)?;
    let (runtime, scratch) = (&control.config.runtime, control.scratch());
    let folder = blocking(runtime, move || {
        std::fs::create_dir_all(&scratch)?;
        tempfile::Builder::new()
            .prefix("export-")
            .tempdir_in(scratch)
    });
    let folder = folder.await.map_err(failed(&control))?;
    control.builder.export(&function, folder.path()).await?;
    drop(hold);

    let scratch = control.scratch();
    let packed = blocking(runtime, move || {
        let archive = pack(folder.path(), &scratch)?;
        let length = archive.metadata()?.len();
        folder.close()?;
        Ok((archive, length))
    });
    let (archive, length) = packed.await.map_err(failed(&control))?;
    let headers = [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.tar.gz\""),
        ),
    ];
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(archive)));
    Ok((headers, body).into_response())
}

/// Into a file without a name, at its beginning.
fn pack(folder: &Path, scratch: &Path) -> io::Result<File> {
    let archive = tempfile::tempfile_in(scratch)?;
    let mut tar = tar::Builder::new(GzEncoder::new(archive, Compression::fast()));
    tar.follow_symlinks(false);
    // No owner and no time: the same function gives the same archive.
    tar.mode(tar::HeaderMode::Deterministic);
    tar.append_dir_all(".", folder)?;
    let mut archive = tar.into_inner()?.finish()?;
    io::Seek::rewind(&mut archive)?;
    Ok(archive)
}

fn failed(control: &Control) -> impl Fn(io::Error) -> ApiError {
    let path = control.scratch();
    move |source| ApiError::Io {
        action: "pack the export in",
        path: path.clone(),
        source,
    }
}

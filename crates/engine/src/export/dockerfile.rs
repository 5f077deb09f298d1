//! `Dockerfile`.

use std::fmt::Write;

use hob_model::Run;
use hob_sandbox::CAGE_UID;

use super::Exported;

pub(super) fn text(exported: &Exported<'_>) -> String {
    let image = exported.image();
    if let Run::Static { root } = &exported.function.revision.run {
        return format!(
            "# Serves on port 8080.\nFROM {image}\nCOPY function/{root} /usr/share/nginx/html\n"
        );
    }
    let mut text = format!("FROM {image}\nWORKDIR /app\nCOPY run.sh ./\nCOPY function function\n");
    if let Some(install) = exported.install() {
        text.push_str(
            "# Built for this image: what the folder has was made for another machine.\n",
        );
        let _ = writeln!(text, "RUN cd function && {install}");
    }
    let _ = write!(
        text,
        "ENV HOST=0.0.0.0 PORT=8080 HOB_SECRETS=/run/secrets\nEXPOSE 8080\nUSER {CAGE_UID}:{CAGE_UID}\nCMD [\"sh\", \"run.sh\"]\n"
    );
    text
}

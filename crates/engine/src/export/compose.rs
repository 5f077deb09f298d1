//! `compose.yaml`.

use std::fmt::Write;

use super::Exported;

pub(super) fn text(exported: &Exported<'_>) -> String {
    let limits = &exported.function.revision.settings.limits;
    let mut text = format!(
        "services:\n  {}:\n    build: .\n    ports: [\"127.0.0.1:8080:8080\"]\n    restart: unless-stopped\n    \
         init: true\n    read_only: true\n    tmpfs: [\"/tmp:size={}\"]\n    cap_drop: [ALL]\n    \
         security_opt: [\"no-new-privileges:true\"]\n    mem_limit: {}\n    cpus: {}\n    pids_limit: {}\n",
        exported.name(),
        limits.tmp.0,
        limits.memory.0,
        f64::from(limits.cpu.0) / 1000.0,
        limits.pids
    );
    let secrets: Vec<_> = exported.secrets().collect();
    if !secrets.is_empty() {
        let _ = writeln!(
            text,
            "    secrets: [\"{}\"]\nsecrets:",
            secrets.join("\", \"")
        );
        for secret in secrets {
            let _ = writeln!(text, "  \"{secret}\":\n    file: \"./secrets/{secret}\"");
        }
    }
    text
}

//! `NAME.service`, for a machine with systemd 250 or newer.

use std::fmt::Write;

use super::Exported;

pub(super) fn text(exported: &Exported<'_>) -> String {
    let name = exported.name();
    let settings = &exported.function.revision.settings;
    let limits = &settings.limits;
    let mut text = format!(
        "[Unit]\nDescription=Function {name}\nAfter=network-online.target\nWants=network-online.target\n\n\
         [Service]\nExecStart=/bin/sh /opt/{name}/run.sh\nEnvironment=HOST=127.0.0.1 PORT=8080\n\
         Restart=on-failure\nTimeoutStopSec={}\n",
        settings.timeout.0.as_secs().max(1)
    );
    if exported.secrets().next().is_some() {
        text.push_str("Environment=HOB_SECRETS=%d\n");
    }
    for secret in exported.secrets() {
        let _ = writeln!(text, "LoadCredential={secret}:/etc/{name}/secrets/{secret}");
    }
    let _ = write!(
        text,
        "MemoryMax={}\nCPUQuota={}%\nTasksMax={}\nLimitNOFILE={}\n",
        limits.memory.0,
        (limits.cpu.0 / 10).max(1),
        limits.pids,
        limits.files
    );
    text.push_str(
        "DynamicUser=yes\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nPrivateDevices=yes\n\
         ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectControlGroups=yes\nProtectClock=yes\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\nRestrictNamespaces=yes\nRestrictSUIDSGID=yes\n\
         LockPersonality=yes\nCapabilityBoundingSet=\nNoNewPrivileges=yes\nSystemCallArchitectures=native\n\n\
         [Install]\nWantedBy=multi-user.target\n",
    );
    text
}

//! What every image without a base has: a user, a place for files that go away, and the
//! authorities of the public web. All of it comes out of hob, never from the machine.

use base64::{Engine, prelude::BASE64_STANDARD};
use hob_image::LayerFiles;
use hob_sandbox::CAGE_UID;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// Where most programs look for authorities.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// Characters of a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// Adds it to a layer.
pub(super) fn add(files: &mut LayerFiles) {
    let user = CAGE_UID;
    let passwd = format!(
        "root:x:0:0:root:/root:/sbin/nologin\nfunction:x:{user}:{user}:function:/tmp:/sbin/nologin\n"
    );
    files.bytes("etc/passwd", passwd.into_bytes());
    let group = format!("root:x:0:\nfunction:x:{user}:\n");
    files.bytes("etc/group", group.into_bytes());
    files.bytes(AUTHORITIES, authorities().into_bytes());
    files.folder("tmp", 0o1777);
}

fn authorities() -> String {
    let mut pem = String::new();
    for certificate in TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = BASE64_STANDARD.encode(certificate);
        for (at, character) in text.chars().enumerate() {
            if at > 0 && at % PEM_LINE == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem
}

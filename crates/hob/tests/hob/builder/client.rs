//! A client of the builder, by hand.

use std::{fs, io::Read, path::Path};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use crypto_box::{PublicKey, SalsaBox, SecretKey, aead::Aead};
use flate2::read::GzDecoder;
use hob_testkit::{Answer, Hob, Registry};
use http::Request;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use crate::bench::HOB;

/// As an owner makes one, with the newline that a file has at its end.
const PAYLOAD_SECRET: &str = "6f1c0d6e0a5b4f0f9a3a\n";
const CONFIG: &str = "com.openfaas.docker.config";
const SECRETS: &str = "com.openfaas.secrets";

/// A server whose builder is on.
pub(super) fn server() -> Hob {
    let hob = Hob::builder(HOB).env("BUILDAH_ISOLATION", "chroot").start();
    let set = ["secret", "set", "payload-secret", "--namespace", "openfaas"];
    hob.command().args(set).stdin(PAYLOAD_SECRET).run().ok();
    hob
}

/// The same, beside a registry that it may push to.
pub(super) fn server_with_registry() -> (Hob, Registry) {
    let (hob, registry) = (server(), Registry::start());
    let trust = ["registry", "trust", "--plain-http", &registry.name()];
    hob.cli(trust).ok();
    (hob, registry)
}

/// A request for a build, before it is sealed.
pub(super) struct Archive(tar::Builder<Vec<u8>>);

impl Default for Archive {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

impl Archive {
    /// With this configuration and a Dockerfile.
    pub(super) fn of(config: &Value, dockerfile: &str) -> Self {
        let archive = Self::default().file("context/Dockerfile", dockerfile);
        archive.file(CONFIG, config.to_string())
    }

    pub(super) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_ref())
    }

    pub(super) fn config(self, text: &str) -> Self {
        self.file(CONFIG, text)
    }

    /// Any entry, whatever is wrong with its name.
    pub(super) fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    /// With a file from this machine.
    pub(super) fn program(self, name: &str, path: &str) -> Self {
        self.file(name, fs::read(path).unwrap())
    }

    /// With secrets that only this server can open.
    pub(super) fn sealed(self, hob: &Hob, secrets: &[(&str, &str)]) -> Self {
        let key = hob.get("/publickey").expect(200).json();
        assert_eq!(key["algorithm"], "nacl/box");
        let public = key["public_key"].as_str().unwrap();
        let key_id = key["key_id"].as_str().unwrap();
        assert_eq!(key_id, &public[..8]);
        let public = BASE64_STANDARD.decode(public).unwrap();
        let sender = SecretKey::from_bytes([5; 32]);
        let sealer = SalsaBox::new(&PublicKey::from_slice(&public).unwrap(), &sender);
        let own = BASE64_STANDARD.encode(sender.public_key().as_bytes());
        let mut file = format!(
            "version: v1\nalgorithm: nacl/box\nkey_id: {key_id}\npublic_key: {own}\nsecrets:\n"
        );
        for (name, value) in secrets {
            let nonce = [3; 24];
            let sealed = sealer.encrypt(&nonce.into(), value.as_bytes()).unwrap();
            let value = BASE64_STANDARD.encode([&nonce[..], &sealed].concat());
            file.push_str(&format!("    {name}: {value}\n"));
        }
        self.file(SECRETS, file)
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(super) fn sign(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, PAYLOAD_SECRET.trim().as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// Sends a body with this signature; `accept` may ask for a stream.
pub(super) fn send(hob: &Hob, body: Vec<u8>, signature: Option<&str>, accept: &str) -> Answer {
    let mut request = Request::builder().method("POST").uri("/build");
    if let Some(signature) = signature {
        request = request.header("x-build-signature", signature);
    }
    let request = request.header("accept", accept);
    hob.send(request.body(Bytes::from(body)).unwrap())
}

/// Builds, and returns the one report.
#[track_caller]
pub(super) fn build(hob: &Hob, archive: Archive) -> Value {
    let body = archive.bytes();
    let signature = sign(&body);
    send(hob, body, Some(&signature), "application/json")
        .expect(200)
        .json()
}

/// Builds, and returns the reports as they come.
#[track_caller]
pub(super) fn stream(hob: &Hob, archive: Archive) -> Vec<Value> {
    let body = archive.bytes();
    let signature = sign(&body);
    let answer = send(hob, body, Some(&signature), "application/x-ndjson").expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines = answer.text().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Deploys what is in a registry, by the call of faas-cli, with no way out.
pub(super) fn deploy(hob: &Hob, name: &str, image: &str) {
    let login = BASE64_STANDARD.encode(format!("admin:{}", hob.password()));
    let asked = json!({"service": name, "image": image, "network": "none"});
    let request = Request::builder()
        .method("POST")
        .uri("/system/functions")
        .header("authorization", format!("Basic {login}"));
    let request = request.body(Bytes::from(asked.to_string())).unwrap();
    hob.send(request).expect(202);
}

/// Whether any file below this folder holds the text, as it is or compressed.
pub(super) fn holds(folder: &Path, text: &str) -> bool {
    let found = |bytes: &[u8]| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let data = path.symlink_metadata().unwrap();
        if path.is_dir() {
            return holds(&path, text);
        }
        if !data.is_file() {
            return false;
        }
        // What the kernel shows as a file need not be readable.
        let bytes = fs::read(&path).unwrap_or_default();
        let mut unpacked = Vec::new();
        let _ = GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked);
        found(&bytes) || found(&unpacked)
    })
}

/// Nothing is left where builds and uploads are put together.
pub(super) fn nothing_is_left(hob: &Hob) {
    let count = |path: &str| match fs::read_dir(hob.data().join(path)) {
        Ok(entries) => entries.count(),
        Err(_) => 0,
    };
    assert_eq!((count("tmp"), count("run/build-secrets")), (0, 0));
}

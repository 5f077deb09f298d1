//! A registry that does what a test tells it. No real one breaks off or lies on demand.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use hob_image::Digest;
use serde_json::json;

/// What the registry has, and how it misbehaves.
#[derive(Default)]
pub(super) struct Script {
    /// Answers by path, with their media type.
    pub(super) answers: HashMap<String, (String, Vec<u8>)>,
    /// Bytes after which the next answers for blobs break off, one number for each answer.
    pub(super) cuts: Vec<usize>,
    /// Whether the beginning of a blob can be left out.
    pub(super) ranges: bool,
    /// `user:password` in base64, where strangers are kept out.
    pub(super) login: Option<String>,
    /// What was asked for: path and range.
    pub(super) asked: Vec<(String, Option<String>)>,
}

#[derive(Clone)]
pub(super) struct Scripted {
    port: u16,
    pub(super) script: Arc<Mutex<Script>>,
}

impl Scripted {
    pub(super) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            port: listener.local_addr().unwrap().port(),
            script: Arc::new(Mutex::new(script)),
        };
        let serving = registry.clone();
        // It ends with the process of the tests.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.answer(&stream));
            }
        });
        registry
    }

    pub(super) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn asked(&self, part: &str) -> Vec<Option<String>> {
        let script = self.script.lock().unwrap();
        let asked = script.asked.iter().filter(|(path, _)| path.contains(part));
        asked.map(|(_, range)| range.clone()).collect()
    }

    /// One request for each connection.
    fn answer(&self, mut stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let Some(first) = lines.next() else { return };
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut range, mut login) = (None, None);
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "range" => range = Some(value.to_owned()),
                "authorization" => login = Some(value.to_owned()),
                _ => {}
            }
        }
        let answer = self.decide(&path, range.as_deref(), login.as_deref());
        // Whoever asked may have heard enough.
        let _ = stream.write_all(&answer);
    }

    fn decide(&self, path: &str, range: Option<&str>, login: Option<&str>) -> Vec<u8> {
        let mut script = self.script.lock().unwrap();
        script
            .asked
            .push((path.to_owned(), range.map(ToOwned::to_owned)));
        let wanted = script.login.as_ref().map(|login| format!("Basic {login}"));
        if wanted.is_some() && wanted.as_deref() != login {
            return b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
        }
        let Some((kind, bytes)) = script.answers.get(path).cloned() else {
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_vec();
        };
        let start = range
            .filter(|_| script.ranges)
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            })
            .unwrap_or(0_usize);
        let status = if start > 0 {
            "206 Partial Content"
        } else {
            "200 OK"
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bytes.len() - start
        )
        .into_bytes();
        let mut body = &bytes[start..];
        if path.contains("/blobs/") && !script.cuts.is_empty() {
            let cut = script.cuts.remove(0);
            body = &body[..cut.min(body.len())];
        }
        answer.extend(body);
        answer
    }
}

/// A layer of one large file that does not compress, a configuration and a manifest.
pub(super) struct Made {
    pub(super) layer: Vec<u8>,
    pub(super) config: Vec<u8>,
}

impl Made {
    pub(super) fn new(bytes: usize) -> Self {
        let mut state = 1_u32;
        let content: Vec<u8> = (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "content", content.as_slice())
            .unwrap();
        let layer = tar.into_inner().unwrap();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/content"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
        });
        Self {
            layer,
            config: config.to_string().into_bytes(),
        }
    }

    pub(super) fn manifest(&self) -> serde_json::Value {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&self.config), "size": self.config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": Digest::of(&self.layer), "size": self.layer.len(),
            }],
        })
    }

    /// A registry that has it as `hello:1`.
    pub(super) fn script(&self) -> Script {
        let mut script = Script {
            ranges: true,
            ..Script::default()
        };
        script.put_manifest("1", &self.manifest());
        script.put_blob(&Digest::of(&self.config), self.config.clone());
        script.put_blob(&Digest::of(&self.layer), self.layer.clone());
        script
            .answers
            .insert("/v2/".into(), ("application/json".into(), b"{}".to_vec()));
        script
    }
}

impl Script {
    pub(super) fn put_manifest(&mut self, tag: &str, manifest: &serde_json::Value) {
        let kind = manifest["mediaType"].as_str().unwrap_or("application/json");
        let answer = (kind.to_owned(), manifest.to_string().into_bytes());
        let path = format!("/v2/hello/manifests/{tag}");
        self.answers.insert(path, answer);
    }

    pub(super) fn put_blob(&mut self, digest: &Digest, bytes: Vec<u8>) {
        let answer = ("application/octet-stream".to_owned(), bytes);
        self.answers
            .insert(format!("/v2/hello/blobs/{digest}"), answer);
    }
}

//! The cases of the conformance suite of the OCI distribution specification 1.1, by its four
//! categories and under its own names where it has one, over plain HTTP.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hob_testkit::{Answer, Hob};
use http::{Request, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bench::HOB;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry under test, and what earlier answers said.
pub(crate) struct Suite {
    pub(crate) hob: Hob,
    said: BTreeMap<String, String>,
    table: Vec<String>,
    failed: usize,
}

/// One request and what must come back.
pub(crate) struct Case<'a> {
    pub(crate) says: &'a str,
    pub(crate) ask: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: Bytes,
    pub(crate) status: u16,
    /// Headers of the answer that must be so; `*` is anything but nothing.
    pub(crate) answer: &'a [(&'a str, &'a str)],
    /// Code in the error's body.
    pub(crate) code: &'a str,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            says: "",
            ask: "",
            headers: &[],
            body: Bytes::new(),
            status: 200,
            answer: &[],
            code: "",
        }
    }
}

impl Suite {
    pub(crate) fn new() -> Self {
        Self {
            hob: Hob::builder(HOB).args(["--registry"]).start(),
            said: BTreeMap::new(),
            table: Vec::new(),
            failed: 0,
        }
    }

    /// Fills in `{word}`.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, value) in &self.said {
            text = text.replace(&format!("{{{word}}}"), value);
        }
        text
    }

    pub(crate) fn set(&mut self, word: &str, value: impl Into<String>) {
        self.said.insert(word.into(), value.into());
    }

    fn title(&mut self, title: &str) {
        self.table.push(format!("## {title}"));
    }

    pub(crate) fn ask(&mut self, case: Case<'_>) -> Answer {
        let ask = self.fill(case.ask);
        let (method, path) = ask.split_once(' ').unwrap();
        let login = STANDARD.encode(format!("admin:{}", self.hob.password()));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Basic {login}"));
        for (name, value) in case.headers {
            request = request.header(*name, self.fill(value));
        }
        let answer = self.hob.send(request.body(case.body).unwrap());
        let mut problems = Vec::new();
        if answer.status.as_u16() != case.status {
            problems.push(format!("status {}, not {}", answer.status, case.status));
        }
        for (name, expected) in case.answer {
            let (found, expected) = (answer.header(name), self.fill(expected));
            if found.is_empty() || (expected != "*" && found != expected) {
                problems.push(format!("{name} is `{found}`, not `{expected}`"));
            }
        }
        if !case.code.is_empty() {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let error = &body["errors"][0];
            if error["code"] != case.code || error["message"].as_str().unwrap_or("").is_empty() {
                problems.push(format!("the error is {body}, not {}", case.code));
            }
        }
        if answer.header("docker-distribution-api-version") != "registry/2.0" {
            problems.push("no API version".to_owned());
        }
        let mark = if problems.is_empty() { "ok  " } else { "FAIL" };
        let line = format!("{mark} {} {} {}", answer.status.as_u16(), method, case.says);
        self.table.push(
            format!("{line} {}", problems.join("; "))
                .trim_end()
                .to_owned(),
        );
        self.failed += usize::from(!problems.is_empty());
        if !answer.header("location").is_empty() {
            self.set("location", answer.header("location"));
        }
        answer
    }

    /// A case that is about more than the head of an answer.
    fn also(&mut self, says: &str, good: bool) {
        let mark = if good { "ok  " } else { "FAIL" };
        self.table.push(format!("{mark}     {says}"));
        self.failed += usize::from(!good);
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Value {
        self.blob_to("test/one", "application/octet-stream", bytes)
    }

    /// Pushes a blob in one request; returns its descriptor.
    pub(crate) fn blob_to(&mut self, name: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.ask(Case {
            says: "blob in one request",
            ask: &format!("POST /v2/{name}/blobs/uploads/?digest={digest}"),
            body: Bytes::copy_from_slice(bytes),
            status: 201,
            answer: &[
                ("location", &format!("/v2/{name}/blobs/{digest}")),
                ("docker-content-digest", &digest),
            ],
            ..Case::default()
        });
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Pushes a manifest; returns its descriptor.
    pub(crate) fn manifest(&mut self, name: &str, reference: &str, manifest: &Value) -> Value {
        let text = manifest.to_string();
        let digest = digest(text.as_bytes());
        let media_type = manifest["mediaType"].as_str().unwrap();
        let reference = if reference.is_empty() {
            &digest
        } else {
            reference
        };
        let subject = manifest["subject"]["digest"].as_str();
        let mut answer = vec![
            ("location", format!("/v2/{name}/manifests/{digest}")),
            ("docker-content-digest", digest.clone()),
        ];
        answer.extend(subject.map(|subject| ("oci-subject", subject.to_owned())));
        let answer: Vec<_> = answer.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.ask(Case {
            says: "manifest",
            ask: &format!("PUT /v2/{name}/manifests/{reference}"),
            headers: &[("content-type", media_type)],
            body: text.clone().into(),
            status: 201,
            answer: &answer,
            ..Case::default()
        });
        json!({"mediaType": media_type, "digest": digest, "size": text.len()})
    }

    /// Fails with the whole table if one case did.
    pub(crate) fn end(self) {
        let table = self.table.join("\n");
        eprintln!("{table}");
        assert_eq!(self.failed, 0, "\n{table}");
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

pub(crate) fn image(config: &Value, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

const NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856";

#[test]
fn pull() {
    let mut suite = Suite::new();
    suite.title("setup");
    let config = suite.blob_to("test/one", CONFIG, b"{\"config\":1}");
    let layer = suite.blob_to("test/one", LAYER, b"a layer");
    let manifest = image(&config, std::slice::from_ref(&layer));
    let pushed = suite.manifest("test/one", "v1", &manifest);
    let text = manifest.to_string();
    let (blob, manifest) = (
        layer["digest"].as_str().unwrap(),
        pushed["digest"].as_str().unwrap(),
    );
    suite.set("blob", blob);
    suite.set("manifest", manifest);
    suite.set("nothing", NOTHING);

    suite.title("pull: the API");
    for ask in ["GET /v2/", "GET /v2", "HEAD /v2/"] {
        suite.ask(Case {
            says: "is there",
            ask,
            ..Case::default()
        });
    }
    suite.title("pull: blobs");
    let blob_is = [
        ("content-length", "7"),
        ("docker-content-digest", "{blob}"),
        ("content-type", "application/octet-stream"),
        ("accept-ranges", "bytes"),
    ];
    for (says, ask, status, code) in [
        (
            "request to nonexistent blob should result in 404 response",
            "HEAD /v2/test/one/blobs/{nothing}",
            404,
            "",
        ),
        (
            "request to nonexistent blob should result in 404 response",
            "GET /v2/test/one/blobs/{nothing}",
            404,
            "BLOB_UNKNOWN",
        ),
        (
            "a digest that is none",
            "GET /v2/test/one/blobs/sha256:12",
            400,
            "DIGEST_INVALID",
        ),
    ] {
        suite.ask(Case {
            says,
            ask,
            status,
            code,
            ..Case::default()
        });
    }
    for ask in [
        "HEAD /v2/test/one/blobs/{blob}",
        "GET /v2/test/one/blobs/{blob}",
    ] {
        let says = "request to existing blob URL should yield 200";
        let answer = suite.ask(Case {
            says,
            ask,
            answer: &blob_is,
            ..Case::default()
        });
        suite.also(
            "and its bytes",
            answer.body == if ask.starts_with('G') { "a layer" } else { "" },
        );
    }
    let escaped = blob.replace(':', "%3A");
    let ask = format!("GET /v2/test/one/blobs/{escaped}");
    suite.ask(Case {
        says: "with the colon escaped",
        ask: &ask,
        ..Case::default()
    });
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, "bytes 2-4/7", "lay"),
        ("bytes=5-", 206, "bytes 5-6/7", "er"),
        ("bytes=-1", 206, "bytes 6-6/7", "r"),
        ("bytes=7-", 416, "bytes */7", ""),
    ] {
        let answer = suite.ask(Case {
            says: "a range of a blob",
            ask: "GET /v2/test/one/blobs/{blob}",
            headers: &[("range", range)],
            status,
            answer: &[("content-range", content_range)],
            ..Case::default()
        });
        suite.also("and its bytes", body.is_empty() || answer.body == body);
    }
    suite.title("pull: manifests");
    for ask in [
        "HEAD /v2/test/one/manifests/{nothing}",
        "GET /v2/test/one/manifests/{nothing}",
        "GET /v2/test/one/manifests/.INVALID_MANIFEST_NAME",
        "GET /v2/test/one/manifests/none",
        "GET /v2/none/manifests/v1",
        "GET /v2/test/one/manifests/{blob}",
    ] {
        let says = "nonexistent manifest should return 404";
        let code = if ask.starts_with('G') {
            "MANIFEST_UNKNOWN"
        } else {
            ""
        };
        suite.ask(Case {
            says,
            ask,
            status: 404,
            code,
            ..Case::default()
        });
    }
    let length = text.len().to_string();
    for ask in [
        "HEAD /v2/test/one/manifests/{manifest}",
        "HEAD /v2/test/one/manifests/v1",
        "GET /v2/test/one/manifests/{manifest}",
        "GET /v2/test/one/manifests/v1",
    ] {
        let answer = suite.ask(Case {
            says: "request to manifest path (digest, tag) should yield 200 response",
            ask,
            headers: &[("accept", MANIFEST)],
            answer: &[
                ("content-type", MANIFEST),
                ("content-length", &length),
                ("docker-content-digest", "{manifest}"),
            ],
            ..Case::default()
        });
        suite.also(
            "and its bytes",
            answer.body
                == if ask.starts_with('G') {
                    text.as_str()
                } else {
                    ""
                },
        );
    }
    suite.title("pull: error codes");
    suite.ask(Case {
        says: "400 response body should contain OCI-conforming JSON message",
        ask: "PUT /v2/test/one/manifests/sha256:totallywrong",
        headers: &[("content-type", MANIFEST)],
        body: "blablabla".into(),
        status: 400,
        code: "DIGEST_INVALID",
        ..Case::default()
    });
    for (ask, status, code) in [
        ("GET /v2/Upper/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/../b/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/b", 404, "NAME_UNKNOWN"),
        ("PATCH /v2/test/one/manifests/v1", 405, "UNSUPPORTED"),
        ("GET /v2/test/one/tags/list?n=x", 400, "UNSUPPORTED"),
    ] {
        suite.ask(Case {
            says: ask,
            ask,
            status,
            code,
            ..Case::default()
        });
    }
    suite.end();
}

#[test]
fn push() {
    let mut suite = Suite::new();
    suite.title("push: blob upload streamed");
    let (one, two) = ("first half, ", "second half");
    let whole = format!("{one}{two}");
    let chunked = digest(whole.as_bytes());
    suite.set("digest", &*chunked);
    suite.set("one", digest(one.as_bytes()));
    suite.set("nothing", NOTHING);
    let begin = || Case {
        says: "request to begin an upload should yield a session",
        ask: "POST /v2/test/one/blobs/uploads/",
        headers: &[("content-length", "0")],
        status: 202,
        answer: &[
            ("location", "*"),
            ("range", "0-0"),
            ("docker-upload-uuid", "*"),
        ],
        ..Case::default()
    };
    suite.ask(begin());
    suite.ask(Case {
        says: "request with blob in body should yield 202 response",
        ask: "PATCH {location}",
        body: one.into(),
        status: 202,
        answer: &[("location", "*"), ("range", "0-11")],
        ..Case::default()
    });
    suite.ask(Case {
        says: "request to session URL with digest should yield 201 response",
        ask: "PUT {location}?digest={one}",
        status: 201,
        answer: &[("location", "/v2/test/one/blobs/{one}")],
        ..Case::default()
    });
    suite.ask(Case {
        says: "the session is gone",
        ask: "GET {location}/../uploads/0",
        status: 404,
        ..Case::default()
    });

    suite.title("push: blob upload monolithic");
    suite.ask(Case {
        says: "nonexistent blob should result in 404 response",
        ask: "GET /v2/test/one/blobs/{digest}",
        status: 404,
        code: "BLOB_UNKNOWN",
        ..Case::default()
    });
    suite.ask(begin());
    suite.ask(Case {
        says: "upload of a blob should yield a 201 response",
        ask: "PUT {location}?digest={digest}",
        body: whole.clone().into(),
        headers: &[("content-type", "application/octet-stream")],
        status: 201,
        answer: &[
            ("location", "/v2/test/one/blobs/{digest}"),
            ("docker-content-digest", "{digest}"),
        ],
        ..Case::default()
    });
    suite.ask(Case {
        says: "request to existing blob should yield 200 response",
        ask: "GET {location}",
        answer: &[("content-length", "23")],
        ..Case::default()
    });
    suite.blob(b"with digest and blob in one request");
    suite.ask(Case {
        says: "wrong digest",
        ask: "POST /v2/test/one/blobs/uploads/?digest={nothing}",
        body: "x".into(),
        status: 400,
        code: "DIGEST_INVALID",
        ..Case::default()
    });
    suite.ask(Case {
        says: "no digest",
        ask: "POST /v2/test/one/blobs/uploads/?digest=md5:12",
        body: "x".into(),
        status: 400,
        code: "DIGEST_INVALID",
        ..Case::default()
    });
    suite.ask(Case { says: "the empty blob", ask: "POST /v2/test/one/blobs/uploads/?digest=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", status: 201, ..Case::default() });
    suite.ask(Case {
        says: "the empty blob comes back",
        ask: "GET {location}",
        answer: &[("content-length", "0")],
        ..Case::default()
    });

    suite.title("push: blob upload chunked");
    suite.ask(begin());
    let chunk = |ask, range, body: &str, status| Case {
        says: "chunk",
        ask,
        headers: range,
        body: body.to_owned().into(),
        status,
        ..Case::default()
    };
    suite.ask(Case {
        says: "out-of-order blob upload should return 416",
        answer: &[("location", "*")],
        ..chunk("PATCH {location}", &[("content-range", "12-22")], two, 416)
    });
    suite.ask(Case {
        says: "request with first chunk should return 202",
        answer: &[("location", "*"), ("range", "0-11")],
        ..chunk("PATCH {location}", &[("content-range", "0-11")], one, 202)
    });
    suite.ask(Case {
        says: "retry previous blob chunk should return 416",
        answer: &[("range", "0-11")],
        ..chunk("PATCH {location}", &[("content-range", "0-11")], one, 416)
    });
    suite.ask(Case {
        says: "get on stale blob upload should return 204 with a range and location",
        ask: "GET {location}",
        status: 204,
        answer: &[("location", "*"), ("range", "0-11")],
        ..Case::default()
    });
    suite.ask(Case {
        says: "a chunk of another length",
        code: "SIZE_INVALID",
        ..chunk("PATCH {location}", &[("content-range", "12-20")], two, 400)
    });
    suite.ask(Case {
        says: "a range that is none",
        code: "BLOB_UPLOAD_INVALID",
        ..chunk("PATCH {location}", &[("content-range", "x")], two, 416)
    });
    suite.ask(Case {
        says: "request with second chunk should return 202",
        answer: &[("range", "0-22")],
        ..chunk("PATCH {location}", &[("content-range", "12-22")], two, 202)
    });
    suite.ask(Case {
        says: "request with digest should return 201",
        answer: &[("location", "/v2/test/one/blobs/{digest}")],
        ..chunk("PUT {location}?digest={digest}", &[], "", 201)
    });
    suite.ask(begin());
    suite.ask(chunk(
        "PATCH {location}",
        &[("content-range", "0-11")],
        one,
        202,
    ));
    suite.ask(Case {
        says: "last chunk with the digest",
        ..chunk(
            "PUT {location}?digest={digest}",
            &[("content-range", "12-22")],
            two,
            201,
        )
    });
    suite.ask(begin());
    suite.ask(Case {
        says: "end without a digest",
        code: "DIGEST_INVALID",
        ..chunk("PUT {location}", &[], "", 400)
    });
    suite.ask(Case {
        says: "another repository's session",
        ask: "GET /v2/test/two/blobs/uploads/x",
        status: 404,
        code: "BLOB_UPLOAD_UNKNOWN",
        ..Case::default()
    });
    suite.ask(Case {
        says: "an upload is given up",
        ask: "DELETE {location}",
        status: 204,
        ..Case::default()
    });
    suite.ask(Case {
        says: "and is gone",
        ask: "GET {location}",
        status: 404,
        code: "BLOB_UPLOAD_UNKNOWN",
        ..Case::default()
    });

    suite.title("push: cross-repository blob mount");
    suite.ask(Case {
        says: "cross-mounting of a blob without the from argument",
        ask: "POST /v2/test/two/blobs/uploads/?mount={digest}",
        status: 201,
        answer: &[("location", "/v2/test/two/blobs/{digest}")],
        ..Case::default()
    });
    suite.ask(Case {
        says: "request to mount another repository's blob should return 201 or 202",
        ask: "POST /v2/test/two/blobs/uploads/?mount={digest}&from=test/one",
        status: 201,
        answer: &[("location", "/v2/test/two/blobs/{digest}")],
        ..Case::default()
    });
    suite.ask(Case {
        says: "request to test digest within cross-mount namespace should return 200",
        ask: "GET {location}",
        ..Case::default()
    });
    suite.ask(Case {
        says: "cross-mounting of nonexistent blob should yield session id",
        ask: "POST /v2/test/two/blobs/uploads/?mount={nothing}&from=test/one",
        status: 202,
        answer: &[("location", "*"), ("docker-upload-uuid", "*")],
        ..Case::default()
    });

    suite.title("push: manifest upload");
    let config = suite.blob_to("test/one", CONFIG, b"{}");
    let layer = suite.blob_to("test/one", LAYER, b"layer");
    let manifest = image(&config, std::slice::from_ref(&layer));
    for tag in ["test0", "test1", "test2", "test3", "A_b-9.Z"] {
        suite.manifest("test/one", tag, &manifest);
    }
    suite.manifest("test/one", "", &manifest);
    suite.title("push: registry should accept a manifest upload with no layers");
    let empty = suite.manifest("test/one", "emptylayer", &image(&config, &[]));
    suite.title("push: all media types");
    let mut docker = image(&config, &[layer]);
    docker["mediaType"] = json!(DOCKER_MANIFEST);
    let docker = suite.manifest("test/one", "docker", &docker);
    suite.manifest(
        "test/one",
        "index",
        &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [empty]}),
    );
    suite.manifest(
        "test/one",
        "list",
        &json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [docker]}),
    );
    suite.ask(Case {
        says: "a list keeps its type",
        ask: "GET /v2/test/one/manifests/list",
        answer: &[("content-type", DOCKER_LIST)],
        ..Case::default()
    });

    suite.title("push: manifests that are refused");
    let absent = json!({"mediaType": CONFIG, "digest": NOTHING, "size": 1});
    let mut smaller = config.clone();
    smaller["size"] = json!(1);
    let mut other_type = image(&config, &[]);
    other_type["mediaType"] = json!(INDEX);
    for (says, body, status, code) in [
        (
            "config is not here",
            image(&absent, &[]).to_string(),
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            "layer is not here",
            image(&config, std::slice::from_ref(&absent)).to_string(),
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            "child is not here",
            json!({"schemaVersion": 2, "manifests": [absent]}).to_string(),
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            "wrong size",
            image(&smaller, &[]).to_string(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "another type inside",
            other_type.to_string(),
            400,
            "MANIFEST_INVALID",
        ),
        ("no manifest", "blablabla".into(), 400, "MANIFEST_INVALID"),
        (
            "schema 1",
            "{\"schemaVersion\": 1}".into(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "over 4 MiB",
            " ".repeat((4 << 20) + 1),
            413,
            "MANIFEST_INVALID",
        ),
    ] {
        suite.ask(Case {
            says,
            ask: "PUT /v2/test/one/manifests/refused",
            headers: &[("content-type", MANIFEST)],
            body: body.into(),
            status,
            code,
            ..Case::default()
        });
    }
    for (says, ask, code) in [
        (
            "another digest",
            "PUT /v2/test/one/manifests/{nothing}",
            "DIGEST_INVALID",
        ),
        (
            "no tag",
            "PUT /v2/test/one/manifests/-x",
            "MANIFEST_INVALID",
        ),
    ] {
        suite.ask(Case {
            says,
            ask,
            headers: &[("content-type", MANIFEST)],
            body: manifest.to_string().into(),
            status: 400,
            code,
            ..Case::default()
        });
    }
    suite.ask(Case {
        says: "nothing of it has a name",
        ask: "GET /v2/test/one/manifests/refused",
        status: 404,
        code: "MANIFEST_UNKNOWN",
        ..Case::default()
    });
    suite.end();
}

#[test]
fn content_discovery() {
    let mut suite = Suite::new();
    suite.title("setup");
    suite.set("nothing", NOTHING);
    let config = suite.blob_to("test/one", CONFIG, b"{}");
    let empty = suite.blob_to("test/one", EMPTY, b"{ }");
    let layer = suite.blob_to("test/one", LAYER, b"layer");
    let manifest = image(&config, std::slice::from_ref(&layer));
    for tag in ["test2", "test0", "test3", "test1"] {
        suite.manifest("test/one", tag, &manifest);
    }
    let subject = suite.manifest("test/one", "TAG", &image(&config, &[]));
    suite.manifest("another", "v1", &image(&config, &[]));

    suite.title("content discovery: tags");
    for (says, query, expected, link) in [
        (
            "request to list tags should yield 200 response",
            "",
            json!(["TAG", "test0", "test1", "test2", "test3"]),
            "",
        ),
        (
            "number of tags should be limitable by `n` query parameter",
            "?n=2",
            json!(["TAG", "test0"]),
            "</v2/test/one/tags/list?n=2&last=test0>; rel=\"next\"",
        ),
        (
            "start of tag is set by `last` query parameter",
            "?n=2&last=test0",
            json!(["test1", "test2"]),
            "</v2/test/one/tags/list?n=2&last=test2>; rel=\"next\"",
        ),
        ("the last page", "?n=2&last=test2", json!(["test3"]), ""),
        (
            "a page of just the rest",
            "?n=1&last=test2",
            json!(["test3"]),
            "",
        ),
        ("`last` alone", "?last=test1", json!(["test2", "test3"]), ""),
        ("`n` of none", "?n=0", json!([]), ""),
        ("beyond the end", "?last=zzz", json!([]), ""),
    ] {
        let ask = format!("GET /v2/test/one/tags/list{query}");
        let answer = suite.ask(Case {
            says,
            ask: &ask,
            answer: &[("content-type", "application/json")],
            ..Case::default()
        });
        suite.also(
            "the tags, in order",
            answer.json() == json!({"name": "test/one", "tags": expected}),
        );
        suite.also("the link", answer.header("link") == link);
    }
    suite.ask(Case {
        says: "unknown repository",
        ask: "GET /v2/none/tags/list",
        status: 404,
        code: "NAME_UNKNOWN",
        ..Case::default()
    });
    for (query, expected, link) in [
        ("", json!(["another", "test/one"]), ""),
        (
            "?n=1",
            json!(["another"]),
            "</v2/_catalog?n=1&last=another>; rel=\"next\"",
        ),
        ("?last=another", json!(["test/one"]), ""),
    ] {
        let ask = format!("GET /v2/_catalog{query}");
        let answer = suite.ask(Case {
            says: "the catalog",
            ask: &ask,
            ..Case::default()
        });
        suite.also(
            "and its names",
            answer.json() == json!({"repositories": expected}) && answer.header("link") == link,
        );
    }

    suite.title("content discovery: referrers");
    let artifact = |subject: &Value, kind: &str, config: &Value, note: &str| {
        let mut artifact = image(config, std::slice::from_ref(&layer));
        artifact["subject"] = subject.clone();
        artifact["annotations"] = json!({"note": note});
        if !kind.is_empty() {
            artifact["artifactType"] = json!(kind);
        }
        artifact
    };
    let odd = suite.blob_to(
        "test/one",
        "application/vnd.nhl.peanut.butter.bagel",
        b"odd",
    );
    let a = suite.manifest("test/one", "", &artifact(&subject, "", &odd, "config"));
    let b = suite.manifest(
        "test/one",
        "",
        &artifact(&subject, "application/vnd.food.stuff", &empty, "type"),
    );
    let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [b], "subject": subject, "artifactType": "application/vnd.food.stuff"});
    let c = suite.manifest("test/one", "tagged", &index);
    let absent = json!({"mediaType": MANIFEST, "digest": NOTHING, "size": 5});
    let d = suite.manifest(
        "test/one",
        "",
        &artifact(&absent, "application/x", &empty, ""),
    );
    index["annotations"] = json!({"twin": "elsewhere"});
    suite.blob_to("another", EMPTY, b"{ }");

    let digests = |answer: &Answer| -> Vec<String> {
        let body = answer.json();
        let entries = body["manifests"].as_array().unwrap().iter();
        let mut digests: Vec<_> = entries
            .map(|it| it["digest"].as_str().unwrap().to_owned())
            .collect();
        digests.sort();
        digests
    };
    let sorted = |all: &[&Value]| {
        let mut all: Vec<_> = all
            .iter()
            .map(|it| it["digest"].as_str().unwrap().to_owned())
            .collect();
        all.sort();
        all
    };
    suite.set("subject", subject["digest"].as_str().unwrap());
    let kind = [("content-type", INDEX)];
    let says = "request to existing blob should yield 200";
    let answer = suite.ask(Case {
        says,
        ask: "GET /v2/test/one/referrers/{subject}",
        answer: &kind,
        ..Case::default()
    });
    suite.also(
        "all that are about it",
        digests(&answer) == sorted(&[&a, &b, &c]),
    );
    suite.also("it is an index", answer.json()["mediaType"] == INDEX);
    let body = answer.json();
    let entries = body["manifests"].as_array().unwrap();
    let find = |of: &Value| {
        entries
            .iter()
            .find(|it| it["digest"] == of["digest"])
            .unwrap()
            .clone()
    };
    suite.also(
        "the type of a configuration",
        find(&a)["artifactType"] == "application/vnd.nhl.peanut.butter.bagel",
    );
    suite.also(
        "the type of an artifact",
        find(&b)["artifactType"] == "application/vnd.food.stuff",
    );
    suite.also(
        "the type of an index",
        find(&c)["artifactType"] == "application/vnd.food.stuff" && find(&c)["mediaType"] == INDEX,
    );
    suite.also(
        "annotations",
        find(&b)["annotations"]["note"] == "type" && find(&b)["size"] == b["size"],
    );
    let answer = suite.ask(Case {
        says: "request to existing blob with filter should yield 200",
        ask: "GET /v2/test/one/referrers/{subject}?artifactType=application/vnd.food.stuff",
        answer: &[("oci-filters-applied", "artifactType")],
        ..Case::default()
    });
    suite.also("those of the type", digests(&answer) == sorted(&[&b, &c]));
    let answer = suite.ask(Case {
        says: "request to missing manifest should yield 200",
        ask: "GET /v2/test/one/referrers/{nothing}",
        answer: &kind,
        ..Case::default()
    });
    suite.also("all that are about it", digests(&answer) == sorted(&[&d]));
    for ask in [
        "GET /v2/another/referrers/{subject}",
        "GET /v2/none/referrers/{subject}",
    ] {
        let answer = suite.ask(Case {
            says: "request to nonexistent blob should result in empty 200 response",
            ask,
            answer: &kind,
            ..Case::default()
        });
        suite.also("none", digests(&answer).is_empty());
    }
    suite.ask(Case {
        says: "a digest that is none",
        ask: "GET /v2/test/one/referrers/x",
        status: 400,
        code: "DIGEST_INVALID",
        ..Case::default()
    });
    suite.title("content discovery: a referrer outlives its tag");
    suite.manifest("test/one", "tagged", &image(&config, &[]));
    let answer = suite.ask(Case {
        says,
        ask: "GET /v2/test/one/referrers/{subject}",
        ..Case::default()
    });
    suite.also("still all", digests(&answer) == sorted(&[&a, &b, &c]));
    suite.end();
}

#[test]
fn content_management() {
    let mut suite = Suite::new();
    suite.title("setup");
    suite.set("nothing", NOTHING);
    let config = suite.blob_to("test/one", CONFIG, b"{}");
    let layer = suite.blob_to("test/one", LAYER, b"layer");
    let manifest = image(&config, std::slice::from_ref(&layer));
    let pushed = suite.manifest("test/one", "first", &manifest);
    suite.manifest("test/one", "second", &manifest);
    suite.manifest("test/one", "third", &manifest);
    suite.manifest("test/two", "v1", &manifest);
    suite.set("manifest", pushed["digest"].as_str().unwrap());
    suite.set("layer", layer["digest"].as_str().unwrap());

    suite.title("content management: manifest delete");
    let ok = |says, ask, status, code| Case {
        says,
        ask,
        status,
        code,
        ..Case::default()
    };
    suite.ask(ok(
        "request to manifest tag should return 202, unless tag deletion is disallowed",
        "DELETE /v2/test/one/manifests/first",
        202,
        "",
    ));
    suite.ask(ok(
        "the tag is gone",
        "GET /v2/test/one/manifests/first",
        404,
        "MANIFEST_UNKNOWN",
    ));
    suite.ask(ok(
        "the manifest is not",
        "GET /v2/test/one/manifests/{manifest}",
        200,
        "",
    ));
    suite.ask(ok(
        "nor is another tag of it",
        "GET /v2/test/one/manifests/second",
        200,
        "",
    ));
    suite.ask(ok(
        "blobs of a manifest stay",
        "DELETE /v2/test/one/blobs/{layer}",
        405,
        "UNSUPPORTED",
    ));
    suite.ask(ok(
        "request to manifest (digest) should yield 202 response unless already deleted",
        "DELETE /v2/test/one/manifests/{manifest}",
        202,
        "",
    ));
    suite.ask(ok(
        "request to deleted manifest URL should yield 404 response, unless delete is disallowed",
        "GET /v2/test/one/manifests/{manifest}",
        404,
        "MANIFEST_UNKNOWN",
    ));
    suite.ask(ok(
        "its tags went with it",
        "GET /v2/test/one/manifests/third",
        404,
        "MANIFEST_UNKNOWN",
    ));
    suite.ask(ok(
        "request to tags list should reflect manifest deletion",
        "GET /v2/test/one/tags/list",
        404,
        "NAME_UNKNOWN",
    ));
    suite.ask(ok(
        "once more",
        "DELETE /v2/test/one/manifests/{manifest}",
        404,
        "MANIFEST_UNKNOWN",
    ));
    suite.ask(ok(
        "a tag that is not there",
        "DELETE /v2/test/one/manifests/first",
        404,
        "MANIFEST_UNKNOWN",
    ));
    suite.ask(ok(
        "what is no reference",
        "DELETE /v2/test/one/manifests/-",
        404,
        "MANIFEST_UNKNOWN",
    ));
    suite.ask(ok(
        "another repository still has it",
        "GET /v2/test/two/manifests/v1",
        200,
        "",
    ));
    suite.ask(ok(
        "by its digest too",
        "GET /v2/test/two/manifests/{manifest}",
        200,
        "",
    ));
    suite.title("content management: a manifest of an index");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [pushed]});
    suite.manifest("test/two", "index", &index);
    suite.ask(ok(
        "stays while the index does",
        "DELETE /v2/test/two/manifests/{manifest}",
        405,
        "UNSUPPORTED",
    ));
    suite.ask(ok(
        "so do its tags",
        "GET /v2/test/two/manifests/v1",
        200,
        "",
    ));
    suite.set("index", digest(index.to_string().as_bytes()));
    suite.ask(ok(
        "the index goes",
        "DELETE /v2/test/two/manifests/{index}",
        202,
        "",
    ));
    suite.ask(ok(
        "then it goes",
        "DELETE /v2/test/two/manifests/{manifest}",
        202,
        "",
    ));
    suite.ask(ok(
        "and is gone",
        "GET /v2/test/two/manifests/{manifest}",
        404,
        "MANIFEST_UNKNOWN",
    ));
    suite.title("content management: blob delete");
    suite.ask(ok(
        "request to blob URL should yield 202 response",
        "DELETE /v2/test/one/blobs/{layer}",
        202,
        "",
    ));
    suite.ask(ok(
        "request to deleted blob URL should yield 404 response",
        "GET /v2/test/one/blobs/{layer}",
        404,
        "BLOB_UNKNOWN",
    ));
    suite.ask(ok(
        "once more",
        "DELETE /v2/test/one/blobs/{layer}",
        404,
        "BLOB_UNKNOWN",
    ));
    suite.ask(ok(
        "what is no digest",
        "DELETE /v2/test/one/blobs/x",
        400,
        "DIGEST_INVALID",
    ));
    suite.end();
}

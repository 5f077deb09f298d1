//! hob as a registry, with the programs that push and pull.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use hob_testkit::{Hob, assert_eventually, has_programs};
use http::{Request, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    bench::{Bench, HOB},
    conformance::digest,
};

fn registry() -> Hob {
    Hob::builder(HOB).env("HOB_REGISTRY", "1").start()
}

/// An OCI layout with one image of the platform, under the name `x`.
fn layout(folder: &Path, architecture: &str) -> String {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let keep = |media_type: &str, bytes: &[u8]| {
        let digest = digest(bytes);
        fs::write(blobs.join(&digest[7..]), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    tar.append_data(&mut header, "hello", b"hi".as_slice())
        .unwrap();
    let layer = tar.into_inner().unwrap();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    // Compressed, or skopeo would do it on its way, and the digest would change.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&layer).unwrap();
    let packed = packed.finish().unwrap();
    let layer = keep("application/vnd.oci.image.layer.v1.tar+gzip", &packed);
    let config = keep(
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer],
    });
    let mut entry = keep(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().as_bytes(),
    );
    let digest = entry["digest"].as_str().unwrap().to_owned();
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "x"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    digest
}

fn skopeo(args: &[&str]) -> Output {
    let mut command = Command::new("skopeo");
    command
        .arg("--insecure-policy")
        .args(args)
        .output()
        .unwrap()
}

#[track_caller]
fn good(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn skopeo_pushes_and_pulls() {
    if !has_programs(&["skopeo"]) {
        return;
    }
    let (mut hob, folder) = (registry(), tempfile::tempdir().unwrap());
    let source = folder.path().join("source");
    let digest = layout(&source, "amd64");
    let source = format!("oci:{}:x", source.display());
    let login = format!("admin:{}", hob.password());
    let there = |hob: &Hob| format!("docker://{}/team/hello:1.0", hob.address());

    let wrong = skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        "admin:wrong",
        &source,
        &there(&hob),
    ]);
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        !wrong.status.success() && said.contains("unauthorized"),
        "{said}"
    );

    good(skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        &login,
        &source,
        &there(&hob),
    ]));
    let index = fs::read_to_string(hob.data().join("images/index.json")).unwrap();
    assert!(index.contains("hob.local/team/hello:1.0"), "{index}");
    // After a start, on another port: the name has not changed.
    hob.stop();
    hob.restart();
    let inspected = good(skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--creds",
        &login,
        &there(&hob),
    ]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], digest.as_str());
    assert_eq!(inspected["RepoTags"], json!(["1.0"]));
    let back = format!("oci:{}:x", folder.path().join("back").display());
    good(skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--src-creds",
        &login,
        &there(&hob),
        &back,
    ]));
    let found = good(skopeo(&["inspect", "--format", "{{.Digest}}", &back]));
    assert_eq!(found.trim(), digest);
    let names = fs::read_to_string(hob.data().join("images/own-names")).unwrap_or_default();
    assert!(
        !names.contains(&hob.address().port().to_string()),
        "{names}"
    );

    good(skopeo(&[
        "delete",
        "--tls-verify=false",
        "--creds",
        &login,
        &there(&hob),
    ]));
    let gone = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--creds",
        &login,
        &there(&hob),
    ]);
    assert!(!gone.status.success());
}

#[test]
fn buildah_pushes_an_image_for_several_platforms() {
    if !has_programs(&["buildah", "skopeo"]) {
        return;
    }
    let (hob, folder) = (registry(), tempfile::tempdir().unwrap());
    let buildah = |args: &[&str]| {
        let mut command = Command::new("buildah");
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(folder.path().join("root"))
            .arg("--runroot")
            .arg(folder.path().join("run"));
        good(command.args(args).output().unwrap())
    };
    buildah(&["manifest", "create", "list"]);
    for architecture in ["amd64", "arm64"] {
        let layout_folder = folder.path().join(architecture);
        layout(&layout_folder, architecture);
        let image = format!("oci:{}:x", layout_folder.display());
        buildah(&["manifest", "add", "list", &image]);
    }
    let there = format!("docker://{}/multi:1", hob.address());
    let login = format!("admin:{}", hob.password());
    buildah(&[
        "manifest",
        "push",
        "--all",
        "--tls-verify=false",
        "--creds",
        &login,
        "list",
        &there,
    ]);
    let raw = good(skopeo(&[
        "inspect",
        "--raw",
        "--tls-verify=false",
        "--creds",
        &login,
        &there,
    ]));
    let raw: Value = serde_json::from_str(&raw).unwrap();
    let entries = raw["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{raw}");
    // Only the tag has a name: the platforms' manifests are found through it.
    let index = fs::read_to_string(hob.data().join("images/index.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index}");
    let back = format!("oci:{}:x", folder.path().join("back").display());
    good(skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--src-creds",
        &login,
        &there,
        &back,
    ]));
    for platform in ["amd64", "arm64"] {
        let one = format!(
            "oci:{}:y",
            folder.path().join(format!("back-{platform}")).display()
        );
        good(skopeo(&[
            "copy",
            "--override-arch",
            platform,
            "--src-tls-verify=false",
            "--src-creds",
            &login,
            &there,
            &one,
        ]));
    }
}

#[test]
fn without_the_password_it_asks_for_one_in_its_own_way() {
    let hob = registry();
    for path in ["/v2/", "/v2/_catalog", "/v2/a/manifests/1"] {
        let answer = hob.get(path).expect(401);
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"hob\"");
        assert_eq!(answer.json()["errors"][0]["code"], "UNAUTHORIZED");
    }
    // The rest of the API asks as ever.
    let answer = hob.get("/v2x").expect(401);
    assert!(answer.header("www-authenticate").contains("UTF-8"));
}

#[test]
fn a_registry_that_is_off_says_how_it_comes_on() {
    let bench = Bench::new();
    for path in ["/v2/", "/v2/hello/blobs/uploads/"] {
        let answer = bench.hob.send(request(&bench.hob, "GET", path)).expect(404);
        let message = answer.json()["errors"][0]["message"].clone();
        assert!(
            message.as_str().unwrap().contains("--registry"),
            "{message}"
        );
    }
    bench.hob.get("/v2/").expect(401);
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_it_stopped() {
    let hob = registry();
    let begun = hob
        .send(request(&hob, "POST", "/v2/a/blobs/uploads/"))
        .expect(202);
    let location = begun.header("location").to_owned();
    let mut stream = TcpStream::connect(hob.address()).unwrap();
    write!(
        stream,
        "PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: 100\r\n\r\nhello",
        login(&hob)
    )
    .unwrap();
    drop(stream);
    // What came is kept; while somebody writes, nobody else does.
    assert_eventually!(hob.send(request(&hob, "GET", &location)).header("range") == "0-4");
    let rest = format!("{location}?digest={}", digest(b"hello world"));
    let rest = request(&hob, "PUT", &rest).map(|_| " world".into());
    hob.send(rest).expect(201);
    let path = format!("/v2/a/blobs/{}", digest(b"hello world"));
    let answer = hob.send(request(&hob, "GET", &path)).expect(200);
    assert_eq!(answer.text(), "hello world");
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_at_once() {
    let hob = registry();
    let mut stream = TcpStream::connect(hob.address()).unwrap();
    write!(
        stream,
        "POST /v2/a/blobs/uploads/?digest={} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
        digest(b""),
        login(&hob),
        1_u64 << 60
    )
    .unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 507 "), "{line}");
    assert_eq!(scratch_files(&hob), 0);
}

#[test]
fn a_large_blob_takes_no_memory() {
    if !has_programs(&["curl"]) {
        return;
    }
    let (hob, folder) = (registry(), tempfile::tempdir().unwrap());
    // The login hashes a password, which takes memory of its own.
    hob.send(request(&hob, "GET", "/v2/")).expect(200);
    let file = large_file(&folder);
    let before = forget_peak(&hob);
    let begun = Instant::now();
    let url = format!("{}/v2/a/blobs/uploads?digest={}", hob.url(), file.digest);
    let path = file.path.to_str().unwrap();
    assert_eq!(curl(&hob, &["-X", "POST", "-T", path, &url]), "201");
    let pushed = begun.elapsed();
    let url = format!("{}/v2/a/blobs/{}", hob.url(), file.digest);
    assert_eq!(curl(&hob, &["-o", "/dev/null", &url]), "200");
    let grown = peak(&hob).saturating_sub(before);
    eprintln!("200 MiB pushed in {pushed:?}, memory grew by {grown} bytes");
    assert!(grown < 10 << 20, "grew by {grown} bytes");
    assert_eq!(scratch_files(&hob), 0);
}

fn scratch_files(hob: &Hob) -> usize {
    let folder = hob.data().join("images/tmp");
    fs::read_dir(folder).unwrap().count()
}

struct Large {
    path: PathBuf,
    digest: String,
}

/// 200 MiB.
fn large_file(folder: &TempDir) -> Large {
    let path = folder.path().join("large");
    let (mut file, mut hash) = (File::create(&path).unwrap(), Sha256::new());
    for at in 0..200 {
        let bytes = vec![at; 1 << 20];
        file.write_all(&bytes).unwrap();
        hash.update(&bytes);
    }
    let hash = hash.finalize();
    let hex: String = hash.iter().map(|it| format!("{it:02x}")).collect();
    Large {
        path,
        digest: format!("sha256:{hex}"),
    }
}

/// Runs curl against the server; returns the status of the answer.
fn curl(hob: &Hob, args: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args(["-s", "-w", "%{http_code}", "-u"])
        .arg(format!("admin:{}", hob.password()));
    good(command.args(args).output().unwrap())
}

/// Begins to count anew for [`peak`]; returns how much memory the server has now, in bytes.
fn forget_peak(hob: &Hob) -> u64 {
    // See proc_pid_clear_refs(5).
    fs::write(format!("/proc/{}/clear_refs", hob.pid()), "5").unwrap();
    peak(hob)
}

/// The most memory that the server had so far, in bytes.
fn peak(hob: &Hob) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", hob.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() << 10
}

fn login(hob: &Hob) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("admin:{}", hob.password()))
    )
}

fn request(hob: &Hob, method: &str, path: &str) -> Request<bytes::Bytes> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::AUTHORIZATION, login(hob));
    request.body(bytes::Bytes::new()).unwrap()
}

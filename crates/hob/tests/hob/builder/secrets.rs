//! Sealed secrets reach the build, and nothing else.

use hob_testkit::{REGISTRY_PROGRAM, has_programs};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::client::{Archive, build, deploy, holds, nothing_is_left, server, server_with_registry};

const VALUE: &str = "Mina Harker, née Murray";
/// Serves what one can know of a secret without knowing it.
const DIGEST: &str = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nENV PATH=/bin\n\
    RUN --mount=type=secret,id=api.key /bin/busybox mkdir /www && \
    /bin/busybox sha256sum < /run/secrets/api.key > /www/index.html\n\
    USER 12000\nEXPOSE 8080\n\
    CMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n";

#[test]
fn a_sealed_secret_reaches_the_build_and_nothing_else() {
    if !has_programs(&["buildah", "busybox", REGISTRY_PROGRAM]) {
        return;
    }
    let (hob, registry) = server_with_registry();
    let image = format!("{}/hello:1", registry.name());
    let archive = Archive::of(&json!({"image": image}), DIGEST)
        .program("context/busybox", "/bin/busybox")
        .sealed(&hob, &[("api.key", VALUE), ("other", "x")]);
    let report = build(&hob, archive);
    assert_eq!(report["status"], "success", "{report}");
    deploy(&hob, "hello", &image);
    let served = hob.get("/function/hello/").expect(200);
    let expected = hex::encode(Sha256::digest(VALUE));
    assert!(served.text().starts_with(&expected), "{served:?}");

    nothing_is_left(&hob);
    assert!(!report.to_string().contains(VALUE) && !hob.log().contains(VALUE));
    // The folder holds the image's layers, what the function runs on, and the secrets in memory.
    assert!(holds(hob.data(), &expected), "the search finds nothing");
    assert!(!holds(hob.data(), VALUE));
}

#[test]
fn what_cannot_be_opened_is_not_built() {
    let hob = server();
    let plain = || Archive::of(&json!({"image": "x:1"}), "FROM scratch\n");
    let old = plain().sealed(&hob, &[("key", VALUE)]).bytes();
    let remove = ["secret", "remove", "builder-key", "--namespace", "openfaas"];
    hob.cli(remove).ok();
    let refused = |body: Vec<u8>| {
        let signature = super::client::sign(&body);
        let answer = super::client::send(&hob, body, Some(&signature), "*/*").expect(400);
        answer.text().to_owned()
    };
    // A new key was made: what was sealed for the old one is told apart.
    let line = refused(old);
    assert!(line.contains("get /publickey again"), "{line}");
    let line = refused(
        plain()
            .sealed(&hob, &[("a,src=/etc/shadow", VALUE)])
            .bytes(),
    );
    assert!(
        line.contains("`a,src=/etc/shadow` must be called"),
        "{line}"
    );
    nothing_is_left(&hob);
}

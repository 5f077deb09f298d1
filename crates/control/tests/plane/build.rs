//! Images of folders: what is asked for reaches the builder, and the answer is a stream of events.

use hob_image::Digest;
use hob_model::wire::{Fault, ImageEvent};
use http::StatusCode;

use crate::{Plane, archive};

async fn build(plane: &Plane, query: &str, script: &str) -> Vec<ImageEvent> {
    let line = format!("POST /hob/v1/images/build?{query}");
    let (status, text) = plane.call(&line, archive(script)).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .expect("every line is an event")
}

#[tokio::test]
async fn the_last_line_says_what_was_built() {
    let plane = Plane::new();
    let query = "image=reg.example.net/team/my_shop:1&platform=linux/amd64,linux/arm/v7&push=true";
    let events = build(&plane, query, "v1").await;
    assert!(matches!(&events[0], ImageEvent::Step { text } if text == "python: compiling"));
    let Some(ImageEvent::Done { image, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(image.image, "reg.example.net/team/my_shop:1");
    // The function is called as the image, in letters that it may have.
    assert_eq!(image.digest, Digest::of(b"my-shop").to_string());
    let platforms: Vec<_> = image.platforms.iter().map(|one| &one.platform).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v7"]);
    assert_eq!((image.size, image.pushed, image.sent), (8, true, 9));

    let events = build(&plane, "image=x:1&name=shop.staging", "v1").await;
    let Some(ImageEvent::Done { image, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(image.digest, Digest::of(b"shop.staging").to_string());
    assert!(!image.pushed && image.platforms.is_empty());
    assert!(plane.scratch().is_empty());
}

#[tokio::test]
async fn a_failure_says_whose_it_is() {
    let plane = Plane::new();
    for (script, whose, part) in [
        ("refuse", Fault::Caller, "leaves the folder"),
        ("fail", Fault::Caller, "compiling failed"),
        ("toolless", Fault::Host, "apt-get install"),
        ("panic", Fault::Host, "see the server's log"),
    ] {
        let events = build(&plane, "image=x:1", script).await;
        let last = events.last();
        assert!(
            matches!(last, Some(ImageEvent::Failed { message, fault }) if message.contains(part) && *fault == whose),
            "{script}: {last:?}"
        );
    }
    assert!(plane.scratch().is_empty());
}

#[tokio::test]
async fn mistakes_are_told_before_anything_is_built() {
    let plane = Plane::new();
    let gzip = archive("v1");
    for (query, body, part) in [
        ("", gzip.as_slice(), "image"),
        ("image=UPPER", &gzip, "upper-case"),
        ("image=x:1&platform=linux", &gzip, "OS/ARCH"),
        ("image=x:1&base=a%20b", &gzip, "write REGISTRY/NAME:TAG"),
        ("image=x:1&name=My", &gzip, "My"),
        ("image=x:1&push=perhaps", &gzip, "push"),
        ("image=x:1", b"no archive", "gzip"),
    ] {
        let line = format!("POST /hob/v1/images/build?{query}");
        let (status, text) = plane.call(&line, body.to_vec()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {text}");
        assert!(
            text.contains(part) && text.lines().count() == 1,
            "{query}: {text}"
        );
    }
    assert!(plane.scratch().is_empty());
}

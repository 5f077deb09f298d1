use std::{fs, os::unix::fs::symlink};

use hob_model::{Cors, Target};

use crate::harness::{Reply, World};

fn site() -> World {
    let world = World::start();
    let root = world.folder.path().join("site");
    fs::create_dir_all(root.join("docs")).unwrap();
    fs::write(root.join("index.html"), "<h1>home</h1>").unwrap();
    fs::write(root.join("docs/index.html"), "<h1>docs</h1>").unwrap();
    fs::write(root.join("a b.txt"), "0123456789").unwrap();
    fs::write(world.folder.path().join("secret.txt"), "secret").unwrap();
    world.function("site", |route| {
        route.target = Target::Static(root);
        route.cors = Some(Cors::Any);
    });
    world
}

fn get(world: &World, path: &str, fields: &str) -> Reply {
    world.call(&format!(
        "GET /function/site{path} HTTP/1.1\nHost: h\n{fields}\n"
    ))
}

#[test]
fn files_are_served_with_their_receipt() {
    let world = site();
    let reply = get(&world, "/", "");
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, "<h1>home</h1>")
    );
    assert_eq!(reply.field("content-type"), Some("text/html"));
    assert!(reply.field("x-call-id").is_some() && reply.field("server-timing").is_some());
    assert_eq!(reply.field("access-control-allow-origin"), Some("*"));
    assert_eq!(get(&world, "/docs/", "").text(), "<h1>docs</h1>");
    assert_eq!(get(&world, "/a%20b.txt?v=1", "").text(), "0123456789");
    assert_eq!(world.routes.find("site").unwrap().counters.totals(), (3, 0));
}

#[test]
fn folders_are_left_by_their_slash() {
    let world = site();
    for (path, to) in [
        ("", "/function/site/"),
        ("?a=1", "/function/site/?a=1"),
        ("/docs", "/function/site/docs/"),
    ] {
        let reply = get(&world, path, "");
        assert_eq!(
            (reply.status, reply.field("location")),
            (307, Some(to)),
            "{path}"
        );
    }
    let reply = world.call("GET /function/site.openfaas-fn HTTP/1.1\nHost: h\n\n");
    assert_eq!(reply.field("location"), Some("/function/site.openfaas-fn/"));
}

#[test]
fn ranges_conditions_and_heads() {
    let world = site();
    let reply = get(&world, "/a%20b.txt", "Range: bytes=2-4\n");
    assert_eq!((reply.status, reply.text().as_str()), (206, "234"));
    let modified = get(&world, "/", "")
        .field("last-modified")
        .unwrap()
        .to_owned();
    let reply = get(&world, "/", &format!("If-Modified-Since: {modified}\n"));
    assert_eq!(reply.status, 304);
    let reply = world.call("HEAD /function/site/ HTTP/1.1\nHost: h\n\n");
    assert_eq!(
        (reply.status, reply.field("content-length")),
        (200, Some("13"))
    );
}

#[test]
fn only_files_of_the_folder_and_only_reading() {
    let world = site();
    for path in [
        "/nope",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/docs/..%2f..%2fsecret.txt",
        "//secret.txt",
        "/docs/../../secret.txt",
    ] {
        let reply = get(&world, path, "");
        reply.assert_error(404, None, "function `site` has no such file");
    }
    let reply = world.call("POST /function/site/ HTTP/1.1\nHost: h\nContent-Length: 0\n\n");
    reply.assert_error(405, None, "use GET or HEAD");
    assert_eq!(reply.field("allow"), Some("GET, HEAD"));
    assert_eq!(reply.field("access-control-allow-origin"), Some("*"));
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let world = site();
    let root = world.folder.path().join("site");
    symlink(
        world.folder.path().join("secret.txt"),
        root.join("link.txt"),
    )
    .unwrap();
    symlink(world.folder.path(), root.join("up")).unwrap();
    symlink("index.html", root.join("home.html")).unwrap();
    get(&world, "/link.txt", "").assert_error(404, None, "no such file");
    get(&world, "/up/secret.txt", "").assert_error(404, None, "no such file");
    assert_eq!(get(&world, "/home.html", "").text(), "<h1>home</h1>");
}

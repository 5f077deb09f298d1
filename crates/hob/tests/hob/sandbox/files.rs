//! Files of an order stay in the folder of its program.

use super::{
    caller::Order,
    stage::{Settings, Stage, is_able},
    traces::{assert_as_before, settled},
};

#[test]
fn no_name_of_a_file_leads_out_of_the_box() {
    if !is_able(&[]) {
        return;
    }
    let stage = Stage::new(Settings::default());
    let before = settled(&stage.hob, Settings::default().size);
    let outside = stage.outside.path().join("new");
    let long = "x".repeat(256);
    for name in [
        "",
        ".",
        "..",
        "../out",
        "a/../../out",
        "a/..",
        "/etc/passwd",
        outside.to_str().unwrap(),
        "/box/../out",
        "./../out",
        "a//../../out",
        "nul\0nul",
        &long,
    ] {
        let order = Order::new("sh", "echo ran").file(name, b"x");
        let ran = order.run(stage.hob.address());
        assert_eq!(ran.status, 400, "{name:?}: {ran:?}");
        assert!(ran.stdout.is_empty(), "{name:?}");
    }
    assert_eq!(stage.harm(), Vec::<String>::new());
    assert_as_before(&stage.hob, &before);
}

#[test]
fn files_of_odd_names_are_there_as_they_were_sent() {
    if !is_able(&[]) {
        return;
    }
    let stage = Stage::new(Settings::default());
    let long = "y".repeat(255);
    let names = [
        "a b",
        "ä/ö/ü",
        "-rf",
        "line\nfeed",
        "...",
        ".hidden",
        &long,
        "'\"$(reboot)",
    ];
    let script = "for name in \"$@\"; do cat -- \"$name\"; done";
    let mut order = Order::new("bash", script);
    for (number, name) in names.iter().enumerate() {
        order = order.file(name, number.to_string().as_bytes()).arg(name);
    }
    let ran = order.run(stage.hob.address());
    assert_eq!(
        (ran.stdout.as_str(), ran.reason()),
        ("01234567", "ok"),
        "{ran:?}"
    );
}

#[test]
fn a_file_where_a_folder_is_needed_is_refused_or_fails_alone() {
    if !is_able(&[]) {
        return;
    }
    let stage = Stage::new(Settings::default());
    let order = Order::new("sh", "echo ran")
        .file("a", b"x")
        .file("a/b", b"x");
    let ran = order.run(stage.hob.address());
    assert_eq!(ran.status, 400, "{ran:?}");
    stage.ordinary();
}

//! What is left, and what stands in the way.

use hob_sandbox::network::{Network, NetworkConfig, Outbound};

use crate::{
    Test,
    machine::{Machine, config, files, ip, leftovers, links},
    owner,
    yard::{eventually, has},
};

pub(crate) const TESTS: &[Test] = &[
    ("tidy::a_dropped_namespace_leaves_nothing", dropped),
    ("tidy::shutdown_removes_what_is_leased", shutdown),
    ("tidy::a_killed_daemon_is_swept_up_after", killed),
    (
        "tidy::what_a_killed_daemon_leased_is_taken_over",
        taken_over,
    ),
    ("tidy::two_daemons_need_two_names_and_subnets", two),
    ("tidy::addresses_run_out_and_come_back", full),
    ("tidy::without_root_it_says_so", nobody),
];

fn dropped() {
    let machine = Machine::new();
    let leased = [Outbound::Yes, Outbound::Yes, Outbound::No].map(|kind| machine.lease(kind));
    let paths: Vec<_> = leased.iter().map(|one| one.path().to_owned()).collect();
    let names = paths.iter().map(|path| path.file_name().unwrap());
    let names: Vec<_> = names
        .map(|name| name.to_str().unwrap().to_owned())
        .collect();
    assert!(links().contains(&names[0]) && !links().contains(&names[2]));
    drop(leased);
    assert!(paths.iter().all(|path| !path.exists()));
    assert!(!links().iter().any(|link| names.contains(link)));
}

fn shutdown() {
    let machine = Machine::new();
    let leased = machine.lease(Outbound::Yes);
    machine.prepare(Outbound::Yes, 3);
    machine.network.shutdown().unwrap();
    assert!(!leased.path().exists());
    assert!(!links().iter().any(|link| link.starts_with("hob0")));
    let error = machine.network.lease(Outbound::No).unwrap_err();
    assert!(error.to_string().contains("shut down"), "{error}");
    // Which finds nothing to remove.
    drop(leased);
}

fn killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = owner::start(folder.path());
    let error = Network::new(config(folder.path()), &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another hob uses the bridge `hob0`: set another `bridge`"),
        "{error}"
    );
    owner.kill().unwrap();
    owner.wait().unwrap();
    let left = leftovers(folder.path());
    for part in ["hob0", "hob0-2", "table inet hob0", "hob0-n2"] {
        assert!(left.iter().any(|line| line == part), "{part} {left:?}");
    }
    // Not ours, although its name begins alike.
    ip("link add hob01-2 type bridge");
    let network = Network::new(config(folder.path()), &[]).unwrap();
    assert_eq!(leftovers(folder.path()), ["hob01-2"]);
    ip("link delete hob01-2");
    drop(network.lease(Outbound::Yes).unwrap());
    drop(network);
    assert_eq!(leftovers(folder.path()), [""; 0]);
}

fn taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = owner::start(folder.path());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let path = |name: &str| folder.join("netns").join(name);
    let mut others = config(&folder);
    others.spares = 0;
    let network = Network::new(others.clone(), &[path("hob0-2")]).unwrap();
    assert_eq!(files(&folder), ["hob0-2"]);
    let kept = network.adopt(&path("hob0-2")).unwrap();
    assert_eq!(kept.address().unwrap().to_string(), "10.62.0.2");
    let other = network.lease(Outbound::Yes).unwrap();
    assert_eq!(other.address().unwrap().to_string(), "10.62.0.3");
    for gone in ["hob0-n2", "hob0-9", "hob0-x", "hob1-2"] {
        assert!(network.adopt(&path(gone)).is_err(), "{gone}");
    }
    network.let_go();
    drop((kept, other, network));
    assert!(links().contains(&"hob0-2".to_owned()), "left to the next");
    let network = Network::new(others, &[path("hob0-2")]).unwrap();
    drop(network.adopt(&path("hob0-2")).unwrap());
    assert!(!links().contains(&"hob0-2".to_owned()));
    drop(network);
    assert_eq!(leftovers(&folder), [""; 0]);
}

fn two() {
    let machine = Machine::new();
    let _first = machine.lease(Outbound::Yes);
    let mut other = config(&machine.folder().join("second"));
    other.bridge = "hob1".into();
    other.spares = 0;
    let second = Network::new(other.clone(), &[]).unwrap();
    let error = second.lease(Outbound::Yes).unwrap_err().to_string();
    assert!(
        error.contains(
            "subnet 10.62.0.0/16 overlaps the route 10.62.0.0/16 of `hob0`: set another `subnet`"
        ),
        "{error}"
    );
    drop(second);
    other.subnet = "10.63.0.0/24".parse().unwrap();
    let second = Network::new(other.clone(), &[]).unwrap();
    let leased = second.lease(Outbound::Yes).unwrap();
    assert_eq!(leased.address().unwrap().to_string(), "10.63.0.2");
    drop((leased, second));
    for wrong in ["", "2hob", "hob-0", "abcdefghij"] {
        other.bridge = wrong.into();
        let error = Network::new(other.clone(), &[]).unwrap_err().to_string();
        assert!(error.contains("must be 1 to 9 of a-z"), "{error}");
    }
}

fn full() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(
        NetworkConfig {
            subnet: "10.64.0.0/29".parse().unwrap(),
            spares: 1,
            ..NetworkConfig::new(folder.path())
        },
        &[],
    )
    .unwrap();
    let mut leased = Vec::new();
    let error = loop {
        match network.lease(Outbound::Yes) {
            Ok(one) => leased.push(one),
            // The last may be on its way to be a spare.
            Err(_) if leased.len() < 5 => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("in use: set a larger `subnet`"), "{error}");
    let mut addresses: Vec<_> = leased.iter().map(|one| one.address().unwrap()).collect();
    addresses.dedup();
    assert_eq!((leased.len(), addresses.len()), (5, 5));
    drop(leased.pop());
    eventually("there is room again", || {
        network.lease(Outbound::Yes).is_ok()
    });
    drop((leased, network));
    assert!(files(folder.path()).is_empty());
}

fn nobody() {
    if !has("setpriv") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let words = owner::nobody(folder.path());
    assert!(
        words.contains("need root with CAP_NET_ADMIN: run hob as root"),
        "{words}"
    );
}

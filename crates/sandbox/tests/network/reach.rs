//! Who reaches whom.

use std::{net::TcpListener, process::Command, time::Instant};

use hob_sandbox::network::{Outbound, enter};

use crate::{
    Test,
    machine::{GATEWAY_PORT, HOST, Machine, PEER, connect, here, links, listen},
};

pub(crate) const TESTS: &[Test] = &[
    ("reach::a_function_only_by_entering", function),
    ("reach::the_world_by_translation", world),
    ("reach::of_the_machine_only_the_gateway", machine),
    ("reach::nothing_without_a_way_out", none),
    ("reach::a_thread_always_comes_back", back),
    ("reach::leases_are_quick", quick),
];

fn function() {
    let machine = Machine::new();
    let (function, other) = (machine.lease(Outbound::Yes), machine.lease(Outbound::Yes));
    let (address, others) = (function.address().unwrap(), other.address().unwrap());
    assert_ne!(address, others);
    assert_eq!(function.outbound(), Outbound::Yes);
    let service = listen(function.path(), "0.0.0.0:8080");
    let address = format!("{address}:8080");
    for address in [address.as_str(), "127.0.0.1:8080"] {
        connect(function.path(), address).unwrap();
        service.accept().unwrap();
    }
    for (who, from) in [
        ("another function", other.path()),
        ("the LAN", machine.lan()),
        ("a user of the machine", here()),
    ] {
        assert!(connect(from, &address).is_err(), "{who}");
    }
    // Where the kernel shows the rules nothing of what stays on the bridge, its ports keep apart.
    let ports = Command::new("ip")
        .args(["-d", "link", "show", "type", "bridge_slave"])
        .output()
        .unwrap();
    let ports = String::from_utf8(ports.stdout).unwrap();
    assert!(
        ports.contains("isolated on") && !ports.contains("isolated off"),
        "{ports}"
    );
}

fn world() {
    let machine = Machine::new();
    let function = machine.lease(Outbound::Yes);
    let service = listen(machine.lan(), "0.0.0.0:80");
    connect(function.path(), &format!("{PEER}:80")).unwrap();
    let (_, seen) = service.accept().unwrap();
    assert_eq!(seen.ip().to_string(), HOST);
}

fn machine() {
    let machine = Machine::new();
    let function = machine.lease(Outbound::Yes);
    let gateway = machine.network.gateway();
    let everywhere = TcpListener::bind("[::]:9000").unwrap();
    let open = TcpListener::bind((gateway, GATEWAY_PORT)).unwrap();

    connect(function.path(), &format!("{gateway}:{GATEWAY_PORT}")).unwrap();
    let (_, seen) = open.accept().unwrap();
    assert_eq!(seen.ip(), function.address().unwrap());
    for closed in [gateway.to_string().as_str(), HOST] {
        assert!(connect(function.path(), &format!("{closed}:9000")).is_err());
    }
    // It is there, and the machine and its LAN go on using it.
    connect(machine.lan(), &format!("{HOST}:9000")).unwrap();
    connect(here(), "127.0.0.1:9000").unwrap();
    everywhere.accept().unwrap();
    // The bridge's address is for functions, and for the machine itself.
    connect(here(), &format!("{gateway}:{GATEWAY_PORT}")).unwrap();
    assert!(connect(machine.lan(), &format!("{gateway}:{GATEWAY_PORT}")).is_err());
    // No IPv6, by which rules of IPv4 could be walked around.
    let addresses = "/proc/thread-self/net/if_inet6";
    let seen = enter(function.path(), || std::fs::read_to_string(addresses));
    assert!(
        seen.unwrap()
            .unwrap()
            .lines()
            .all(|line| line.ends_with(" lo"))
    );
}

fn none() {
    let machine = Machine::new();
    let function = machine.lease(Outbound::No);
    assert_eq!(
        (function.address(), function.outbound()),
        (None, Outbound::No)
    );
    assert_eq!(enter(function.path(), links).unwrap(), ["lo"]);
    let service = listen(function.path(), "0.0.0.0:80");
    connect(function.path(), "127.0.0.1:80").unwrap();
    service.accept().unwrap();
    let error = connect(function.path(), &format!("{PEER}:80")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
    // Nobody asked for a bridge.
    assert!(!links().contains(&"hob0".to_owned()));
}

fn back() {
    let machine = Machine::new();
    let function = machine.lease(Outbound::No);
    let before = std::fs::read_link(here()).unwrap();
    let panicked = std::panic::catch_unwind(|| enter(function.path(), || panic!("on purpose")));
    assert!(panicked.is_err());
    assert_eq!(std::fs::read_link(here()).unwrap(), before);
    assert!(enter("/etc/hosts".as_ref(), || panic!("never run")).is_err());
    assert!(enter("/nowhere".as_ref(), || panic!("never run")).is_err());
    assert_eq!(std::fs::read_link(here()).unwrap(), before);
}

fn quick() {
    let machine = Machine::new();
    let start = Instant::now();
    let first = machine.lease(Outbound::Yes);
    let cold = start.elapsed();
    machine.prepare(Outbound::Yes, 3);
    let start = Instant::now();
    let second = machine.lease(Outbound::Yes);
    let warm = start.elapsed();
    assert!(warm.as_millis() < 5, "{warm:?}");
    machine.prepare(Outbound::Yes, 4);
    let start = Instant::now();
    drop((first, second));
    let gone = start.elapsed() / 2;
    println!("  the first {cold:?}, one kept ready {warm:?}, dropped {gone:?}");
}

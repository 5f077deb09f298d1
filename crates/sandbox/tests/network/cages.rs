//! Cages in networks of their own.

use std::io::{Read, Write};

use hob_model::{EndReason, Isolation};
use hob_sandbox::{
    CageNetwork, Mechanism,
    network::{Namespace, Outbound, resolver},
};

use crate::{
    Test,
    image::{Layer, spec, user},
    machine::{Machine, PEER, connect, listen},
    yard::{Yard, eventually, has},
};

pub(crate) const TESTS: &[Test] = &[
    ("cages::an_image_serves_and_asks", image),
    ("cages::of_every_kind_have_a_network", kinds),
];

fn network(namespace: &Namespace) -> CageNetwork {
    CageNetwork::Namespace(namespace.path().to_owned())
}

fn image() {
    let yard = Yard::new("net-image");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    base.file("www/index.html", "served\n");
    let machine = Machine::new();
    let namespace = machine.lease(Outbound::Yes);
    // Port 80, without any rights.
    let command = ["busybox", "httpd", "-f", "-p", "80", "-h", "/www"];
    let mut server = spec(&yard, &[&base], &command);
    server.network = network(&namespace);
    server.user = user(33, 44, &[]);
    let cage = yard.start(server);
    let mut answer = String::new();
    eventually("it serves", || {
        let Ok(mut stream) = connect(namespace.path(), "127.0.0.1:80") else {
            return false;
        };
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        true
    });
    assert!(answer.ends_with("\r\n\r\nserved\n"), "{answer}");

    let peer = listen(machine.lan(), "0.0.0.0:80");
    let script = format!("cat /etc/resolv.conf; echo asked | busybox nc {PEER} 80");
    let mut client = spec(&yard, &[&base], &["sh", "-c", &script]);
    client.network = network(&namespace);
    client.files = vec![("/etc/resolv.conf".into(), resolver())];
    let client = yard.start(client);
    let mut question = [0; 6];
    let (mut stream, _) = peer.accept().unwrap();
    stream.read_exact(&mut question).unwrap();
    assert_eq!(&question, b"asked\n");
    drop((cage, client));
    assert_eq!(yard.output(), resolver());
}

fn kinds() {
    let mut yard = Yard::new("net-kinds");
    let machine = Machine::new();
    let namespace = machine.lease(Outbound::No);
    let mut look = |isolation, mechanism| {
        yard.isolation = isolation;
        yard.mechanism = mechanism;
        let mut spec = yard.spec(&["sh", "-c", "tail -n +3 /proc/net/dev | cut -d: -f1"]);
        spec.network = network(&namespace);
        let (end, text) = yard.run_spec(spec);
        assert_eq!((end.reason, text.trim()), (EndReason::Ok, "lo"));
    };
    look(Isolation::Container, Mechanism::Native);
    look(Isolation::Process, Mechanism::Native);
    for runtime in ["runc", "runsc"] {
        if has(runtime) {
            look(Isolation::Container, Mechanism::Oci(runtime.into()));
        }
    }
    let mut spec = yard.spec(&["true"]);
    spec.mechanism = Mechanism::Native;
    spec.network = CageNetwork::Namespace("/etc/hosts".into());
    let error = yard.refusal(spec).to_string();
    assert!(
        error.contains("enter the network namespace /etc/hosts"),
        "{error}"
    );
}

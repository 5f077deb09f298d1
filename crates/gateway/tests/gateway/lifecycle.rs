use std::{
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::harness::{Client, Conn, World, echo};

const CALL: &str = "GET /function/hello HTTP/1.1\nHost: h\n\n";

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn shutdown_lets_calls_end_and_closes_idle_connections() {
    let world = World::start();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let replica = world.hello(move |mut conn: Conn| {
        while let Some(request) = conn.request() {
            if request.line.contains("/slow") {
                gate.lock().unwrap().recv().unwrap();
            }
            conn.answer("done");
        }
    });
    let mut idle = world.connect();
    idle.call(CALL);
    let mut fresh = world.connect();
    let mut busy = world.connect();
    busy.send("GET /function/hello/slow HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually!(replica.backend.in_flight() == 1);
    let address = world.address;
    let handle = world.handle();
    let stopping = std::thread::spawn(move || block_on(handle.shutdown(Duration::from_secs(20))));
    assert!(idle.is_closed());
    assert!(fresh.is_closed());
    eventually!(TcpStream::connect(address).is_err());
    go.send(()).unwrap();
    let reply = busy.reply("GET").unwrap();
    assert_eq!(reply.text(), "done");
    assert!(busy.is_closed());
    let begun = Instant::now();
    stopping.join().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it waited for the whole grace"
    );
}

#[test]
fn shutdown_cuts_what_outlives_the_grace() {
    let world = World::start();
    let replica = world.hello(|mut conn: Conn| {
        conn.request();
        conn.request();
    });
    let mut busy = world.connect();
    busy.send(CALL.replace('\n', "\r\n"));
    eventually!(replica.backend.in_flight() == 1);
    let begun = Instant::now();
    block_on(world.handle().shutdown(Duration::from_millis(50)));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(busy.is_closed());
    assert_eq!(replica.backend.in_flight(), 0);
}

#[test]
fn dropping_the_handle_stops_the_gateway() {
    let world = World::start();
    let address = world.address;
    drop(world.handle());
    eventually!(TcpStream::connect(address).is_err());
}

#[test]
fn a_slow_head_is_not_waited_for() {
    let world = World::with(|config| config.head_timeout = Duration::from_millis(100));
    let _replica = world.hello(echo);
    let mut silent = world.connect();
    let mut slow = world.connect();
    slow.send("GET /function/hello HTTP/1.1\r\nHost: h\r\nX-Slow");
    let mut later = world.connect();
    assert_eq!(later.call(CALL).status, 200);
    let begun = Instant::now();
    later.send("GET /function/hello HT");
    assert!(later.is_closed());
    assert!(
        begun.elapsed() >= Duration::from_millis(90),
        "{:?}",
        begun.elapsed()
    );
    assert!(silent.is_closed());
    assert!(slow.is_closed());
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let world = World::with(|config| config.idle_timeout = Duration::from_millis(100));
    let _replica = world.hello(|mut conn: Conn| {
        while conn.request().is_some() {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(300) {
                std::thread::yield_now();
            }
            conn.answer("late");
        }
    });
    let mut client = world.connect();
    assert_eq!(client.call(CALL).text(), "late");
    let begun = Instant::now();
    assert!(client.is_closed());
    assert!(begun.elapsed() >= Duration::from_millis(90));
}

#[test]
fn connections_over_the_bound_wait_for_room() {
    let world = World::with(|config| config.connections = 2);
    let _replica = world.hello(echo);
    let mut one = world.connect();
    assert_eq!(one.call(CALL).status, 200);
    let mut two = world.connect();
    assert_eq!(two.call(CALL).status, 200);
    let mut three = world.connect();
    three.send(CALL.replace('\n', "\r\n"));
    let socket = three.stream.get_ref();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(
        three.stream.read(&mut [0]).is_err(),
        "it was served over the bound"
    );
    three
        .stream
        .get_ref()
        .set_read_timeout(Some(crate::harness::PATIENCE))
        .unwrap();
    drop(one);
    assert_eq!(three.reply("GET").unwrap().status, 200);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let world = World::with(|config| config.head_bytes = 8192);
    let _replica = world.hello(echo);
    let mut client = world.connect();
    client.send(format!(
        "GET /function/hello HTTP/1.1\r\nHost: h\r\nX-Big: {}\r\n\r\n",
        "x".repeat(9000)
    ));
    assert_eq!(client.reply("GET").unwrap().status, 431);
    assert!(client.is_closed());
    let many = "X-Many: 1\n".repeat(200);
    let reply = world.call(&format!("GET /function/hello HTTP/1.1\nHost: h\n{many}\n"));
    assert_eq!(reply.status, 431);
}

#[test]
fn a_call_that_panics_takes_nothing_with_it() {
    let world = World::with(|config| config.threads = 1);
    let _replica = world.hello(echo);
    world.function("sick", |_| {});
    world.wake.then(|| panic!("a bug in the control plane"));
    let mut client = world.connect();
    client.send("GET /function/sick HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.is_closed());
    assert_eq!(world.call(CALL).status, 200);
}

#[test]
fn threads_share_connections_evenly() {
    let world = World::start();
    let replica = world.hello(echo);
    let mut clients: Vec<Client> = (0..8).map(|_| world.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.call(CALL).status, 200);
    }
    // One after the other, so each thread needs one connection to the replica.
    assert_eq!(replica.accepted(), 2);
}

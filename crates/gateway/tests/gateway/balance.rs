//! Which replica a call goes to, when it goes to another one, and how it waits for one; by the
//! express lane and by hyper alike.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    time::{Duration, Instant},
};

use hob_model::{ReplicaSet, Route, Scale, Timespan};

use crate::{
    harness::{Client, Conn, PATIENCE, Replica, World, echo},
    way::Way,
};

impl Way {
    /// A request of `hello` for what comes after its name.
    fn request(self, method: &str, rest: &str, body: &str) -> String {
        let mark = match self {
            Self::Lane => "",
            Self::Hyper => "Connection: keep-alive, x-nothing\n",
        };
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\n"),
        };
        format!("{method} /function/hello{rest} HTTP/1.1\nHost: h\n{mark}{length}\n{body}")
    }

    fn get(self, world: &World) -> Client {
        let mut client = world.connect();
        client.send(self.request("GET", "", "").replace("\n", "\r\n"));
        client
    }

    fn send(self, world: &World, rest: &str) -> Client {
        let mut client = world.connect();
        let request = self.request("POST", rest, "hi").replace("\n", "\r\n");
        client.send(request);
        client
    }
}

fn retried(world: &World) -> u64 {
    let route = world.routes.find("hello").unwrap();
    route.counters.counts().retried
}

/// `hello`, with a replica that closes each connection once it has read a request. As it does,
/// the engine puts one that echoes in its place.
fn dying(world: &World) -> (Arc<ReplicaSet>, Replica, Replica) {
    let replicas = world.function("hello", |_| {});
    let alive = world.replica(echo);
    let (set, next) = (Arc::clone(&replicas), Arc::clone(&alive.backend));
    let dead = world.replica(move |mut conn: Conn| {
        conn.request();
        set.replace(vec![Arc::clone(&next)]);
    });
    replicas.replace(vec![Arc::clone(&dead.backend)]);
    (replicas, dead, alive)
}

/// `hello`, with a replica that answers a request for each word from the sender, and says which.
fn gated(world: &World, scale: &Scale) -> (Arc<ReplicaSet>, Replica, Sender<()>, Order) {
    let replicas = world.function("hello", |_| {});
    let (open, gate) = mpsc::channel();
    let order = Order::default();
    let (gate, seen) = (Mutex::new(gate), Arc::clone(&order));
    let replica = world.replica(move |mut conn: Conn| {
        while let Some(request) = conn.request() {
            seen.lock().unwrap().push(request.line);
            let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
            conn.answer("ok");
        }
    });
    replicas.limit(scale);
    replicas.replace(vec![Arc::clone(&replica.backend)]);
    (replicas, replica, open, order)
}

/// Requests as a replica got them.
type Order = Arc<Mutex<Vec<String>>>;

fn scale(concurrency: u32, queue: u32) -> Scale {
    Scale {
        concurrency: Some(concurrency),
        queue,
        ..Scale::default()
    }
}

/// The milliseconds that a receipt has for `part`.
fn timing(text: &str, part: &str) -> f64 {
    let rest = text.split_once(&format!("{part};dur=")).unwrap().1;
    rest.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn a_replica_that_refuses_costs_no_call_and_is_left_out() {
    for way in Way::BOTH {
        let world = World::start();
        let replicas = world.function("hello", |_| {});
        let (dead, alive) = (world.replica(echo), world.replica(echo));
        dead.stop();
        replicas.replace(vec![dead.backend.clone(), alive.backend.clone()]);
        // With a body, and not to be sent twice: nobody had it.
        for _ in 0..50 {
            let reply = world.call(&way.request("POST", "", "hi"));
            assert_eq!(reply.text(), "POST / HTTP/1.1|hi", "{way:?}");
        }
        assert_eq!(world.totals(), (50, 0));
        let retried = retried(&world);
        assert!((1..20).contains(&retried), "{way:?}: {retried}");
    }
}

#[test]
fn what_may_be_sent_twice_goes_to_another_replica_when_its_own_dies() {
    for way in Way::BOTH {
        for method in ["GET", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            let world = World::start();
            let (_, dead, alive) = dying(&world);
            let reply = world.call(&way.request(method, "/x", ""));
            assert_eq!(reply.text(), format!("{method} /x HTTP/1.1|"), "{way:?}");
            assert_eq!((dead.accepted(), alive.accepted()), (1, 1));
            assert_eq!((world.totals(), retried(&world)), ((1, 0), 1));
        }
    }
}

/// A kept connection that breaks may be the first that is seen of a replica's death.
#[test]
fn after_a_broken_kept_connection_a_call_goes_to_another_replica() {
    // Which replica is leased is drawn, and so each way is tried some times.
    for way in Way::BOTH.repeat(10) {
        let world = World::start();
        let replicas = world.function("hello", |_| {});
        let dies = AtomicBool::new(false);
        let dying = world.replica(move |mut conn: Conn| {
            while conn.request().is_some() && !dies.swap(true, Ordering::Relaxed) {
                conn.answer("ok");
            }
        });
        let alive = world.replica(echo);
        replicas.replace(vec![dying.backend.clone()]);
        let mut client = way.get(&world);
        assert_eq!(client.reply("GET").unwrap().text(), "ok", "{way:?}");
        replicas.replace(vec![dying.backend.clone(), alive.backend.clone()]);
        eventually!({
            client.send(way.request("GET", "", "").replace("\n", "\r\n"));
            let reply = client.reply("GET").unwrap();
            assert_eq!(reply.text(), "GET / HTTP/1.1|", "{way:?}");
            retried(&world) == 1
        });
    }
}

#[test]
fn what_may_not_be_sent_twice_ends_with_its_replica() {
    for way in Way::BOTH {
        for method in ["POST", "PATCH", "get", "FROB"] {
            let world = World::start();
            let (_, _dead, alive) = dying(&world);
            let reply = world.call(&way.request(method, "", ""));
            reply.assert_error(502, Some("exit"), "without an answer");
            assert_eq!(alive.accepted(), 0, "{way:?} {method}");
            assert_eq!((world.totals(), retried(&world)), ((1, 1), 0));
        }
    }
}

/// The lane has all of it. By hyper it streams, and what was sent is gone.
#[test]
fn a_body_is_sent_twice_where_it_is_still_here() {
    for (way, status) in [(Way::Lane, 200), (Way::Hyper, 502)] {
        let world = World::start();
        let _replicas = dying(&world);
        let reply = world.call(&way.request("PUT", "", "hi"));
        assert_eq!(reply.status, status, "{way:?}");
        assert!(status == 502 || reply.text() == "PUT / HTTP/1.1|hi");
    }
}

#[test]
fn a_call_that_ends_its_replicas_ends_two_at_most() {
    for way in Way::BOTH {
        let world = World::start();
        let replicas = world.function("hello", |_| {});
        let mut all: Vec<_> = (0..4)
            .map(|_| world.replica(|mut conn| drop(conn.request())))
            .collect();
        let backends = all.iter().map(|one| one.backend.clone());
        replicas.replace(backends.collect());
        let reply = world.call(&way.request("GET", "", ""));
        reply.assert_error(502, Some("exit"), "without an answer");
        all.retain(|one| one.accepted() > 0);
        assert_eq!(all.len(), 2, "{way:?}");
    }
}

#[test]
fn without_a_budget_nothing_is_sent_twice() {
    for way in Way::BOTH {
        let world = World::start();
        let (_, _dead, alive) = dying(&world);
        let route = world.routes.find("hello").unwrap();
        while route.counters.may_repeat() {}
        let reply = world.call(&way.request("GET", "", ""));
        reply.assert_error(502, Some("exit"), "without an answer");
        assert_eq!(alive.accepted(), 0, "{way:?}");
    }
}

#[test]
fn a_half_head_is_no_answer() {
    for way in Way::BOTH {
        let world = World::start();
        let replicas = world.function("hello", |_| {});
        let alive = world.replica(echo);
        let (set, next) = (Arc::clone(&replicas), Arc::clone(&alive.backend));
        let half = world.replica(move |mut conn: Conn| {
            conn.request();
            set.replace(vec![Arc::clone(&next)]);
            conn.write("HTTP/1.1 200 OK\r\nContent-");
        });
        replicas.replace(vec![half.backend.clone()]);
        let reply = world.call(&way.request("GET", "", ""));
        assert_eq!(reply.text(), "GET / HTTP/1.1|", "{way:?}");
    }
}

#[test]
fn calls_wait_in_their_order_whichever_way_they_came() {
    let world = World::start();
    let (replicas, replica, open, order) = gated(&world, &scale(1, 10));
    let ways = Way::BOTH.into_iter().cycle();
    let mut clients: Vec<Client> = Vec::new();
    for (number, way) in (0..8).zip(ways) {
        clients.push(way.send(&world, &format!("/{number}")));
        eventually!(replicas.waiting() == number);
        eventually!(!order.lock().unwrap().is_empty());
    }
    assert_eq!(replica.backend.in_flight(), 1);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(order.lock().unwrap().len(), number + 1, "one at a time");
        let begun = Instant::now();
        open.send(()).unwrap();
        let reply = client.reply("POST").unwrap();
        assert_eq!(reply.text(), "ok");
        let text = reply.field("server-timing").unwrap();
        assert!(timing(text, "wake") < 0.001, "{text}");
        if number + 1 < 8 {
            eventually!(order.lock().unwrap().len() == number + 2);
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    let wanted: Vec<_> = (0..8).map(|n| format!("POST /{n} HTTP/1.1")).collect();
    assert_eq!(*order.lock().unwrap(), wanted);
    assert_eq!((replicas.waiting(), world.totals()), (0, (8, 0)));
}

#[test]
fn beyond_the_line_a_call_is_a_429_with_its_time_to_come_again() {
    for way in Way::BOTH {
        let world = World::start();
        let (replicas, _replica, open, order) = gated(&world, &scale(1, 1));
        let mut first = way.send(&world, "");
        eventually!(order.lock().unwrap().len() == 1);
        let mut second = way.send(&world, "");
        eventually!(replicas.waiting() == 1);
        let reply = way.send(&world, "").reply("POST").unwrap();
        reply.assert_error(429, None, "`scale.concurrency`");
        assert!(reply.text().contains("`scale.queue`"));
        assert_eq!(reply.field("retry-after"), Some("1"), "{way:?}");
        for client in [&mut first, &mut second] {
            open.send(()).unwrap();
            assert_eq!(client.reply("POST").unwrap().status, 200);
        }
        let codes = world.routes.find("hello").unwrap().counters.counts().codes;
        let codes: Vec<_> = codes.iter().map(|one| one.code.to_string()).collect();
        assert_eq!(codes, ["429", "200"]);
    }
}

#[test]
fn the_time_to_come_again_is_about_that_of_a_call() {
    for way in Way::BOTH {
        let world = World::start();
        let (replicas, ..) = gated(&world, &scale(1, 0));
        let _held = replicas.lease().unwrap();
        let route = world.routes.find("hello").unwrap();
        for (took, seconds) in [(1_500, "2"), (400_000, "60")] {
            let took = Duration::from_millis(took);
            route.counters.end(200, took, hob_model::EndReason::Ok);
            let reply = way.send(&world, "").reply("POST").unwrap();
            assert_eq!(
                (reply.status, reply.field("retry-after")),
                (429, Some(seconds))
            );
        }
    }
}

#[test]
fn a_caller_that_hangs_up_leaves_the_line() {
    for way in Way::BOTH {
        let world = World::start();
        let (replicas, _replica, open, order) = gated(&world, &scale(1, 10));
        let held = replicas.lease().unwrap();
        let gone = way.send(&world, "/gone");
        eventually!(replicas.waiting() == 1);
        let mut stays = way.send(&world, "/stays");
        eventually!(replicas.waiting() == 2);
        drop(gone);
        eventually!(replicas.waiting() == 1);
        drop(held);
        open.send(()).unwrap();
        assert_eq!(stays.reply("POST").unwrap().status, 200, "{way:?}");
        assert_eq!(*order.lock().unwrap(), ["POST /stays HTTP/1.1"]);
    }
}

#[test]
fn a_call_does_not_wait_in_line_beyond_its_deadline() {
    for way in Way::BOTH {
        let world = World::start();
        let short = Timespan(Duration::from_millis(200));
        let replicas = world.function("hello", |route: &mut Route| route.timeout = short);
        let replica = world.replica(echo);
        replicas.limit(&scale(1, 10));
        replicas.replace(vec![replica.backend.clone()]);
        let held = replicas.lease().unwrap();
        let reply = way.send(&world, "").reply("POST").unwrap();
        let words = "had no place for the call within its timeout of 200ms";
        reply.assert_error(504, Some("timeout"), words);
        let text = reply.field("server-timing").unwrap();
        assert!(timing(text, "queue") >= 200.0, "{text}");
        // The replica is not at fault.
        assert!(world.wake.condemned().is_empty());
        assert_eq!(replicas.waiting(), 0);
        drop(held);
        assert_eq!(way.send(&world, "").reply("POST").unwrap().status, 200);
    }
}

#[test]
fn a_new_replica_takes_those_who_wait_and_so_does_a_wake() {
    for way in Way::BOTH {
        let world = World::start();
        let (replicas, replica, _open, _) = gated(&world, &scale(1, 10));
        let _held = replicas.lease().unwrap();
        let mut client = way.send(&world, "");
        eventually!(replicas.waiting() == 1);
        let more = world.replica(echo);
        replicas.replace(vec![replica.backend.clone(), more.backend.clone()]);
        assert_eq!(client.reply("POST").unwrap().text(), "POST / HTTP/1.1|hi");

        let at_more = more.backend.lease(u32::MAX).unwrap();
        let mut client = way.send(&world, "");
        eventually!(replicas.waiting() == 1);
        let (set, woken) = (Arc::clone(&replicas), world.replica(echo));
        let backend = woken.backend.clone();
        world.wake.then(move || {
            set.replace(vec![backend.clone()]);
            Ok(())
        });
        // Both have ended.
        replicas.replace(Vec::new());
        assert_eq!(client.reply("POST").unwrap().status, 200, "{way:?}");
        assert_eq!((world.wake.woken(), woken.accepted()), (1, 1));
        drop(at_more);
    }
}

#[test]
fn who_waits_gets_the_place_of_a_replica_that_was_left_out() {
    for way in Way::BOTH {
        let world = World::start();
        let replicas = world.function("hello", |_| {});
        let (full, out) = (world.replica(echo), world.replica(echo));
        replicas.limit(&scale(1, 10));
        replicas.replace(vec![full.backend.clone(), out.backend.clone()]);
        let _held = full.backend.lease(1).unwrap();
        out.backend.eject();
        let reply = way.send(&world, "").reply("POST").unwrap();
        assert_eq!(reply.text(), "POST / HTTP/1.1|hi", "{way:?}");
        assert_eq!((full.accepted(), out.accepted()), (0, 1));
    }
}

#[test]
fn calls_that_come_together_to_a_sleeping_function_wait_for_its_places() {
    let world = World::start();
    let (replicas, replica, open, order) = gated(&world, &scale(1, 10));
    replicas.replace(Vec::new());
    let (set, backend) = (Arc::clone(&replicas), replica.backend.clone());
    world.wake.then(move || {
        set.replace(vec![backend.clone()]);
        Ok(())
    });
    let mut clients: Vec<_> = (0..6)
        .map(|number| Way::BOTH[number % 2].send(&world, ""))
        .collect();
    eventually!(replicas.waiting() == 5);
    assert_eq!(order.lock().unwrap().len(), 1);
    for _ in 0..6 {
        open.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.reply("POST").unwrap().status, 200);
    }
    assert_eq!(replica.backend.in_flight(), 0);
}

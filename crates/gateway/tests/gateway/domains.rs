//! Functions that have host names of their own.

use std::{fs, sync::Arc};

use hob_model::{Auth, Bans, Cors, Guard, ReplicaSet, Settings, Target, TokenAuth};
use http::{Request as HttpRequest, StatusCode};
use http_body_util::BodyExt;

use crate::{
    harness::{Client, Replica, Reply, Request, World, echo, recorder},
    protocol::h2c,
    way::Way,
};

/// Makes a request one that the lane leaves to hyper, and changes nothing else.
const NOT_PLAIN: &str = "Connection: keep-alive, x-nothing\n";

/// A function with domains, whose replica tells its requests.
fn function(world: &World, name: &str, domains: &[&str]) -> (Arc<ReplicaSet>, Replica) {
    let replicas = world.function(name, |route| {
        route.domains = domains.iter().map(|one| one.parse().unwrap()).collect();
    });
    let tag = name.to_owned();
    let replica = world.replica(move |mut conn| {
        while let Some(request) = conn.request() {
            let path = request.line.split(' ').nth(1).unwrap().to_owned();
            conn.answer(&format!("{tag} {path}"));
        }
    });
    replicas.replace(vec![Arc::clone(&replica.backend)]);
    (replicas, replica)
}

fn get(world: &World, way: Way, host: &str, path: &str) -> Reply {
    let mark = match way {
        Way::Lane => "",
        Way::Hyper => NOT_PLAIN,
    };
    world.call(&format!("GET {path} HTTP/1.1\nHost: {host}\n{mark}\n"))
}

#[test]
fn only_functions_are_functions_where_they_ask() {
    let world = World::listening(
        Bans::default(),
        |_| {},
        |at| {
            at.function_address = Some("127.0.0.1".parse().unwrap());
            at.function_network = Some("127.0.0.2/31".parse().unwrap());
        },
    );
    let _replica = world.hello(echo);
    // By its name alone.
    let call = "GET /a HTTP/1.1\nHost: hello.openfaas-fn\n\n";
    for (from, answer) in [
        ("127.0.0.2", "GET /a HTTP/1.1|"),
        ("127.0.0.4", "fallback /a 127.0.0.4"),
    ] {
        let mut client = Client::connect_from(from, world.address);
        assert_eq!(client.call(call).text(), answer);
    }
}

#[test]
fn a_host_leads_to_its_function() {
    let world = World::start();
    let _home = function(&world, "home", &["example.net"]);
    let _shop = function(
        &world,
        "shop.staging",
        &["example.net/shop", "api.example.net/v1"],
    );
    for way in Way::BOTH {
        for (host, path, expected) in [
            ("example.net", "/", "home /"),
            ("Example.NET.:8080", "/a//b?c=/d", "home /a//b?c=/d"),
            ("example.net", "/shop", "shop.staging /"),
            ("example.net", "/shop?a", "shop.staging /?a"),
            ("example.net", "/shop/a?b", "shop.staging /a?b"),
            (
                "example.net",
                "/shop/../system/info",
                "shop.staging /../system/info",
            ),
            ("example.net", "/shopping", "home /shopping"),
            // All of a host that is the function's is.
            ("example.net", "/system/functions", "home /system/functions"),
            ("example.net", "/hob/v1/status", "home /hob/v1/status"),
            ("example.net", "/healthz", "home /healthz"),
            ("example.net", "/function/shop", "home /function/shop"),
            (
                "example.net",
                "/async-function/home",
                "home /async-function/home",
            ),
            // A host with paths is any host besides.
            ("api.example.net", "/v1/a", "shop.staging /a"),
            ("api.example.net", "/v2/", "fallback /v2/ 127.0.0.1"),
            (
                "api.example.net",
                "/system/info",
                "fallback /system/info 127.0.0.1",
            ),
            ("api.example.net", "/function/home/x", "home /x"),
            ("other.example.net", "/function/home/x", "home /x"),
            ("other.example.net", "/", "fallback / 127.0.0.1"),
            ("h", "/function/shop.staging", "shop.staging /"),
        ] {
            let reply = get(&world, way, host, path);
            assert_eq!(reply.text(), expected, "{way:?} {host}{path}");
            let is_call = !expected.starts_with("fallback");
            assert_eq!(reply.field("x-call-id").is_some(), is_call);
        }
    }
    // A request that names its host in its address.
    let reply = world.call("GET http://example.net/shop/x HTTP/1.1\nHost: example.net\n\n");
    assert_eq!(reply.text(), "shop.staging /x");
    let reply = world.call("GET http://example.net/ HTTP/1.1\nHost: api.example.net\n\n");
    assert_eq!(reply.status, 400);
    let counters = &world.routes.find("home").unwrap().counters;
    assert!(counters.totals().0 > 0 && counters.totals().1 == 0);
}

#[test]
fn a_domain_is_no_way_around_the_guards() {
    let world = World::start();
    let (replicas, _replica) = function(&world, "shop", &["example.net/shop"]);
    world.function("shop", |route| {
        route.domains = vec!["example.net/shop".parse().unwrap()];
        route.guard = Guard::of(&Settings {
            auth: Auth::Token(TokenAuth::default()),
            ..Settings::default()
        });
        route.target = Target::Replicas(replicas);
    });
    for way in Way::BOTH {
        for (host, path) in [("example.net", "/shop/a"), ("h", "/function/shop/a")] {
            let reply = get(&world, way, host, path);
            assert_eq!(reply.status, 401, "{way:?} {host}");
        }
    }
}

#[test]
fn what_is_no_path_is_no_functions() {
    let world = World::start();
    let _home = function(&world, "home", &["example.net"]);
    let reply = world.call("OPTIONS * HTTP/1.1\nHost: example.net\n\n");
    assert_eq!(reply.text(), "fallback * 127.0.0.1");
    let reply = world.call("CONNECT example.net:443 HTTP/1.1\nHost: example.net:443\n\n");
    assert_eq!(reply.status, 400);
    let reply = world.call("GET / HTTP/1.1\nHost: example.net\nHost: h\n\n");
    assert_eq!(reply.status, 400);
}

#[test]
fn a_domain_goes_with_its_function() {
    let world = World::start();
    let (_, _home) = function(&world, "home", &["example.net"]);
    for way in Way::BOTH {
        assert_eq!(get(&world, way, "example.net", "/x").text(), "home /x");
    }
    let (_, _home) = function(&world, "home", &["example.org"]);
    for way in Way::BOTH {
        let reply = get(&world, way, "example.net", "/x");
        assert_eq!(reply.text(), "fallback /x 127.0.0.1");
        assert_eq!(get(&world, way, "example.org", "/x").text(), "home /x");
    }
    world.routes.remove(&"home".parse().unwrap());
    for way in Way::BOTH {
        let reply = get(&world, way, "example.org", "/function/home");
        reply.assert_error(404, None, "does not exist");
    }
}

#[test]
fn a_function_is_told_by_which_name_it_was_called() {
    for way in Way::BOTH {
        let world = World::start();
        let (seen, script) = recorder();
        let domains = ["example.net", "example.net/shop"].map(|one| one.parse().unwrap());
        let _replica = world.hello_with(|route| route.domains = domains.into(), script);
        let told = |host: &str, path: &str| {
            get(&world, way, host, path);
            let request: Request = seen.lock().unwrap().pop().unwrap();
            ["host", "x-forwarded-host", "x-forwarded-prefix"]
                .map(|name| request.field(name).map(ToOwned::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        let host = some("example.net:80");
        let expected = [host.clone(), host.clone(), some("/shop")];
        assert_eq!(told("example.net:80", "/shop/a"), expected);
        let expected = [host.clone(), host, None];
        assert_eq!(told("example.net:80", "/a"), expected);
        let expected = [some("h"), some("h"), None];
        assert_eq!(told("h", "/function/hello/a"), expected);
    }
}

#[test]
fn calls_that_were_taken_earlier_go_where_they_were_sent() {
    use std::io::{Read, Write};
    let world = World::start();
    let _home = function(&world, "home", &["example.net"]);
    let _shop = function(&world, "shop", &[]);
    // As the queue makes it, with the host that its caller spoke to.
    let mut stream = world.dial();
    let call = "POST /function/shop/x HTTP/1.1\r\nHost: example.net\r\n\
                Connection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(call.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("shop /x"), "{answer}");
}

#[tokio::test]
async fn http2_names_the_host_elsewhere() {
    let world = World::start();
    let _home = function(&world, "home", &["example.net", "example.net/a"]);
    let mut sender = h2c(&world).await;
    for (url, expected) in [
        ("http://example.net/x?y", "home /x?y"),
        ("http://EXAMPLE.net:80/a/x", "home /x"),
        (
            "http://example.org/x",
            "fallback http://example.org/x 127.0.0.1",
        ),
    ] {
        let request = HttpRequest::get(url).body(Default::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
}

#[test]
fn a_websocket_on_a_domain() {
    let world = World::start();
    let domain = "chat.example.net/ws".parse().unwrap();
    let _replica = world.hello_with(
        |route| route.domains = vec![domain],
        |mut conn| {
            let request = conn.request().unwrap();
            assert_eq!(request.line, "GET /room HTTP/1.1");
            assert_eq!(request.field("x-forwarded-prefix"), Some("/ws"));
            conn.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi",
            );
        },
    );
    let mut client = world.connect();
    client.send(
        "GET /ws/room HTTP/1.1\r\nHost: chat.example.net\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.head().unwrap().status, 101);
    let mut rest = [0; 2];
    std::io::Read::read_exact(&mut client.stream, &mut rest).unwrap();
    assert_eq!(&rest, b"hi");
}

#[test]
fn a_site_has_its_paths_from_its_domain() {
    let world = World::start();
    let root = world.folder.path().join("site");
    fs::create_dir_all(root.join("docs")).unwrap();
    fs::write(root.join("index.html"), "home").unwrap();
    fs::write(root.join("docs/index.html"), "docs").unwrap();
    world.function("site", |route| {
        route.target = Target::Static(root);
        route.domains = ["www.example.net", "example.net/site"]
            .map(|one| one.parse().unwrap())
            .into();
    });
    for (host, path, expected) in [
        ("www.example.net", "/", "home"),
        ("www.example.net", "/docs/", "docs"),
        ("example.net", "/site/", "home"),
        ("example.net", "/site/docs/?q", "docs"),
    ] {
        let reply = get(&world, Way::Hyper, host, path);
        assert_eq!((reply.status, reply.text().as_str()), (200, expected));
    }
    for (host, path, to) in [
        ("www.example.net", "/docs", "/docs/"),
        // Two slashes would name another host.
        ("www.example.net", "//docs", "/docs/"),
        ("example.net", "/site", "/site/"),
        ("example.net", "/site?q=1", "/site/?q=1"),
        ("example.net", "/site/docs", "/site/docs/"),
        ("h", "/function/site/docs", "/function/site/docs/"),
    ] {
        let reply = get(&world, Way::Hyper, host, path);
        assert_eq!((reply.status, reply.field("location")), (307, Some(to)));
    }
}

#[test]
fn preflights_are_answered_on_a_domain() {
    let world = World::start();
    let origin = "https://app.example";
    let _replica = world.hello_with(
        |route| {
            route.domains = vec!["api.example.net".parse().unwrap()];
            route.cors = Some(Cors::Origins(vec![origin.into()]));
        },
        echo,
    );
    let reply = world.call(&format!(
        "OPTIONS /x HTTP/1.1\nHost: api.example.net\nOrigin: {origin}\n\
         Access-Control-Request-Method: PUT\n\n"
    ));
    assert_eq!(reply.status, 204);
    assert_eq!(reply.field("access-control-allow-origin"), Some(origin));
    assert_eq!(world.totals(), (0, 0));
}

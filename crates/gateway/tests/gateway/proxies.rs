//! Whom the gateway believes whose a request is.

use hob_gateway::{Proxies, ProxyHeader};

use crate::{
    harness::{Request, World, recorder},
    way::Way,
};

/// Makes a request one that the lane leaves to hyper, and changes nothing else.
const NOT_PLAIN: &str = "Connection: keep-alive, x-nothing\n";
/// All that a caller may claim.
const CLAIMS: &str = "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Host: shop.example\n\
    X-Forwarded-Proto: https\nX-Forwarded-Prefix: /outer/\n\
    Forwarded: for=192.0.2.8;proto=https\nX_Forwarded_Proto: https\n";

/// This test is the proxy, or is not.
fn world(trusted: &str, header: ProxyHeader) -> World {
    World::with(|config| {
        config.proxies = Proxies {
            trusted: vec![trusted.parse().unwrap()],
            header,
        };
    })
}

fn told(request: &Request) -> [String; 4] {
    ["for", "host", "proto", "prefix"].map(|part| {
        let name = format!("x-forwarded-{part}");
        request.field(&name).unwrap_or("-").to_owned()
    })
}

#[test]
fn only_a_trusted_proxy_says_how_a_call_was_made() {
    let stranger = ["192.0.2.7, 127.0.0.1", "h", "http", "/own"];
    let proxy = [
        "192.0.2.7, 127.0.0.1",
        "shop.example",
        "https",
        "/outer/own",
    ];
    // Those of `Forwarded` may pass the others on as they came.
    let standard = ["192.0.2.7, 127.0.0.1", "h", "https", "/own"];
    for (trusted, header, expected) in [
        ("10.0.0.0/8", ProxyHeader::ForwardedFor, stranger),
        ("::1/128", ProxyHeader::ForwardedFor, stranger),
        ("127.0.0.0/8", ProxyHeader::ForwardedFor, proxy),
        ("127.0.0.0/8", ProxyHeader::Forwarded, standard),
    ] {
        let mut seen = Vec::new();
        for way in Way::BOTH {
            let world = world(trusted, header.clone());
            let (requests, script) = recorder();
            let domain = "h.example/own".parse().unwrap();
            let _replica = world.hello_with(|route| route.domains = vec![domain], script);
            let mark = match way {
                Way::Lane => "",
                Way::Hyper => NOT_PLAIN,
            };
            for (host, path) in [("h.example", "/own/x"), ("h", "/function/hello")] {
                let reply = world.call(&format!(
                    "GET {path} HTTP/1.1\nHost: {host}\n{mark}{CLAIMS}\n"
                ));
                assert_eq!(reply.status, 200);
            }
            let mut requests = requests.lock().unwrap();
            let plain = told(&requests.pop().unwrap());
            let hosted = requests.pop().unwrap();
            assert!(
                hosted.names().iter().all(|name| !name.contains('_')),
                "{hosted:?}"
            );
            assert_eq!(hosted.field("forwarded"), Some("for=192.0.2.8;proto=https"));
            let mut expected = expected.map(ToOwned::to_owned);
            assert_eq!(plain[..3], expected[..3], "{way:?} {trusted}");
            let outer = if expected == proxy { "/outer/" } else { "-" };
            assert_eq!(plain[3], outer, "{way:?} {trusted}");
            if expected[1] == "h" {
                expected[1] = "h.example".into();
            }
            let hosted = told(&hosted);
            assert_eq!(hosted, expected, "{way:?} {trusted}");
            seen.push((plain, hosted));
        }
        assert_eq!(seen[0], seen[1]);
    }
}

#[test]
fn the_control_plane_gets_the_callers_address() {
    let single = || http::HeaderName::from_static("cf-connecting-ip").into();
    for (trusted, header, fields, expected) in [
        (
            "10.0.0.0/8",
            ProxyHeader::ForwardedFor,
            CLAIMS,
            "127.0.0.1 false",
        ),
        (
            "127.0.0.1/32",
            ProxyHeader::ForwardedFor,
            CLAIMS,
            "192.0.2.7 true",
        ),
        (
            "127.0.0.1/32",
            ProxyHeader::Forwarded,
            CLAIMS,
            "192.0.2.8 true",
        ),
        ("127.0.0.1/32", single(), CLAIMS, "127.0.0.1 true"),
        (
            "127.0.0.1/32",
            single(),
            "CF-Connecting-IP: 2001:db8::1\n",
            "2001:db8::1 false",
        ),
        (
            "127.0.0.1/32",
            ProxyHeader::ForwardedFor,
            "X-Forwarded-For: 203.0.113.1, 192.0.2.7\nX-Forwarded-For: 127.0.0.1\n",
            "192.0.2.7 false",
        ),
        (
            "127.0.0.1/32",
            ProxyHeader::ForwardedFor,
            "",
            "127.0.0.1 false",
        ),
    ] {
        let world = world(trusted, header);
        world.function("hello", |_| {});
        for path in ["/system/info", "/async-function/hello"] {
            let reply = world.call(&format!(
                "POST {path} HTTP/1.1\nHost: h\n{fields}Content-Length: 0\n\n"
            ));
            assert_eq!(
                reply.field("x-seen-caller"),
                Some(expected),
                "{path} {fields}"
            );
        }
    }
}

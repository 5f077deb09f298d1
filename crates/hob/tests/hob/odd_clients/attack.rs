//! What odd clients say, byte by byte.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

/// Longest wait of one read or write: who attacks waits for nothing.
const TICK: Duration = Duration::from_millis(20);

/// A way into the server.
#[derive(Clone, Copy)]
pub(super) struct Door {
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// Makes of a connection what its protocol needs before the first byte of HTTP.
    pub(super) open: fn(TcpStream) -> Box<dyn Wire>,
    /// How long that may take.
    pub(super) opening: Duration,
}

/// A connection, whatever is spoken below.
pub(super) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// One way to be a nuisance.
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// Said at once.
    first: Vec<u8>,
    /// Said again and again: the n-th time.
    then: fn(u32) -> Vec<u8>,
    pause: Duration,
    /// Whether the answers are read.
    reads: bool,
    /// By when the server has to have ended it.
    pub(super) life: Duration,
}

/// A connection from `own` to the door.
pub(super) fn connect(own: &str, door: Door) -> std::io::Result<TcpStream> {
    let own: SocketAddr = format!("{own}:0").parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&own.into())?;
    socket.connect(&SocketAddr::new(own.ip(), door.port).into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Attack {
    /// Goes on until the server ends it; returns how long that took, or nothing when it never did.
    pub(super) fn run(&self, own: &str, door: Door) -> Option<Duration> {
        let begun = Instant::now();
        // Turned away at the door: that is an end too.
        let Ok(stream) = connect(own, door) else {
            return Some(begun.elapsed());
        };
        stream.set_read_timeout(Some(TICK)).unwrap();
        stream.set_write_timeout(Some(TICK)).unwrap();
        let mut wire = (door.open)(stream);
        let mut rest = self.first.clone();
        let mut room = [0; 4096];
        for number in 0.. {
            if begun.elapsed() > self.life + door.opening {
                return None;
            }
            match wire.write(&rest) {
                Ok(written) => drop(rest.drain(..written)),
                Err(error) if is_slow(&error) => {}
                Err(_) => return Some(begun.elapsed()),
            }
            if self.reads {
                match wire.read(&mut room) {
                    Ok(1..) => {}
                    Err(error) if is_slow(&error) => {}
                    Ok(0) | Err(_) => return Some(begun.elapsed()),
                }
            }
            std::thread::sleep(self.pause);
            if rest.is_empty() {
                rest = (self.then)(number);
            }
        }
        None
    }
}

fn is_slow(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

// === HTTP/2, by hand ===

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A head in HPACK without any compression: `method` is an entry of the static table.
fn head(method: u8, path: &str) -> Vec<u8> {
    let mut head = vec![method, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend(path.as_bytes());
    head.extend(b"\x01\x01h");
    head
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

fn http2(settings: &[u8], more: Vec<u8>) -> Vec<u8> {
    [PREFACE.to_vec(), frame(SETTINGS, 0, 0, settings), more].concat()
}

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

/// All of them. `late` is when a head or an idle connection is over, `slow` when a body is.
pub(super) fn all(late: Duration, slow: Duration) -> Vec<Attack> {
    let text = |text: &str| text.replace('\n', "\r\n").into_bytes();
    let attack = |name, first: Vec<u8>, then: fn(u32) -> Vec<u8>, millis, life| Attack {
        name,
        first,
        then,
        pause: Duration::from_millis(millis),
        reads: true,
        life,
    };
    let deaf = |attack: Attack| Attack {
        reads: false,
        ..attack
    };
    let post = "POST /function/hello HTTP/1.1\nHost: h\n";
    let chunked = format!("{post}Transfer-Encoding: chunked\n\n");
    vec![
        attack("silent", Vec::new(), nothing, 50, late),
        attack("half a head", text("GET /function/hel"), nothing, 50, late),
        attack("a dripping head", text(post), |_| b"a".to_vec(), 50, late),
        attack(
            "one field at a time",
            text(post),
            |n| format!("X-{n}: 1\r\n").into(),
            100,
            late,
        ),
        attack(
            "a dripping body",
            text(&format!("{post}Content-Length: 100000\n\n")),
            |_| b"x".to_vec(),
            100,
            slow,
        ),
        attack(
            "dripping chunks",
            text(&chunked),
            |_| b"1\r\nx\r\n".to_vec(),
            100,
            slow,
        ),
        attack(
            "no body at all",
            text(&format!("{post}Content-Length: 10\n\n")),
            nothing,
            100,
            slow,
        ),
        attack(
            "an endless chunk extension",
            text(&format!("{chunked}1;")),
            |_| vec![b'e'; 4096],
            1,
            slow,
        ),
        attack(
            "endless trailers",
            text(&format!("{chunked}0\n")),
            |n| format!("T-{n}: {}\r\n", "t".repeat(1000)).into(),
            1,
            slow,
        ),
        attack(
            "a megabyte of a line",
            [b"GET /".to_vec(), vec![b'a'; 1 << 20]].concat(),
            nothing,
            1,
            late,
        ),
        attack(
            "thousands of fields",
            text(&format!("{post}{}\n", "X-Y: z\n".repeat(5000))),
            nothing,
            1,
            late,
        ),
        attack(
            "a huge field",
            text(&format!("{post}X: {}\n\n", "y".repeat(200 << 10))),
            nothing,
            1,
            late,
        ),
        attack("zero bytes", vec![0; 4096], nothing, 1, late),
        attack(
            "bare line feeds and a zero byte",
            b"GET / HTTP/1.1\nHost: \0h\n\n".to_vec(),
            nothing,
            1,
            late,
        ),
        attack(
            "a hello of TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaa".to_vec(),
            |_| vec![0x16; 64],
            20,
            late,
        ),
        attack("empty lines", Vec::new(), |_| b"\r\n".to_vec(), 20, late),
        deaf(attack(
            "asks and never reads",
            Vec::new(),
            |_| {
                b"POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nlarge"
                    .to_vec()
            },
            20,
            slow,
        )),
        attack(
            "rapid resets",
            http2(&[], Vec::new()),
            |n| {
                let one = |stream: u32| {
                    let head = frame(
                        HEADERS,
                        END_STREAM | END_HEADERS,
                        stream,
                        &head(GET, "/function/hello"),
                    );
                    [head, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
                };
                (0..100)
                    .flat_map(|more| one((n * 100 + more) * 2 + 1))
                    .collect()
            },
            5,
            late,
        ),
        attack(
            "a flood of continuations",
            http2(
                &[],
                frame(HEADERS, END_STREAM, 1, &head(GET, "/function/hello")),
            ),
            |_| {
                frame(
                    CONTINUATION,
                    0,
                    1,
                    &[b"\x00\x01x\x7f\xff\x00".to_vec(), vec![b'c'; 4000]].concat(),
                )
            },
            1,
            late,
        ),
        attack(
            "a huge list of fields",
            http2(&[], Vec::new()),
            |n| {
                let mut head = head(GET, "/function/hello");
                for _ in 0..2000 {
                    head.extend(b"\x00\x04name\x04long");
                }
                let part = frame(HEADERS, END_STREAM, n * 2 + 1, &head[..16_000]);
                [
                    part,
                    frame(CONTINUATION, END_HEADERS, n * 2 + 1, &head[16_000..]),
                ]
                .concat()
            },
            20,
            slow,
        ),
        attack(
            "a flood of settings",
            http2(&[], Vec::new()),
            |_| frame(SETTINGS, 0, 0, &[]).repeat(50),
            10,
            slow,
        ),
        attack(
            "a flood of pings",
            http2(&[], Vec::new()),
            |_| frame(PING, 0, 0, &[0; 8]).repeat(50),
            10,
            slow,
        ),
        deaf(attack(
            "pings whose answers nobody reads",
            http2(&[], Vec::new()),
            |_| frame(PING, 0, 0, &[0; 8]).repeat(500),
            5,
            slow,
        )),
        attack(
            "no window",
            http2(
                &[0, 4, 0, 0, 0, 0],
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    1,
                    &head(GET, "/function/hello"),
                ),
            ),
            nothing,
            50,
            slow,
        ),
        attack(
            "streams without an end",
            http2(&[], Vec::new()),
            |n| match n {
                0..20 => (0..50)
                    .flat_map(|more| {
                        frame(
                            HEADERS,
                            END_HEADERS,
                            (n * 50 + more) * 2 + 1,
                            &head(POST, "/function/hello"),
                        )
                    })
                    .collect(),
                _ => Vec::new(),
            },
            20,
            slow,
        ),
        attack(
            "frames of no kind",
            http2(&[], Vec::new()),
            |_| frame(0xee, 0xff, 0, &[1; 64]),
            20,
            slow,
        ),
    ]
}

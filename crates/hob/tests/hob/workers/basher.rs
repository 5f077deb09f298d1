//! A stand-in for the worker of bfaas: it runs one bash script with no cage at all, says what the
//! script writes in pieces of 4096 bytes, and is gone. Bytes that are no UTF-8 are mangled, also
//! where a piece ends in the middle of a character, as there.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// What is read of an output at once.
const PIECE: usize = 4096;

/// One run of the program.
pub(crate) struct Basher {
    pub(crate) address: SocketAddr,
    running: Option<JoinHandle<()>>,
    /// The heads of the requests that came.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Basher {
    /// Waits for its only run at this address; `127.0.0.1:0` for any port.
    pub(crate) fn start(id: &str, address: &str) -> Self {
        let door = TcpListener::bind(address).unwrap();
        let address = door.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (id, told) = (id.to_owned(), Arc::clone(&heads));
        let running = thread::spawn(move || {
            for stream in door.incoming() {
                let (head, body, stream) = request(stream.unwrap());
                let is_run = head.starts_with("POST /run");
                told.lock().unwrap().push(head.clone());
                match is_run {
                    true => return run(&id, &head, &body, stream),
                    false => refuse(stream),
                }
            }
        });
        Self {
            address,
            running: Some(running),
            heads,
        }
    }

    /// Waits for its end; returns the head of the request for its run.
    pub(crate) fn ended(mut self) -> String {
        self.running.take().unwrap().join().unwrap();
        self.heads.lock().unwrap().pop().unwrap()
    }
}

fn request(stream: TcpStream) -> (String, Vec<u8>, TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    (head, body, stream)
}

fn refuse(mut stream: TcpStream) {
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n";
    stream.write_all(answer.as_bytes()).unwrap();
}

/// Whoever hangs up has bash killed, and nothing of what bash started.
fn run(id: &str, head: &str, body: &[u8], stream: TcpStream) {
    let raw = head.contains("?raw=1");
    let mut bash = Command::new("/bin/bash");
    bash.arg("-c")
        .arg(String::from_utf8_lossy(body).into_owned());
    bash.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = bash.spawn().unwrap();
    let writer = Arc::new(Mutex::new(Writer {
        stream,
        head: Some(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nWorker: {id}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )),
    }));
    let outputs: [(&str, Box<dyn Read + Send>); 2] = [
        ("stdout", Box::new(child.stdout.take().unwrap())),
        ("stderr", Box::new(child.stderr.take().unwrap())),
    ];
    let copiers = outputs.map(|(name, mut output)| {
        let writer = Arc::clone(&writer);
        thread::spawn(move || {
            let mut piece = [0; PIECE];
            while let Ok(count @ 1..) = output.read(&mut piece) {
                let bytes = &piece[..count];
                let text = match raw {
                    true => bytes.to_vec(),
                    false => format!("event: {name}\ndata: {}\n\n", as_go(bytes)).into_bytes(),
                };
                if writer.lock().unwrap().write(&text).is_err() {
                    return false;
                }
            }
            true
        })
    });
    let reads = copiers.map(|copier| copier.join().unwrap());
    if reads.contains(&false) {
        let _ = child.kill();
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let end = match raw {
        true => format!("\nexit: {code}\n"),
        false => format!("event: exit\ndata: {{\"code\":{code}}}\n\n"),
    };
    let mut writer = writer.lock().unwrap();
    let _ = writer.write(end.as_bytes());
    let _ = writer.stream.write_all(b"0\r\n\r\n");
}

/// The head goes with the first piece, as Go has it.
struct Writer {
    stream: TcpStream,
    head: Option<String>,
}

impl Writer {
    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        if let Some(head) = self.head.take() {
            self.stream.write_all(head.as_bytes())?;
        }
        let chunk = [format!("{:x}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
        self.stream.write_all(&chunk)
    }
}

/// A JSON text as Go writes it.
fn as_go(bytes: &[u8]) -> String {
    let mut json = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let text = serde_json::to_string(chunk.valid()).unwrap();
        let text = text[1..text.len() - 1].replace('<', "\\u003c");
        json += &text.replace('>', "\\u003e").replace('&', "\\u0026");
        json += &"\\ufffd".repeat(chunk.invalid().len());
    }
    json + "\""
}

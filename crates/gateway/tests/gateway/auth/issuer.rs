//! A fake issuer: a web server that says what a test wants, also what no good one would.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A request as the issuer got it: its line, its `Authorization`, its body.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) login: String,
    pub(crate) body: String,
}

type Script = dyn Fn(&Asked) -> String + Send + Sync;

pub(crate) struct FakeIssuer {
    address: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Arc<Script>>>,
    gone: Arc<AtomicBool>,
}

impl FakeIssuer {
    /// Answers each request with what `script` says.
    pub(crate) fn new(script: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let script = Arc::new(Mutex::new(script));
        let gone = Arc::new(AtomicBool::new(false));
        let (notes, says, end) = (Arc::clone(&asked), Arc::clone(&script), Arc::clone(&gone));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (notes, says) = (Arc::clone(&notes), Arc::clone(&says));
                thread::spawn(move || serve(stream.unwrap(), &notes, &says));
            }
        });
        Self {
            address,
            asked,
            script,
            gone,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn then(&self, script: impl Fn(&Asked) -> String + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, notes: &Mutex<Vec<Asked>>, script: &Mutex<Arc<Script>>) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let fields: HashMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = fields
        .get("content-length")
        .map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let asked = Asked {
        line: lines[0].clone(),
        login: fields.get("authorization").cloned().unwrap_or_default(),
        body: String::from_utf8(body).unwrap(),
    };
    notes.lock().unwrap().push(asked.clone());
    let script = Arc::clone(&script.lock().unwrap());
    let answer = script(&asked);
    let _ = stream.get_mut().write_all(answer.as_bytes());
}

/// An answer of 200.
pub(crate) fn ok(body: &Value) -> String {
    answer("200 OK", &body.to_string())
}

pub(crate) fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A key that signs tokens.
pub(crate) struct Signer {
    pub(crate) jwk: Value,
    algorithm: jsonwebtoken::Algorithm,
    key: jsonwebtoken::EncodingKey,
}

impl Signer {
    pub(crate) fn p256(id: &str) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let part = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        Self {
            jwk: json!({
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
                "x": part(1..33), "y": part(33..65),
            }),
            algorithm: jsonwebtoken::Algorithm::ES256,
            key: jsonwebtoken::EncodingKey::from_ec_der(pkcs8.as_ref()),
        }
    }

    pub(crate) fn ed25519(id: &str) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self {
            jwk: json!({
                "kty": "OKP", "crv": "Ed25519", "kid": id,
                "x": URL_SAFE_NO_PAD.encode(pair.public_key()),
            }),
            algorithm: jsonwebtoken::Algorithm::EdDSA,
            key: jsonwebtoken::EncodingKey::from_ed_der(pkcs8.as_ref()),
        }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = jsonwebtoken::Header::new(self.algorithm);
        header.kid = self.jwk["kid"].as_str().map(str::to_owned);
        self.sign_with(&header, claims)
    }

    pub(crate) fn sign_with(&self, header: &jsonwebtoken::Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use hob_model::port::{Keyring, KeyringError, PemPair, Presented};
use rustls::{
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::ACME_PROTOCOL;

/// What callers by TLS are presented. Read by every handshake, which never waits for a writer.
pub struct Certificates {
    provider: Arc<CryptoProvider>,
    /// By rank and slot.
    kept: Mutex<BTreeMap<(u8, String), Kept>>,
    table: ArcSwap<Table>,
    /// By host.
    proofs: ArcSwap<HashMap<Box<str>, Arc<CertifiedKey>>>,
    /// By token.
    answers: ArcSwap<HashMap<Box<str>, Box<str>>>,
}

struct Kept {
    hosts: Vec<Box<str>>,
    fallback: bool,
    certified: Arc<CertifiedKey>,
}

/// What follows of what is kept.
#[derive(Default)]
struct Table {
    hosts: HashMap<Box<str>, Arc<CertifiedKey>>,
    fallback: Option<Arc<CertifiedKey>>,
}

// === impl Certificates ===

impl Default for Certificates {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            kept: Mutex::default(),
            table: ArcSwap::default(),
            proofs: ArcSwap::default(),
            answers: ArcSwap::default(),
        }
    }
}

impl Certificates {
    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Whether there is a certificate for `host`, in lower case.
    pub(super) fn know(&self, host: &str) -> bool {
        self.table.load().find(host).is_some()
    }

    /// What an ACME server is to be answered.
    pub(super) fn answer_to(&self, token: &str) -> Option<Box<str>> {
        self.answers.load().get(token).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<(u8, String), Kept>)) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut kept);
        self.table.store(Arc::new(Table::of(&kept)));
    }

    /// A pair that fits together.
    fn certified(&self, pair: &PemPair) -> Result<Arc<CertifiedKey>, KeyringError> {
        let (chain, key) = parse(pair)?;
        let certified = CertifiedKey::from_der(chain, key, &self.provider);
        certified.map(Arc::new).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                KeyringError("the private key is not that of the certificate".into())
            }
            rustls::Error::General(problem) => KeyringError(problem),
            error => KeyringError(error.to_string()),
        })
    }

    /// A pair of hob's own making, with an extension that ordinary readers of certificates refuse:
    /// it is for ACME servers alone.
    fn proof(&self, pair: &PemPair) -> Result<Arc<CertifiedKey>, KeyringError> {
        let (chain, key) = parse(pair)?;
        let key = self.provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| KeyringError(error.to_string()))?;
        Ok(Arc::new(CertifiedKey::new(chain, key)))
    }
}

type Parsed = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parse(pair: &PemPair) -> Result<Parsed, KeyringError> {
    let refuse = |problem: &str| KeyringError(problem.to_owned());
    let chain = CertificateDer::pem_slice_iter(&pair.chain);
    let chain: Vec<_> = chain
        .collect::<Result<_, _>>()
        .map_err(|_| refuse("the certificate is not PEM"))?;
    if chain.is_empty() {
        return Err(refuse("there is no certificate in its file"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key)
        .map_err(|_| refuse("there is no private key in PEM in its file"))?;
    Ok((chain, key))
}

impl Keyring for Certificates {
    fn present(&self, slot: &str, presented: &Presented) -> Result<(), KeyringError> {
        let kept = Kept {
            hosts: presented
                .hosts
                .iter()
                .map(|host| host.as_str().into())
                .collect(),
            fallback: presented.fallback,
            certified: self.certified(&presented.pair)?,
        };
        self.change(|all| {
            all.insert((presented.rank, slot.to_owned()), kept);
        });
        Ok(())
    }

    fn withdraw(&self, slot: &str) {
        self.change(|all| all.retain(|(_, kept), _| kept != slot));
    }

    fn prove(&self, host: &str, proof: Option<&PemPair>) -> Result<(), KeyringError> {
        let certified = proof.map(|pair| self.proof(pair)).transpose()?;
        self.proofs.rcu(|proofs| {
            let mut proofs = HashMap::clone(proofs);
            match &certified {
                Some(certified) => proofs.insert(host.into(), Arc::clone(certified)),
                None => proofs.remove(host),
            };
            proofs
        });
        Ok(())
    }

    fn answer(&self, token: &str, answer: Option<&str>) {
        self.answers.rcu(|answers| {
            let mut answers = HashMap::clone(answers);
            match answer {
                Some(answer) => answers.insert(token.into(), answer.into()),
                None => answers.remove(token),
            };
            answers
        });
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(str::to_ascii_lowercase);
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(ACME_PROTOCOL) && protocols.next().is_none() {
            return self.proofs.load().get(host?.as_str()).cloned();
        }
        let table = self.table.load();
        let known = host.and_then(|host| table.find(&host));
        known.or(table.fallback.as_ref()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.load();
        f.debug_set().entries(table.hosts.keys()).finish()
    }
}

// === impl Table ===

impl Table {
    fn of(kept: &BTreeMap<(u8, String), Kept>) -> Self {
        let mut table = Self::default();
        for one in kept.values() {
            for host in &one.hosts {
                let entry = table.hosts.entry(host.clone());
                entry.or_insert_with(|| Arc::clone(&one.certified));
            }
            if one.fallback {
                table
                    .fallback
                    .get_or_insert_with(|| Arc::clone(&one.certified));
            }
        }
        table
    }

    fn find(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        self.hosts.get(host).or_else(|| {
            let (_, rest) = host.split_once('.')?;
            self.hosts.get(format!("*.{rest}").as_str())
        })
    }
}

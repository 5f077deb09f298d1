use std::{sync::Arc, time::Duration};

use hob_model::port::{Keyring, PemPair};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeHandle, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Acme;
use crate::{AcmeChallenge, control::on_disk};

/// Longest time from the first request to the certificate.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How the server is asked whether it is done.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(2 * 60));
/// The server has forgotten the account, or is another one at the old address.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
/// It was asked too often.
const RATE_LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";
/// Longest part of what a server says that is repeated, in characters.
const SAID_MAX: usize = 400;

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct OrderError {
    /// One line.
    pub(super) problem: String,
    /// Whether the server was asked too often.
    pub(super) limited: bool,
    no_account: bool,
}

impl OrderError {
    pub(super) fn failed(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            limited: false,
            no_account: false,
        }
    }
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        let is = |kind: &str| matches!(&error, Error::Api(p) if p.r#type.as_deref() == Some(kind));
        Self {
            limited: is(RATE_LIMITED),
            no_account: is(NO_ACCOUNT),
            problem: said(&error),
        }
    }
}

/// An error with its causes, in one line.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let text: String = text.chars().take(SAID_MAX).collect();
    text.replace(char::is_control, " ")
}

impl Acme {
    /// Asks for a certificate for `host`: it, those that vouch for it and its key, in PEM.
    pub(super) async fn order(&self, host: &str) -> Result<Zeroizing<Vec<u8>>, OrderError> {
        let ordered = timeout(ORDER_TIMEOUT, async {
            match self.try_order(host).await {
                Err(error) if error.no_account => {
                    self.forget_account().await;
                    self.try_order(host).await
                }
                ordered => ordered,
            }
        });
        let late = |_| OrderError::failed("the server did not answer in time");
        ordered.await.map_err(late)?
    }

    async fn try_order(&self, host: &str) -> Result<Zeroizing<Vec<u8>>, OrderError> {
        let account = self.account().await?;
        let identifiers = [Identifier::Dns(host.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        // What it proves with is there until the order is over, however it ends.
        let _proofs = self.begin_proofs(&mut order, host).await?;
        match order.poll_ready(&POLL).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(refusal(&mut order).await),
            Err(error @ Error::Api(_)) => {
                let whole = OrderError::from(error);
                let part = refusal(&mut order).await;
                return Err(if whole.limited { whole } else { part });
            }
            Err(error) => return Err(error.into()),
        }
        let key = Zeroizing::new(order.finalize().await?);
        let chain = order.poll_certificate(&POLL).await?;
        let chain = chain.trim_end();
        let pem = format!("{chain}\n{}", key.as_str());
        Ok(Zeroizing::new(pem.into_bytes()))
    }

    async fn begin_proofs(&self, order: &mut Order, host: &str) -> Result<Vec<Proof>, OrderError> {
        let wanted = match self.config.challenge {
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Some(mut challenge) = authorization.challenge(wanted.clone()) else {
                let name = self.config.challenge.as_str();
                return Err(OrderError::failed(format!(
                    "the server does not offer the challenge {name}: set another in `[tls.acme]`"
                )));
            };
            proofs.push(self.proof(&challenge, host)?);
            challenge.set_ready().await?;
        }
        Ok(proofs)
    }

    fn proof(&self, challenge: &ChallengeHandle<'_>, host: &str) -> Result<Proof, OrderError> {
        let keyring = Arc::clone(&self.keyring);
        let authorization = challenge.key_authorization();
        match self.config.challenge {
            AcmeChallenge::Http01 => {
                keyring.answer(&challenge.token, Some(authorization.as_str()));
                Ok(Proof::Answer(keyring, challenge.token.clone()))
            }
            AcmeChallenge::TlsAlpn01 => {
                let digest = authorization.digest();
                let pair = proof_pair(host, digest.as_ref());
                let pair = pair.map_err(|error| OrderError::failed(said(&error)))?;
                let shown = keyring.prove(host, Some(&pair));
                shown.map_err(|error| OrderError::failed(error.to_string()))?;
                Ok(Proof::Certificate(keyring, host.to_owned()))
            }
        }
    }

    // === the account ===

    /// The one of this server, made if there is none.
    async fn account(&self) -> Result<Account, OrderError> {
        let mut known = self.account.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let builder = match &self.config.ca {
            Some(ca) => Account::builder_with_root(ca),
            None => Account::builder(),
        };
        let builder = builder?;
        let on_disk_error = |error: hob_store::StoreError| OrderError::failed(error.to_string());
        let folder = self.folder.clone();
        let stored = on_disk(move || folder.account()).await;
        let stored = stored.map_err(on_disk_error)?;
        let stored =
            stored.and_then(|text| serde_json::from_slice::<AccountCredentials>(&text).ok());
        let account = match stored {
            Some(credentials) => builder.from_credentials(credentials).await?,
            None => {
                let contact = self.config.email.as_ref();
                let contact: Vec<_> = contact
                    .map(|email| format!("mailto:{email}"))
                    .into_iter()
                    .collect();
                let contact: Vec<_> = contact.iter().map(String::as_str).collect();
                let wanted = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let directory = self.config.directory.clone();
                let (account, credentials) = builder.create(&wanted, directory, None).await?;
                let text = serde_json::to_vec_pretty(&credentials);
                let text = Zeroizing::new(text.map_err(|error| OrderError::failed(said(&error)))?);
                let folder = self.folder.clone();
                let put = on_disk(move || folder.put_account(&text)).await;
                put.map_err(on_disk_error)?;
                account
            }
        };
        Ok(known.insert(account).clone())
    }

    /// Has the next one make itself known anew.
    async fn forget_account(&self) {
        *self.account.lock().await = None;
        let folder = self.folder.clone();
        if let Err(error) = on_disk(move || folder.forget_account()).await {
            tracing::warn!("an account that nobody knows is not forgotten: {error}");
        }
    }
}

/// Why an order is not granted, in the words of whoever looked at the host.
async fn refusal(order: &mut Order) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else {
            continue;
        };
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let mut problems = state.challenges.iter().filter_map(|one| one.error.as_ref());
        if let Some(problem) = problems.next() {
            return OrderError::failed(said(problem));
        }
    }
    OrderError::failed("the server refused the order")
}

/// What an ACME server may look at while it decides.
enum Proof {
    Answer(Arc<dyn Keyring>, String),
    Certificate(Arc<dyn Keyring>, String),
}

impl Drop for Proof {
    fn drop(&mut self) {
        match self {
            Self::Answer(keyring, token) => keyring.answer(token, None),
            // To take one away never fails.
            Self::Certificate(keyring, host) => drop(keyring.prove(host, None)),
        }
    }
}

/// The certificate of RFC 8737, section 3.
fn proof_pair(host: &str, digest: &[u8]) -> Result<PemPair, rcgen::Error> {
    let mut params = CertificateParams::new([host.to_owned()])?;
    let extension = CustomExtension::new_acme_identifier(digest);
    params.custom_extensions = vec![extension];
    let key = KeyPair::generate()?;
    Ok(PemPair {
        chain: params.self_signed(&key)?.pem().into_bytes(),
        key: key.serialize_pem().into_bytes().into(),
    })
}

impl AcmeChallenge {
    /// As the configuration has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

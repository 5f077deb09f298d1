//! What every plane of hob agrees on: names, settings, desired state, routes and the ports
//! (traits) through which the gateway, the control plane and the engines meet.
//!
//! Nothing here does I/O and nothing here knows tokio; a change here rebuilds every crate.
#![forbid(unsafe_code)]

mod address_range;
mod async_policy;
mod bans;
mod cage_use;
mod call_id;
mod canary;
mod counters;
mod ejection;
mod end;
mod fleet_name;
mod freeze;
mod function;
mod guard;
mod io_words;
mod limits;
mod line;
mod manifest;
mod moment;
mod name;
mod once;
mod quantity;
mod replica;
mod replica_set;
mod retry_budget;
mod rfc3339;
mod route;
mod scale;
mod scaling;
mod schedule;
mod schema;
mod token;

pub mod backup;
pub mod openfaas;
pub mod port;
pub mod sandbox;
pub mod wire;

pub use address_range::{AddressRange, AddressRangeError};
pub use async_policy::AsyncPolicy;
pub use bans::{Ban, BanError, BanOrigin, BanRules, Bans, Conduct, Exempt, Outcome, TurnedAway};
pub use cage_use::CageUse;
pub use call_id::CallIds;
pub use canary::{Canary, Share, ShareError};
pub use counters::{CALL_BUCKETS, CallCounts, CodeCounts, Counters, StatusLabel};
pub use end::{End, EndReason};
pub use fleet_name::{FleetName, Track};
pub use freeze::Freeze;
pub use function::{Function, ImageRun, Network, Revision, Run, Settings};
pub use guard::{
    Auth, BasicAuth, CallerAddress, Domain, DomainError, Guard, HmacAuth, HmacStyle,
    IntrospectionAuth, JwtAuth, Rate, RateBy, RateError, Refusal, Refusals, Rule, TokenAuth,
    is_trusted_url,
};
pub use io_words::{IoWords, is_disk_full};
pub use limits::{Isolation, Limits};
pub use manifest::{Command, Cors, ImageSection, Manifest, ManifestError};
pub use moment::{Moment, MomentError};
pub use name::{DEFAULT_NAMESPACE, FunctionName, Label, NameError, SecretName};
pub use quantity::{Cpu, Memory, QuantityError, Timespan};
pub use replica::{Backend, BackendLease, Endpoint, ReplicaId};
pub use replica_set::{NoLease, ReplicaSet, Waiting};
pub use route::{CanaryRoute, Route, Routes, Target};
pub use scale::Scale;
pub use scaling::Scaling;
pub use schedule::{Missed, Schedule};
pub use token::{Scope, ScopeError, TOKEN_PREFIX, Token, Tokens};

use std::path::PathBuf;

use thiserror::Error;

use crate::StoreError;

/// Why the certificate authority did not do something. Each line names the cure.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// A second root would make all that was issued worthless.
    #[error(
        "there is a root already, `{}`: `hob ca show` tells what it is; to begin anew, move its folder away",
        path.display()
    )]
    RootExists {
        /// The root certificate.
        path: PathBuf,
    },
    /// Nothing to issue with.
    #[error("there is no root certificate in `{}` yet: `hob ca init` makes one", folder.display())]
    NoRoot {
        /// Where it would be.
        folder: PathBuf,
    },
    /// Issuing twice would put a server's files out of use by mistake.
    #[error("`{name}` has a certificate: `hob ca renew {name}` makes a new one")]
    Issued {
        /// Whose.
        name: String,
    },
    /// Nothing to renew.
    #[error("there is no certificate of `{name}`: `hob ca show` lists those that are there")]
    NotIssued {
        /// Whose.
        name: String,
    },
    /// Nobody would accept what it signs.
    #[error(
        "the root certificate `{}` has ended: move its folder away, run `hob ca init`, and install the new root where the old one was",
        path.display()
    )]
    RootEnded {
        /// The root certificate.
        path: PathBuf,
    },
    /// The name of a root is empty or too long.
    #[error(
        "the name of a root has 1 to {} characters, none of them a control character",
        super::ROOT_NAME_MAX
    )]
    RootName,
    /// A file is not what it should be.
    #[error("`{}` cannot be used: {problem}; put it back from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Library(#[from] rcgen::Error),
    /// No randomness for a serial number.
    #[error("the system gives no random numbers: try again")]
    Random,
    /// The disk refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

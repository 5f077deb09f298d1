use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::Args;
use hob_store::{Authority, Certificate};
use serde::Serialize;

use super::{Context, authority, day, explain};
use crate::{
    config::PlaceArgs,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// Show the root, where to install it, and the certificates it signed
#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Serialize)]
struct Summary {
    names: Vec<String>,
    path: PathBuf,
    key: PathBuf,
    begins: String,
    ends: String,
    sha256: String,
}

#[derive(Serialize)]
struct Shown {
    root: Summary,
    certificates: Vec<Summary>,
}

impl Show {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let authority = authority(self.place, context)?;
        let root = authority.root().map_err(explain)?;
        let issued = authority.issued().map_err(explain)?;
        if self.output.output == Format::Json {
            return output::json(&Shown {
                root: summary(root),
                certificates: issued.into_iter().map(summary).collect(),
            });
        }
        print(&root, &issued, context.terminal.colour)
    }
}

fn summary(certificate: Certificate) -> Summary {
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    Summary {
        begins: time(certificate.begins),
        ends: time(certificate.ends),
        names: certificate.names,
        path: certificate.path,
        key: certificate.key,
        sha256: certificate.fingerprint,
    }
}

fn print(root: &Certificate, issued: &[Certificate], colour: bool) -> anyhow::Result<()> {
    let mut table = Table::plain();
    table.pair("root", root.names.join(", "));
    table.pair("file", root.path.display().to_string());
    table.pair("ends", ends(root)?);
    table.pair("sha256", root.fingerprint.as_str());
    table.print(colour)?;
    output::line("\nInstall the file where the root should be trusted:")?;
    let file = root.path.display();
    let mut places = Table::plain();
    for (place, command) in [
        ("Debian, Ubuntu", format!("cp {file} /usr/local/share/ca-certificates/hob.crt && update-ca-certificates")),
        ("Fedora", format!("cp {file} /etc/pki/ca-trust/source/anchors/hob.pem && update-ca-trust")),
        ("macOS", "security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ca.pem".into()),
        ("Windows", "certutil -addstore Root ca.pem".into()),
        ("Firefox", "Settings, Certificates, Authorities, Import".into()),
        ("Docker", format!("cp {file} /etc/docker/certs.d/HOST:PORT/ca.crt")),
        ("one program", "curl --cacert ca.pem; REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS or SSL_CERT_FILE=ca.pem".into()),
    ] {
        places.row([format!("  {place}").into(), command.into()]);
    }
    places.print(colour)?;
    if issued.is_empty() {
        eprintln!("\nno certificates yet: `hob ca issue registry.home.arpa` makes one");
        return Ok(());
    }
    output::line("")?;
    let mut table = Table::with_head(["CERTIFICATE", "NAMES", "ENDS"]);
    for certificate in issued {
        table.row([
            certificate.path.display().to_string().into(),
            certificate.names.join(", ").into(),
            ends(certificate)?,
        ]);
    }
    table.print(colour)
}

fn ends(certificate: &Certificate) -> anyhow::Result<Cell> {
    let left = certificate.left(SystemTime::now());
    let day = day(certificate.ends)?;
    Ok(match left {
        Duration::ZERO => Cell::tinted(format!("{day}, over: renew it"), Tint::Bad),
        left if left < Authority::RENEW_BEFORE => {
            Cell::tinted(format!("{day}, soon: renew it"), Tint::Odd)
        }
        left => format!("{day}, in {}", output::short_duration(left)).into(),
    })
}

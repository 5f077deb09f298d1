//! What must survive, does: functions, secrets and the admin password, through the public edge.

mod functions;
mod killed;
mod revisions;
mod secrets;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hob_model::{Function, Revision, Run, Settings};

/// A function with every field set to something that a careless reader would lose.
fn function(name: &str) -> Function {
    let settings = Settings {
        env: [("GREETING".to_owned(), "grüß 'Gott'\n".to_owned())].into(),
        secrets: vec!["tls.crt".parse().expect("valid")],
        ..Settings::default()
    };
    Function {
        name: name.parse().expect("valid"),
        revision: Revision {
            digest: "d".repeat(64),
            bundle: "b".repeat(64),
            language: "python".into(),
            run: Run::Process {
                argv: vec!["python3".into(), "-c".into(), "print(\"'\")".into()],
                env: [("A".to_owned(), "B".to_owned())].into(),
            },
            settings,
            built_at: UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
        },
        number: 1,
        replicas: 3,
        canary: None,
        created_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_001),
        updated_at: SystemTime::now(),
    }
}

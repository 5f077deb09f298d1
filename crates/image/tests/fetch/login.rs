use hob_image::{Credential, ImageError, RegistryError};

use super::{
    Desk,
    scripted::{Made, Scripted},
};

/// `ada:secret`.
const LOGIN: &str = "YWRhOnNlY3JldA==";

fn ada(password: &str) -> Option<Credential> {
    Some(Credential {
        username: "ada".into(),
        password: password.into(),
    })
}

#[tokio::test]
async fn no_login_a_wrong_one_and_a_missing_tag_are_told_apart() {
    let mut script = Made::new(1 << 10).script();
    script.login = Some(LOGIN.into());
    let registry = Scripted::start(script);
    let desk = Desk::new();

    let error = desk.pull(&registry).await.unwrap_err();
    assert!(
        matches!(error, ImageError::Registry(RegistryError::NoLogin { .. })),
        "{error}"
    );
    assert!(
        error.to_string().contains("hob registry login 127.0.0.1"),
        "{error}"
    );

    let error = desk
        .pull_as(&registry, "hello:1", ada("wrong"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::Registry(RegistryError::WrongLogin { .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("`ada`"), "{error}");
    assert!(
        !error.to_string().contains("wrong"),
        "the password is shown: {error}"
    );

    let error = desk
        .pull_as(&registry, "hello:2", ada("secret"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ImageError::Registry(RegistryError::NotFound { .. })),
        "{error}"
    );

    desk.pull_as(&registry, "hello:1", ada("secret"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_registry_that_is_away_is_said_to_be() {
    let registry = Scripted::start(Made::new(1).script());
    let desk = Desk::new();
    let error = desk.pull_as(&registry, "hello:1", None).await;
    assert!(error.is_ok());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let name = format!("127.0.0.1:{port}/hello:1").parse().unwrap();
    let client = hob_image::RegistryClient::new(std::sync::Arc::new(std::collections::HashMap::<
        String,
        hob_image::RegistryAccess,
    >::new()));
    let error = client.look_up(&name).await.unwrap_err();
    assert!(
        matches!(&error, ImageError::Registry(error) if error.is_absence()),
        "{error}"
    );
}

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// The example that builds cages. `cargo test --test NAME` alone would not build it, or
/// leave an old one that speaks another language.
pub(crate) fn helper() -> PathBuf {
    static HELPER: OnceLock<PathBuf> = OnceLock::new();
    let helper = HELPER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(2).unwrap();
        let profile = match target.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "hob-engine"])
            .args(["--example", "cage_init", "--profile", profile])
            .arg("--target-dir")
            .arg(target.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success(), "the helper does not build");
        target.join("examples/cage_init")
    });
    helper.clone()
}

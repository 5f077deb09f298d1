/// Where a script is sent.
pub const RUN_PATH: &str = "/run";
/// Where clients of Piston send one.
pub const EXECUTE_PATH: &str = "/api/v2/execute";
/// The same, as Piston's public server once had it.
pub const EXECUTE_ALIAS: &str = "/api/v2/piston/execute";

/// Whether a `POST` to `path` asks for a run.
pub fn asks_for_run(path: &str) -> bool {
    [RUN_PATH, EXECUTE_PATH, EXECUTE_ALIAS].contains(&path)
}

/// Field of an answer that names the server; the spelling is that of HTTP/2.
pub const COORD: &str = "coord";
/// Field of an answer that names the sandbox or the worker.
pub const WORKER: &str = "worker";
/// Field of a request that asks for all that is known of the end.
pub const RUN_END: &str = "x-hob-run-end";

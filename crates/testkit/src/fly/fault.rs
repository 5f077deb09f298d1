/// What the API, or a worker, is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlyVerb {
    /// All machines of a region.
    List,
    /// A new machine.
    Make,
    /// One machine.
    Get,
    /// To start one.
    Start,
    /// To stop one.
    Stop,
    /// To wait for a state.
    Wait,
    /// To take a lease or let it last longer.
    Lease,
    /// To destroy one.
    Destroy,
    /// A run, through the proxy.
    Run,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlyFault {
    /// It answers this status and does nothing. 429 and 503 say to come again at once.
    Status(u16),
    /// It does it, and answers this status.
    DoneBut(u16),
    /// It does it, and closes the connection.
    DoneSilently,
    /// It closes the connection.
    Closed,
    /// It never answers.
    Silent,
    /// It does it, and answers what is no JSON.
    Garbled,
    /// It waits until [`FakeFly::let_go`](super::FakeFly::let_go).
    Held,
    /// The machine that is made or started dies on the way.
    Dies,
    /// The lease is somebody else's all of a sudden.
    LeaseLost,
}

/// By which way a call is answered. What a request is written like to go by it is the test's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Lane,
    Hyper,
}

impl Way {
    /// What makes a request go by it that is plain but for that: a field of its connection.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Lane => "",
            Self::Hyper => "Connection: keep-alive, x-nothing\n",
        }
    }

    pub(crate) const BOTH: [Self; 2] = [Self::Lane, Self::Hyper];
}

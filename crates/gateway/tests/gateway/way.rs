/// By which way a call is answered. What a request is written like to go by it is the test's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Lane,
    Hyper,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Lane, Self::Hyper];
}

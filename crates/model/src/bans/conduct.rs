/// What an answer says of whoever asked. It stands in the answer's extensions, by whoever knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// He has proven who he is.
    LoggedIn,
    /// He tried to, and it was wrong.
    FailedLogin,
    /// He asked for what is not there, or showed nothing where something is asked for.
    Miss,
}

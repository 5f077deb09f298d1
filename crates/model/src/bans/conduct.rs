/// What an answer says of whoever asked. It stands in the answer's extensions, by whoever knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// He has proven who he is, by the password.
    LoggedIn,
    /// It is known who he is, by a token. Whoever has one may look for what is not there, and it
    /// does not undo wrong passwords: else each of its calls would buy him more guesses.
    Known,
    /// He tried to, and it was wrong.
    FailedLogin,
    /// He asked for what is not there, or showed nothing where something is asked for.
    Miss,
}

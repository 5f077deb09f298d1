//! hob's own cages. The daemon (`launch`) starts a helper; the helper (`helper`) makes the cage's
//! first process; that (`init`) builds the cage (`root`, `identity`, `confine`), starts the program
//! and stays to reap. Read in this order, top to bottom.

pub(crate) mod channel;
pub(crate) mod confine;
pub(crate) mod helper;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod launch;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod root;
pub(crate) mod standard;

//! What people send whom nobody trusts: a collection of hostile programs, a crowd of callers, and a
//! hob that is killed in the middle.

mod attempt;
mod caller;
mod census;
mod collection;
mod crash;
mod crowd;
mod files;
mod flood;
mod stage;
mod traces;

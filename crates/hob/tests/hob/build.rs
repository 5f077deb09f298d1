//! Folders become images, in the eyes of programs that know nothing of hob.

mod cross;
mod dockerfile;
mod mistakes;
mod push;
mod stack;
mod workshop;

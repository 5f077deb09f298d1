//! The helper that builds cages, as a program of its own: what `hob` is to itself, this is to
//! the tests of this crate.

fn main() {
    hob_sandbox::run_helper_if_asked();
    eprintln!("this is no program for people: the tests run it to build cages");
    std::process::exit(64);
}

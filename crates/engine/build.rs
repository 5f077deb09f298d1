//! Has the crate built again when a template changes: `include_dir!` alone does not notice.

fn main() {
    println!("cargo::rerun-if-changed=../../templates");
}

//! One-shot cages: what a stranger's program sees and may do.

use hob_model::EndReason;

use crate::{
    Test,
    stranger::{able, bash, program, run},
    yard::Yard,
};

pub(crate) const TESTS: &[Test] = &[("oneshot::runs_a_program_once", runs)];

fn runs() {
    let yard = Yard::new("once");
    if !able(&yard) {
        return;
    }
    let mut program = program(&["sh", "-c", "echo out; echo err >&2; cat; exit 3"]);
    program.stdin = b"in\n".into();
    let ran = run(&yard, &program);
    println!("{ran:?}");
    let ran = bash(
        &yard,
        "id; pwd; ls -la / /box /proc /etc; ls -la /proc/self/fd; env; mount; cat /proc/self/cgroup; ip addr; cat /proc/self/status; df",
    );
    println!("{}\n{}", ran.text(), ran.errors());
    assert_eq!(ran.end.end.reason, EndReason::Ok);
}

//! `cluster.reachable`, `cluster.version`, `cluster.namespace`; and a cluster where all is well.

use super::checks::*;
use crate::space::Space;

#[test]
fn explore() {
    let space = Space::new();
    space.bootstrapped();
    let ran = space.run(&["verify"]);
    println!("{} {} {}", ran.code, ran.out, ran.err);
    let ran = verify(&space, &["--kubeconfig", "/nope"]);
    println!("{} {} {}", ran.code, ran.out, ran.err);
    let ran = verify(&space, &["--context", "none"]);
    println!("{} {} {}", ran.code, ran.out, ran.err);
    let space = Space::without_namespace();
    let ran = space.run(&["verify"]);
    println!("{} {} {}", ran.code, ran.out, ran.err);
}

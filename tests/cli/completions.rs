//! The completion script of bash, asked as bash asks it.

use crate::folder::{Folder, Run};

/// What is offered for the last of these words.
fn offered(folder: &Folder, words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let text = format!(
        r#"bash -c '. ./completions; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _k8s__bootstrap "$1" "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
        echo "${{COMPREPLY[*]}}"' bash {}"#,
        words.join(" ")
    );
    let run = folder.sh(&text);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{words:?}");
    run.out.trim_end().to_owned()
}

/// A folder with the script, where bash is at hand.
fn prepared() -> Folder {
    let folder = Folder::new();
    let write = r#""$PROGRAM" completions bash > completions"#;
    assert_eq!(folder.sh(write), Run::answered(""));
    folder
}

#[test]
fn bash_completes_commands_and_what_is_behind_them() {
    let folder = prepared();
    for (words, expected) in [
        (&["k8s-bootstrap", "di"] as &[&str], "diff"),
        (&["k8s-bootstrap", "--ap"], "--apply"),
        (&["k8s-bootstrap", "tokens", "re"], "recover"),
        (&["k8s-bootstrap", "tokens", "s"], "show"),
        (&["k8s-bootstrap", "tokens", "recover", "--ap"], "--apply"),
        (&["k8s-bootstrap", "tokens", "show", "--ap"], ""),
        (&["k8s-bootstrap", "rbac", "d"], "diff"),
        (&["k8s-bootstrap", "rbac", "--serv"], "--service-account"),
        (&["k8s-bootstrap", "rbac", "v"], "verify"),
        (&["k8s-bootstrap", "rbac", "verify", "--li"], "--live"),
        (&["k8s-bootstrap", "ver"], "verify"),
        (&["k8s-bootstrap", "verify", "--s"], "--short"),
        (&["k8s-bootstrap", "li"], "lint"),
        (
            &["k8s-bootstrap", "verify", "--ma"],
            "--max-age --max-overlap",
        ),
        (
            &["k8s-bootstrap", "verify", "--co"],
            "--copy --context --color",
        ),
        (&["k8s-bootstrap", "completions", "ba"], "bash"),
        (
            &["k8s-bootstrap", "diff", "--fleet-"],
            "--fleet-namespace --fleet-selector",
        ),
        (&["k8s-bootstrap", "--prefer", ""], "cluster file"),
        (&["k8s-bootstrap", "tokens", "--format", "d"], "dotenv"),
        (
            &["k8s-bootstrap", "-n", "brain", "tokens", "recover", "--ap"],
            "--apply",
        ),
        (&["target/debug/k8s-bootstrap", "tokens", "re"], "recover"),
    ] {
        assert_eq!(offered(&folder, words), expected, "{words:?}");
    }
}

#[test]
fn bash_calls_that_function_for_the_program() {
    let folder = prepared();
    let run = folder.sh("bash -uc '. ./completions; complete -p k8s-bootstrap'");
    assert!(run.out.contains(" -F _k8s__bootstrap "), "{run}");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

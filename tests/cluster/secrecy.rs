//! No value shows: not on stdout or stderr, not on any argv, in no format, at no verbosity.

mod failures;
mod processes;

use crate::recorded::Executed;
use crate::searched::{FILED, FORMATS, INPUTS, LOG_LEVEL, OTHERS, STRANGERS, Searched};
use crate::secret_checks::delete;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER};
use base64::{Engine, engine::general_purpose::STANDARD};

#[test]
fn no_value_shows_in_the_whole_life_of_the_secrets() {
    for format in FORMATS {
        for preset in [false, true] {
            let at = Searched::new(format);
            if preset {
                at.space.write_file(&FILED);
            }
            life(&at, preset);
        }
    }
}

fn life(at: &Searched, preset: bool) {
    let from_file = ["--env-file", "brain.env"];
    at.run(&[], 0);
    at.run(&from_file, 0);
    at.run(&["diff"], 1);
    at.run(&[&["--apply"][..], &from_file].concat(), 0);
    assert_eq!(at.space.filed()["KB_ROUTER_TOKEN"] == FILED[0].1, preset);
    assert_eq!(at.space.data(EMBEDDINGS)["LOG_LEVEL"], LOG_LEVEL.1);
    for (name, value) in INPUTS {
        let secret = if value.contains("anthropic") || value.contains("github") {
            AGENTICORE
        } else {
            EMBEDDINGS
        };
        assert_eq!(at.space.data(secret)[name], value);
    }
    at.run(&["--apply"], 0);
    at.run(&[], 0);
    at.run(&["diff"], 0);

    // Other inputs, not named and named.
    at.run_with(&OTHERS, &["diff"], 0);
    at.run_with(&OTHERS, &["--apply"], 0);
    let names = INPUTS.map(|(name, _)| name).join(",");
    at.run_with(&OTHERS, &["diff", "--update", &names], 1);
    at.run_with(&OTHERS, &["--apply", "--update", &names], 0);
    at.run_with(&OTHERS, &["--apply"], 0);

    // A lost file, a lost Secret.
    std::fs::remove_file(at.space.file()).unwrap();
    at.run(&["tokens", "recover"], 0);
    at.run(&["tokens", "recover", "--apply"], 0);
    at.run(&["tokens", "recover", "--apply"], 0);
    delete(&at.space, ROUTER);
    at.run(&["diff"], 1);
    at.run(&["--apply"], 0);

    // A disagreement, and both ways out.
    for side in ["cluster", "file"] {
        at.space.write_file(&STRANGERS);
        at.run(&["--apply"], 1);
        at.run(&["diff"], 1);
        at.run(&["tokens", "recover"], 1);
        at.run(&["tokens", "recover", "--apply"], 1);
        at.run(&["diff", "--prefer", side], 1);
        at.run(&["--apply", "--prefer", side], 0);
    }
    assert_eq!(at.space.data(ROUTER)["KB_ROUTER_TOKEN"], STRANGERS[0].1);

    // What somebody else wrote.
    at.space.set_keys(
        EMBEDDINGS,
        &[("POSTGRES_URL", "host=s3ntinel-of-another")],
        "other",
    );
    at.run(&["--apply", "--update", "POSTGRES_URL"], 1);
    at.run(&["diff", "--update", "POSTGRES_URL"], 1);
    at.run(
        &["--apply", "--update", "POSTGRES_URL", "--force-conflicts"],
        0,
    );
    let odd = "s3ntinel of a token with spaces in it";
    at.hide(odd);
    at.space
        .set_keys(ROUTER, &[("KB_ROUTER_TOKEN", odd)], "kubectl-edit");
    at.run(&["--apply"], 1);
    at.run(&["diff"], 1);
    at.run(&["--apply", "--prefer", "cluster"], 1);
    at.run(&["tokens", "recover"], 1);
    at.space
        .set_keys(ROUTER, &[("KB_ROUTER_TOKEN", "s3ntinel")], "kubectl-edit");
    at.run(&["--apply"], 1);
    let list = "s3ntinel-one-that-is-long-enough,s3ntinel-two-that-is-long-enough";
    at.hide(list);
    at.space
        .set_keys(EMBEDDINGS, &[("EMBEDDINGS_API_KEYS", list)], "kubectl-edit");
    at.run(&["--apply"], 1);
    at.run(&["diff"], 1);
}

#[test]
fn no_value_shows_in_the_help_or_what_is_made_of_it() {
    let at = Searched::new(&[]);
    at.space.write_file(&FILED);
    let commands: [&[&str]; 10] = [
        &[],
        &["verify"],
        &["populate"],
        &["diff"],
        &["tokens"],
        &["tokens", "show"],
        &["tokens", "recover"],
        &["rbac"],
        &["completions"],
        &["man"],
    ];
    for command in commands {
        for help in ["--help", "-h"] {
            let ran = at.run(&[command, &[help]].concat(), 0);
            assert!(ran.out.contains("Usage"), "{}", ran.out);
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        at.run(&["completions", shell], 0);
    }
    at.run(&["man"], 0);
    at.run(&["rbac"], 0);
    at.run(&["rbac", "diff", "-o", "yaml"], 0);
    at.run(&["rbac", "recover", "-o", "json", "-vv"], 0);
    at.run(&["rbac", "populate", "-vv"], 0);
    at.run(&["rbac", "verify", "--live", "--copy=a/b", "-vv"], 0);
    at.run(&["-o", "yaml", "-vv"], 0);
    at.run(&["-o", "yaml"], 0);
    at.run(&["--version"], 0);
}

#[test]
fn tokens_and_show_values_are_made_to_show_them() {
    let at = Searched::new(&[]);
    at.space.write_file(&FILED);
    let commands: [&[&str]; 6] = [
        &["tokens"],
        &["tokens", "show"],
        &["tokens", "--format", "dotenv"],
        &["tokens", "--format", "json"],
        &["tokens", "-o", "json"],
        &["-o", "yaml", "--show-values"],
    ];
    for command in commands {
        let ran = at
            .space
            .run_with(&INPUTS, &[command, &["-vv"]].concat())
            .exits(0);
        let encoded = |value: &str| ran.out.contains(&STANDARD.encode(value));
        let with_inputs = command.contains(&"--show-values");
        let inputs = INPUTS.iter().filter(|_| with_inputs);
        for (name, value) in FILED.iter().chain(inputs) {
            let shown = ran.out.contains(value) || encoded(value);
            assert!(shown, "{command:?} hides {name}");
        }
        // On stdout only, and nothing that was not asked for.
        assert!(!ran.err.contains("s3ntinel"), "{}", ran.err);
        assert_eq!(
            ran.out.contains(INPUTS[0].1),
            with_inputs && !encoded(INPUTS[0].1)
        );
    }
}

/// `processes` holds that nothing is started by its path.
#[test]
fn no_value_is_on_the_command_line_of_anything_that_is_executed() {
    let executed = Executed::new();
    executed.programs(
        &["--apply", "--env-file", "brain.env"],
        &[],
        &["cat", "git", "plug-in"],
    );
    let commands: [&[&str]; 3] = [&["--apply"], &["tokens", "recover", "--apply"], &["diff"]];
    for command in commands {
        executed.programs(command, &[], &["cat", "plug-in"]);
    }
}

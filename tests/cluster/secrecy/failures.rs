//! No value shows where a run fails: unreachable, forbidden, bad files, bad inputs, bad command lines.

use crate::account::log_in;
use crate::searched::{FILED, FORMATS, Searched};

#[test]
fn no_value_shows_in_an_error() {
    for format in FORMATS {
        let at = Searched::new(format);
        let commands: [&[&str]; 4] = [
            &["--apply"],
            &["diff"],
            &["tokens", "recover"],
            &["tokens", "recover", "--apply"],
        ];
        at.space.write_file(&FILED);
        for command in commands {
            at.run(&[command, &["--context", "nowhere"]].concat(), 3);
            at.run(&[command, &["--kubeconfig", "nowhere"]].concat(), 3);
        }
        bad_files(&at);
        bad_inputs(&at);
    }
}

fn bad_files(at: &Searched) {
    let lines = [
        "KB_ROUTER_TOKEN=\"$(echo s3ntinel)\"\n",
        "KB_ROUTER_TOKEN=`s3ntinel`\n",
        "KB_ROUTER_TOKEN=\"s3ntinel-that-never-ends\n",
        "KB_ROUTER_TOKEN=s3ntinel\n",
        "KB_ROUTER_TOKEN=\"s3ntinel with spaces in the token\"\n",
        "s3ntinel-without-a-name\n",
        "s3ntinel=; rm -rf s3ntinel\n",
        "KB_ROUTER_TOKEN=s3ntinel-token-one-long-enough\nKB_ROUTER_TOKEN=s3ntinel-token-two-long-enough\n",
    ];
    for text in lines {
        at.space.write_file(&[]);
        std::fs::write(at.space.file(), text).unwrap();
        for command in [
            &["--apply"][..],
            &["diff"],
            &["tokens"],
            &["tokens", "recover"],
        ] {
            at.run(command, 3);
        }
    }
    std::fs::write(at.space.file(), b"KB_ROUTER_TOKEN=s3ntinel-\xff\xfe\n").unwrap();
    at.run(&["--apply"], 3);
    std::fs::write(at.space.file(), "s3ntinel\n".repeat(20_000)).unwrap();
    at.run(&["--apply"], 3);
    std::fs::remove_file(at.space.file()).unwrap();
}

fn bad_inputs(at: &Searched) {
    for value in ["s3ntinel\nsecond", " s3ntinel", "s3ntinel ", "s3ntinel\t"] {
        for command in [&[][..], &["--apply"], &["diff"]] {
            at.run_with(&[("POSTGRES_URL", value)], command, 2);
        }
    }
    let file = at.space.folder.path().join("bad.env");
    for text in [
        "s3ntinel\n",
        "POSTGRES_URL=\"s3ntinel\n",
        "s3ntinel key=1\n",
        "POSTGRES_URL=s3ntinel\nPOSTGRES_URL=s3ntinel\n",
        "POSTGRES_URL=' s3ntinel'\n",
    ] {
        std::fs::write(&file, text).unwrap();
        for command in [&[][..], &["--apply"], &["diff"]] {
            at.run(&[command, &["--env-file", "bad.env"]].concat(), 2);
        }
    }
    std::fs::write(&file, b"POSTGRES_URL=s3ntinel\xff\n").unwrap();
    at.run(&["--env-file", "bad.env"], 2);
}

#[test]
fn no_value_shows_where_the_cluster_forbids() {
    for format in FORMATS {
        let mut at = Searched::new(format);
        let token = at.space.service_account("nobody");
        at.hide(&token);
        log_in(&mut at.space, &token);
        at.space.write_file(&FILED);
        for command in [&["--apply"][..], &["diff"], &["tokens", "recover"]] {
            at.run(command, 3).says(&["403"]);
        }
        // It may read, and not write.
        at.space.kubectl(&[
            "create",
            "role",
            "reader",
            "--verb=get,list",
            "--resource=secrets",
        ]);
        let account = format!("--serviceaccount={}:nobody", at.space.namespace);
        at.space
            .kubectl(&["create", "rolebinding", "reader", "--role=reader", &account]);
        at.run(&["--apply"], 3).says(&["403"]);
        at.run(&["diff"], 1);
    }
}

#[test]
fn no_value_shows_where_the_command_line_is_wrong() {
    for format in FORMATS {
        let at = Searched::new(format);
        let lines: [&[&str]; 14] = [
            &["s3ntinel"],
            &["--apply", "s3ntinel"],
            &["--s3ntinel"],
            &["--token=s3ntinel"],
            &["POSTGRES_URL=s3ntinel", "--apply"],
            &["--update", "POSTGRES_URL=s3ntinel", "--apply"],
            &["--update=s3ntinel", "--apply"],
            &["--prefer", "s3ntinel"],
            &["--prefer=s3ntinel", "diff"],
            &["--request-timeout", "s3ntinel"],
            &["tokens", "s3ntinel"],
            &["tokens", "--format", "s3ntinel"],
            &["rbac", "--service-account", "S3NTINEL s3ntinel"],
            &["-n", "s3ntinel_"],
        ];
        for line in lines {
            at.run(line, 2);
        }
    }
}

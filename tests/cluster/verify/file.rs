//! `file.*`: the tokens file, its mode, what is in it, and git.

use crate::checks::{checks, follow, follow_all, of, verify};
use crate::space::{ROUTER, Space};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const IDS: [&str; 5] = [
    "file.present",
    "file.parsed",
    "file.mode",
    "file.complete",
    "file.ignored",
];

/// A namespace with Secrets, and their tokens file.
fn bootstrapped() -> Space {
    let space = Space::new();
    space.bootstrapped();
    space
}

/// The check with that id, which has to be like this; nothing that is filed shows.
#[track_caller]
fn only(space: &Space, id: &str, status: &str, message: &str) -> Value {
    let ran = verify(space, &[]);
    let found = of(&ran, id);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["status"], status, "{found:?}");
    let told = found[0]["message"].as_str().unwrap();
    assert!(told.contains(message), "{told}");
    for value in space.data(ROUTER).values() {
        assert!(!ran.out.contains(value), "{}", ran.out);
    }
    let failed = ran.json()["checks"].as_array().unwrap().clone();
    let failed = failed.iter().any(|check| check["status"] == "fail");
    assert_eq!(ran.code, i32::from(failed));
    found[0].clone()
}

/// The first check of the file with a hint.
fn next(space: &Space, arguments: &[&str]) -> Option<Value> {
    let ran = verify(space, arguments);
    let mut of_file = IDS.iter().flat_map(|id| of(&ran, id));
    of_file.find(|check| check["hint"] != "")
}

/// Follows the hints, after which all that there is to say of the file passes.
#[track_caller]
fn mended(space: &Space, check: &Value) {
    follow_all(space, check, &[], || next(space, &[]));
    let ran = verify(space, &[]).exits(0);
    for id in IDS {
        let found = of(&ran, id);
        assert_eq!(found.len(), 1, "{id}");
        assert_eq!(found[0]["status"], "pass", "{found:?}");
        assert_eq!(found[0]["hint"], "", "{found:?}");
    }
    assert_eq!(space.filed(), space.data(ROUTER));
}

fn shell(space: &Space, line: &str) -> String {
    let output = space.shell(line).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_lost_file_is_rebuilt_from_the_cluster_by_the_hint() {
    let space = bootstrapped();
    fs::remove_dir_all(space.folder.path().join("local")).unwrap();
    let message = "tokens file local/.k8s-tokens not found";
    let absent = only(&space, "file.present", "warn", message);
    for id in &IDS[1..] {
        let skipped = only(&space, id, "skip", "tokens file not found");
        assert_eq!(skipped["hint"], "", "{id}");
    }
    let recover = format!(
        "k8s-bootstrap -n {} tokens recover --apply",
        space.namespace
    );
    assert_eq!(absent["hint"], recover);
    mended(&space, &absent);
}

#[test]
fn a_file_that_nobody_can_rebuild_is_made_by_the_hint() {
    let space = Space::new();
    let absent = &checks(&space, "file.present", &[])[0];
    let apply = format!("k8s-bootstrap -n {} --apply", space.namespace);
    assert_eq!(absent["hint"], apply);
    mended(&space, absent);
}

#[test]
fn another_file_is_where_the_hints_lead_too() {
    let space = bootstrapped();
    let file = ["--tokens-file", "o'er there/the tokens"];
    let absent = &checks(&space, "file.present", &file)[0];
    follow(&space, absent["hint"].as_str().unwrap(), &[]).exits(0);
    let path = space.folder.path().join(file[1]);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let loose = &checks(&space, "file.mode", &file)[0];
    follow(&space, loose["hint"].as_str().unwrap(), &[]).exits(0);
    shell(&space, "git init -q");
    let seen = &checks(&space, "file.ignored", &file)[0];
    assert_eq!(seen["status"], "warn");
    follow(&space, seen["hint"].as_str().unwrap(), &[]).exits(0);
    fs::write(&path, "what\n").unwrap();
    let bad = &checks(&space, "file.parsed", &file)[0];
    assert_eq!(bad["status"], "fail");
    follow_all(&space, bad, &[], || next(&space, &file));
    let ran = verify(&space, &file).exits(0);
    for id in IDS {
        assert_eq!(of(&ran, id)[0]["status"], "pass", "{id}");
    }
}

/// What is in the file may be nowhere else.
#[test]
fn a_bad_file_is_mended_by_hand_where_the_cluster_has_not_all_of_it() {
    let space = bootstrapped();
    let text = fs::read_to_string(space.file()).unwrap();
    fs::write(space.file(), format!("{text}what is this\n")).unwrap();
    space.remove_key(ROUTER, "KB_ROUTER_TOKEN");
    let bad = only(&space, "file.parsed", "fail", "has a bad line");
    let hint = bad["hint"].as_str().unwrap();
    assert!(!hint.contains("--apply"), "{hint}");
    follow(&space, hint, &[("EDITOR", "sed -i /what/d")]).exits(0);
    assert_eq!(fs::read_to_string(space.file()).unwrap(), text);
    only(&space, "file.parsed", "pass", "is valid");
}

#[test]
fn a_bad_line_is_named_and_the_file_is_replaced_by_the_hint() {
    for (line, why) in [
        ("what is this", "line 3"),
        ("KB_ROUTER_TOKEN=changeme", "line 3: KB_ROUTER_TOKEN is"),
    ] {
        let space = bootstrapped();
        let text = fs::read_to_string(space.file()).unwrap();
        let text = text.replacen("KB_ROUTER_TOKEN=", &format!("{line}\nKB_ROUTER_TOKEN="), 1);
        fs::write(space.file(), &text).unwrap();
        let bad = only(&space, "file.parsed", "fail", "has a bad line");
        let message = bad["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
        assert!(!message.contains("what is this"), "{message}");
        only(&space, "file.present", "pass", "local/.k8s-tokens exists");
        for id in ["file.mode", "file.complete"] {
            only(&space, id, "skip", "the tokens file is not valid");
        }
        mended(&space, &bad);
        // Nothing is lost.
        let before = space.folder.path().join("local/.k8s-tokens.broken");
        assert_eq!(fs::read_to_string(before).unwrap(), text);
    }
}

#[test]
fn a_symbolic_link_is_no_tokens_file() {
    let space = bootstrapped();
    let elsewhere = space.folder.path().join("elsewhere");
    fs::rename(space.file(), &elsewhere).unwrap();
    symlink(&elsewhere, space.file()).unwrap();
    let link = only(&space, "file.parsed", "fail", "is a symbolic link");
    mended(&space, &link);
    assert!(elsewhere.exists());
}

#[test]
fn a_mode_that_lets_others_read_is_tightened_by_the_hint_only() {
    let space = bootstrapped();
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(space.file(), PermissionsExt::from_mode(mode)).unwrap();
        let loose = only(
            &space,
            "file.mode",
            "warn",
            "other users can read local/.k8s-tokens",
        );
        let found = || fs::metadata(space.file()).unwrap().permissions().mode() & 0o777;
        assert_eq!(found(), mode, "verify tightens nothing");
        mended(&space, &loose);
        assert_eq!(found(), 0o600);
    }
}

#[test]
fn a_token_that_the_file_lacks_comes_from_the_cluster_by_the_hint() {
    for lacking in ["KB_ROUTER_TOKEN", "EMBEDDINGS_API_KEY"] {
        let space = bootstrapped();
        let filed = space.filed();
        let rest = filed.iter().filter(|(name, _)| *name != lacking);
        let rest: Vec<_> = rest.map(|(name, value)| (&**name, &**value)).collect();
        // Present without a value is as good as absent.
        space.write_file(&[&rest[..], &[(lacking, "")]].concat());
        let message = format!("local/.k8s-tokens does not hold {lacking}");
        let incomplete = only(&space, "file.complete", "warn", &message);
        mended(&space, &incomplete);
        assert_eq!(space.filed(), filed);
    }
    let space = bootstrapped();
    space.write_file(&[]);
    let both = "does not hold KB_ROUTER_TOKEN and EMBEDDINGS_API_KEY";
    let incomplete = only(&space, "file.complete", "warn", both);
    mended(&space, &incomplete);
}

#[test]
fn a_file_that_git_would_take_is_ignored_by_the_hint() {
    for before in [None, Some("/target"), Some("/target\n")] {
        let space = bootstrapped();
        shell(&space, "git init -q");
        let ignore = space.folder.path().join("local/.gitignore");
        // Its last line may lack its end.
        if let Some(text) = before {
            fs::write(&ignore, text).unwrap();
        }
        let message = "git does not ignore local/.k8s-tokens";
        let seen = only(&space, "file.ignored", "warn", message);
        mended(&space, &seen);
        let text = fs::read_to_string(&ignore).unwrap();
        let kept = before.is_none() || text.lines().any(|line| line == "/target");
        assert!(kept, "{text}");
        // So are the copies beside it.
        shell(
            &space,
            "git check-ignore local/.k8s-tokens.bak local/.k8s-tokens.broken",
        );
    }
}

#[test]
fn a_file_that_git_tracks_is_taken_out_and_kept_by_the_hint() {
    for ignored in [false, true] {
        let space = bootstrapped();
        let text = fs::read_to_string(space.file()).unwrap();
        let git = "git -c user.name=me -c user.email=me@it.invalid";
        fs::write(space.file(), "# as it was committed\n").unwrap();
        shell(&space, "git init -q && git add -f local/.k8s-tokens");
        shell(&space, &format!("{git} commit -q -m tokens"));
        // What is staged is neither what is committed nor what the file is now.
        fs::write(space.file(), "# as it is staged\n").unwrap();
        shell(&space, "git add -f local/.k8s-tokens");
        fs::write(space.file(), text).unwrap();
        if ignored {
            fs::write(space.folder.path().join(".gitignore"), ".k8s-tokens\n").unwrap();
        }
        let message = "git tracks local/.k8s-tokens: everybody with the repository has the tokens";
        let tracked = only(&space, "file.ignored", "warn", message);
        mended(&space, &tracked);
        assert_eq!(shell(&space, "git ls-files -- local/.k8s-tokens"), "");
    }
}

/// Whether git would take it is not known before its folder is there.
#[test]
fn a_file_that_is_absent_is_not_called_ignored_unless_git_tracks_it() {
    let space = bootstrapped();
    shell(&space, "git init -q");
    for absent in ["local/.k8s-tokens", "local"] {
        shell(&space, &format!("rm -r {absent}"));
        only(&space, "file.ignored", "skip", "tokens file not found");
    }
    shell(
        &space,
        "mkdir local; touch local/.k8s-tokens; git add -f local; rm local/.k8s-tokens",
    );
    let tracked = only(
        &space,
        "file.ignored",
        "warn",
        "git tracks local/.k8s-tokens",
    );
    follow(&space, tracked["hint"].as_str().unwrap(), &[]).exits(0);
    only(&space, "file.ignored", "skip", "tokens file not found");
}

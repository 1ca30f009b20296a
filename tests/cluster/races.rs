//! Runs that meet each other, and runs that are killed.

use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, Data, EMBEDDINGS, INPUTS, ROUTER, Ran, Space, few_trials, trials};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Tokens that a file held before a run.
const FILED: [(&str, &str); 2] = [
    ("KB_ROUTER_TOKEN", "a-router-token-that-was-filed"),
    ("EMBEDDINGS_API_KEY", "an-embeddings-key-that-was-filed"),
];

/// Starts `--apply` with the inputs.
fn start(space: &Space, arguments: &[&str]) -> Child {
    let arguments = [&["--apply"], arguments].concat();
    space
        .command(&INPUTS, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

/// Fails unless the tokens in the file are the ones in the Secrets and nothing lies beside the
/// file; gives them.
#[track_caller]
fn one_set_of_tokens(space: &Space) -> Data {
    let tokens = space.filed();
    assert_eq!(tokens.len(), 2);
    assert_eq!(space.data(ROUTER), tokens);
    assert_eq!(
        space.data(EMBEDDINGS)["EMBEDDINGS_API_KEYS"],
        tokens["EMBEDDINGS_API_KEY"]
    );
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
    tokens
}

/// Fails unless a run finds nothing to do.
#[track_caller]
fn nothing_is_left_to_do(space: &Space) {
    let versions = space.versions();
    let ran = space.bootstrapped();
    assert_eq!(ran.out.matches(": unchanged").count(), 4, "{}", ran.out);
    assert_eq!(space.versions(), versions);
}

/// The creates in the namespace that succeeded, the program's own. The log of many trials is long, so
/// only lines that matter are parsed.
fn created(space: &Space) -> Vec<Value> {
    let log = std::fs::read_to_string(SANDBOX.folder.join("audit.log")).unwrap();
    let path = format!("/namespaces/{}/", space.namespace);
    log.lines()
        .filter(|line| line.contains(&path) && line.contains("k8s-bootstrap/"))
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["verb"] == "create" && event["responseStatus"]["code"] == 201)
        .collect()
}

/// How long a whole first run takes.
fn length_of_a_first_run() -> Duration {
    let space = Space::new();
    let started = Instant::now();
    space.bootstrapped();
    started.elapsed()
}

/// A random moment in the part `index` of `count` equal parts of that length.
fn moment(length: Duration, index: usize, count: usize) -> Duration {
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    length.mul_f64((index as f64 + random) / count as f64)
}

/// Starts a run and kills it after that time.
fn kill_after(space: &Space, time: Duration) {
    let mut child = start(space, &[]);
    thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn eight_runs_end_with_one_set_of_tokens() {
    for _ in 0..few_trials() {
        let space = Space::new();
        let operators: Vec<_> = (0..8).map(|_| space.other_operator()).collect();
        let runs: Vec<_> = operators.iter().map(|at| start(at, &[])).collect();
        for run in runs {
            end(run).exits(0);
        }
        let sets: BTreeSet<_> = operators.iter().map(one_set_of_tokens).collect();
        assert_eq!(sets.len(), 1);
        assert_eq!(space.data(AGENTICORE)["ANTHROPIC_API_KEY"], INPUTS[1].1);
        for operator in &operators {
            nothing_is_left_to_do(operator);
        }
        assert_eq!(created(&space).len(), 3);
    }
}

#[test]
fn the_router_secret_is_there_before_any_other_secret_with_a_token() {
    for _ in 0..trials() {
        let space = Space::new();
        let operators = [space.other_operator(), space.other_operator()];
        let runs: Vec<_> = operators.iter().map(|at| start(at, &[])).collect();
        for run in runs {
            end(run).exits(0);
        }
        let created = created(&space);
        let of = |name: &str, time: &str| {
            let mut named = created
                .iter()
                .filter(|event| event["objectRef"]["name"] == name);
            named.next().expect(name)[time].as_str().unwrap().to_owned()
        };
        let decided = of(ROUTER, "stageTimestamp");
        let sent = of(EMBEDDINGS, "requestReceivedTimestamp");
        assert!(decided <= sent, "{decided} {sent}");
    }
}

#[test]
fn a_killed_first_run_is_carried_on_by_the_next() {
    let length = length_of_a_first_run();
    let trials = trials();
    for index in 0..trials {
        let space = Space::new();
        kill_after(&space, moment(length, index, trials));
        // It appears as a whole or not at all.
        let before = space.file().exists().then(|| space.filed());
        let in_cluster = space.object(ROUTER).map(|_| space.data(ROUTER));

        space.bootstrapped();
        let tokens = one_set_of_tokens(&space);
        if let Some(before) = before {
            assert_eq!(tokens, before);
        } else {
            assert_eq!(in_cluster, None, "a server saw tokens before the disk");
        }
        nothing_is_left_to_do(&space);
    }
}

#[test]
fn runs_that_are_killed_again_and_again_lose_no_token() {
    let length = length_of_a_first_run();
    let trials = trials();
    for _ in 0..trials {
        let space = Space::new();
        let mut first = None;
        for index in 0..6 {
            kill_after(&space, moment(length, index, 6));
            let now = space.file().exists().then(|| space.filed());
            if let Some(first) = &first {
                assert_eq!(now.as_ref(), Some(first));
            }
            first = now;
        }
        space.bootstrapped();
        let tokens = one_set_of_tokens(&space);
        assert!(first.is_none_or(|first| first == tokens));
        nothing_is_left_to_do(&space);
    }
}

#[test]
fn a_run_that_sleeps_while_another_bootstraps_ends_with_the_same_tokens() {
    let length = length_of_a_first_run();
    let trials = trials();
    for index in 0..trials {
        let space = Space::new();
        let sleeper = space.other_operator();
        let child = asleep(&sleeper, moment(length, index, trials));
        space.bootstrapped();
        awake(&child);
        end(child).exits(0);
        assert_eq!(one_set_of_tokens(&sleeper), one_set_of_tokens(&space));
    }
}

#[test]
fn tokens_that_a_run_did_not_mint_itself_are_not_replaced_when_it_loses_a_race() {
    let length = length_of_a_first_run();
    let trials = trials();
    let filed: Data = FILED
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    for index in 0..trials {
        let space = Space::new();
        let sleeper = space.other_operator();
        sleeper.write_file(&FILED);
        let child = asleep(&sleeper, moment(length, index, trials));
        space.bootstrapped();
        let winner = one_set_of_tokens(&space);
        awake(&child);
        let ran = end(child);

        assert_eq!(sleeper.filed(), filed, "its file was overwritten");
        assert_eq!(
            one_set_of_tokens(&space),
            winner,
            "a live token was overwritten"
        );
        if winner == filed {
            ran.exits(0);
            continue;
        }
        // Noticed before the first write it is a question, noticed in the midst a failure.
        assert!(matches!(ran.code, 1 | 3), "{}\n{}", ran.out, ran.err);
        let ran = ran.says(&["--prefer cluster"]);
        assert!(!ran.err.contains(FILED[0].1) && !ran.out.contains(FILED[0].1));
        sleeper
            .run_with(&INPUTS, &["--apply"])
            .exits(1)
            .says(&["--prefer cluster"]);
        sleeper
            .run_with(&INPUTS, &["--apply", "--prefer", "cluster"])
            .exits(0);
        assert_eq!(sleeper.filed(), winner);
        assert_eq!(sleeper.beside_file(), [".k8s-tokens", ".k8s-tokens.bak"]);
    }
}

#[test]
fn the_file_of_a_killed_run_that_lost_is_a_question_and_prefer_cluster_the_answer() {
    let space = Space::new();
    let killed = space.other_operator();
    // As it lies there after a kill between the file and the first request that writes.
    killed.write_file(&FILED);
    space.bootstrapped();
    let (winner, versions) = (one_set_of_tokens(&space), space.versions());

    killed
        .run_with(&INPUTS, &["--apply"])
        .exits(1)
        .says(&["--prefer cluster"]);
    assert_eq!(killed.filed()["KB_ROUTER_TOKEN"], FILED[0].1);
    assert!(killed.writes().iter().all(|write| write.contains("create")));
    assert_eq!(space.versions(), versions);

    killed
        .run_with(&INPUTS, &["--apply", "--prefer", "cluster"])
        .exits(0);
    assert_eq!(killed.filed(), winner);
    assert_eq!(space.versions(), versions);
    let backup = killed.folder.path().join("local/.k8s-tokens.bak");
    assert!(
        std::fs::read_to_string(&backup)
            .unwrap()
            .contains(FILED[0].1)
    );
    assert_eq!(mode_of(&backup), 0o600);
}

#[test]
fn two_runs_in_one_folder_go_one_after_the_other() {
    for _ in 0..trials() {
        let space = Space::new();
        let runs = [start(&space, &[]), start(&space, &[])];
        for run in runs {
            end(run).exits(0);
        }
        one_set_of_tokens(&space);
        nothing_is_left_to_do(&space);
        // The second found everything done.
        assert_eq!(created(&space).len(), 3);
    }
}

#[test]
fn a_run_waits_for_another_that_holds_the_folder_and_says_so() {
    let space = Space::new();
    let folder = space.folder.path().join("local");
    DirBuilder::new().mode(0o700).create(&folder).unwrap();
    let held = File::open(&folder).unwrap();
    held.lock().unwrap();

    let mut child = start(&space, &[]);
    let mut story = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    story.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for another run"), "{line}");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(space.beside_file(), [""; 0]);
    assert_eq!(space.versions(), [""; 0]);

    held.unlock().unwrap();
    let mut rest = String::new();
    story.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{rest}");
    one_set_of_tokens(&space);
}

#[test]
fn a_killed_run_lets_go_of_the_folder() {
    let space = Space::new();
    let child = asleep(&space, length_of_a_first_run() / 2);
    let waiting = start(&space, &[]);
    kill(&child, Signal::KILL);
    child.wait_with_output().unwrap();
    end(waiting).exits(0);
    one_set_of_tokens(&space);
}

#[test]
fn what_a_killed_run_left_behind_goes_with_the_next() {
    let space = Space::new();
    space.write_file(&FILED);
    let folder = space.folder.path().join("local");
    let leftover = folder.join(".k8s-tokens.k8s-bootstrap-a1B2c3.tmp");
    let ours = [
        "notes.tmp",
        ".k8s-tokens.old",
        ".k8s-tokens.abc.tmp",
        "another.k8s-tokens.k8s-bootstrap-a1B2c3.tmp",
    ];
    for name in ours {
        std::fs::write(folder.join(name), "mine").unwrap();
    }
    let look = |again: &Path| std::fs::write(again, "KB_ROUTER_TOKEN=\"half a fi").unwrap();

    look(&leftover);
    space.run(&[]).exits(0);
    assert!(leftover.exists(), "the preview deletes nothing");
    space.bootstrapped();
    assert!(!leftover.exists());
    look(&leftover);
    space.run(&["tokens", "recover", "--apply"]).exits(0);
    assert!(!leftover.exists());
    for name in ours {
        assert!(folder.join(name).exists(), "{name}");
    }
    assert_eq!(space.data(ROUTER)["KB_ROUTER_TOKEN"], FILED[0].1);
}

#[test]
fn nobody_else_can_read_the_tokens_file_at_any_moment() {
    let mut seen: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let temporary = |seen: &BTreeMap<String, _>| seen.keys().any(|name| name.ends_with(".tmp"));
    // A temporary file lives for a moment only: look until one has been seen.
    for round in 0..60 {
        if round >= trials() && temporary(&seen) {
            break;
        }
        let space = Space::new();
        watched(&space, &["--apply"], &mut seen);
        one_set_of_tokens(&space);
        // And when it is replaced, with a backup.
        space.write_file(&FILED);
        watched(&space, &["--apply", "--prefer", "cluster"], &mut seen);
        assert_eq!(space.beside_file(), [".k8s-tokens", ".k8s-tokens.bak"]);
    }
    let names: Vec<_> = seen.keys().map(String::as_str).collect();
    for name in [".", ".k8s-tokens", ".k8s-tokens.bak"] {
        assert!(seen.contains_key(name), "{name} was not seen: {names:?}");
    }
    assert!(temporary(&seen), "no temporary file was seen: {names:?}");
    for (name, modes) in &seen {
        let wanted = if name == "." { 0o700 } else { 0o600 };
        assert_eq!(
            *modes,
            BTreeSet::from([wanted]),
            "{name}: {modes:?} in decimal"
        );
    }
}

/// Runs the program under umask 000 and notes every mode of every file in the folder of the tokens
/// file, and of the folder itself, as `.`.
fn watched(space: &Space, arguments: &[&str], seen: &mut BTreeMap<String, BTreeSet<u32>>) {
    let folder = space.folder.path().join("local");
    let over = AtomicBool::new(false);
    let look = || {
        let mut seen: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        while !over.load(Ordering::Relaxed) {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            seen.entry(".".to_owned())
                .or_default()
                .insert(mode_of(&folder));
            for entry in entries {
                let entry = entry.unwrap();
                // One that is gone by now is not seen.
                if let Ok(metadata) = entry.metadata() {
                    let name = entry.file_name().into_string().unwrap();
                    let mode = metadata.permissions().mode() & 0o7777;
                    seen.entry(name).or_default().insert(mode);
                }
            }
        }
        seen
    };
    let noted = thread::scope(|scope| {
        let watcher = scope.spawn(look);
        let ran = under_umask_000(&space.command(&INPUTS, arguments));
        thread::sleep(Duration::from_millis(5));
        over.store(true, Ordering::Relaxed);
        ran.exits(0);
        watcher.join().unwrap()
    });
    for (name, modes) in noted {
        seen.entry(name).or_default().extend(modes);
    }
}

fn under_umask_000(command: &Command) -> Ran {
    let variables = command.get_envs().filter_map(|(k, v)| Some((k, v?)));
    let output = Command::new("sh")
        .args(["-c", "umask 000; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .output();
    output.unwrap().into()
}

/// A run that was stopped after that time, or has ended before.
fn asleep(space: &Space, time: Duration) -> Child {
    let child = start(space, &[]);
    thread::sleep(time);
    kill(&child, Signal::STOP);
    child
}

fn awake(child: &Child) {
    kill(child, Signal::CONT);
}

fn kill(child: &Child, signal: Signal) {
    let id = Pid::from_raw(child.id().cast_signed()).unwrap();
    // One that has ended is not waited for yet, so the id is still its own.
    kill_process(id, signal).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

//! What is started, and with which words: as the kernel has it, as it is called by its name, and as
//! the sources say it.

use crate::recorded::{instead, quoted};
use crate::sandbox::SANDBOX;
use crate::searched::{FILED, INPUTS, Searched};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The longest that a run may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command lines of a process and of all below it, as the kernel has them.
fn command_lines(id: u32) -> Vec<String> {
    let read = |id: u32, name: &str| {
        let bytes = std::fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = ids
        .filter_map(|id| {
            // After the name, which is in parentheses: the state, the parent.
            let stat = read(id, "stat");
            let (_, after) = stat.rsplit_once(") ")?;
            Some((id, after.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut family = vec![id];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(id, _)| id),
        );
        next += 1;
    }
    family.into_iter().map(|id| read(id, "cmdline")).collect()
}

#[test]
fn no_value_is_on_the_command_line_of_the_program_or_its_children() {
    for preset in [false, true] {
        let at = Searched::new(&[]);
        if preset {
            at.space.write_file(&FILED);
        }
        // git waits until it has been looked at, and ends with the folder where it is not.
        let looked = at.space.folder.path().join("looked");
        let git = format!(
            "until [ -e {looked} ] || [ ! -d {folder} ]; do sleep 0.01; done\n\
             PATH={path} exec git \"$@\"\n",
            looked = quoted(looked.as_os_str()),
            folder = quoted(at.space.folder.path().as_os_str()),
            path = quoted(SANDBOX.path.as_os_str()),
        );
        let path = instead(&at, "git", &git);
        let mut command = at
            .space
            .command(&INPUTS, &["--apply", "--env-file", "brain.env"]);
        let mut child = command
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = BTreeSet::new();
        let begin = Instant::now();
        let status = loop {
            seen.extend(command_lines(child.id()));
            if seen.iter().any(|line| line.contains("check-ignore")) {
                std::fs::write(&looked, "").unwrap();
            }
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("it does not end, or its git is not seen: {seen:?}");
            }
        };
        assert!(status.success());
        at.hide_filed();
        for part in ["--apply", "check-ignore"] {
            assert!(seen.iter().any(|line| line.contains(part)), "{seen:?}");
        }
        at.search(&Vec::from_iter(seen).join("\n"), &["--apply"]);
    }
}

/// One place starts a process: git, by its name. (The plug-in is started by kube.)
#[test]
fn nothing_but_git_is_started() {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let starts = |line: &&str| {
                let ways = [
                    "Command::new(",
                    "process::Command",
                    "std::process::{",
                    "std::process::*",
                ];
                ways.iter().any(|way| line.contains(way))
            };
            found.extend(
                text.lines()
                    .filter(starts)
                    .map(|line| line.trim().to_owned()),
            );
        }
    }
    found.sort();
    assert_eq!(
        found,
        [
            r#"Command::new("git")"#,
            "use std::process::{Command, Stdio};"
        ]
    );
}

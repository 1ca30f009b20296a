//! Programs that record how they are called.

use crate::sandbox::SANDBOX;
use crate::searched::{INPUTS, Searched};
use crate::space::Ran;
use crate::stub::{account_token, kubeconfig, plug_in, sandbox, with_kubeconfig};
use serde_json::json;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Puts a script onto a PATH before the sandbox's; gives that PATH.
pub fn instead(at: &Searched, name: &str, text: &str) -> OsString {
    let folder = at.space.folder.path().join("instead");
    std::fs::create_dir(&folder).unwrap();
    write_program(&folder.join(name), text);
    before(&folder, SANDBOX.path.as_os_str())
}

pub fn before(folder: &Path, path: &OsStr) -> OsString {
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(path)))
        .unwrap()
}

fn write_program(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// A text as a word for sh.
pub fn quoted(text: &OsStr) -> String {
    shlex::try_quote(text.to_str().unwrap())
        .unwrap()
        .into_owned()
}

/// A PATH on which every program there is records how it is called, and then is that program.
pub fn recording(at: &Searched, path: &OsStr, record: &Path) -> PathBuf {
    let folder = at.space.folder.path().join("recording");
    std::fs::create_dir(&folder).unwrap();
    let recorder = at.space.folder.path().join("recorder");
    let text = format!(
        "printf '%s\\n' \"$0\" \"$@\" >> {record}\n\
         path={path}\n\
         IFS=:\n\
         for folder in $path; do\n\
           [ ! -x \"$folder/${{0##*/}}\" ] || exec \"$folder/${{0##*/}}\" \"$@\"\n\
         done\n\
         exit 127\n",
        record = quoted(record.as_os_str()),
        path = quoted(path),
    );
    write_program(&recorder, &text);
    for entries in std::env::split_paths(path).filter_map(|folder| folder.read_dir().ok()) {
        for entry in entries {
            // The same name may be in several folders.
            symlink(&recorder, folder.join(entry.unwrap().file_name())).ok();
        }
    }
    folder
}

/// Runs the program with credentials from a plug-in, and records every program on the PATH that it or
/// its children start.
pub struct Executed {
    at: Searched,
    recording: PathBuf,
    record: PathBuf,
}

impl Executed {
    pub fn new() -> Self {
        let mut at = Searched::new(&[]);
        let token = account_token(&at.space);
        at.hide(&token);
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": { "token": token },
        });
        let file = at.space.folder.path().join("credential");
        std::fs::write(&file, credential.to_string()).unwrap();
        let text = format!("cat {}\n", quoted(file.as_os_str()));
        let path = instead(&at, "plug-in", &text);
        let user = plug_in(&PathBuf::from("plug-in"));
        at.space = with_kubeconfig(at.space, &kubeconfig(&sandbox().0, &user));
        let record = at.space.folder.path().join("record");
        let recording = recording(&at, &path, &record);
        Self {
            at,
            recording,
            record,
        }
    }

    /// Runs the program, which has to start just these others, none with a value on its command line.
    #[track_caller]
    pub fn programs(&self, arguments: &[&str], variables: &[(&str, &str)], expected: &[&str]) {
        for (_, value) in variables {
            self.at.hide(value);
        }
        std::fs::write(&self.record, "").unwrap();
        let mut command = self.at.space.command(&INPUTS, arguments);
        command.envs(variables.iter().copied());
        let output = command.env("PATH", &self.recording).output();
        Ran::from(output.unwrap()).exits(0);
        self.at.hide_filed();
        let text = std::fs::read_to_string(&self.record).unwrap();
        let programs: BTreeSet<_> = text
            .lines()
            .filter_map(|line| Path::new(line).strip_prefix(&self.recording).ok())
            .filter_map(Path::to_str)
            .collect();
        assert_eq!(Vec::from_iter(programs), expected, "{arguments:?}: {text}");
        self.at.search(&text, arguments);
    }
}

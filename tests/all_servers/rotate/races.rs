//! Rotations that meet each other: there is one.

use super::scene::{Scene, Tokens};
use crate::space::{ROUTER, Ran, Space, few_trials};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

const ROTATE: [&str; 4] = ["rotate", "--reloader-grace", "0", "--apply"];

impl Scene {
    fn start(&self, operator: &Space) -> Child {
        let mut command = self.command_by(operator, &ROTATE);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// The fingerprints of the tokens that are not to be used any more.
    fn retired(&self) -> Vec<String> {
        let router = self.home.object(ROUTER).unwrap();
        let retired = &router["metadata"]["annotations"]["k8s-bootstrap/retired"];
        let all = retired.as_str().unwrap_or_default().split_whitespace();
        all.map(str::to_owned).collect()
    }

    /// Has both rotate, the second a moment later; holds that one rotation came of it, and gives
    /// its tokens.
    fn race(&self, before: &Tokens, operators: [&Space; 2], later: Duration) -> Tokens {
        let retired = self.retired();
        let first = self.start(operators[0]);
        thread::sleep(later);
        let second = self.start(operators[1]);
        let runs = [first, second].map(|child| Ran::from(child.wait_with_output().unwrap()));
        let story = format!("{later:?} later:\n{}\nand\n{}", runs[0].err, runs[1].err);
        assert_eq!(runs.each_ref().map(|ran| ran.code), [0, 0], "{story}");

        let grown = self.retired();
        assert_eq!(grown.len(), retired.len() + 2, "one rotation: {story}");
        assert!(grown.starts_with(&retired), "{grown:?}");
        for name in ["KB_ROUTER_TOKEN=", "EMBEDDINGS_API_KEY="] {
            let new = &grown[retired.len()..];
            assert!(new.iter().any(|one| one.starts_with(name)), "{grown:?}");
        }
        let tokens = self.served();
        assert!(tokens.router != before.router, "{story}");
        assert!(tokens.embeddings != before.embeddings, "{story}");
        for operator in operators {
            let filed = Tokens::of(&operator.filed());
            assert!(filed == tokens, "one token in both files: {story}");
            self.is_plain_for(operator, &tokens);
            assert!(before.are_forgotten(operator), "the file forgot: {story}");
            assert_eq!(operator.beside_file(), [".k8s-tokens"]);
        }
        self.settle();
        self.accepted(&tokens);
        self.refused(before);
        tokens
    }
}

/// Within the first moments of a run.
fn moment(trial: usize) -> Duration {
    match trial % 3 {
        0 => Duration::ZERO,
        _ => Duration::from_millis(100).mul_f64(super::scene::chance()),
    }
}

#[test]
fn two_operators_who_rotate_at_once_make_one_rotation() {
    let mut scene = Scene::new(&[]);
    let mut tokens = scene.first.clone();
    let files = [scene.home.other_operator(), scene.home.other_operator()];
    for operator in &files {
        operator.run(&["tokens", "recover", "--apply"]).exits(0);
    }
    for trial in 0..few_trials() {
        // Once one of them has no file.
        if trial == 1 {
            std::fs::remove_file(files[1].file()).unwrap();
        }
        tokens = scene.race(&tokens, [&files[0], &files[1]], moment(trial));
    }
    scene.load.stop().assert_no_refusal();
}

#[test]
fn two_runs_with_one_file_make_one_rotation() {
    let mut scene = Scene::new(&[]);
    let mut tokens = scene.first.clone();
    for trial in 0..few_trials() {
        tokens = scene.race(&tokens, [&scene.home, &scene.home], moment(trial));
    }
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_file_from_before_a_rotation_is_refused_before_anything_is_written() {
    let mut scene = Scene::new(&[]);
    let stale = scene.home.other_operator();
    stale.run(&["tokens", "recover", "--apply"]).exits(0);
    scene.run(&ROTATE).exits(0);
    let tokens = scene.served();
    let untouched = || {
        let file = std::fs::read(stale.file()).unwrap();
        (scene.home.writes().len(), scene.home.versions(), file)
    };
    let before = untouched();
    let ran = scene.run_by(&stale, &ROTATE).exits(1);
    ran.says(&["KB_ROUTER_TOKEN", "EMBEDDINGS_API_KEY", "--prefer cluster"]);
    assert_eq!(untouched(), before);

    // Nor does it carry on what it does not know.
    scene
        .run(&[&ROTATE[..], &["--until", "open"]].concat())
        .exits(0);
    std::fs::write(stale.file(), {
        let text = String::from_utf8(before.2).unwrap();
        text.replace(&scene.first.router, "a-token-of-another-installation")
    })
    .unwrap();
    let before = untouched();
    let ran = scene.run_by(&stale, &ROTATE).exits(1);
    ran.says(&["neither the old nor the new token", "--tokens-file"]);
    assert_eq!(untouched(), before);
    scene.run(&ROTATE).exits(0);
    assert!(scene.served() != tokens, "it goes on");
    scene.load.stop().assert_no_refusal();
}

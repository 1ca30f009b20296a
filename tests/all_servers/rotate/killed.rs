//! A rotation that is ended at any moment is carried on, or taken back, by whoever comes next; and
//! no request is refused on the way.

use super::load::Holds;
use super::scene::{Scene, Tokens, chance};
use crate::space::{Ran, Space, trials};
use std::fmt::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// What is done after a kill.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// The same again.
    Again,
    /// Back to the old tokens.
    Abort,
    /// The same again, without the tokens file.
    Lost,
    /// Another operator, who has no tokens file, carries on.
    Other,
}

const NEXT: [Next; 4] = [Next::Again, Next::Abort, Next::Lost, Next::Other];

const ROTATE: &[&str] = &["rotate", "--reloader-grace", "0", "--apply"];
const ABORT: &[&str] = &["rotate", "--reloader-grace", "0", "--abort", "--apply"];

/// The brain and who operates it at the moment.
struct Play {
    scene: Scene,
    operator: Space,
    /// What has happened in this trial, for people.
    story: String,
}

impl Play {
    fn run(&mut self, words: &[&str]) -> Ran {
        let ran = self.scene.run_by(&self.operator, words);
        let _ = writeln!(self.story, "{words:?}: {}\n{}", ran.code, ran.err);
        ran
    }

    /// Starts a run and kills it after that time.
    fn kill_after(&mut self, words: &[&str], time: Duration) {
        let mut command = self.scene.command_by(&self.operator, words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        thread::sleep(time);
        child.kill().unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        let _ = writeln!(
            self.story,
            "{words:?} was killed after {time:?}: {}\n{}",
            ran.code, ran.err
        );
    }

    /// Makes the change of a moment, and gives the words to carry on with.
    fn turn(&mut self, next: Next) -> &'static [&'static str] {
        let _ = writeln!(self.story, "{next:?}");
        match next {
            Next::Again => ROTATE,
            Next::Abort => ABORT,
            Next::Lost => {
                // It may not have been there after a kill of the other operator.
                let _ = std::fs::remove_file(self.operator.file());
                ROTATE
            }
            Next::Other => {
                self.operator = self.operator.other_operator();
                ROTATE
            }
        }
    }

    /// Holds that all is as after a rotation, or as before one.
    #[track_caller]
    fn is_settled(&mut self, before: &Tokens) -> Tokens {
        let ran = self.run(&["rotate", "--status"]);
        let settled = ran.code == 0 && ran.out.contains("no rotation is open");
        assert!(settled, "{}\n{}", self.story, ran.out);
        let tokens = self.scene.served();
        self.scene.is_plain_for(&self.operator, &tokens);
        assert_eq!(self.operator.filed().len(), 2, "{}", self.story);
        assert_eq!(self.operator.beside_file(), [".k8s-tokens"]);
        self.scene.settle();
        self.scene.accepted(&tokens);
        let both = [
            tokens.router != before.router,
            tokens.embeddings != before.embeddings,
        ];
        assert!(both[0] == both[1], "one without the other: {}", self.story);
        if both[0] {
            self.scene.refused(before);
            let forgotten = before.are_forgotten(&self.operator);
            assert!(forgotten, "the file forgot: {}", self.story);
        }
        tokens
    }
}

/// Brains that are rotated and killed side by side: a rotation waits more than it works.
const BRAINS: usize = 3;

#[test]
fn a_rotation_that_is_killed_ends_with_one_token_everywhere_and_refuses_nothing() {
    let trials = trials();
    thread::scope(|scope| {
        for first in 0..BRAINS.min(trials) {
            scope.spawn(move || kill_rotations((first..trials).step_by(BRAINS), trials));
        }
    });
}

/// Kills a rotation of one brain in each of these parts of its length, of which there are so many.
fn kill_rotations(parts: impl Iterator<Item = usize>, count: usize) {
    let scene = Scene::new(&[Holds::Agents]);
    let operator = scene.home.other_operator();
    let mut play = Play {
        scene,
        operator,
        story: String::new(),
    };
    let mut tokens = play.scene.first.clone();
    let began = Instant::now();
    play.run(ROTATE).exits(0);
    let whole = began.elapsed();
    tokens = play.is_settled(&tokens);

    for trial in parts {
        play.story.clear();
        let part = (trial as f64 + chance()) / count as f64;
        play.kill_after(ROTATE, whole.mul_f64(part));
        let mut next = NEXT[(trial + (chance() * 4.0) as usize) % 4];
        // What carries on may be killed too, and then somebody carries on from there.
        if chance() < 0.5 {
            let words = play.turn(next);
            play.kill_after(words, whole.mul_f64(chance()));
            next = NEXT[(chance() * 4.0) as usize];
        }
        let words = play.turn(next);
        let ran = play.run(words);
        if matches!(next, Next::Abort) && ran.code == 1 {
            // It had not begun, or was over, or the servers had begun to forget.
            let why = ["no rotation is open", "there is no way back"];
            let told = why.into_iter().any(|why| ran.err.contains(why));
            assert!(told, "{}", play.story);
            play.run(ROTATE);
        }
        let last = play.run(&["rotate", "--reloader-grace", "0", "--continue", "--apply"]);
        assert_eq!(last.code, 0, "{}", play.story);
        assert!(last.out.contains("nothing to do"), "{}", play.story);
        if !matches!(next, Next::Abort) {
            assert_eq!(ran.code, 0, "{}", play.story);
        }
        tokens = play.is_settled(&tokens);
    }
    play.scene.load.stop().assert_no_refusal();
}

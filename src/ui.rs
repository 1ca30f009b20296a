//! The only place that prints: the answer on stdout, the story on stderr.

use crate::error::Failure;
use std::cell::Cell;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

/// What the answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// Kubernetes manifests.
    Yaml,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The meaning of a mark, and its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Done, or as it should be.
    Good,
    /// Left alone.
    Muted,
    /// Needs attention.
    Bad,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    on: bool,
    /// Whether marks beyond ASCII are wanted and can be shown.
    pub pretty: bool,
}

impl Palette {
    /// Wraps a text in the colour of its meaning.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Muted => "33",
            Tone::Bad => "31",
        };
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// How this run speaks.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// What the answer looks like.
    pub format: Format,
    /// Whether the story is left out.
    pub quiet: bool,
    /// How much more is told: 1 for each request, 2 for how the connection was made as well.
    pub verbosity: u8,
    color: Color,
}

impl Ui {
    /// Takes the options of the command line.
    pub fn new(format: Format, quiet: bool, verbosity: u8, color: Color) -> Self {
        Self {
            format,
            quiet,
            verbosity,
            color,
        }
    }

    /// The colours for the answer.
    pub fn palette(&self) -> Palette {
        self.palette_for(io::stdout().is_terminal())
    }

    fn palette_for(&self, terminal: bool) -> Palette {
        let wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let on = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && wanted(),
        };
        Palette {
            on,
            pretty: on && shows_unicode(),
        }
    }

    /// Prints the answer.
    ///
    /// # Errors
    /// Where stdout cannot be written. A reader that went away (`| head -1`) is no error.
    pub fn answer(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::unable("cannot write to stdout")
                    .because(error)
                    .hint("what was done is done; run the command again to see its answer"))
            }
            _ => Ok(()),
        }
    }

    /// Tells what is going on.
    pub fn story(&self, text: &str) {
        if !self.quiet {
            self.tell(text);
        }
    }

    /// Tells what the operator should know even if the rest is of no interest.
    pub fn warn(&self, text: &str) {
        let mark = self
            .palette_for(io::stderr().is_terminal())
            .paint(Tone::Muted, "warning:");
        self.tell(&format!("{mark} {text}"));
    }

    /// Tells details, from that verbosity on.
    pub fn detail(&self, verbosity: u8, text: &str) {
        if self.verbosity >= verbosity {
            self.tell(&format!("  {text}"));
        }
    }

    /// Prints a failure: what happened, why, what to do.
    pub fn failure(&self, failure: &Failure) {
        let mark = self
            .palette_for(io::stderr().is_terminal())
            .paint(Tone::Bad, "error:");
        let mut text = format!("{mark} {}", failure.message);
        for cause in &failure.causes {
            text.push_str("\n  - ");
            text.push_str(cause);
        }
        for hint in &failure.hints {
            text.push_str("\n  hint: ");
            text.push_str(hint);
        }
        self.tell(&text);
    }

    /// Tells how far long work is, while it lasts.
    pub fn progress(&self, total: usize, what: &'static str) -> Progress {
        let terminal = io::stderr().is_terminal();
        let pause = if terminal { FIRST_BAR } else { FIRST_LINE };
        Progress {
            ui: *self,
            total,
            what,
            terminal,
            done: Cell::new(0),
            next: Cell::new(Instant::now() + pause),
            shown: Cell::new(false),
        }
    }

    fn tell(&self, text: &str) {
        // Where stderr is gone there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Tells whether the terminal shows more than ASCII: by its locale, as other programs do.
fn shows_unicode() -> bool {
    let set = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"));
    let utf8 = |locale: String| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    };
    locale.is_some_and(utf8) && set("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// How long work goes on before a terminal shows a bar.
const FIRST_BAR: Duration = Duration::from_millis(250);
/// How often the bar moves.
const BAR: Duration = Duration::from_millis(100);
/// How long work goes on before a log gets a line, and how often it gets another.
const FIRST_LINE: Duration = Duration::from_secs(2);
/// The length of the bar, in characters.
const WIDTH: usize = 30;

/// How far long work is: a bar on a terminal, a line now and then elsewhere, nothing where the work
/// is over before.
#[derive(Debug)]
pub struct Progress {
    ui: Ui,
    total: usize,
    what: &'static str,
    terminal: bool,
    done: Cell<usize>,
    next: Cell<Instant>,
    shown: Cell<bool>,
}

impl Progress {
    /// Counts a piece of work that is done.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        let now = Instant::now();
        if now < self.next.get() || self.ui.quiet {
            return;
        }
        let (done, total, what) = (self.done.get(), self.total, self.what);
        if self.terminal {
            self.next.set(now + BAR);
            self.shown.set(true);
            let bar = "#".repeat(done * WIDTH / total.max(1));
            self.line(&format!("  [{bar:<WIDTH$}] {done} of {total} {what}"));
        } else {
            self.next.set(now + FIRST_LINE);
            self.ui.story(&format!("{done} of {total} {what}"));
        }
    }

    /// Replaces the line that the cursor is on.
    fn line(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.get() {
            self.line("");
        }
    }
}

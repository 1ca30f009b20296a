//! The only module that prints. The answer goes to stdout, everything else to stderr.

use crate::error::Failure;
use std::cell::Cell;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Plain text.
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
    Always,
    Never,
}

/// The meaning of a mark. It determines the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Done, or correct.
    Good,
    /// Unchanged, or not important.
    Muted,
    /// Needs attention.
    Bad,
}

/// Whether to use colours and symbols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    on: bool,
    /// Whether to use marks that are not ASCII.
    pretty: bool,
}

/// The mark at the beginning of a line about a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Ok,
    /// A preview of a change.
    Plan,
    Skip,
    Warn,
    Fail,
}

impl Mark {
    /// The colour, the text, and the symbol with the width of the text.
    const fn row(self) -> (Tone, &'static str, &'static str) {
        match self {
            Self::Ok => (Tone::Good, "[ok]  ", "  √   "),
            Self::Plan => (Tone::Good, "[plan]", "  +   "),
            Self::Skip => (Tone::Muted, "[skip]", "  -   "),
            Self::Warn => (Tone::Muted, "[warn]", "  ‼   "),
            Self::Fail => (Tone::Bad, "[fail]", "  ×   "),
        }
    }
}

impl Palette {
    /// A line about a result.
    pub fn line(self, mark: Mark, text: impl std::fmt::Display) -> String {
        format!("{} {text}\n", self.mark(mark))
    }

    pub fn mark(self, mark: Mark) -> String {
        let (tone, text, _) = mark.row();
        self.paint(tone, text)
    }

    /// The mark as a symbol where the terminal can show it.
    pub fn symbol(self, mark: Mark) -> String {
        match mark.row() {
            (tone, _, symbol) if self.pretty => self.paint(tone, symbol),
            (tone, text, _) => self.paint(tone, text),
        }
    }

    /// Wraps a text in the colour of its tone.
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

/// The output settings of a run.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    pub format: Format,
    /// Whether to leave out status messages. Warnings and errors are still printed.
    pub quiet: bool,
    /// 1 prints each request, 2 also prints how the connection was made.
    pub verbosity: u8,
    color: Color,
}

impl Ui {
    pub fn new(format: Format, quiet: bool, verbosity: u8, color: Color) -> Self {
        Self {
            format,
            quiet,
            verbosity,
            color,
        }
    }

    /// The palette for stdout.
    pub fn palette(&self) -> Palette {
        self.palette_for(io::stdout().is_terminal())
    }

    fn palette_for(&self, terminal: bool) -> Palette {
        let is_allowed = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let on = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && is_allowed(),
        };
        Palette {
            on,
            pretty: on && has_unicode(),
        }
    }

    /// Prints the answer.
    ///
    /// # Errors
    /// If stdout cannot be written. A closed pipe (`| head -1`) is not an error.
    pub fn answer(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::unable("cannot write to stdout")
                    .because(error)
                    .hint("the work is done; run the command again to see its answer"))
            }
            _ => Ok(()),
        }
    }

    /// Prints a status message, unless the run is quiet.
    pub fn story(&self, text: &str) {
        if !self.quiet {
            self.print(text);
        }
    }

    /// Prints a warning, even if the run is quiet.
    pub fn warn(&self, text: &str) {
        let mark = self
            .palette_for(io::stderr().is_terminal())
            .paint(Tone::Muted, "warning:");
        self.print(&format!("{mark} {text}"));
    }

    /// Prints a detail if the verbosity is at least this level.
    pub fn detail(&self, verbosity: u8, text: &str) {
        if self.verbosity >= verbosity {
            self.print(&format!("  {text}"));
        }
    }

    /// Prints a failure with its causes and hints.
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
        self.print(&text);
    }

    /// Starts a progress display for `total` items. `what` is their plural noun.
    pub fn progress(&self, total: usize, what: &'static str) -> Progress {
        let terminal = io::stderr().is_terminal();
        let delay = if terminal { BAR_DELAY } else { LINE_INTERVAL };
        Progress {
            ui: *self,
            total,
            what,
            terminal,
            done: Cell::new(0),
            next: Cell::new(Instant::now() + delay),
            shown: Cell::new(false),
        }
    }

    fn print(&self, text: &str) {
        // If stderr is closed, there is nowhere to report the error.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Checks by the locale and `TERM` whether the terminal can show characters that are not ASCII.
fn has_unicode() -> bool {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let locale = variable("LC_ALL")
        .or_else(|| variable("LC_CTYPE"))
        .or_else(|| variable("LANG"));
    let is_utf8 = |locale: String| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    };
    locale.is_some_and(is_utf8) && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// The delay before a terminal shows a progress bar.
const BAR_DELAY: Duration = Duration::from_millis(250);
/// The time between two updates of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// The delay before the first progress line in a log, and the time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(2);
/// The length of the bar, in characters.
const WIDTH: usize = 30;

/// The progress of long work: a bar on a terminal, a line every two seconds elsewhere. Short work
/// shows neither.
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
    /// Counts one finished item.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        let now = Instant::now();
        if now < self.next.get() || self.ui.quiet {
            return;
        }
        let (done, total, what) = (self.done.get(), self.total, self.what);
        if self.terminal {
            self.next.set(now + BAR_INTERVAL);
            self.shown.set(true);
            let bar = "#".repeat(done * WIDTH / total.max(1));
            self.line(&format!("  [{bar:<WIDTH$}] {done} of {total} {what}"));
        } else {
            self.next.set(now + LINE_INTERVAL);
            self.ui.story(&format!("{done} of {total} {what}"));
        }
    }

    /// Replaces the line at the cursor.
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

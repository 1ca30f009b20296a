//! `completions` and `man`: generated from the description of the command line. Contacts no server.

use super::shared::answer::Answer;
use super::usage::description;
use crate::error::Failure;
use crate::render::json::Body;
use crate::render::man_page;

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> Answer {
    answer(man_page::completions(description(), shell))
}

/// Prints the manual page.
///
/// # Errors
/// Never in practice: the page is written to memory.
pub fn man() -> Result<Answer, Failure> {
    let page = man_page::man(description())
        .map_err(|error| Failure::unable("cannot make the manual page").because(error))?;
    Ok(answer(page))
}

fn answer(content: String) -> Answer {
    Answer::new(content.clone(), Body::Content { content })
}

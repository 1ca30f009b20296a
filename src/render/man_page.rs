//! The manual page and the completion scripts, generated from the clap types.

use clap::Command;
use clap_complete::Shell;

/// The manual page: the program, then each command.
///
/// # Errors
/// Never in practice: it writes to memory.
pub fn man(mut command: Command) -> std::io::Result<String> {
    // Sets the full names of the commands: k8s-bootstrap-diff.
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for sub in command.get_subcommands() {
        push_command(&mut page, sub)?;
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Adds a command and its subcommands to the page.
fn push_command(page: &mut Vec<u8>, command: &Command) -> std::io::Result<()> {
    let man = clap_mangen::Man::new(command.clone());
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    command
        .get_subcommands()
        .try_for_each(|sub| push_command(page, sub))
}

pub fn completions(mut command: Command, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "k8s-bootstrap", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        // clap_complete uses two different names for a program with a hyphen (clap issue 6421).
        Shell::Bash => script.replace("k8s__subcmd__bootstrap", "k8s__bootstrap"),
        _ => script,
    }
}

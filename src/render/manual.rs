//! The manual page and the completion scripts, made from the command line's own description.

use clap::Command;
use clap_complete::Shell;

/// The manual page: the program, then each command.
///
/// # Errors
/// Never in practice: it is written into memory.
pub fn man(mut command: Command) -> std::io::Result<String> {
    // Gives the commands their full names: k8s-bootstrap-diff.
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for sub in command.get_subcommands() {
        clap_mangen::Man::new(sub.clone()).render(&mut page)?;
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The completion script of a shell.
pub fn completions(mut command: Command, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "k8s-bootstrap", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

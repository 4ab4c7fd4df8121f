//! `mailfleet completions`: what a shell needs to complete commands, options and their values.

use std::{io::Write as _, process::ExitCode};

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::Cli;

/// Prints a script for a shell that completes commands and options.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  source <(mailfleet completions bash)                      in ~/.bashrc
  mailfleet completions zsh > ~/.zfunc/_mailfleet           with ~/.zfunc in fpath
  mailfleet completions fish > ~/.config/fish/completions/mailfleet.fish

Exit codes:
  0  printed
  1  the output cannot be written
  2  usage error")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command.
#[must_use]
pub fn completions(args: CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "mailfleet", &mut script);
    let written = std::io::stdout().write_all(&script);
    ExitCode::from(u8::from(written.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe)))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_gets_commands_and_options() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            generate(*shell, &mut Cli::command(), "mailfleet", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["validate", "completions", "expect-ledger"] {
                assert!(script.contains(word), "{shell} does not know {word}");
            }
        }
    }
}

//! `mailfleet man`: manual pages, made of the same descriptions as `--help`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use super::{Cli, text};

/// Prints the manual page, or writes the pages of all commands into a folder.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit codes:
  0  written
  1  the output or the folder cannot be written
  2  usage error

Examples:
  mailfleet man | man -l -
  mailfleet man ~/.local/share/man/man1        then: man mailfleet-run")]
pub struct ManArgs {
    /// The folder for the pages of all commands, created if it does not exist. Without it, the program's own page is printed.
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Runs the command.
#[must_use]
pub fn man(args: &ManArgs) -> ExitCode {
    let written = match &args.folder {
        None => page(&built()).and_then(|page| io::stdout().write_all(&page)).map_err(|error| (error.kind(), error.to_string())),
        Some(folder) => {
            write_all(folder).map_err(|error| (error.kind(), format!("the pages cannot be written into {}: {error}", folder.display())))
        }
    };
    match written {
        Ok(()) | Err((io::ErrorKind::BrokenPipe, _)) => ExitCode::SUCCESS,
        Err((_, why)) => {
            text::report(&why);
            ExitCode::FAILURE
        }
    }
}

/// The command with everything that is derived from it.
fn built() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn write_all(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut left = vec![built()];
    while let Some(command) = left.pop() {
        let name = Man::new(command.clone()).get_filename();
        std::fs::write(folder.join(name), page(&command)?)?;
        left.extend(command.get_subcommands().filter(|one| !one.is_hide_set()).cloned());
    }
    Ok(())
}

/// The page of one command.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).source(concat!("mailfleet ", env!("CARGO_PKG_VERSION"))).manual("Mailfleet");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.get_subcommands().any(|one| !one.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(after) = command.get_after_help() {
        page.write_all(sections(&after.to_string()).as_bytes())?;
    }
    Ok(page)
}

/// What follows the options in `--help`: lists under a heading of their own, and texts.
fn sections(after: &str) -> String {
    let mut roff = String::new();
    for part in after.split("\n\n") {
        match part.split_once(":\n") {
            Some((heading, list)) if !heading.contains('\n') => {
                let heading = if heading == "Exit codes" { "Exit status" } else { heading };
                // As it is: an example is not filled.
                roff.push_str(&format!(".SH {}\n.nf\n", escaped(&heading.to_uppercase())));
                list.lines().for_each(|line| roff.push_str(&format!("{}\n", escaped(line.strip_prefix("  ").unwrap_or(line)))));
                roff.push_str(".fi\n");
            }
            _ => {
                roff.push_str(".SH NOTES\n");
                part.lines().for_each(|line| roff.push_str(&format!("{}\n", escaped(line))));
            }
        }
    }
    roff
}

/// A line of text in roff.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', r"\e").replace('-', r"\-");
    // These would begin a request.
    if line.starts_with(['.', '\'']) { format!(r"\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(command: &Command) -> String {
        String::from_utf8(page(command).expect("a vector takes all")).expect("text")
    }

    #[test]
    fn every_command_has_a_page_with_its_options_and_exit_codes() {
        let program = built();
        let whole = text(&program);
        assert!(whole.contains(".TH mailfleet 1") && whole.contains(r"mailfleet\-preview(1)"), "{whole}");
        for command in program.get_subcommands() {
            let page = text(command);
            let name = command.get_name();
            assert!(page.contains(&format!(".TH mailfleet-{name} 1")), "{page}");
            let has_codes = command.get_after_help().is_some_and(|after| after.to_string().contains("Exit codes"));
            assert_eq!(page.contains(".SH \"EXIT STATUS\"") || page.contains(".SH EXIT STATUS"), has_codes, "{name}: {page}");
        }
    }

    #[test]
    fn lists_stay_lists_and_nothing_begins_a_request() {
        assert_eq!(
            sections("Exit codes:\n  0  well\n  1  a\\b\n\n.hidden names: skipped.\nMore."),
            ".SH EXIT STATUS\n.nf\n0  well\n1  a\\eb\n.fi\n.SH NOTES\n\\&.hidden names: skipped.\nMore.\n"
        );
    }
}

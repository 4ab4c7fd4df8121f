//! `mailfleet preview`: messages of a campaign as they would be sent, without any server, Secret or ledger.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::{
    look::{CampaignArgs, FIRST_MAX, Made, Parts, Stop, Whose, look, made},
    present::markdown::AT,
    validate::printable,
};

/// Shows messages of a campaign as they would be sent. It needs no server, Secret or ledger, and sends nothing.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  the messages are printed\n  1  a message cannot be made, or the audience cannot be read\n  2  usage error, the campaign has faults, or the campaign or recipient was not found"
)]
pub struct PreviewArgs {
    #[command(flatten)]
    campaign: CampaignArgs,
    /// Show the message of this recipient. Default: that of the first.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "first")]
    recipient: Option<String>,
    /// Show the messages of the first N recipients.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=FIRST_MAX as i64))]
    first: u16,
    /// Show the message in this variant of the content; `default` is the content itself. Without --recipient: that of the first recipient who gets it.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t = PreviewOutput::Text)]
    output: PreviewOutput,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreviewOutput {
    /// Sender, recipient, subject and text part.
    Text,
    /// The HTML part of one message, for a browser.
    Html,
    /// One whole message (RFC 5322), for a mail program.
    Eml,
    /// All parts, for a pull request.
    Markdown,
}

pub async fn run(args: PreviewArgs) -> ExitCode {
    let is_single = matches!(args.output, PreviewOutput::Html | PreviewOutput::Eml);
    if is_single && args.first > 1 {
        return Stop::configuration("-o html and -o eml print one message; leave --first out, or use --recipient").report();
    }
    let whose = args.recipient.clone().map_or(Whose::First(usize::from(args.first)), Whose::One);
    let variant = args.variant.clone();
    let shown = look(&args.campaign, None, move |look, runtime| {
        let campaign = look.key.to_string();
        made(&look, &whose, variant.as_deref(), look.campaign.object.spec.run(), runtime).map(|messages| (campaign, messages))
    });
    match shown.await {
        Ok((campaign, messages)) => match print(&mut io::stdout().lock(), &campaign, &messages, args.output) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Stop::failed(format!("cannot print: {error}")).report(),
            _ => ExitCode::SUCCESS,
        },
        Err(stop) => stop.report(),
    }
}

fn print(out: &mut impl Write, campaign: &str, messages: &[Made], output: PreviewOutput) -> io::Result<()> {
    for (position, message) in messages.iter().enumerate() {
        let mut parts = Parts::of(&message.rendered).ok_or_else(|| io::Error::other("the message cannot be read"))?;
        parts.headers.extend(message.variant.iter().map(|variant| ("Variant".to_owned(), variant.clone())));
        match output {
            PreviewOutput::Eml => out.write_all(&message.rendered.content.whole())?,
            PreviewOutput::Html => {
                let html = parts.html.as_ref().ok_or_else(|| io::Error::other("the campaign has no HTML part; see -o text"))?;
                out.write_all(html.as_bytes())?;
            }
            PreviewOutput::Text => {
                if position > 0 {
                    writeln!(out, "\n{}\n", "-".repeat(72))?;
                }
                as_text(out, &parts)?;
            }
            PreviewOutput::Markdown => {
                if position > 0 {
                    writeln!(out)?;
                }
                as_markdown(out, campaign, message.recipient.address.as_str(), &parts)?;
            }
        }
    }
    Ok(())
}

fn as_text(out: &mut impl Write, parts: &Parts) -> io::Result<()> {
    for (name, value) in &parts.headers {
        writeln!(out, "{name}: {}", printable(value))?;
    }
    writeln!(out)?;
    for line in parts.text.trim_end().lines() {
        writeln!(out, "{}", printable(line))?;
    }
    Ok(())
}

/// A message for a pull request.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn as_markdown(out: &mut impl Write, campaign: &str, recipient: &str, parts: &Parts) -> io::Result<()> {
    writeln!(out, "### {campaign}, as {} gets it\n\n| | |\n|---|---|", escaped(recipient))?;
    for (name, value) in &parts.headers {
        writeln!(out, "| {name} | {} |", escaped(&printable(value)))?;
    }
    fenced(out, "text", &parts.text)?;
    if let Some(html) = &parts.html {
        write!(out, "\n<details><summary>HTML</summary>\n")?;
        fenced(out, "html", html)?;
        writeln!(out, "\n</details>")?;
    }
    Ok(())
}

/// Text in a table of Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '@' {
            out.push_str(AT);
            continue;
        }
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '#' | ':') && c.is_ascii() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A block with a fence that is longer than any run of backticks in it.
fn fenced(out: &mut impl Write, language: &str, text: &str) -> io::Result<()> {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    writeln!(out, "\n{fence}{language}")?;
    for line in text.trim_end().lines() {
        writeln!(out, "{}", printable(line))?;
    }
    writeln!(out, "{fence}")
}

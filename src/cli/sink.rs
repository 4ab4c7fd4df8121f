//! `mailfleet sink`: a local SMTP server that accepts everything, or a proxy that delays another.

use std::{
    io::{IsTerminal as _, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    resources,
    sink::{self, Behaviour, ReplyRule, SinkHandle, SinkOptions, control, proxy::Proxy},
};

/// Between two looks at what has arrived.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// A local SMTP server that accepts everything, for trials and tests. Loopback only.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct SinkArgs {
    /// The address to listen on; port 0 picks a free port, which is printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2525")]
    pub listen: SocketAddr,
    /// Append a line for each message: accepted or unanswered, recipient, Message-ID, separated by tabs.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Do not offer CHUNKING.
    #[arg(long)]
    pub no_chunking: bool,
    /// Do not offer PIPELINING, and disconnect a client that pipelines anyway.
    #[arg(long)]
    pub no_pipelining: bool,
    /// Refuse recipients: PATTERN=CODE. `*` matches anything; `once` after the code refuses only the first attempt.
    #[arg(long = "reply", value_name = "RULE")]
    pub rules: Vec<ReplyRule>,
    /// Fail after this many messages, as `--fail-how` says.
    #[arg(long, value_name = "MESSAGES", requires = "fail_how")]
    pub fail_after: Option<u64>,
    /// How to fail after `--fail-after` messages.
    #[arg(long, value_name = "HOW", requires = "fail_after")]
    pub fail_how: Option<FailHow>,
    /// How long each message takes on its connection, such as 20ms; with `--forward`, the delay of each direction.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = duration)]
    pub delay: Duration,
    /// Listen there for commands while running, one per line: ok, hang, 421, close, refuse, count.
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<SocketAddr>,
    /// On a terminal, do not show how many messages have arrived.
    #[arg(long, short)]
    pub quiet: bool,
    /// Forward connections to this address instead, delayed by `--delay` in each direction.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["log", "no_chunking", "no_pipelining", "rules", "fail_after", "control"])]
    pub forward: Option<SocketAddr>,
}

/// How a sink fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailHow {
    /// Close every connection at once.
    Close,
    /// Read everything and never answer.
    Hang,
    /// Answer 421 and close.
    #[value(name = "421")]
    Answer421,
    /// Close every connection, and the port.
    Refuse,
}

impl From<FailHow> for Behaviour {
    fn from(how: FailHow) -> Self {
        match how {
            FailHow::Close => Self::Close,
            FailHow::Hang => Self::Hang,
            FailHow::Answer421 => Self::Answer421,
            FailHow::Refuse => Self::Refuse,
        }
    }
}

/// Reads durations as the YAML does.
fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<resources::Duration>().map(Into::into)
}

impl From<SinkArgs> for SinkOptions {
    fn from(args: SinkArgs) -> Self {
        Self {
            listen: args.listen,
            chunking: !args.no_chunking,
            pipelining: !args.no_pipelining,
            log: args.log,
            rules: args.rules,
            fail_after: args.fail_after.zip(args.fail_how.map(Behaviour::from)),
            delay: args.delay,
        }
    }
}

/// Runs until SIGINT or SIGTERM. Prints `listening on ADDRESS`, and `control on ADDRESS` when asked for.
pub async fn run(args: SinkArgs) -> ExitCode {
    match serve(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _ = writeln!(std::io::stderr(), "mailfleet sink: {fault}");
            ExitCode::from(2)
        }
    }
}

async fn serve(args: SinkArgs) -> std::io::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let ended = async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    if let Some(forward) = args.forward {
        let proxy = Proxy::start(args.listen, forward, args.delay)?;
        say(&format!("listening on {}", proxy.addr()))?;
        ended.await;
        return Ok(());
    }
    let shows = !args.quiet && std::io::stdout().is_terminal();
    let control = args.control;
    let sink = Arc::new(sink::start(args.into()).await?);
    // After the sink's own: whoever reaches the control port reaches the sink too.
    let control = match control {
        Some(address) => Some(control::listen(address).await?),
        None => None,
    };
    say(&format!("listening on {}", sink.addr()))?;
    let serving = async {
        match control {
            Some(listener) => {
                say(&format!("control on {}", listener.local_addr()?))?;
                control::serve(listener, Arc::clone(&sink)).await;
                Ok(())
            }
            None => std::future::pending::<std::io::Result<()>>().await,
        }
    };
    tokio::select! {
        () = ended => {}
        served = serving => served?,
        shown = show(&sink), if shows => shown?,
    }
    say(&format!("accepted {} unanswered {}", sink.accepted(), sink.unanswered()))?;
    if let Some(sink) = Arc::into_inner(sink) {
        sink.stop().await;
    }
    Ok(())
}

/// Shows on a terminal what has arrived, a line whenever it has changed.
async fn show(sink: &SinkHandle) -> std::io::Result<()> {
    let mut shown = (0, 0);
    loop {
        tokio::time::sleep(SHOW_EVERY).await;
        let now = (sink.accepted(), sink.unanswered());
        if now != shown {
            shown = now;
            let unanswered = if now.1 == 0 { String::new() } else { format!(", {} unanswered", now.1) };
            say(&format!("accepted {}{unanswered}", now.0))?;
        }
    }
}

/// Prints a line at once: tests wait for it.
fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

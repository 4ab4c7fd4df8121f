//! `mailfleet simulate`: campaigns in simulated time, by the code that decides and sends.
//!
//! Here objects are read and people counted (`start`), and the result is shown (`print`, `picture`); `crate::simulate` does the rest.

mod assumed;
mod picture;
mod print;
mod start;
mod stretches;

use std::{
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use self::assumed::{Away, Percentage, Recipients};
use super::{
    exit::EXIT_CONFIGURATION,
    ledger_args::LedgerArgs,
    look::{Stop, blocking},
    screen, text,
};
use crate::{
    meta::bound::grouped,
    resources::{Duration, Key},
    simulate::{Assumptions, MINUTE_MS, Progress, Simulated, simulate},
};

/// The longest simulated time when no other is given, milliseconds: 90 days.
const UNTIL_MS: i64 = 90 * 86_400_000;
/// How long a server takes to answer when nothing else is given.
const ROUND_TRIP: &str = "50ms";

/// Runs the campaigns in simulated time: who sends how much on which day, when it ends, and what happens on the way. Nothing is sent.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Campaigns are sent by the code that decides and sends, with its weights, limits, \
warm-up, sending hours, retries, guards and rollouts; the clock, the servers and \
the ledger are simulated. A month passes in seconds:

  mailfleet simulate objects
  mailfleet simulate objects --outage relay@+2h/30m --reject 3%
  mailfleet simulate objects --recipients spring=1000000 -o svg > spring.svg

Audiences that can be read here are read, for the receiving domains and time zones \
of their people; of others, --recipients says how many they are. Where the state \
folder has a ledger, runs that have begun go on from where they are, and what \
servers sent counts towards their limits and warm-up.

Exit codes:
  0   every campaign completed, is suspended, or waits for a person to promote it
  1   a campaign stopped, is stalled, or was still under way at the end
  2   a usage error, or the objects or an audience cannot be read")]
pub struct SimulateArgs {
    /// Files and folders, as for `mailfleet run`.
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Only this campaign (NAME or NAMESPACE/NAME); repeatable. The others send nothing.
    #[arg(long, value_name = "CAMPAIGN")]
    campaign: Vec<String>,
    /// How many people an audience has: CAMPAIGN=N for one campaign, even if its audience can be read here; N for every audience that cannot. Repeatable.
    #[arg(long, value_name = "[CAMPAIGN=]N")]
    recipients: Vec<Recipients>,
    /// A server is away from then on, for that long: `relay@+2h/30m`; repeatable.
    #[arg(long, value_name = "SERVER@+AFTER/FOR")]
    outage: Vec<Away>,
    /// The share of recipients who are rejected, by all servers or by one: `3%`, `relay=3%`; repeatable.
    #[arg(long, value_name = "[SERVER=]PERCENT")]
    reject: Vec<Percentage>,
    /// How long a server takes to answer a message.
    #[arg(long, value_name = "DURATION", default_value = ROUND_TRIP)]
    round_trip: Duration,
    /// When it begins, in RFC 3339; now when absent.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The longest simulated time; 90 days (`2160h`) when absent.
    #[arg(long, value_name = "DURATION")]
    until: Option<Duration>,
    /// Take rollouts that wait for a person as promoted at once.
    #[arg(long)]
    promote: bool,
    /// The seed of all random choices: another one gives other picks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Skip files and folders that match this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// A folder with Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// The state folder of `mailfleet run`: its ledger says what was sent. It is only read.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    state: PathBuf,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// The only namespace whose plans count, as for `mailfleet run`.
    #[arg(long, value_name = "NAMESPACE")]
    plan_namespace: Option<String>,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t = SimulateOutput::Text)]
    output: SimulateOutput,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulateOutput {
    /// For a terminal.
    Text,
    /// For a pull request.
    Markdown,
    /// One JSON object, for scripts.
    Json,
    /// A picture.
    Svg,
}

/// What was simulated, and by which assumptions.
struct Shown {
    simulated: Simulated,
    /// The assumptions in words.
    assumed: Vec<String>,
}

pub async fn run(args: SimulateArgs) -> ExitCode {
    let shown = match simulated(&args).await {
        Ok(shown) => shown,
        Err(stop) => return stop.report(),
    };
    let mut out = io::stdout().lock();
    let printed = match args.output {
        SimulateOutput::Text => print::text(&shown, &mut out),
        SimulateOutput::Markdown => print::markdown(&shown, &mut out),
        SimulateOutput::Json => print::json(&shown, &mut out),
        SimulateOutput::Svg => out.write_all(picture::svg(&shown.simulated).as_bytes()),
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            text::report(&format!("the simulation cannot be printed: {error}"));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
        _ => {}
    }
    ExitCode::from(u8::from(!is_good(&shown.simulated)))
}

/// Whether every campaign that can start completed, or waits for a person or a later time on purpose.
fn is_good(simulated: &Simulated) -> bool {
    use crate::resources::campaign::CampaignState::{Completed, Suspended};
    !simulated.is_cut
        && simulated
            .campaigns
            .values()
            .all(|campaign| campaign.waits_for_person || matches!(campaign.state, None | Some(Completed | Suspended)))
}

async fn simulated(args: &SimulateArgs) -> Result<Shown, Stop> {
    let from = args.from.unwrap_or_else(Timestamp::now);
    let from_ms = from.as_millisecond();
    let read = start::read(args, from_ms).await?;
    let server = |name: &str| named(name, read.world.servers.keys(), "server");
    let mut outages = Vec::new();
    for away in &args.outage {
        outages.extend(server(&away.server)?.into_iter().map(|server| away.outage(server, from_ms)));
    }
    let mut rejections = Vec::new();
    for rejection in &args.reject {
        match &rejection.server {
            None => rejections.push(rejection.rejection(None)),
            Some(name) => rejections.extend(server(name)?.into_iter().map(|server| rejection.rejection(Some(server)))),
        }
    }
    let assumptions = Assumptions {
        from_ms,
        until_ms: from_ms.saturating_add(args.until.map_or(UNTIL_MS, Duration::as_millis)),
        round_trip_ms: args.round_trip.as_millis().max(1),
        outages,
        rejections,
        promotes: args.promote,
        seed: args.seed,
    };
    let assumed = assumed::words(&assumptions, &read.assumed, args.round_trip);
    let start::Read { world, starts, past, .. } = read;
    let simulated = blocking(move || {
        let mut teller = Teller::new(assumptions.from_ms);
        let simulated = simulate(world, starts, past, &assumptions, |progress| teller.tell(progress));
        teller.end();
        simulated
    });
    let simulated = simulated.await.map_err(|error| Stop::failed(error.to_string()))?;
    Ok(Shown { simulated, assumed })
}

/// The objects that a name means: `NAME` in any namespace, or `NAMESPACE/NAME`.
fn named<'a>(name: &str, keys: impl Iterator<Item = &'a Key> + Clone, what: &str) -> Result<Vec<Key>, Stop> {
    let found: Vec<Key> = keys.clone().filter(|key| *key.name == *name || key.to_string() == name).cloned().collect();
    if found.is_empty() {
        let all: Vec<String> = keys.clone().map(ToString::to_string).collect();
        let known = keys.map(|key| &*key.name).chain(all.iter().map(String::as_str));
        let nearest = crate::meta::nearest(name, known).map(|near| format!("; did you mean {near}?"));
        let nearest = nearest.unwrap_or_else(|| format!("; there are {}", crate::meta::bound::listed(all.iter().map(String::as_str))));
        return Err(Stop::configuration(format!("there is no {what} {name}{nearest}")));
    }
    Ok(found)
}

/// Says on a terminal how far it is, where that takes longer than a moment.
struct Teller {
    from_ms: i64,
    began: Instant,
    told: Option<Instant>,
    is_wanted: bool,
}

impl Teller {
    /// A moment.
    const MOMENT: std::time::Duration = std::time::Duration::from_millis(500);

    fn new(from_ms: i64) -> Self {
        let is_wanted = io::stderr().is_terminal() && screen::stderr_columns().is_some();
        Self { from_ms, began: Instant::now(), told: None, is_wanted }
    }

    fn tell(&mut self, progress: Progress) -> ControlFlow<()> {
        if self.is_wanted && self.told.unwrap_or(self.began).elapsed() >= Self::MOMENT {
            self.told = Some(Instant::now());
            let passed = stretches::length((progress.now_ms - self.from_ms) / MINUTE_MS * MINUTE_MS);
            let line = format!("simulating: {passed}, {} of {} done", grouped(progress.done), grouped(progress.people));
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        }
        ControlFlow::Continue(())
    }

    fn end(&self) {
        if self.told.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

//! `mailfleet send`: one message of a campaign to oneself, through a server that the plan grants, and without a run.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use jiff::Timestamp;

use super::{
    deliver::{deliver, judge, outgoing},
    keys,
    look::{CampaignArgs, Look, Stop, Whose, look, wire},
    text,
};
use crate::{
    audience::{Address, Recipient},
    decide::ProbeResult,
    engine::{build_server, probe_once},
    providers::{Outgoing, Permissions, Provider as _, Server},
    resources::{
        Key, SendingServer,
        condition::{self, ConditionType},
    },
    token::unsubscribe::Links,
};

/// Sends one message of a campaign to an address of yours, as a recipient would get it, through a server that the plan grants.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit codes:
  0  a server accepted the message
  1  no server accepted it, or the message cannot be made
  2  usage error, the campaign has faults, or the campaign or recipient was not found

The message is that of the recipient, but for the address in To and the \
Message-ID. Its unsubscribe link is the recipient's too: following it \
unsubscribes that person. No run begins and the ledger is not written, so it \
works while `mailfleet run` sends; the message counts toward no limit of the \
server or the plan.

Without --server, the granted servers are probed in the order of their weights, \
and the first that passes sends. Secrets come from --secrets-dir, the documents \
and the environment.")]
pub struct SendArgs {
    #[command(flatten)]
    campaign: CampaignArgs,
    /// Where the message goes.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Whose message is sent. Default: that of the first recipient.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Send through this one of the granted servers (NAME or NAMESPACE/NAME).
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// Allow servers of type sendmail to run this program; repeatable.
    #[arg(long, value_name = "PATH")]
    allow_sendmail: Vec<PathBuf>,
    /// The keys of `mailfleet run`, for unsubscribe links. Default: STATE/keys.
    #[arg(long, value_name = "FILE", env = "MAILFLEET_KEYS")]
    keys: Option<PathBuf>,
}

pub async fn run(args: SendArgs) -> ExitCode {
    match send(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stop.report(),
    }
}

async fn send(args: &SendArgs) -> Result<(), Stop> {
    let to = Address::parse(&args.to).map_err(|why| Stop::configuration(format!("--to {}: {why}", args.to)))?;
    let whose = args.recipient.clone().map_or(Whose::First(1), Whose::One);
    let links = links(args)?;
    let is_real = links.is_some();
    let (look, recipient) = look(&args.campaign, args.secrets_dir.clone(), move |mut look, runtime| {
        look.links = links.unwrap_or(look.links);
        let recipient = look.recipients(&whose, runtime)?.into_iter().next();
        recipient.ok_or_else(|| Stop::failed("the audience has no recipient")).map(|recipient| (look, recipient))
    })
    .await?;
    let (key, server, handle) = server(args, &look).await?;
    let message = message(&look, &server, &recipient, &to)?;
    let outcome = deliver(handle.as_ref(), vec![message]).await.map_err(|verdict| Stop::failed(verdict.message))?.into_iter().next();
    handle.close().await;
    let verdict = outcome.map(|outcome| judge(to.as_str(), outcome)).ok_or_else(|| Stop::failed("The server gave no outcome."))?;
    let provider = &server.spec.provider;
    let line = format!("{key} ({}, {}): {}", provider.type_name(), provider.address(), verdict.message);
    if !verdict.passed {
        return Err(Stop::failed(line));
    }
    text::say(&line);
    let whose = recipient.fields.address().as_str();
    let variant = look.choice_in_words(&recipient).map(|variant| format!(", variant {variant}")).unwrap_or_default();
    text::say(&format!("This is the message of {whose}{variant}. It belongs to no run and counts toward no limit."));
    match look.campaign.object.spec.unsubscribe.as_ref() {
        Some(unsubscribe) if unsubscribe.is_ours() && !is_real => {
            text::say(
                "Its unsubscribe link is a sample, and unsubscribes nobody. Give --public-url, and --state or --keys, as for `mailfleet run`, for that of the recipient.",
            );
        }
        Some(unsubscribe) if unsubscribe.is_ours() || unsubscribe.url.is_some() => {
            text::say(&format!("Its unsubscribe link is that of {whose} too: following it unsubscribes that person."));
        }
        _ => {}
    }
    Ok(())
}

/// The links of the process that sends, where its URL is given and its keys are there.
fn links(args: &SendArgs) -> Result<Option<Links>, Stop> {
    let Some(url) = &args.campaign.public_url else { return Ok(None) };
    let keys = keys::existing(args.keys.as_deref(), &args.campaign.state).map_err(Stop::configuration)?;
    Ok(keys.map(|keys| Links::new(&keys, url.clone())))
}

/// The recipient's message, addressed to somebody else.
fn message(look: &Look, server: &SendingServer, recipient: &Recipient, to: &Address) -> Result<Outgoing, Stop> {
    let addressed = Recipient { address: to.clone(), fields: recipient.fields.clone() };
    // A Message-ID of its own: that of the recipient's real message must stay unused.
    let run = format!("sent by hand at {}", Timestamp::now().as_millisecond());
    let rendered = look.message(&addressed, &run)?;
    let spec = &look.campaign.object.spec;
    let from = Address::parse(&spec.from.address).map_err(|why| Stop::configuration(format!("spec.from.address: {why}")))?;
    let return_path = server.spec.identity.as_ref().and_then(|identity| identity.return_path.as_deref());
    let from = wire(&from);
    let mail_from = match (return_path, from.rsplit_once('@')) {
        (Some(domain), Some((local, _))) => format!("{local}@{domain}").into(),
        _ => from,
    };
    Ok(outgoing(rendered, mail_from, wire(to)))
}

type Chosen = (Key, Arc<SendingServer>, Arc<dyn Server>);

/// The first of the granted servers whose probe succeeds.
async fn server(args: &SendArgs, look: &Look) -> Result<Chosen, Stop> {
    let candidates = candidates(args, look).await?;
    // The operator runs this command.
    let permissions = Permissions { ambient_credentials: true, sendmail: args.allow_sendmail.clone().into() };
    let mut failed = Vec::new();
    for key in candidates {
        let Some(server) = look.snapshot.servers.get(&key).map(|sourced| sourced.object.clone()) else { continue };
        let built = build_server(&key, &server, &look.snapshot.secrets, &args.campaign.state, permissions.clone());
        let handle = match built {
            Ok(handle) => handle,
            Err(problem) => {
                failed.push(format!("{key}: {}", problem.message));
                continue;
            }
        };
        match probe_once(handle.clone(), &server.spec.probe(), &server.spec.provider.address()).await.0 {
            ProbeResult::Failed(failure) => {
                failed.push(format!("{key}: {}", failure.message));
                handle.close().await;
            }
            ProbeResult::Succeeded | ProbeResult::NotProbeable => {
                for one in failed {
                    text::report(&format!("{one} The next server is used."));
                }
                return Ok((key, server, handle));
            }
        }
    }
    Err(Stop::failed(format!("no server can send: {}", failed.join(" "))))
}

/// The servers that the campaign would be sent through, those of the greatest weight first.
async fn candidates(args: &SendArgs, look: &Look) -> Result<Vec<Key>, Stop> {
    let campaign = look.decision(&args.campaign).await?;
    let mut rows: Vec<_> = campaign.status.servers.iter().collect();
    let usable = |why_not: &str| why_not.is_empty();
    if let Some(wanted) = &args.server {
        rows.retain(|row| *row.server == **wanted || row.server.rsplit_once('/').is_some_and(|(_, name)| name == wanted));
        if let Some(row) = rows.iter().find(|row| !usable(&row.why_not)) {
            return Err(Stop::configuration(format!("{} is not used by campaign {}: {}", row.server, look.key, row.why_not)));
        }
        if rows.is_empty() {
            let names: Vec<String> = campaign.status.servers.iter().map(|row| row.server.to_string()).collect();
            let granted = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Stop::configuration(format!("no server `{wanted}` is granted to campaign {}; granted: {granted}", look.key)));
        }
    }
    rows.retain(|row| usable(&row.why_not));
    rows.sort_by_key(|row| std::cmp::Reverse(row.weight));
    if rows.is_empty() {
        let ready = condition::find(&campaign.status.conditions, ConditionType::Ready);
        let why: Vec<String> = campaign.status.servers.iter().map(|row| format!("{}: {}", row.server, row.why_not)).collect();
        let why = if why.is_empty() { ready.map(|ready| ready.message.to_string()).unwrap_or_default() } else { why.join("; ") };
        return Err(Stop::configuration(format!("campaign {} has no server: {why}", look.key)));
    }
    Ok(rows.iter().filter_map(|row| Key::parse(&row.server)).collect())
}

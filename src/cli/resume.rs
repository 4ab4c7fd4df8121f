//! `mailfleet resume`: lets a campaign that was stopped go on, or mails recipients of unknown outcome again.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use super::{run::EXIT_CONFIGURATION, text};
use crate::{
    resources::{
        DEFAULT_NAMESPACE, Key,
        resume::{ANNOTATION, Resume},
    },
    source::{cluster, resume},
};

/// Lets a campaign that was stopped go on; only those recipients are mailed who have no final outcome.
#[derive(Args, Debug)]
#[command(
    after_help = "In files mode the request lies in the state folder until the process that sends has carried it out (within 5 s), or until the next `mailfleet run`. With --kubernetes it is the annotation mailfleet.dev/resume of the object.\n\nExit codes:\n  0  requested\n  1  the campaign is not known, or the request cannot be left\n  2  usage error\n\nExamples:\n  mailfleet resume spring                          held recipients are tried again\n  mailfleet resume spring --held Reject            they were at fault: they are rejected\n  mailfleet resume spring --unknown Resend         whoever may or may not have been mailed is mailed again\n  mailfleet resume spring -n shop --kubernetes"
)]
pub struct ResumeArgs {
    /// The campaign.
    pub campaign: String,
    /// Its namespace.
    #[arg(long, short, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// What becomes of recipients that are held since a server refused the campaign.
    #[arg(long, value_enum, default_value_t = Held::Retry)]
    pub held: Held,
    /// What becomes of recipients of unknown outcome.
    #[arg(long, value_enum, default_value_t = Unknown::Skip)]
    pub unknown: Unknown,
    /// Where the ledger and the status files are.
    #[arg(long, value_name = "DIR", default_value = ".mailfleet", env = "MAILFLEET_STATE", conflicts_with = "kubernetes")]
    pub state: PathBuf,
    /// The campaign is an object in a cluster.
    #[arg(long)]
    pub kubernetes: bool,
    /// With --kubernetes: a kubeconfig file; otherwise KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,
}

/// What becomes of held recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Held {
    /// They are tried again, by every server.
    Retry,
    /// They are rejected.
    Reject,
}

/// What becomes of recipients of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Unknown {
    /// They stay as they are.
    Skip,
    /// They are mailed again, on purpose: each may get the message twice.
    Resend,
}

/// Runs the command.
pub async fn run(args: ResumeArgs) -> ExitCode {
    let key = Key::new(args.namespace.as_str(), args.campaign.as_str());
    let mut value = jiff::Timestamp::now().to_string();
    value.push_str(&format!(" held={:?}", args.held));
    if args.unknown == Unknown::Resend {
        value.push_str(" unknown=Resend");
    }
    if let Err(error) = Resume::parse(&value) {
        text::tell(&error);
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let left = if args.kubernetes { annotate(&args, &key, &value).await } else { leave(&args, &key, &value) };
    match left {
        Ok(()) => {
            text::tell(&format!("campaign {key}: resuming was requested ({ANNOTATION}: {value})"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            text::tell(&error);
            ExitCode::FAILURE
        }
    }
}

fn leave(args: &ResumeArgs, key: &Key, value: &str) -> Result<(), String> {
    let folder = args.state.join("status").join(&*key.namespace).join("Campaign");
    if !folder.join(format!("{}.yaml", key.name)).exists() {
        return Err(format!(
            "there is no campaign {key} in {}. Was `mailfleet run` started with this --state? --namespace chooses another.",
            args.state.join("status").display()
        ));
    }
    resume::leave(&args.state, key, value)
        .map_err(|error| format!("the request cannot be left in {}: {error}. Check the folder's owner and rights.", args.state.display()))
}

async fn annotate(args: &ResumeArgs, key: &Key, value: &str) -> Result<(), String> {
    let client = cluster::connect(args.kubeconfig.as_deref()).await.map_err(|error| error.to_string())?;
    cluster::annotate_campaign(&client, key, ANNOTATION, value).await
}

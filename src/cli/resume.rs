//! `mailfleet resume`: resumes a stopped campaign or a paused server, or mails recipients of unknown outcome again.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    exit::EXIT_CONFIGURATION,
    objects::{not_found, objects},
    text,
};
use crate::{
    meta::bound::counted,
    resources::{
        Campaign, DEFAULT_NAMESPACE, Key, Kind, SendingServer,
        fate::Fate,
        resume::{ANNOTATION, Resume},
    },
    source::{
        cluster,
        requests::{self, Asked},
    },
};

/// Resumes a stopped campaign, of which only recipients without a final outcome are mailed, or a paused server.
#[derive(Args, Debug)]
#[command(
    after_help = "In files mode the request is stored in the state folder: a running process carries it out within 5 s, otherwise the next `mailfleet run` does. With --kubernetes it sets the annotation mailfleet.dev/resume on the object.\n\nA server (`server/NAME`) that was paused because too much came back is used again, and its counts are reset; with --for only by the campaigns of one namespace.\n\nExit codes:\n  0  requested\n  1  the campaign or server is not known, or the campaign is completed, or the request could not be written\n  2  usage error\n\nExamples:\n  mailfleet resume spring                     try held recipients again\n  mailfleet resume spring --held Reject       reject them instead\n  mailfleet resume spring --unknown Resend    mail recipients of unknown outcome again\n  mailfleet resume server/relay -n ops        use a paused server again\n  mailfleet resume server/relay --for shop    the same for the campaigns of one namespace\n  mailfleet resume spring -n shop --kubernetes"
)]
pub struct ResumeArgs {
    /// The campaign, or `server/NAME` for a server.
    #[arg(value_name = "CAMPAIGN")]
    pub name: String,
    /// Its namespace.
    #[arg(long, short, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// What to do with recipients held because a server refused the campaign.
    #[arg(long, value_enum, default_value_t = Held::Retry)]
    pub held: Held,
    /// What to do with recipients of unknown outcome.
    #[arg(long, value_enum, default_value_t = Unknown::Skip)]
    pub unknown: Unknown,
    /// For a server: only for the campaigns of this namespace.
    #[arg(long = "for", value_name = "NAMESPACE")]
    pub only_for: Option<String>,
    /// The state folder, with the ledger and the status files.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE, conflicts_with = "kubernetes")]
    pub state: PathBuf,
    /// The campaign is an object in a cluster.
    #[arg(long)]
    pub kubernetes: bool,
    /// With --kubernetes: the kubeconfig file. Default: KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,
}

/// What to do with held recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Held {
    /// Try them again, through every server.
    Retry,
    /// Reject them.
    Reject,
}

/// What to do with recipients of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Unknown {
    /// Leave them as they are.
    Skip,
    /// Mail them again: each may get the message twice.
    Resend,
}

pub async fn run(args: ResumeArgs) -> ExitCode {
    let now = jiff::Timestamp::now();
    if let Some(server) = args.name.strip_prefix("server/") {
        return resume_server(&args, &Key::new(args.namespace.as_str(), server), now).await;
    }
    if args.only_for.is_some() {
        text::report("--for is about a server: name it as `server/NAME`");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let key = Key::new(args.namespace.as_str(), args.name.as_str());
    let mut value = now.to_string();
    value.push_str(&format!(" held={:?}", args.held));
    if args.unknown == Unknown::Resend {
        value.push_str(" unknown=Resend");
    }
    if let Err(error) = Resume::parse(&value) {
        text::report(&error);
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let left = if args.kubernetes {
        annotate::<Campaign>(args.kubeconfig.as_deref(), &key, ANNOTATION, &value).await
    } else {
        leave(&args, &key, &value)
    };
    tell(left, "campaign", &key, &value)
}

async fn resume_server(args: &ResumeArgs, key: &Key, now: jiff::Timestamp) -> ExitCode {
    if args.held != Held::Retry || args.unknown != Unknown::Skip {
        text::report("--held and --unknown are about a campaign; a server has no recipients");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let only_for = args.only_for.as_ref().map_or_else(String::new, |namespace| format!(" namespace={namespace}"));
    let value = format!("{now}{only_for}");
    let left = if args.kubernetes {
        annotate::<SendingServer>(args.kubeconfig.as_deref(), key, ANNOTATION, &value).await
    } else {
        leave_for_server(args, key, &value)
    };
    tell(left, "server", key, &value)
}

fn tell(left: Result<(), String>, kind: &str, key: &Key, value: &str) -> ExitCode {
    match left {
        Ok(()) => {
            text::report(&format!("{kind} {key}: requested to resume ({ANNOTATION}: {value})"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            text::report(&error);
            ExitCode::FAILURE
        }
    }
}

fn leave(args: &ResumeArgs, key: &Key, value: &str) -> Result<(), String> {
    let found = objects(&args.state, Campaign::KIND, Some(&key.namespace), Some(&key.name))?;
    let Some(found) = found.first() else {
        return Err(not_found(&args.state, Campaign::KIND, &key.name, &key.namespace));
    };
    if let Some(why) = nothing_left(key, &found.value["status"], args.unknown) {
        return Err(why);
    }
    write(&args.state, Asked::Resume, key, value)
}

fn leave_for_server(args: &ResumeArgs, key: &Key, value: &str) -> Result<(), String> {
    let found = objects(&args.state, SendingServer::KIND, Some(&key.namespace), Some(&key.name))?;
    if found.is_empty() {
        return Err(not_found(&args.state, SendingServer::KIND, &key.name, &key.namespace));
    }
    write(&args.state, Asked::ResumeServer, key, value)
}

/// Leaves a request in a state folder.
pub(super) fn write(state_dir: &Path, asked: Asked, key: &Key, value: &str) -> Result<(), String> {
    requests::leave(state_dir, asked, key, value).map_err(|error| {
        format!("the request cannot be written into {}: {error}. Check the folder's owner and permissions.", state_dir.display())
    })
}

/// Why a request would change nothing: every recipient has a final outcome that it leaves as it is.
fn nothing_left(key: &Key, status: &Value, unknown: Unknown) -> Option<String> {
    let count = |fate: Fate| status["recipients"][fate.field()].as_u64().unwrap_or(0);
    let (unknown_outcomes, held) = (count(Fate::Unknown), count(Fate::Held));
    if status["state"] != "Completed" || held > 0 || unknown == Unknown::Resend && unknown_outcomes > 0 {
        return None;
    }
    let instead = if unknown_outcomes > 0 {
        format!(
            "{} may or may not have been mailed: `--unknown Resend` mails them again",
            counted(unknown_outcomes, "recipient", "recipients")
        )
    } else {
        "a new value of `spec.run` mails everybody again, and `spec.reopen` mails rows that were added later".to_owned()
    };
    Some(format!("campaign {key} is completed, and nothing is left to resume; {instead}"))
}

/// Makes a request of an annotation of an object in a cluster.
pub(super) async fn annotate<K: Kind>(kubeconfig: Option<&Path>, key: &Key, name: &str, value: &str) -> Result<(), String> {
    let client = cluster::connect(kubeconfig).await.map_err(|error| error.to_string())?;
    cluster::annotate::<K>(&client, key, name, value).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_that_would_change_nothing_is_refused() {
        let key = Key::new("shop", "spring");
        let said = |state: &str, held: u64, unknown: u64, asked| {
            nothing_left(&key, &json!({"state": state, "recipients": {"accepted": 9, "held": held, "unknown": unknown}}), asked)
        };
        for (state, held, unknown, asked) in [
            ("Stopped", 0, 0, Unknown::Skip),
            ("Waiting", 0, 3, Unknown::Skip),
            ("Completed", 1, 0, Unknown::Skip),
            ("Completed", 0, 3, Unknown::Resend),
        ] {
            assert_eq!(said(state, held, unknown, asked), None, "{state} {held} {unknown}");
        }
        for asked in [Unknown::Skip, Unknown::Resend] {
            let why = said("Completed", 0, 0, asked).expect("nothing is left");
            assert!(why.starts_with("campaign shop/spring is completed") && why.contains("spec.run"), "{why}");
        }
        let why = said("Completed", 0, 3, Unknown::Skip).expect("nothing without the word");
        assert!(why.contains("3 recipients") && why.contains("--unknown Resend"), "{why}");
        assert_eq!(nothing_left(&key, &Value::Null, Unknown::Skip), None, "no status yet");
    }
}

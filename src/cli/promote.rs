//! `mailfleet promote`: begins the next step of a campaign's rollout.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{
    objects::{not_found, objects},
    resume, text,
};
use crate::{
    resources::{Campaign, DEFAULT_NAMESPACE, Key, Kind, rollout::ANNOTATION},
    source::requests::Asked,
};

/// Begins the next step of a campaign's rollout: at once while the campaign pauses or waits for a person, otherwise when the present step is sent.
#[derive(Args, Debug)]
#[command(
    after_help = "In files mode the request is stored in the state folder: a running process carries it out within 5 s, otherwise the next `mailfleet run` does. With --kubernetes it sets the annotation mailfleet.dev/promote on the object.\n\nExit codes:\n  0  requested\n  1  the campaign is not known, has no step left or is stopped, or the request could not be written\n  2  usage error\n\nExamples:\n  mailfleet get campaigns spring               where the rollout is, and what it waits for\n  mailfleet promote spring                     begin the next step\n  mailfleet promote spring -n shop --kubernetes"
)]
pub struct PromoteArgs {
    /// The campaign.
    pub campaign: String,
    /// Its namespace.
    #[arg(long, short, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
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

pub async fn run(args: PromoteArgs) -> ExitCode {
    let key = Key::new(args.namespace.as_str(), args.campaign.as_str());
    let value = jiff::Timestamp::now().to_string();
    let left = if args.kubernetes {
        resume::annotate::<Campaign>(args.kubeconfig.as_deref(), &key, ANNOTATION, &value).await
    } else {
        leave(&args, &key, &value)
    };
    match left {
        Ok(()) => {
            text::report(&format!("campaign {key}: requested to begin the next step ({ANNOTATION}: {value})"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            text::report(&text::Commands::with_state(&args.state).in_text(&error));
            ExitCode::FAILURE
        }
    }
}

fn leave(args: &PromoteArgs, key: &Key, value: &str) -> Result<(), String> {
    let found = objects(&args.state, Campaign::KIND, Some(&key.namespace), Some(&key.name))?;
    let Some(found) = found.first() else {
        return Err(not_found(&args.state, Campaign::KIND, &key.name, &key.namespace));
    };
    if let Some(why) = nothing_to_promote(key, &found.value["status"]) {
        return Err(why);
    }
    resume::write(&args.state, Asked::Promote, key, value)
}

/// Why a request would begin no step.
fn nothing_to_promote(key: &Key, status: &Value) -> Option<String> {
    let rollout = &status["rollout"];
    if rollout.is_null() {
        return Some(format!("campaign {key} has no rollout (spec.rollout), or has not begun"));
    }
    if status["state"] == "Completed" || rollout["state"] == "Finished" {
        return Some(format!("campaign {key} has no step left: everybody is mailed"));
    }
    (status["state"] == "Stopped").then(|| {
        let argument = key.as_arguments();
        format!(
            "campaign {key} is stopped, and its next step does not begin until you run `mailfleet resume {argument}`; `mailfleet get campaigns {argument}` says why"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_that_would_begin_nothing_is_refused() {
        let key = Key::new("shop", "spring");
        let said = |state: &str, rollout: &str| nothing_to_promote(&key, &json!({"state": state, "rollout": {"state": rollout}}));
        for (state, rollout) in [("Waiting", "WaitingForPromotion"), ("Waiting", "Paused"), ("Sending", "Sending"), ("Suspended", "Paused")]
        {
            assert_eq!(said(state, rollout), None, "{state} {rollout}");
        }
        assert!(said("Sending", "Finished").is_some_and(|why| why.contains("no step left")));
        assert!(said("Completed", "Sending").is_some_and(|why| why.contains("no step left")));
        assert!(said("Stopped", "Stopped").is_some_and(|why| why.contains("`mailfleet resume spring -n shop`")));
        assert!(nothing_to_promote(&key, &json!({"state": "Sending"})).is_some_and(|why| why.contains("spec.rollout")));
    }
}

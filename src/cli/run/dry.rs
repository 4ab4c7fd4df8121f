//! What a dry run sends: the same messages, at once, into folders of this machine.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    cli::{look::first_recipients, validate},
    egress::Egress,
    providers::{ProviderSpec, outbox::Outbox},
    resources::{Campaign, CampaignSpec, SendingServer, campaign::Audience, plan::PlanSpec, sending_server::SendingServerSpec},
    source::{Snapshot, Sourced},
};

/// A snapshot in which nothing waits: no start time, no sending hours, no suspension, no steps, no limit of a server, a vendor or a plan. With `first`,
/// only that many recipients of each campaign are left, and nobody is left out because of another run; an audience that cannot be
/// read stays as it is, and the run says why. It blocks.
pub(super) fn without_waits(snapshot: Snapshot, first: Option<usize>, egress: Egress, runtime: &tokio::runtime::Handle) -> Snapshot {
    let mut hurried = snapshot.clone();
    for server in Arc::make_mut(&mut hurried.servers).values_mut() {
        let spec = &server.object.spec;
        let spec = SendingServerSpec { provider: ProviderSpec::outbox(Outbox::default()), limits: None, warmup: None, ..(**spec).clone() };
        server.object = Arc::new(SendingServer { spec: Arc::new(spec), ..(*server.object).clone() });
    }
    for plan in Arc::make_mut(&mut hurried.plans).values_mut() {
        let mut object = (*plan.object).clone();
        object.spec = Arc::new(PlanSpec { limits: None, ..(*object.spec).clone() });
        plan.object = Arc::new(object);
    }
    for (key, campaign) in Arc::make_mut(&mut hurried.campaigns).iter_mut() {
        let audience = first.and_then(|first| {
            let people = validate::resolver(key, campaign, &snapshot, egress).people(&campaign.object.spec).ok()?;
            let rows = first_recipients(&people, first, runtime).ok()?;
            let rows =
                rows.iter().map(|recipient| serde_json::from_str(&recipient.fields.to_json())).collect::<Result<Vec<BTreeMap<_, _>>, _>>();
            Some(Audience { inline: Some(rows.ok()?), ..Audience::default() })
        });
        hurry(campaign, audience);
    }
    hurried
}

fn hurry(campaign: &mut Sourced<Campaign>, audience: Option<Audience>) {
    let spec = (*campaign.object.spec).clone();
    let mut audience = audience.unwrap_or_else(|| spec.audience.clone());
    audience.exclude.retain(|list| list.outcomes.is_none());
    let spec =
        CampaignSpec { start_at: None, starting_deadline: None, sending_hours: None, suspend: None, rollout: None, audience, ..spec };
    campaign.object = Arc::new(Campaign { spec: Arc::new(spec), ..(*campaign.object).clone() });
}

/// Campaigns that exclude people of other runs: the ledger of a dry run has none.
pub(super) fn excluding_runs(snapshot: &Snapshot) -> Vec<String> {
    let excludes = |campaign: &Sourced<Campaign>| campaign.object.spec.audience.exclude.iter().any(|list| list.outcomes.is_some());
    snapshot.campaigns.iter().filter(|(_, campaign)| excludes(campaign)).map(|(key, _)| key.to_string()).collect()
}

/// How many messages a dry run wrote below its state folder.
pub(super) fn messages(state_dir: &Path) -> usize {
    let within = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let servers = within(&state_dir.join("outbox")).into_iter().flat_map(|namespace| within(&namespace));
    servers.map(|server| within(&server.join("new")).len()).sum()
}

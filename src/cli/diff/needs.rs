//! What must be there before the change takes effect, and is not known to be: Secrets, ConfigMaps, files, and records in DNS.

use std::collections::BTreeSet;

use crate::{
    compare::{Need, ObjectKind},
    dkim::Ring,
    dns::{Answers, Check, judge},
    egress::Egress,
    engine::subject,
    resources::{Key, SendingServer, sending_server::NeededSecret},
    source::Snapshot,
};

use super::documents::titled;

/// What the new side needs, and the old one did not.
pub fn needs(old: &Snapshot, new: &Snapshot, missing: &[(Key, String)]) -> Vec<Need> {
    let mut needs: BTreeSet<Need> = BTreeSet::new();
    let had: BTreeSet<(String, String, String)> =
        secrets(old).into_iter().map(|(_, key, need)| (key.namespace.to_string(), need.key.name, need.key.key)).collect();
    for (kind, key, need) in secrets(new) {
        let of = (key.namespace.to_string(), need.key.name.clone(), need.key.key.clone());
        if need.optional || had.contains(&of) || new.secrets.get(&key.namespace, &need.key.name, &need.key.key).is_ok() {
            continue;
        }
        let needed_by = format!("{}, {}", titled(kind, &key.namespace, &key.name), need.path);
        needs.insert(Need { what: "Secret", name: format!("{}/{}, key {}", key.namespace, need.key.name, need.key.key), needed_by });
    }
    let named = config_maps(old);
    for (key, name) in config_maps(new).into_iter().filter(|one| !named.iter().any(|(had, name)| (had, name) == (&one.0, &one.1))) {
        if new.config_maps.map(&key.namespace, &name).is_none() {
            let needed_by = titled(ObjectKind::Campaign, &key.namespace, &key.name);
            needs.insert(Need { what: "ConfigMap", name: format!("{}/{name}", key.namespace), needed_by });
        }
    }
    for (key, words) in missing {
        let needed_by = titled(ObjectKind::Campaign, &key.namespace, &key.name);
        needs.insert(Need { what: "File", name: words.clone(), needed_by });
    }
    let published: BTreeSet<(String, &'static str)> = records(old).into_iter().map(|(_, check)| named_record(&check)).collect();
    for (server, check) in records(new).into_iter().filter(|(_, check)| !published.contains(&named_record(check))) {
        let needed_by = format!("{}, {}", titled(ObjectKind::SendingServer, &server.namespace, &server.name), check.purpose.as_str());
        let name = check.line().unwrap_or_else(|| format!("{}. {}", check.name, check.kind.as_str()));
        needs.insert(Need { what: "DnsRecord", name, needed_by });
    }
    needs.into_iter().collect()
}

fn secrets(snapshot: &Snapshot) -> Vec<(ObjectKind, Key, NeededSecret)> {
    let of_servers = snapshot
        .servers
        .iter()
        .flat_map(|(key, server)| server.object.spec.secrets().into_iter().map(move |need| (ObjectKind::SendingServer, key.clone(), need)));
    let of_campaigns = snapshot
        .campaigns
        .iter()
        .flat_map(|(key, campaign)| campaign.object.spec.secrets().into_iter().map(move |need| (ObjectKind::Campaign, key.clone(), need)));
    of_servers.chain(of_campaigns).collect()
}

fn config_maps(snapshot: &Snapshot) -> BTreeSet<(Key, String)> {
    let named = |(key, campaign): (&Key, &crate::source::Sourced<crate::resources::Campaign>)| {
        campaign.object.spec.config_maps().map(|name| (key.clone(), name.to_owned())).collect::<Vec<_>>()
    };
    snapshot.campaigns.iter().flat_map(named).collect()
}

/// The records of servers' identities, each with its server; nothing is looked up.
fn records(snapshot: &Snapshot) -> Vec<(Key, Check)> {
    let ring = Ring::default();
    let of_server = |(key, server): (&Key, &crate::source::Sourced<SendingServer>)| {
        let subject = subject(key, &server.object, &snapshot.secrets, Egress::Everywhere, &ring);
        let checks = subject.map(|subject| judge(&subject, &mut Answers::offline("nothing is looked up"))).unwrap_or_default();
        checks.into_iter().map(|check| (key.clone(), check)).collect::<Vec<_>>()
    };
    snapshot.servers.iter().flat_map(of_server).collect()
}

fn named_record(check: &Check) -> (String, &'static str) {
    (check.name.to_ascii_lowercase(), check.kind.as_str())
}

//! Handles of servers: what they are made of, and which Secrets they need.

use std::{path::Path, sync::Arc};

use crate::{
    decide::Problem,
    egress::Egress,
    providers::{Context, Permissions, Provider as _, Secrets, Server, http::Clients},
    resources::{
        Key, Reason, SendingServer,
        sending_server::{SecretPurpose, SendingServerSpec},
    },
    source::SecretStore,
};

/// What a handle is made of: a server's spec without what only the dispatcher looks at.
pub(super) fn without_rates(spec: &SendingServerSpec) -> SendingServerSpec {
    let mut spec = SendingServerSpec { warmup: None, ..spec.clone() };
    if let Some(limits) = &mut spec.limits {
        (limits.rates, limits.in_flight) = (Vec::new(), None);
    }
    spec
}

/// A server from its spec and its secrets.
///
/// # Errors
/// When a secret is missing or cannot be used.
pub(crate) fn build_server(
    key: &Key,
    object: &SendingServer,
    store: &SecretStore,
    state_dir: &Path,
    permissions: Permissions,
) -> Result<Arc<dyn Server>, Problem> {
    let secrets = secrets(key, object, store)?;
    let surroundings = Surroundings { state_dir, egress: Egress::Everywhere, permissions, http: Clients::default() };
    object.spec.provider.build(surroundings.context(key, object, secrets)).map_err(|failure| Problem::new(failure.reason, failure.message))
}

pub(super) fn secrets(key: &Key, object: &SendingServer, store: &SecretStore) -> Result<Secrets, Problem> {
    let mut secrets = Secrets::new();
    for needed in object.spec.secrets().into_iter().filter(|needed| needed.purpose == SecretPurpose::Provider) {
        match store.get(&key.namespace, &needed.key.name, &needed.key.key) {
            Ok(value) => {
                secrets.insert(needed.key, value);
            }
            Err(_) if needed.optional => {}
            Err(missing) => {
                let reason = if missing.secret_exists { Reason::SecretKeyNotFound } else { Reason::SecretNotFound };
                return Err(Problem::new(reason, format!("{}: {missing}.", needed.path)));
            }
        }
    }
    Ok(secrets)
}

/// What a server gets from where it runs.
pub(super) struct Surroundings<'a> {
    pub state_dir: &'a Path,
    pub egress: Egress,
    pub permissions: Permissions,
    pub http: Clients,
}

impl Surroundings<'_> {
    pub fn context(self, key: &Key, object: &SendingServer, secrets: Secrets) -> Context {
        let limits = object.spec.limits();
        Context {
            name: key.to_string(),
            secrets,
            connections: limits.connections_max(),
            messages_per_connection: limits.messages_per_connection(),
            // Below the timeout of the whole probe, so that the step that hangs is named.
            connect_timeout: object.spec.probe().timeout.std().mul_f64(0.8),
            state_dir: self.state_dir.to_owned(),
            egress: self.egress,
            permissions: self.permissions,
            http: self.http,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::resources::secret::SecretValue;

    #[test]
    fn a_server_gets_every_secret_of_its_provider_and_no_other() {
        let yaml = "{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {name: relay}, spec: {\
            provider: {smtp: {host: a.example.com, auth: {secretRef: {name: login}}, caRef: {name: ca, key: ca.crt}}}, \
            identity: {dkim: {selector: s1, privateKeyRef: {name: signing, key: tls.key}}}}}";
        let object: SendingServer = serde_saphyr::from_str(yaml).expect("a server");
        let (key, mut data) = (Key::new("shop", "relay"), BTreeMap::<Key, BTreeMap<String, SecretValue>>::new());
        let (provider, others): (Vec<_>, Vec<_>) =
            object.spec.secrets().into_iter().partition(|needed| needed.purpose == SecretPurpose::Provider);
        for needed in &provider {
            let store = SecretStore::of_cluster(data.clone(), BTreeMap::new());
            assert!(secrets(&key, &object, &store).is_err() || needed.optional, "{needed:?} is not asked for");
            let secret = data.entry(Key::new("shop", needed.key.name.as_str())).or_default();
            secret.insert(needed.key.key.clone(), SecretValue::new("x"));
        }
        let given = secrets(&key, &object, &SecretStore::of_cluster(data, BTreeMap::new())).expect("all of them are there");
        let wanted: BTreeSet<_> = provider.into_iter().map(|needed| needed.key).collect();
        assert_eq!((given.into_keys().collect::<BTreeSet<_>>(), others.len()), (wanted, 1));
    }
}

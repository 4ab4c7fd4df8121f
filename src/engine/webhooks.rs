//! The webhooks of servers: one endpoint for each server with a valid `feedback.webhook` and its Secret, kept until these change.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    decide::WebhookObservation,
    egress::Egress,
    providers::{
        Provider as _,
        http::Clients,
        webhook::{Amazon, Endpoint, WebhookCredentials},
    },
    resources::{Blocker, Key, Reason, SendingServer, sending_server::SecretPurpose, webhook::WebhookSpec},
    source::{SecretStore, Snapshot},
};

/// The endpoints by their servers.
pub type Webhooks = BTreeMap<Key, Arc<Endpoint>>;

/// An endpoint, and what it was made from.
struct Made {
    provider: &'static str,
    spec: WebhookSpec,
    credentials: WebhookCredentials,
    endpoint: Result<Arc<Endpoint>, Blocker>,
}

/// The webhooks of all servers.
#[derive(Default)]
pub(super) struct WebhookEndpoints {
    made: BTreeMap<Key, Made>,
    /// Why a server has no endpoint whose Secret is missing.
    without_secret: BTreeMap<Key, Blocker>,
    amazon: Amazon,
    clients: Clients,
    shown: Arc<Webhooks>,
}

impl WebhookEndpoints {
    /// Makes the endpoints of these servers, and forgets those of servers that are gone.
    pub fn make(&mut self, snapshot: &Snapshot, egress_of: impl Fn(&Key) -> Egress) {
        let mut was = std::mem::take(&mut self.made);
        self.without_secret.clear();
        for (key, sourced) in snapshot.servers.iter() {
            let Some(spec) = sourced.object.spec.webhook() else { continue };
            let credentials = match credentials(key, &sourced.object, spec, &snapshot.secrets) {
                Ok(credentials) => credentials,
                Err(blocker) => {
                    self.without_secret.insert(key.clone(), blocker);
                    continue;
                }
            };
            let provider = &sourced.object.spec.provider;
            let is_same = |made: &Made| made.provider == provider.type_name() && made.spec == *spec && made.credentials == credentials;
            let made = was.remove(key).filter(is_same).unwrap_or_else(|| {
                let none = || Err(Blocker::lasting(Reason::InvalidSpec, "This type of server has no webhook. Remove feedback.webhook."));
                let webhook = provider.webhook(key, &credentials).unwrap_or_else(none);
                let endpoint = webhook.map(|webhook| {
                    let (amazon, clients) = (self.amazon.clone(), self.clients.clone());
                    Arc::new(Endpoint::new(key.clone(), webhook, amazon, clients, egress_of(key)))
                });
                Made { provider: provider.type_name(), spec: spec.clone(), credentials, endpoint }
            });
            self.made.insert(key.clone(), made);
        }
        let usable = self.made.iter().filter_map(|(key, made)| Some((key.clone(), made.endpoint.as_ref().ok()?.clone())));
        self.shown = Arc::new(usable.collect());
    }

    /// The endpoints, for whoever answers calls.
    pub fn shown(&self) -> Arc<Webhooks> {
        self.shown.clone()
    }

    /// What is known of each webhook.
    pub fn observe(&self) -> BTreeMap<Key, WebhookObservation> {
        let missing = self.without_secret.iter().map(|(key, blocker)| (key.clone(), Err(blocker.clone())));
        let made = self.made.iter().map(|(key, made)| {
            let calls = made.endpoint.as_ref().map(|endpoint| endpoint.tally()).map_err(Clone::clone);
            (key.clone(), calls)
        });
        missing.chain(made).map(|(key, calls)| (key, WebhookObservation { calls })).collect()
    }
}

fn credentials(key: &Key, object: &SendingServer, spec: &WebhookSpec, store: &SecretStore) -> Result<WebhookCredentials, Blocker> {
    let needed = object.spec.secrets().into_iter().find(|needed| needed.purpose == SecretPurpose::Webhook);
    let secret = needed.map(|needed| {
        let value = store.get(&key.namespace, &needed.key.name, &needed.key.key);
        value.map_err(|missing| Blocker::lasting(missing.reason(), format!("{}: {missing}. The vendor's calls are refused.", needed.path)))
    });
    Ok(WebhookCredentials { secret: secret.transpose()?, topic_arn: spec.topic_arn.clone(), public_key: spec.public_key.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        resources::secret::SecretValue,
        source::{FilePlace, Origin, Sourced},
    };

    fn snapshot(webhook: &str, secret: Option<&str>) -> Snapshot {
        let yaml = format!(
            "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: postmark, namespace: shop}}, spec: {{\
            provider: {{postmark: {{secretRef: {{name: postmark}}}}}}, feedback: {webhook}}}}}"
        );
        let object: SendingServer = serde_saphyr::from_str(&yaml).expect("a server");
        let key = object.key();
        let place = FilePlace { file: "postmark.yaml".into(), line: 1, root: ".".into(), closed: Arc::default() };
        let sourced = Sourced { object: Arc::new(object), origin: Origin::File(Arc::new(place)), stale: None, previous_status: None };
        let data = secret.map(|secret| (Key::new("shop", "hooks"), BTreeMap::from([("secret".to_owned(), SecretValue::new(secret))])));
        let secrets = SecretStore::of_cluster(data.into_iter().collect(), BTreeMap::new());
        Snapshot { servers: BTreeMap::from([(key, sourced)]).into(), secrets, ..Snapshot::default() }
    }

    #[test]
    fn an_endpoint_is_kept_until_its_spec_or_its_secret_changes() {
        const WEBHOOK: &str = "{webhook: {secretRef: {name: hooks, key: secret}}}";
        let key = Key::new("shop", "postmark");
        let mut endpoints = WebhookEndpoints::default();
        let mut make = |webhook: &str, secret: Option<&str>| {
            endpoints.make(&snapshot(webhook, secret), |_| Egress::PublicOnly);
            let known = endpoints.observe().remove(&key).map(|known| known.calls.map_err(|blocker| blocker.reason));
            (endpoints.shown().get(&key).cloned(), known)
        };
        let (none, known) = make(WEBHOOK, None);
        assert!(none.is_none() && known == Some(Err(Reason::SecretNotFound)), "{known:?}");
        let (none, known) = make(WEBHOOK, Some("short"));
        assert!(none.is_none() && known == Some(Err(Reason::SecretInvalid)), "{known:?}");
        let first = make(WEBHOOK, Some("0123456789abcdef")).0.expect("an endpoint");
        let same = make(WEBHOOK, Some("0123456789abcdef")).0.expect("an endpoint");
        assert!(Arc::ptr_eq(&first, &same), "what was taken is still known");
        let other = make(WEBHOOK, Some("another secret of it")).0.expect("an endpoint");
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(matches!(make("{}", None), (None, None)), "no webhook");
    }
}

//! The Secrets and ConfigMaps that objects name: fetched by name, and again when their metadata changes. No others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};

use super::{
    change::{Change, Content, DataRef},
    request::REQUEST_TIMEOUT,
};
use crate::{
    backoff::{Backoff, jittered},
    resources::secret::SecretValue,
    source::secrets::{ConfigMapData, ConfigMapStore, SecretData, SecretStore},
};

/// The longest name of an object, bytes.
const NAME_MAX: usize = 253;
/// Fetches at a time.
const FETCHES_MAX: usize = 16;
/// After a failed fetch.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(10) };
/// After a forbidden fetch: the permission may be granted later.
const FORBIDDEN_RETRY: Duration = Duration::from_secs(30);

/// The Secrets and ConfigMaps that objects name, and their contents.
pub(super) struct References {
    client: Client,
    changes: mpsc::Sender<Change>,
    permits: Arc<Semaphore>,
    /// None until the first fetch has succeeded.
    known: BTreeMap<DataRef, Option<Content>>,
    fetches: BTreeMap<DataRef, AbortHandle>,
    /// How many objects name each.
    uses: BTreeMap<DataRef, usize>,
    /// Whether something is known that nothing names.
    has_unused: bool,
    secrets: SecretStore,
    config_maps: ConfigMapStore,
    is_stale: bool,
}

impl References {
    pub fn new(client: Client, changes: mpsc::Sender<Change>) -> Self {
        Self {
            client,
            changes,
            permits: Arc::new(Semaphore::new(FETCHES_MAX)),
            known: BTreeMap::new(),
            fetches: BTreeMap::new(),
            uses: BTreeMap::new(),
            has_unused: false,
            secrets: SecretStore::of_cluster(BTreeMap::new(), BTreeMap::new()),
            config_maps: ConfigMapStore::default(),
            is_stale: false,
        }
    }

    /// One more object names these.
    pub fn add_uses(&mut self, named: &[DataRef]) {
        for named in named {
            *self.uses.entry(named.clone()).or_default() += 1;
        }
    }

    /// One object fewer names these.
    pub fn drop_uses(&mut self, named: &[DataRef]) {
        for named in named {
            if let Some(uses) = self.uses.get_mut(named) {
                *uses -= 1;
                if *uses == 0 {
                    self.uses.remove(named);
                    self.has_unused = true;
                }
            }
        }
    }

    /// Whether all of these are known; starts to fetch new ones.
    pub fn ask(&mut self, named: &[DataRef]) -> bool {
        let mut is_known = true;
        for named in named {
            self.has_unused |= !self.uses.contains_key(named);
            if let Some(content) = self.known.get(named) {
                is_known &= content.is_some();
            } else if !is_name(&named.key.name) {
                self.known.insert(named.clone(), Some(Content::Absent));
            } else {
                self.known.insert(named.clone(), None);
                self.fetch(named);
                is_known = false;
            }
        }
        is_known
    }

    /// Those of these that are not known yet.
    pub fn unknown<'a>(&self, named: &'a [DataRef]) -> impl Iterator<Item = &'a DataRef> {
        named.iter().filter(|named| self.known.get(named).is_none_or(Option::is_none))
    }

    /// This one changed or was deleted.
    pub fn touched(&mut self, named: &DataRef) {
        if self.known.contains_key(named) {
            self.fetch(named);
        }
    }

    /// All of them may have changed: the watch restarted.
    pub fn touched_all(&mut self, is_secret: bool) {
        let all: Vec<DataRef> =
            self.known.keys().filter(|named| named.is_secret == is_secret && is_name(&named.key.name)).cloned().collect();
        all.iter().for_each(|named| self.fetch(named));
    }

    /// Takes what was fetched, and returns whether it changes anything.
    pub fn fetched(&mut self, named: &DataRef, content: Content) -> bool {
        let Some(known) = self.known.get_mut(named) else { return false };
        if !matches!(content, Content::Forbidden(_)) {
            self.fetches.remove(named);
        }
        if known.as_ref() == Some(&content) {
            return false;
        }
        // What was read stays in use while it cannot be read.
        if matches!((&*known, &content), (Some(Content::Secret(_) | Content::ConfigMap(_)), Content::Forbidden(_))) {
            return false;
        }
        *known = Some(content);
        self.is_stale = true;
        true
    }

    /// Forgets what nothing names any more.
    pub fn forget_unused(&mut self) {
        if !std::mem::take(&mut self.has_unused) {
            return;
        }
        let before = self.known.len();
        self.known.retain(|named, _| self.uses.contains_key(named));
        self.is_stale |= self.known.len() != before;
        self.fetches.retain(|named, fetch| {
            let keep = self.uses.contains_key(named);
            if !keep {
                fetch.abort();
            }
            keep
        });
    }

    /// The stores of everything that is known.
    pub fn stores(&mut self) -> (SecretStore, ConfigMapStore) {
        if std::mem::take(&mut self.is_stale) {
            let (mut secrets, mut maps, mut forbidden) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            for (named, content) in &self.known {
                match content {
                    Some(Content::Secret(data)) => {
                        secrets.insert(named.key.clone(), data.clone());
                    }
                    Some(Content::ConfigMap(data)) => {
                        maps.insert(named.key.clone(), data.clone());
                    }
                    Some(Content::Forbidden(why)) if named.is_secret => {
                        forbidden.insert(named.key.clone(), why.clone());
                    }
                    _ => {}
                }
            }
            self.secrets = SecretStore::of_cluster(secrets, forbidden);
            self.config_maps = ConfigMapStore::new(maps);
        }
        (self.secrets.clone(), self.config_maps.clone())
    }

    fn fetch(&mut self, named: &DataRef) {
        let (client, changes, permits, wanted) = (self.client.clone(), self.changes.clone(), self.permits.clone(), named.clone());
        let task = tokio::spawn(async move {
            let mut failures = 0_u32;
            loop {
                let result = {
                    // The permits are never closed.
                    let _permit = permits.acquire().await;
                    tokio::time::timeout(REQUEST_TIMEOUT, get(&client, &wanted)).await
                };
                match result {
                    Ok(Ok(content)) => {
                        let is_final = !matches!(content, Content::Forbidden(_));
                        if changes.send(Change::Fetched(wanted.clone(), content)).await.is_err() || is_final {
                            return;
                        }
                        tokio::time::sleep(FORBIDDEN_RETRY).await;
                        continue;
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(%error, name = %wanted.key, "a Secret or ConfigMap could not be read; retrying");
                    }
                    // The request has waited long enough.
                    Err(_) => continue,
                }
                failures = failures.saturating_add(1);
                tokio::time::sleep(jittered(RETRY.delay(failures))).await;
            }
        });
        if let Some(old) = self.fetches.insert(named.clone(), task.abort_handle()) {
            old.abort();
        }
    }
}

/// Whether this is a valid name (RFC 1123, subdomain). Others get through a CRD with fewer rules than ours, and could change the
/// path of a request.
fn is_name(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= NAME_MAX
        && name
            .split('.')
            .map(str::as_bytes)
            .all(|part| is_end(part.first()) && is_end(part.last()) && part.iter().all(|byte| *byte == b'-' || is_end(Some(byte))))
}

/// Fetches one; none of a name that no object can have.
pub(super) async fn get(client: &Client, named: &DataRef) -> kube::Result<Content> {
    let (namespace, name) = (&named.key.namespace, &named.key.name);
    if !is_name(name) {
        return Ok(Content::Absent);
    }
    let found = if named.is_secret {
        let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await;
        found.map(|secret| secret.map(|secret| Content::Secret(values(secret))))
    } else {
        let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await;
        found.map(|map| map.map(|map| Content::ConfigMap(texts(map))))
    };
    match found {
        Ok(content) => Ok(content.unwrap_or(Content::Absent)),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let kind = if named.is_secret { "Secrets" } else { "ConfigMaps" };
            Ok(Content::Forbidden(format!(
                "Mailfleet's service account is not allowed to get {kind} in namespace {namespace}; grant it the verb `get` there (the chart's `namespaces` value)"
            )))
        }
        Err(error) => Err(error),
    }
}

fn values(secret: Secret) -> SecretData {
    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, SecretValue::new(value.0))).collect()
}

fn texts(map: ConfigMap) -> ConfigMapData {
    let texts = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, Arc::from(text.into_bytes())));
    let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, Arc::from(value.0)));
    texts.chain(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn asks_for_names_only() {
        for name in ["login", "a", "7", "mail-login.v2", "x".repeat(253).as_str()] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "..",
            "../../zeta/secrets/login",
            "a/b",
            "?limit=1",
            "a%2fb",
            "a.",
            ".a",
            "-a",
            "a-",
            "Login",
            "ä",
            "x".repeat(254).as_str(),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}

//! The clients of servers: one handle for each server with a valid spec and Secrets, kept until these change.

use std::{collections::BTreeMap, hash::Hasher as _, path::Path, sync::Arc};

use siphasher::sip::SipHasher13;

use super::EngineOptions;
use crate::{
    dkim::{Ring, Signer},
    egress::Egress,
    providers::{
        Context, Permissions, Provider as _, Secrets, Server, ServerKey, Signatory, Signed, Signing, http::Clients, outbox::Outbox,
    },
    resources::{
        Blocker, Key, Reason, SendingServer, SigningKey,
        sending_server::{NeededSecret, SecretPurpose, SendingServerSpec},
    },
    source::{SecretStore, Snapshot},
};

/// A handle, and what it was built from.
struct Made {
    object: Arc<SendingServer>,
    secrets: Secrets,
    /// The private keys that sign.
    signing: Secrets,
    /// The hash of what a probe tests.
    server_hash: u64,
    server: Arc<dyn Server>,
}

/// The handles of all servers.
pub(super) struct ServerHandles {
    made: BTreeMap<Key, Made>,
    http: Clients,
    signatory: Signatory,
    ring: Ring,
    /// Changes whenever any handle does.
    version: u64,
}

impl ServerHandles {
    pub fn new() -> Self {
        Self { made: BTreeMap::new(), http: Clients::default(), signatory: Signatory::default(), ring: Ring::default(), version: 0 }
    }

    /// The keys in use, each read once.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The handle of a server with a valid spec and Secrets.
    pub fn get(&self, key: &Key) -> Option<&Arc<dyn Server>> {
        self.made.get(key).map(|made| &made.server)
    }

    /// Changes whenever any handle does.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Builds the handles of these servers, and closes those of servers that are gone. Returns for each server the hash of
    /// what a probe tests, or why it has no handle.
    pub fn make(&mut self, snapshot: &Snapshot, options: &EngineOptions) -> BTreeMap<Key, Result<u64, Blocker>> {
        let gone: Vec<Key> = self.made.keys().filter(|key| !snapshot.servers.contains_key(*key)).cloned().collect();
        gone.iter().for_each(|key| self.close_one(key));
        let made = snapshot.servers.iter().map(|(key, sourced)| {
            let built = self.make_one(key, &sourced.object, &snapshot.secrets, options);
            if built.is_err() {
                self.close_one(key);
            }
            (key.clone(), built)
        });
        made.collect()
    }

    /// Builds a new handle if the spec or Secrets changed. An edit of rates changes neither handle nor hash: the server
    /// keeps its connections, and is not probed again.
    fn make_one(&mut self, key: &Key, object: &Arc<SendingServer>, store: &SecretStore, options: &EngineOptions) -> Result<u64, Blocker> {
        let needed = |purpose| if options.dry_run { Ok(Secrets::new()) } else { secrets(key, object, store, purpose) };
        let (secrets, signing) = (needed(SecretPurpose::Provider)?, needed(SecretPurpose::Dkim)?);
        if let Some(known) = self.made.get_mut(key)
            && (Arc::ptr_eq(&known.object, object)
                || known.object.spec == object.spec
                || without_rates(&known.object.spec) == without_rates(&object.spec))
            && known.secrets == secrets
            && known.signing == signing
        {
            known.object.clone_from(object);
            return Ok(known.server_hash);
        }
        let server_hash = server_hash(&object.spec, &secrets);
        let environment = Environment {
            state_dir: &options.state_dir,
            egress: options.egress_of(key),
            permissions: if options.is_operators(key) {
                Permissions { ambient_credentials: true, sendmail: options.allow_sendmail.clone() }
            } else {
                Permissions::default()
            },
            http: self.http.clone(),
        };
        let context = environment.context(key, object, secrets.clone());
        let server = if options.dry_run {
            Outbox::for_dry_run(&context)
        } else {
            let server = object.spec.provider.build(context).map_err(|why| of_secret(why, key, object, store).for_person())?;
            signed(server, object, &signing, &self.ring, &self.signatory)?
        };
        self.close_one(key);
        self.made.insert(key.clone(), Made { object: object.clone(), secrets, signing, server_hash, server });
        self.version += 1;
        Ok(server_hash)
    }

    /// Closes a handle that is no longer used, in the background: a server may delay each QUIT.
    fn close_one(&mut self, key: &Key) {
        if let Some(Made { server, .. }) = self.made.remove(key) {
            self.version += 1;
            tokio::spawn(async move { server.close().await });
        }
    }

    /// Closes idle connections of all servers concurrently: a server may delay each QUIT.
    pub async fn close(&self) {
        let mut closing = tokio::task::JoinSet::new();
        for server in self.made.values().map(|made| made.server.clone()) {
            closing.spawn(async move { server.close().await });
        }
        closing.join_all().await;
    }
}

/// The hash of what a probe tests: the spec without its limits, and the Secrets.
fn server_hash(spec: &SendingServerSpec, secrets: &Secrets) -> u64 {
    let mut hasher = SipHasher13::new();
    let probed = SendingServerSpec { limits: None, ..without_rates(spec) };
    hasher.write(serde_json::to_string(&probed).unwrap_or_default().as_bytes());
    for (reference, value) in secrets {
        hasher.write(reference.key.as_bytes());
        hasher.write(value.expose());
    }
    hasher.finish()
}

/// What a handle is built from: a server's spec without the fields that only the data plane uses, and without what comes back.
fn without_rates(spec: &SendingServerSpec) -> SendingServerSpec {
    let mut spec = SendingServerSpec { warmup: None, feedback: None, ..spec.clone() };
    if let Some(limits) = &mut spec.limits {
        (limits.rates, limits.per_domain, limits.in_flight) = (Vec::new(), Vec::new(), None);
    }
    spec
}

/// The server, or one that signs what is handed to it where it has keys.
fn signed(
    server: Arc<dyn Server>,
    object: &SendingServer,
    secrets: &Secrets,
    ring: &Ring,
    signatory: &Signatory,
) -> Result<Arc<dyn Server>, Blocker> {
    let (Signing::Ours(fields), keys) = (object.spec.provider.signing(), object.spec.signing_keys()) else { return Ok(server) };
    if keys.is_empty() {
        return Ok(server);
    }
    let key_of = |(index, key): (usize, &SigningKey)| {
        let reference = &key.private_key_ref;
        let pem = secrets.get(reference).map_or(&[][..], |pem| pem.expose());
        let private = ring.get(pem).map_err(|why| {
            let message = format!(
                "spec.identity.dkim[{index}].privateKeyRef: key `{}` of Secret `{}` {why}. Correct it in the Secret; `openssl genpkey -algorithm ed25519` or `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048` makes one.",
                reference.key, reference.name
            );
            Blocker::lasting(Reason::SecretInvalid, message)
        })?;
        let signer = Signer::new(&key.ascii_domain(), &key.ascii_selector(), private);
        Ok(ServerKey { record: key.record(), signer: Arc::new(signer) })
    };
    let keys = keys.iter().enumerate().map(key_of).collect::<Result<Vec<_>, Blocker>>()?;
    Ok(Arc::new(Signed::new(server, &object.spec.provider.address(), keys, fields, signatory.clone())))
}

/// Builds a server's client from its spec and its Secrets. It signs with all of its keys: no DNS record is looked up.
///
/// # Errors
/// When a Secret is missing or cannot be used.
pub(crate) fn build_server(
    key: &Key,
    object: &SendingServer,
    store: &SecretStore,
    state_dir: &Path,
    permissions: Permissions,
) -> Result<Arc<dyn Server>, Blocker> {
    let (for_provider, signing) =
        (secrets(key, object, store, SecretPurpose::Provider)?, secrets(key, object, store, SecretPurpose::Dkim)?);
    let environment = Environment { state_dir, egress: Egress::Everywhere, permissions, http: Clients::default() };
    let context = environment.context(key, object, for_provider);
    let server = object.spec.provider.build(context).map_err(|why| of_secret(why, key, object, store).for_person())?;
    signed(server, object, &signing, &Ring::default(), &Signatory::default())
}

/// Why a server cannot be built. Where it lacks a key of a Secret of which it may need one or another, the Secret's own words say more:
/// which keys it has, and where the missing one may be put.
fn of_secret(why: Blocker, key: &Key, object: &SendingServer, store: &SecretStore) -> Blocker {
    if why.reason != Reason::SecretKeyNotFound {
        return why;
    }
    let named = |needed: &NeededSecret| why.message.contains(&format!("Key `{}` of Secret `{}`", needed.key.key, needed.key.name));
    let needed = object.spec.secrets().into_iter().find(named);
    let words = needed.and_then(|needed| {
        let missing = store.get(&key.namespace, &needed.key.name, &needed.key.key).err()?;
        Some(format!("{}: {missing}.", needed.path))
    });
    match words {
        Some(message) => Blocker { message, ..why },
        None => why,
    }
}

fn secrets(key: &Key, object: &SendingServer, store: &SecretStore, purpose: SecretPurpose) -> Result<Secrets, Blocker> {
    let mut secrets = Secrets::new();
    for needed in object.spec.secrets().into_iter().filter(|needed| needed.purpose == purpose) {
        match store.get(&key.namespace, &needed.key.name, &needed.key.key) {
            Ok(value) => {
                secrets.insert(needed.key, value);
            }
            Err(missing) if needed.optional && missing.secret_exists => {}
            Err(missing) => return Err(Blocker::lasting(missing.reason(), format!("{}: {missing}.", needed.path))),
        }
    }
    Ok(secrets)
}

/// What a server gets from its environment.
struct Environment<'a> {
    state_dir: &'a Path,
    egress: Egress,
    permissions: Permissions,
    http: Clients,
}

impl Environment<'_> {
    fn context(self, key: &Key, object: &SendingServer, secrets: Secrets) -> Context {
        let limits = object.spec.limits();
        Context {
            name: key.to_string(),
            secrets,
            connections: limits.connections_max(),
            messages_per_connection: limits.messages_per_connection(),
            // Shorter than the timeout of the whole probe, so that the step that hangs is named.
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
    use crate::resources::{Reason, secret::SecretValue};

    #[test]
    fn a_server_gets_every_secret_of_its_provider_and_no_other() {
        let yaml = "{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {name: relay}, spec: {\
            provider: {smtp: {host: a.example.com, auth: {secretRef: {name: login}}, caRef: {name: ca, key: ca.crt}}}, \
            identity: {dkim: [{domain: example.com, selector: s1, privateKeyRef: {name: signing, key: tls.key}}]}}}";
        let object: SendingServer = serde_saphyr::from_str(yaml).expect("a server");
        let (key, mut data) = (Key::new("shop", "relay"), BTreeMap::<Key, BTreeMap<String, SecretValue>>::new());
        let (provider, others): (Vec<_>, Vec<_>) =
            object.spec.secrets().into_iter().partition(|needed| needed.purpose == SecretPurpose::Provider);
        for needed in &provider {
            let store = SecretStore::of_cluster(data.clone(), BTreeMap::new());
            assert!(secrets(&key, &object, &store, SecretPurpose::Provider).is_err() || needed.optional, "{needed:?} is not asked for");
            let secret = data.entry(Key::new("shop", needed.key.name.as_str())).or_default();
            secret.insert(needed.key.key.clone(), SecretValue::new("x"));
        }
        let given = secrets(&key, &object, &SecretStore::of_cluster(data, BTreeMap::new()), SecretPurpose::Provider)
            .expect("all of them are there");
        let wanted: BTreeSet<_> = provider.into_iter().map(|needed| needed.key).collect();
        assert_eq!((given.into_keys().collect::<BTreeSet<_>>(), others.len()), (wanted, 1));
    }

    /// A Secret without the key that its server needs after all says which it has, and where the other may be put.
    #[test]
    fn a_key_that_is_not_there_is_told_with_those_that_are() {
        let yaml = "{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {name: relay}, spec: {\
            provider: {smtp: {host: a.example.com, auth: {secretRef: {name: login}}}}}}";
        let object: SendingServer = serde_saphyr::from_str(yaml).expect("a server");
        let keys = [("username", "ann"), ("Password", "correct-horse")];
        let login = keys.map(|(name, value)| (name.to_owned(), SecretValue::new(value)));
        let store = SecretStore::of_cluster(BTreeMap::from([(Key::new("shop", "login"), BTreeMap::from(login))]), BTreeMap::new());
        let built = build_server(&Key::new("shop", "relay"), &object, &store, Path::new("."), Permissions::default());
        let why = built.err().expect("no password");
        assert_eq!(why.reason, Reason::SecretKeyNotFound);
        let words = "spec.provider.smtp.auth.secretRef: the Secret `login` in namespace `shop` has no key `password`; it has `Password`, `username`";
        assert!(why.message.starts_with(words), "{why}");
    }

    /// Of a Secret with several forms no single key is required; that it is not there at all is what a person has to know.
    #[test]
    fn a_secret_that_is_not_there_is_missed_as_a_whole() {
        let yaml = "{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {name: google}, spec: {\
            provider: {gmail: {user: news@example.com, secretRef: {name: gmail}}}}}";
        let object: SendingServer = serde_saphyr::from_str(yaml).expect("a server");
        let key = Key::new("shop", "google");
        let missing = secrets(&key, &object, &SecretStore::default(), SecretPurpose::Provider).expect_err("there is no Secret");
        assert_eq!(missing.reason, Reason::SecretNotFound);
        assert!(missing.message.contains("there is no Secret `gmail` in namespace `shop`"), "{missing}");
        let data = BTreeMap::from([(Key::new("shop", "gmail"), BTreeMap::from([("serviceAccount".to_owned(), SecretValue::new("x"))]))]);
        let given =
            secrets(&key, &object, &SecretStore::of_cluster(data, BTreeMap::new()), SecretPurpose::Provider).expect("one form of it");
        assert_eq!(given.len(), 1);
    }
}

//! Secrets and ConfigMaps by namespace, name and key.
//!
//! A Secret's key is looked up in `--secrets-dir`, then in the documents, then in the environment; each key separately, so that
//! keys of one Secret may come from different places. Messages name keys, never values.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::resources::{Key, Reason, secret::SecretValue};

/// The prefix of every variable that holds a Secret's key.
pub const VARIABLE_PREFIX: &str = "MAILFLEET_SECRET__";

/// The variable that holds a Secret's key: `MAILFLEET_SECRET__<namespace>__<name>__<key>`, each part in uppercase, and with `_`
/// for `-` (in a key for `.` as well).
///
/// No two Secrets share a variable, or one customer could read another's: the separator is not part of any namespace or name that
/// has a variable.
///
/// # Errors
/// When the Secret has none: why, and what to do.
pub fn secret_variable(namespace: &str, name: &str, key: &str) -> Result<String, String> {
    let unfit = [("namespace", namespace), ("Secret", name)].into_iter().find(|(_, text)| !has_variable(text));
    if let Some((what, text)) = unfit {
        return Err(format!(
            "the {what} `{text}` cannot be given in the environment, where it could be mistaken for another: only a name of lowercase letters, digits and single hyphens can"
        ));
    }
    if key.is_empty() {
        return Err("a key needs at least one character".to_owned());
    }
    Ok(format!("{}{}", variable_prefix(namespace, name), variable_part(key)))
}

/// The prefix of the variables of one Secret.
fn variable_prefix(namespace: &str, name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}__{}__", variable_part(namespace), variable_part(name))
}

/// Whether a name can be read back from a variable: lowercase letters, digits, and single hyphens between them.
fn has_variable(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.split('-').all(is_word)
}

fn variable_part(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// The variables of this process that hold Secrets. An empty one counts as absent: a job of CI has it so where no secret is given.
#[must_use]
pub fn variables_of_process() -> BTreeMap<String, SecretValue> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, value)| name.starts_with(VARIABLE_PREFIX) && !value.is_empty())
        .map(|(name, value)| (name, SecretValue::new(value.into_encoded_bytes())))
        .collect()
}

/// The values of one Secret by key.
pub type SecretData = BTreeMap<String, SecretValue>;

/// All Secrets. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretStore {
    directory: Arc<BTreeMap<Key, SecretData>>,
    documents: Arc<BTreeMap<Key, SecretData>>,
    environment: Arc<BTreeMap<String, SecretValue>>,
    /// In a cluster: the Secrets that may not be read, and why.
    forbidden: Arc<BTreeMap<Key, String>>,
    in_cluster: bool,
}

impl SecretStore {
    /// A store of the three sources, in order of precedence.
    #[must_use]
    pub fn new(
        directory: Arc<BTreeMap<Key, SecretData>>,
        documents: Arc<BTreeMap<Key, SecretData>>,
        environment: Arc<BTreeMap<String, SecretValue>>,
    ) -> Self {
        Self { directory, documents, environment, ..Self::default() }
    }

    /// A store of a cluster's Secrets, and of those that may not be read.
    #[must_use]
    pub fn of_cluster(secrets: BTreeMap<Key, SecretData>, forbidden: BTreeMap<Key, String>) -> Self {
        Self { documents: Arc::new(secrets), forbidden: Arc::new(forbidden), in_cluster: true, ..Self::default() }
    }

    /// The Secrets that documents hold.
    #[must_use]
    pub fn documents(&self) -> &BTreeMap<Key, SecretData> {
        &self.documents
    }

    /// The same with these among its documents, where it has none of that name.
    #[must_use]
    pub fn with_others(mut self, others: &BTreeMap<Key, SecretData>) -> Self {
        let documents = Arc::make_mut(&mut self.documents);
        for (key, data) in others {
            documents.entry(key.clone()).or_insert_with(|| data.clone());
        }
        self
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When no source has it: whether the Secret exists, and which keys it has.
    pub fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, Box<SecretMissing>> {
        let secret = Key::new(namespace, name);
        let listed = || [&self.directory, &self.documents].into_iter().filter_map(|source| source.get(&secret));
        let variable = secret_variable(namespace, name, key);
        let of_environment = || variable.as_ref().ok().and_then(|variable| self.environment.get(variable));
        listed().find_map(|data| data.get(key)).or_else(of_environment).cloned().ok_or_else(|| {
            let mut keys: Vec<String> = listed().flat_map(|data| data.keys().cloned()).collect();
            keys.sort();
            keys.dedup();
            let prefix = variable.is_ok().then(|| variable_prefix(namespace, name));
            let is_of_environment = prefix.is_some_and(|prefix| self.environment.keys().any(|name| name.starts_with(&prefix)));
            let secret_exists = listed().next().is_some() || is_of_environment;
            let forbidden = self.forbidden.get(&secret).cloned();
            let in_cluster = self.in_cluster;
            Box::new(SecretMissing {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                key: key.to_owned(),
                secret_exists,
                keys,
                forbidden,
                in_cluster,
            })
        })
    }
}

/// A Secret, or a key of one, that no source has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMissing {
    /// The namespace asked for.
    pub namespace: String,
    /// The name of the Secret.
    pub name: String,
    /// The key asked for.
    pub key: String,
    /// Whether any source knows the Secret.
    pub secret_exists: bool,
    /// The keys that it has (names only; those of the environment are unknown).
    pub keys: Vec<String>,
    /// Why it may not be read, if so.
    pub forbidden: Option<String>,
    /// Whether it was looked for in a cluster.
    pub in_cluster: bool,
}

impl SecretMissing {
    /// The reason of the condition that it causes.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        if self.secret_exists { Reason::SecretKeyNotFound } else { Reason::SecretNotFound }
    }

    /// The variable that would give the value.
    ///
    /// # Errors
    /// When it has none, in words.
    pub fn variable(&self) -> Result<String, String> {
        secret_variable(&self.namespace, &self.name, &self.key)
    }
}

impl fmt::Display for SecretMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, key, .. } = self;
        if let Some(why) = &self.forbidden {
            return write!(f, "the Secret `{name}` cannot be read: {why}");
        }
        if self.secret_exists {
            write!(f, "the Secret `{name}` in namespace `{namespace}` has no key `{key}`")?;
            if !self.keys.is_empty() {
                write!(f, "; it has {}", quoted(&self.keys))?;
            }
        } else {
            write!(f, "there is no Secret `{name}` in namespace `{namespace}`, whose key `{key}` is needed")?;
        }
        if self.in_cluster {
            return write!(f, ". Add it with kubectl, or with the tool that manages Secrets in your cluster; it takes effect at once");
        }
        let (document, file) = ("as a `kind: Secret`", format!("as {namespace}/{name}/{key} below --secrets-dir"));
        match self.variable() {
            Ok(variable) => write!(f, ". Add it {document}, {file}, or as {variable} in the environment"),
            Err(why) => write!(f, ". Add it {document}, or {file}; {why}"),
        }
    }
}

impl std::error::Error for SecretMissing {}

/// All ConfigMaps. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapStore(Arc<BTreeMap<Key, ConfigMapData>>);

/// The values of one ConfigMap by key.
pub type ConfigMapData = BTreeMap<String, Arc<[u8]>>;

impl ConfigMapStore {
    /// A store of these.
    #[must_use]
    pub fn new(maps: BTreeMap<Key, ConfigMapData>) -> Self {
        Self(Arc::new(maps))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &ConfigMapData)> {
        self.0.iter()
    }

    /// A ConfigMap, if it is there.
    #[must_use]
    pub fn map(&self, namespace: &str, name: &str) -> Option<&ConfigMapData> {
        self.0.get(&Key::new(namespace, name))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When it is missing: whether the ConfigMap exists, and which keys it has.
    pub fn get(&self, namespace: &str, name: &str, key: &str) -> Result<Arc<[u8]>, ConfigMapMissing> {
        let data = self.0.get(&Key::new(namespace, name));
        data.and_then(|data| data.get(key)).cloned().ok_or_else(|| ConfigMapMissing {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
            map_exists: data.is_some(),
            keys: data.map(|data| data.keys().cloned().collect()).unwrap_or_default(),
        })
    }
}

/// A ConfigMap, or a key of one, that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapMissing {
    /// The namespace asked for.
    pub namespace: String,
    /// The ConfigMap's name.
    pub name: String,
    /// The key asked for.
    pub key: String,
    /// Whether the ConfigMap exists.
    pub map_exists: bool,
    /// The keys that it has.
    pub keys: Vec<String>,
}

impl fmt::Display for ConfigMapMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, key, .. } = self;
        match (self.map_exists, self.keys.is_empty()) {
            (false, _) => write!(f, "there is no ConfigMap `{name}` in namespace `{namespace}`, whose key `{key}` is needed"),
            (true, true) => write!(f, "the ConfigMap `{name}` in namespace `{namespace}` has no key `{key}`; it is empty"),
            (true, false) => {
                write!(f, "the ConfigMap `{name}` in namespace `{namespace}` has no key `{key}`; it has {}", quoted(&self.keys))
            }
        }
    }
}

impl std::error::Error for ConfigMapMissing {}

/// `a`, `b`, `c`; 16 at most, the rest is counted.
pub(crate) fn quoted<T: AsRef<str>>(words: &[T]) -> String {
    const SHOWN_MAX: usize = 16;
    let mut text = words.iter().take(SHOWN_MAX).map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ");
    if words.len() > SHOWN_MAX {
        text.push_str(&format!(" and {} more", words.len() - SHOWN_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> SecretData {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretValue::new(*value))).collect()
    }

    #[test]
    fn asks_the_folder_then_the_documents_then_the_environment() {
        let key = Key::new("acme", "smtp-login");
        let store = SecretStore::new(
            Arc::new(BTreeMap::from([(key.clone(), data(&[("a", "folder")]))])),
            Arc::new(BTreeMap::from([(key, data(&[("a", "document"), ("b", "document")]))])),
            Arc::new(data(&[
                ("MAILFLEET_SECRET__ACME__SMTP_LOGIN__A", "environment"),
                ("MAILFLEET_SECRET__ACME__SMTP_LOGIN__C_PEM", "environment"),
                ("MAILFLEET_SECRET__ACME__OTHER__X", "environment"),
            ])),
        );
        for (key, value) in [("a", "folder"), ("b", "document"), ("c.pem", "environment")] {
            assert_eq!(store.get("acme", "smtp-login", key).expect(key).expose(), value.as_bytes());
        }
        let missing = store.get("acme", "smtp-login", "password").expect_err("no such key");
        assert_eq!((missing.secret_exists, missing.keys.join(" ")), (true, "a b".to_owned()));
        assert!(missing.to_string().contains("it has `a`, `b`"), "{missing}");
        assert!(store.get("acme", "other", "y").expect_err("no such key").secret_exists);
        let missing = store.get("default", "smtp-login", "a").expect_err("another namespace");
        assert!(!missing.secret_exists);
        assert!(missing.to_string().contains("MAILFLEET_SECRET__DEFAULT__SMTP_LOGIN__A"), "{missing}");
        assert!(!format!("{store:?}").contains("folder"));
    }

    /// Names that are close to each other once they are capitals and `_`.
    const HARD: &[&str] = &[
        "a",
        "b",
        "a-b",
        "a--b",
        "a.b",
        "a-.b",
        "a.-b",
        "ab",
        "b-a",
        "a-b-a",
        "a--b--a",
        "a-b--a",
        "a--b-a",
        "b--a",
        "a---b",
        "a----b",
        "a0",
        "0",
        "shop",
        "shop--eu",
        "shop-eu",
        "eu--relay-login",
        "relay-login",
        "eu-relay-login",
        "eu",
        "shop--eu--relay-login",
        "eu.relay.login",
    ];
    /// Keys that look like more than a key.
    const KEYS: &[&str] =
        &["password", "b__password", "__password", "_a__b", "-a--b", "relay-login__password", "a.b", "eu__relay_login__password"];

    #[test]
    fn no_two_secrets_share_a_variable() {
        let mut known: BTreeMap<String, (&str, &str, String)> = BTreeMap::new();
        let mut count = 0;
        for (namespace, name, key) in
            HARD.iter().flat_map(|namespace| HARD.iter().flat_map(move |name| KEYS.iter().map(move |key| (*namespace, *name, *key))))
        {
            let Ok(variable) = secret_variable(namespace, name, key) else { continue };
            count += 1;
            let own = (namespace, name, variable_part(key));
            let other = known.entry(variable.clone()).or_insert_with(|| own.clone());
            assert_eq!(*other, own, "{variable}");
            for (other_namespace, other_name) in HARD.iter().flat_map(|a| HARD.iter().map(move |b| (*a, *b))) {
                let is_itself = (other_namespace, other_name) == (namespace, name);
                let is_read = has_variable(other_namespace) && has_variable(other_name);
                let is_below = is_read && variable.starts_with(&variable_prefix(other_namespace, other_name));
                assert_eq!(is_below, is_itself, "{variable} and {other_namespace}/{other_name}");
            }
        }
        assert!(count > 1000, "{count}");
    }

    #[test]
    fn a_name_without_a_variable_reads_nobody_elses_secret_and_says_what_to_do() {
        let environment = data(&[("MAILFLEET_SECRET__SHOP__EU__RELAY_LOGIN__PASSWORD", "of shop--eu, or of shop")]);
        let store = SecretStore::new(Arc::default(), Arc::default(), Arc::new(environment));
        for (namespace, name) in [("shop", "eu--relay-login"), ("shop--eu", "relay-login"), ("shop", "eu..relay-login"), ("shop", "EU")] {
            let missing = store.get(namespace, name, "password").expect_err("nobody's");
            assert!(!missing.secret_exists, "{namespace}/{name}");
            let words = missing.to_string();
            assert!(words.contains("cannot be given in the environment") && words.contains("single hyphens"), "{words}");
            assert!(words.contains("`kind: Secret`") && !words.contains("MAILFLEET_SECRET"), "{words}");
        }
        // The key of `shop/eu` that has that very variable is its own.
        assert!(store.get("shop", "eu", "relay_login__password").is_ok());
    }
}

//! The content of a campaign's messages: bodies and audiences that are stored elsewhere, and templates that are compiled.

use std::{
    fmt::{self, Write as _},
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use siphasher::sip::SipHasher13;

use crate::{
    audience::{Address, Credential, FileVersion, Location, Login, NamedFile, Remote, fetch},
    bulk::shows_unsubscribing,
    egress::Egress,
    message::{self, Content, Fault, FileBytes, Template},
    people::People,
    providers::secret_line,
    resources::{
        Blocker, Campaign, CampaignSpec, Key, KeyRef, Reason,
        campaign::{Attachment, Body, BodySource, Place, SourceFormat},
        unsubscribe::Unsubscribe,
        url_auth::{PASSWORD, USERNAME, UrlAuth},
    },
    routing::Work,
    source::{
        ConfigMapData, ConfigMapStore, Origin, Purpose, SETTLED_AFTER, SecretStore, read_bounded, resolve_path, settles_in, written_at,
    },
};

mod parts;

pub(super) use parts::PartsRead;

/// The longest body template, bytes.
const BODY_MAX: u64 = 1 << 20;
/// All body templates of a campaign, those of its variants included, bytes.
const BODIES_MAX: usize = 16 << 20;

/// Why a campaign is not sent.
const NO_LINK: &str = "spec.unsubscribe.oneClick: this process does not know its public URL, and nothing is sent without a link by which people can unsubscribe. Start `mailfleet run` with --public-url and --public-address, or set spec.unsubscribe.url to a page of your own.";

/// A campaign's prepared content.
pub(super) struct Prepared {
    /// Of the object when it was looked at; it grows with each change of the spec.
    pub generation: i64,
    /// What is sent, as plain data.
    pub work: Arc<Work>,
    /// Changes whenever the template does.
    pub content_hash: u64,
    /// The audience, and who of it is not mailed.
    pub people: Arc<People>,
    /// The compiled template.
    pub template: Arc<Template>,
}

/// What a campaign's content is read from: the prepared content is valid as long as this stays the same.
#[derive(Clone)]
pub(super) struct Stamp {
    /// The object, as it is in the source.
    pub object: Arc<Campaign>,
    /// Of the object when it was looked at; it grows with each change of the spec.
    pub generation: i64,
    /// The document's file.
    file: Option<PathBuf>,
    /// What the content refers to.
    sources: Vec<SourceAt>,
}

/// Something that a campaign refers to.
#[derive(Clone, PartialEq, Eq)]
enum SourceAt {
    /// A body or an attachment, and the version of its file.
    Body { path: PathBuf, version: Option<FileVersion> },
    /// A value of a ConfigMap.
    Bytes(Arc<[u8]>),
    /// The folder of layouts and parts; which of its files are read is known once they are.
    Folder(PathBuf),
    /// A ConfigMap with layouts and parts.
    Map(ConfigMapData),
    /// An audience file, which is read while it is sent.
    Audience(PathBuf),
}

impl Stamp {
    /// Whether nothing has changed between the two.
    pub fn is_same(&self, other: &Self) -> bool {
        self.generation == other.generation
            && self.file == other.file
            && self.sources == other.sources
            && (Arc::ptr_eq(&self.object, &other.object) || self.object.spec == other.object.spec)
    }

    /// Whether the files are still those that were seen.
    fn holds(&self) -> bool {
        self.sources.iter().all(|source| match source {
            SourceAt::Body { path, version } => FileVersion::at(path) == *version,
            SourceAt::Bytes(_) | SourceAt::Audience(_) | SourceAt::Folder(_) | SourceAt::Map(_) => true,
        })
    }
}

/// Hashes what is written to it: the result equals the hash of the whole text.
struct Hashing(SipHasher13);

impl fmt::Write for Hashing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn hash_of(described: fmt::Arguments<'_>) -> u64 {
    let mut hashing = Hashing(SipHasher13::new());
    // Writing to it cannot fail.
    let _ = hashing.write_fmt(described);
    hashing.0.finish()
}

/// Finds what a campaign refers to.
#[derive(Clone)]
pub(crate) struct ContentResolver {
    /// The campaign.
    pub key: Key,
    /// The origin of its object.
    pub origin: Origin,
    /// The ConfigMaps.
    pub config_maps: ConfigMapStore,
    /// Where an audience may be fetched from.
    pub egress: Egress,
    /// The Secrets that bodies, audiences and links refer to.
    pub secrets: NewestSecrets,
    /// Where rows of queries are kept while they are read.
    pub scratch: Arc<Path>,
    /// Where attachments are fetched; none where nothing is.
    pub fetching: Option<tokio::runtime::Handle>,
    /// Whether this process knows its public URL, so that links for unsubscribing can be made.
    pub has_links: bool,
}

/// The Secrets of the newest snapshot, also for audiences that are read later.
#[derive(Clone, Default)]
pub(crate) struct NewestSecrets(Arc<RwLock<SecretStore>>);

impl From<SecretStore> for NewestSecrets {
    fn from(secrets: SecretStore) -> Self {
        Self(Arc::new(RwLock::new(secrets)))
    }
}

impl NewestSecrets {
    /// Replaces them.
    pub fn set(&self, secrets: SecretStore) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = secrets;
    }

    pub(super) fn get(&self) -> SecretStore {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ContentResolver {
    /// The content, with bodies and parts that are stored elsewhere.
    pub fn content(&self, spec: &CampaignSpec) -> Result<Content, Blocker> {
        self.content_and_parts(spec, &mut PartsRead::default())
    }

    /// The same; notes which files of parts were read.
    fn content_and_parts(&self, spec: &CampaignSpec, read: &mut PartsRead) -> Result<Content, Blocker> {
        let mut left = BODIES_MAX;
        let [html, text, mjml] = self.bodies(spec.content.bodies(), &mut left)?;
        let variants = spec.content.variants.iter().map(|(name, variant)| {
            let [html, text, mjml] = self.bodies(variant.bodies(name), &mut left)?;
            let (name, subject, preheader) = (name.clone(), variant.subject.clone(), variant.preheader.clone());
            Ok(message::Variant { name, subject, preheader, html, text, mjml })
        });
        let mut content = Content {
            from: spec.from.clone(),
            reply_to: spec.reply_to.clone(),
            subject: spec.subject.clone(),
            html,
            text,
            mjml,
            preheader: spec.content.preheader.clone(),
            variant_field: spec.content.variant_field.clone(),
            variants: variants.collect::<Result<_, _>>()?,
            headers: spec.headers.clone(),
            unsubscribe_url: spec.unsubscribe.as_ref().and_then(|unsubscribe| unsubscribe.url.clone()),
            one_click: spec.unsubscribe.as_ref().is_some_and(|unsubscribe| unsubscribe.one_click.is_some()),
            attachments: self.attachments(&spec.content.attachments)?,
            parts: None,
        };
        if let Some(templates) = &spec.content.templates {
            content.parts = Some(self.parts(templates, &content, read)?);
        }
        Ok(content)
    }

    /// What the content is read from now. Looks only at names and times, and reads nothing.
    pub(super) fn stamp(&self, object: &Arc<Campaign>, generation: i64) -> Result<Stamp, Blocker> {
        let spec = &object.spec;
        if spec.unsubscribe.as_ref().is_some_and(Unsubscribe::is_ours) && !self.has_links {
            return Err(Blocker::lasting(Reason::PublicUrlMissing, NO_LINK));
        }
        let content = &spec.content;
        let mut sources = Vec::new();
        for (field, source) in content.bodies_elsewhere() {
            let field = format!("{field}From");
            if let Some(path) = &source.path {
                let path = self.path(&field, path, Purpose::Body)?;
                let version = FileVersion::at(&path);
                sources.push(SourceAt::Body { path, version });
            } else if let Some(reference) = &source.config_map_ref {
                sources.push(SourceAt::Bytes(self.config_map(&field, reference)?));
            }
        }
        if let Some(templates) = &content.templates {
            sources.push(self.templates(templates)?);
        }
        let files = content.attachments.iter().enumerate();
        let files = files.map(|(index, file)| (Attachment::field(index), Purpose::Attachment, file.place()));
        let audiences = spec.audience.sources().map(|(field, format, place)| (field, purpose_of(format), place));
        for (field, purpose, place) in files.chain(audiences) {
            if let Some(path) = place.path {
                let path = self.path(&field, path, purpose)?;
                sources.push(if purpose == Purpose::Attachment {
                    SourceAt::Body { version: FileVersion::at(&path), path }
                } else {
                    SourceAt::Audience(path)
                });
            } else if let Some(reference) = place.config_map_ref {
                sources.push(SourceAt::Bytes(self.config_map(&field, reference)?));
            } else if let Some(auth) = place.auth {
                self.login(&field, auth).credential()?;
            }
        }
        for (field, sql) in spec.audience.databases() {
            if let Some(access) = self.access(&field, sql) {
                access.key()?;
            }
        }
        Ok(Stamp { object: object.clone(), generation, file: self.origin.file().map(|place| place.file.clone()), sources })
    }

    /// Prepares the content of the campaign's messages for one generation (every edit is a new attempt). A template with the same
    /// content is taken from `known`; the files of parts are noted in `read`. Reads and compiles, which may take seconds.
    pub(super) fn prepare(&self, stamp: &Stamp, known: Option<(u64, Arc<Template>)>, read: &mut PartsRead) -> Result<Prepared, Blocker> {
        let spec = &stamp.object.spec;
        let content = self.content_and_parts(spec, read)?;
        let people = self.people(spec)?;
        let People { input, exclude } = &people;
        if let Some(blocker) = read.being_written() {
            return Err(blocker);
        }
        if !stamp.holds() || !read.holds() {
            return Err(Blocker::passing(Reason::FileNotFound, "A file of its content changed while it was read; it is read again."));
        }
        let generation = stamp.generation;
        let retry = spec.retry();
        let work_hash = hash_of(format_args!(
            "{generation} {content:?} {input:?} {retry:?} {:?} {} {:?} {} {:?} {:?} {}{}",
            spec.when_outcome_is_unknown(),
            spec.content.max_render_errors(),
            spec.content.when_render_fails(),
            spec.audience.max_bad_rows(),
            spec.audience.when_row_is_bad(),
            spec.audience.outcomes,
            spec.reopen(),
            if exclude.is_empty() { String::new() } else { format!(" {exclude:?}") }
        ));
        let content_hash = {
            let mut hasher = SipHasher13::new();
            content.hash(&mut hasher);
            hasher.finish()
        };
        let template = match known.filter(|(known, _)| *known == content_hash) {
            Some((_, template)) => template,
            None => compiled(&content, spec)?,
        };
        let work = Work {
            attached_bytes: template.attached_bytes(),
            has_inline: template.has_inline(),
            shows_unsubscribing: content.bodies().all(|bodies| shows_unsubscribing(content.unsubscribe_url.as_deref(), bodies)),
            ..Work::of(spec, work_hash, from_address(&spec.from.address)?)
        };
        Ok(Prepared { generation, work: Arc::new(work), content_hash, people: Arc::new(people), template })
    }

    fn path(&self, field: &str, path: &str, purpose: Purpose) -> Result<PathBuf, Blocker> {
        resolve_path(&self.origin, path, purpose).map_err(|problem| Blocker::lasting(Reason::FileNotFound, format!("{field}: {problem}.")))
    }

    /// A file under its name relative to its document, so that it is found again when a symlink on its path is swapped.
    pub(super) fn named_file(&self, field: &str, path: &str, purpose: Purpose) -> Result<NamedFile, Blocker> {
        self.path(field, path, purpose)?;
        let beside = self.origin.file().and_then(|place| place.below_root().parent()).unwrap_or(Path::new(""));
        let (origin, field, path) = (self.origin.clone(), field.to_owned(), path.to_owned());
        Ok(NamedFile::new(beside.join(&path), move || {
            resolve_path(&origin, &path, purpose).map_err(|problem| Blocker::lasting(Reason::FileNotFound, format!("{field}: {problem}")))
        }))
    }

    /// The blocker for a body whose file is being written now: half of it would be mailed.
    pub fn being_written(&self, spec: &CampaignSpec) -> Option<Blocker> {
        let content = &spec.content;
        let bodies =
            content.bodies_elsewhere().filter_map(|(field, from)| Some((format!("{field}From"), from.path.as_ref()?, Purpose::Body)));
        let files = content.attachments.iter().enumerate();
        let files = files.filter_map(|(index, file)| Some((Attachment::field(index), file.path.as_ref()?, Purpose::Attachment)));
        bodies.chain(files).find_map(|(field, path, purpose)| {
            let file = resolve_path(&self.origin, path, purpose).ok()?;
            settles_in(written_at(&file)?)?;
            let message =
                format!("{field}: `{path}` is being written; it is read once it has not changed for {} s.", SETTLED_AFTER.as_secs());
            Some(Blocker::passing(Reason::FileNotFound, message))
        })
    }

    /// What authenticates a URL, from the Secrets as they are at each request.
    fn login(&self, field: &str, auth: &UrlAuth) -> Login {
        let (secrets, namespace) = (self.secrets.clone(), self.key.namespace.clone());
        let (field, auth) = (format!("{field}.auth"), auth.clone());
        Login::new(move || credential(&secrets.get(), &namespace, &field, &auth))
    }

    fn config_map(&self, field: &str, reference: &crate::resources::KeyRef) -> Result<Arc<[u8]>, Blocker> {
        self.config_maps.get(&self.key.namespace, &reference.name, &reference.key).map_err(|missing| {
            let reason = if missing.map_exists { Reason::ConfigMapKeyNotFound } else { Reason::ConfigMapNotFound };
            Blocker::lasting(reason, format!("{field}: {missing}."))
        })
    }

    /// The bodies of a set of templates, which may have this many bytes; that is then what is left for others.
    fn bodies(&self, bodies: [Body<'_>; 3], left: &mut usize) -> Result<[Option<Arc<str>>; 3], Blocker> {
        let mut loaded = [None, None, None];
        for (slot, Body { field, own, elsewhere }) in loaded.iter_mut().zip(bodies) {
            *slot = self.body(&format!("{field}From"), own, elsewhere)?;
            let too_large = || {
                let max = BODIES_MAX >> 20;
                let message = format!(
                    "{field}: with it, all bodies of the campaign are larger than {max} MiB. Make them smaller, or write fewer variants."
                );
                Blocker::lasting(Reason::InvalidContent, message)
            };
            *left = left.checked_sub(slot.as_ref().map_or(0, |body| body.len())).ok_or_else(too_large)?;
        }
        Ok(loaded)
    }

    /// A body that is inline, or the one that `field` refers to.
    fn body(&self, field: &str, text: Option<&Arc<str>>, source: Option<&BodySource>) -> Result<Option<Arc<str>>, Blocker> {
        let bytes = match (text, source) {
            (Some(text), _) => return Ok(Some(text.clone())),
            (None, None) => return Ok(None),
            (None, Some(source)) => match (&source.path, &source.config_map_ref) {
                (Some(path), _) => {
                    let found = self.path(field, path, Purpose::Body)?;
                    body_of(&found).map_err(|cause| Blocker::lasting(Reason::FileNotFound, format!("{field}: `{path}` {cause}")))?
                }
                (None, Some(reference)) => self.config_map(field, reference)?.to_vec(),
                (None, None) => return Err(Blocker::lasting(Reason::InvalidSpec, format!("{field}: give a path or a configMapRef."))),
            },
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| Blocker::lasting(Reason::InvalidContent, format!("{field}: the file is not UTF-8. Save it as UTF-8.")))?;
        Ok(Some(text.into()))
    }

    /// The files that go with every message.
    fn attachments(&self, attachments: &[Attachment]) -> Result<Vec<message::Attachment>, Blocker> {
        let mut left = message::FILES_MAX as u64;
        let read = attachments.iter().enumerate().map(|(index, attachment)| {
            let field = Attachment::field(index);
            let file = self.attached(&field, attachment, left)?;
            left -= file.as_ref().map_or(0, |bytes| bytes.len() as u64).min(left);
            Ok(message::Attachment {
                filename: attachment.filename(),
                content_type: attachment.content_type.clone(),
                inline: attachment.inline.clone(),
                file: file.map(FileBytes::new),
            })
        });
        read.collect()
    }

    /// The bytes of a file that goes with every message; none where nothing is fetched. All that were read before leave this many.
    fn attached(&self, field: &str, attachment: &Attachment, left: u64) -> Result<Option<Arc<[u8]>>, Blocker> {
        let max = left.min(message::FILE_MAX as u64);
        let too_large = || {
            let what = if max < message::FILE_MAX as u64 {
                format!("with it, all attachments together are larger than {} MiB", message::FILES_MAX >> 20)
            } else {
                format!("it is larger than {} MiB", message::FILE_MAX >> 20)
            };
            Blocker::lasting(Reason::InvalidContent, format!("{field}: {what}. Make it smaller, or link to it."))
        };
        if let Some(path) = &attachment.path {
            let found = self.path(field, path, Purpose::Attachment)?;
            let unreadable = |error| Blocker::lasting(Reason::FileNotFound, format!("{field}: `{path}` cannot be read: {error}."));
            return read_bounded(&found, max).map_err(unreadable)?.map(|bytes| Some(bytes.into())).ok_or_else(too_large);
        }
        if let Some(reference) = &attachment.config_map_ref {
            let bytes = self.config_map(field, reference)?;
            return if bytes.len() as u64 <= max { Ok(Some(bytes)) } else { Err(too_large()) };
        }
        let (Some(url), Some(runtime)) = (&attachment.url, &self.fetching) else { return Ok(None) };
        let remote = self.remote(field, url, attachment.auth.as_ref());
        let fetched = fetch(&remote, runtime, max).map_err(|blocker| Blocker {
            message: format!("{field}: {}.", blocker.message.trim_end_matches('.')),
            // It is asked for again like a file that is not there.
            needs_person: true,
            ..blocker
        })?;
        fetched.map(|bytes| Some(bytes.into())).ok_or_else(too_large)
    }

    /// A URL with what authenticates it.
    pub(super) fn remote(&self, field: &str, url: &str, auth: Option<&UrlAuth>) -> Remote {
        Remote { url: url.to_owned(), egress: self.egress, login: auth.map(|auth| self.login(field, auth)) }
    }

    /// Where a source is.
    pub(super) fn location(&self, field: &str, place: Place<'_>, purpose: Purpose) -> Result<Location, Blocker> {
        if let Some(path) = place.path {
            return Ok(Location::File(self.named_file(field, path, purpose)?));
        }
        if let Some(url) = place.url {
            return Ok(Location::Url(self.remote(field, url, place.auth)));
        }
        if let Some(reference) = place.config_map_ref {
            return Ok(Location::Bytes(self.config_map(field, reference)?));
        }
        Err(Blocker::lasting(Reason::InvalidSpec, format!("{field}: give a path, a url or a configMapRef.")))
    }
}

/// What a file of a format is used for.
const fn purpose_of(format: SourceFormat) -> Purpose {
    match format {
        SourceFormat::Csv => Purpose::Csv,
        SourceFormat::Xlsx => Purpose::Xlsx,
        // An API is no file.
        SourceFormat::JsonLines | SourceFormat::Json => Purpose::JsonLines,
        SourceFormat::Sqlite => Purpose::Sqlite,
    }
}

fn credential(secrets: &SecretStore, namespace: &str, field: &str, auth: &UrlAuth) -> Result<Credential, Blocker> {
    let text = |path: &str, reference: &KeyRef| {
        let value = secrets
            .get(namespace, &reference.name, &reference.key)
            .map_err(|missing| Blocker::lasting(missing.reason(), format!("{field}.{path}: {missing}.")))?;
        let invalid = |what| {
            let KeyRef { name, key } = reference;
            Blocker::lasting(
                Reason::SecretInvalid,
                format!("{field}.{path}: key `{key}` of Secret `{name}` {what}. Correct it in the Secret."),
            )
        };
        secret_line(&value).map(str::to_owned).map_err(invalid)
    };
    let made = if let Some(bearer) = &auth.bearer {
        Credential::bearer(&text("bearer.tokenRef", &bearer.token_ref)?)
    } else if let Some(basic) = &auth.basic {
        let key = |key: &str| KeyRef { name: basic.secret_ref.name.clone(), key: key.to_owned() };
        Credential::basic(&text("basic.secretRef", &key(USERNAME))?, &text("basic.secretRef", &key(PASSWORD))?)
    } else if let Some(header) = &auth.header {
        Credential::header(&header.name, &text("header.valueRef", &header.value_ref)?)
    } else {
        return Err(Blocker::lasting(Reason::InvalidSpec, format!("{field}: give bearer, basic or header.")));
    };
    made.map_err(|error| Blocker::lasting(Reason::SecretInvalid, format!("{field}: {error}. Correct the Secret.")))
}

fn compiled(content: &Content, spec: &CampaignSpec) -> Result<Arc<Template>, Blocker> {
    let told = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Template::compile(content).map(Arc::new).map_err(|faults| {
        let are_keys = spec.content.templates.as_ref().is_some_and(|templates| templates.config_map_ref.is_some());
        let reason = if faults.iter().any(|fault| !fault.is_missing) {
            Reason::InvalidContent
        } else if are_keys {
            Reason::ConfigMapKeyNotFound
        } else {
            Reason::FileNotFound
        };
        Blocker::lasting(reason, told(faults))
    })
}

/// The From address as it goes into the envelope.
fn from_address(text: &str) -> Result<Arc<str>, Blocker> {
    let address = Address::parse(text).map_err(|why| Blocker::lasting(Reason::InvalidContent, format!("spec.from.address: {why}.")))?;
    Ok(Arc::from(address.to_wire()))
}

fn body_of(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read_bounded(path, BODY_MAX).map_err(|error| format!("cannot be read: {error}."))?;
    bytes.ok_or_else(|| "is larger than 1 MiB.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ledger keeps these hashes: they must remain what they were when they were hashes of one text.
    #[test]
    fn a_hash_in_pieces_is_that_of_the_whole() {
        let (number, text) = (7, "one \"two\" three".repeat(100));
        assert_eq!(
            hash_of(format_args!("{number} {text:?} {:?}", Some(3))),
            crate::engine::hash(&format!("{number} {text:?} {:?}", Some(3)))
        );
    }
}

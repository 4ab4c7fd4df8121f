//! What the messages of a campaign are made of: bodies and audiences that lie elsewhere, and templates that are compiled.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::hash;
use crate::{
    audience::{Address, AudienceError, Input, Location, NamedFile},
    decide::Problem,
    egress::Egress,
    message::{Content, Fault, Template},
    resources::{
        CampaignSpec, Key, Reason,
        campaign::{AudienceSource, BodySource, EffectiveRetry, WhenOutcomeIsUnknown},
    },
    source::{Origin, Purpose, SETTLED_AFTER, Snapshot, read_bounded, resolve_path, settles_in, written_at},
};

/// The longest body template, bytes.
const BODY_MAX: u64 = 1 << 20;

/// What the messages of a campaign are made of.
#[derive(Clone)]
pub struct Work {
    /// The run's name.
    pub run: String,
    /// Changes when anything here does.
    pub fingerprint: u64,
    /// To whom.
    pub input: Input,
    /// What.
    pub template: Arc<Template>,
    /// The From address.
    pub from_address: Arc<str>,
    /// Further tries.
    pub retry: EffectiveRetry,
    /// See the spec.
    pub when_outcome_is_unknown: WhenOutcomeIsUnknown,
    /// See the spec.
    pub max_render_errors: u64,
}

/// The lookups of one campaign.
pub(crate) struct Find<'a> {
    /// The campaign.
    pub key: &'a Key,
    /// Where it stands.
    pub origin: &'a Origin,
    /// Where Secrets and ConfigMaps are.
    pub snapshot: &'a Snapshot,
    /// Where an audience may be fetched from.
    pub egress: Egress,
}

impl Find<'_> {
    /// The content with the bodies that lie elsewhere.
    pub fn content(&self, spec: &CampaignSpec) -> Result<Content, Problem> {
        Ok(Content {
            from: spec.from.clone(),
            reply_to: spec.reply_to.clone(),
            subject: spec.subject.clone(),
            html: self.body("spec.content.htmlFrom", spec.content.html.as_ref(), spec.content.html_from.as_ref())?,
            text: self.body("spec.content.textFrom", spec.content.text.as_ref(), spec.content.text_from.as_ref())?,
            mjml: self.body("spec.content.mjmlFrom", spec.content.mjml.as_ref(), spec.content.mjml_from.as_ref())?,
            headers: spec.headers.clone(),
            unsubscribe_url: spec.unsubscribe.as_ref().and_then(|unsubscribe| unsubscribe.url.clone()),
            one_click: spec.unsubscribe.as_ref().is_some_and(|unsubscribe| unsubscribe.one_click.is_some()),
        })
    }

    /// What the campaign's messages are made of, for one generation (every edit is a new try); an unchanged template is taken over from `old`.
    pub async fn work(
        &self,
        spec: &CampaignSpec,
        generation: i64,
        old: Option<&Work>,
        unsendable: &mut BTreeMap<Key, (u64, Problem)>,
    ) -> Result<Work, Problem> {
        let content = self.content(spec)?;
        let input = self.input(spec)?;
        let retry = spec.retry();
        let described = format!(
            "{generation} {content:?} {input:?} {retry:?} {:?} {}",
            spec.when_outcome_is_unknown(),
            spec.content.max_render_errors()
        );
        let fingerprint = hash(&described);
        let template = match old.filter(|old| old.fingerprint == fingerprint) {
            Some(old) => old.template.clone(),
            None => match unsendable.get(self.key).filter(|(known, _)| *known == fingerprint) {
                Some((_, problem)) => return Err(problem.clone()),
                None => compiled(content).await.inspect_err(|problem| {
                    unsendable.insert(self.key.clone(), (fingerprint, problem.clone()));
                })?,
            },
        };
        unsendable.remove(self.key);
        Ok(Work {
            run: spec.run().to_owned(),
            fingerprint,
            input,
            template,
            from_address: from_address(&spec.from.address)?,
            retry,
            when_outcome_is_unknown: spec.when_outcome_is_unknown(),
            max_render_errors: spec.content.max_render_errors(),
        })
    }

    fn path(&self, field: &str, path: &str, purpose: Purpose) -> Result<PathBuf, Problem> {
        resolve_path(self.origin, path, purpose).map_err(|problem| Problem::new(Reason::FileNotFound, format!("{field}: {problem}.")))
    }

    /// A file under the name that it has beside its document, so that it is found anew when a symlink on the way is swapped.
    fn named_file(&self, field: &str, path: &str, purpose: Purpose) -> Result<NamedFile, Problem> {
        self.path(field, path, purpose)?;
        let beside = self.origin.file().and_then(|place| place.file.parent()).unwrap_or(Path::new(""));
        let (origin, field, path) = (self.origin.clone(), field.to_owned(), path.to_owned());
        Ok(NamedFile::new(beside.join(&path), move || {
            resolve_path(&origin, &path, purpose).map_err(|problem| AudienceError {
                reason: Reason::FileNotFound,
                transient: false,
                message: format!("{field}: {problem}"),
            })
        }))
    }

    /// A body whose file is being written now: half of it would be mailed.
    pub fn being_written(&self, spec: &CampaignSpec) -> Option<Problem> {
        let content = &spec.content;
        let bodies = [("htmlFrom", &content.html_from), ("textFrom", &content.text_from), ("mjmlFrom", &content.mjml_from)];
        bodies.into_iter().find_map(|(name, from)| {
            let path = from.as_ref()?.path.as_ref()?;
            let file = resolve_path(self.origin, path, Purpose::Body).ok()?;
            settles_in(written_at(&file)?)?;
            let message = format!(
                "spec.content.{name}: `{path}` is being written; it is read when nobody has written it for {} s.",
                SETTLED_AFTER.as_secs()
            );
            Some(Problem::passing(Reason::FileNotFound, message))
        })
    }

    fn config_map(&self, field: &str, reference: &crate::resources::KeyRef) -> Result<Arc<[u8]>, Problem> {
        self.snapshot.config_maps.get(&self.key.namespace, &reference.name, &reference.key).map_err(|missing| {
            let reason = if missing.map_exists { Reason::ConfigMapKeyNotFound } else { Reason::ConfigMapNotFound };
            Problem::new(reason, format!("{field}: {missing}."))
        })
    }

    /// A body that is written in place, or the one that `field` says the place of.
    fn body(&self, field: &str, text: Option<&Arc<str>>, source: Option<&BodySource>) -> Result<Option<String>, Problem> {
        let bytes = match (text, source) {
            (Some(text), _) => return Ok(Some(text.to_string())),
            (None, None) => return Ok(None),
            (None, Some(source)) => match (&source.path, &source.config_map_ref) {
                (Some(path), _) => {
                    let path = self.path(field, path, Purpose::Body)?;
                    body_of(&path).map_err(|cause| Problem::new(Reason::FileNotFound, format!("{field}: {cause}")))?
                }
                (None, Some(reference)) => self.config_map(field, reference)?.to_vec(),
                (None, None) => return Err(Problem::new(Reason::InvalidSpec, format!("{field}: give a path or a configMapRef."))),
            },
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| Problem::new(Reason::InvalidContent, format!("{field}: the file is not UTF-8. Save it as UTF-8.")))?;
        Ok(Some(text))
    }

    fn input(&self, spec: &CampaignSpec) -> Result<Input, Problem> {
        let audience = &spec.audience;
        if let Some(rows) = &audience.inline {
            return Ok(Input::Inline(rows.clone()));
        }
        if let Some(csv) = &audience.csv {
            return Ok(Input::Csv(self.location("spec.audience.csv", csv, Purpose::Csv)?));
        }
        if let Some(json_lines) = &audience.json_lines {
            return Ok(Input::JsonLines(self.location("spec.audience.jsonLines", json_lines, Purpose::JsonLines)?));
        }
        Err(Problem::new(Reason::AudienceUnreadable, "spec.audience.sql has no effect in this version. Use csv, jsonLines or inline."))
    }

    fn location(&self, field: &str, source: &AudienceSource, purpose: Purpose) -> Result<Location, Problem> {
        if let Some(path) = &source.path {
            return Ok(Location::File(self.named_file(field, path, purpose)?));
        }
        if let Some(url) = &source.url {
            return Ok(Location::Url(url.clone(), self.egress));
        }
        if let Some(reference) = &source.config_map_ref {
            return Ok(Location::Bytes(self.config_map(field, reference)?));
        }
        Err(Problem::new(Reason::InvalidSpec, format!("{field}: give a path, a url or a configMapRef.")))
    }
}

/// A customer's templates, compiled where nothing else waits for it.
async fn compiled(content: Content) -> Result<Arc<Template>, Problem> {
    let compiled = tokio::task::spawn_blocking(move || Template::compile(&content)).await;
    let told = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    match compiled {
        Ok(compiled) => compiled.map(Arc::new).map_err(|faults| Problem::new(Reason::InvalidContent, told(faults))),
        Err(error) => Err(Problem::new(
            Reason::InvalidContent,
            format!(
                "spec.content: compiling it ended with a fault of Mailfleet itself ({error}; see the log). Report it, with the template."
            ),
        )),
    }
}

/// The From address as it goes into the envelope.
fn from_address(text: &str) -> Result<Arc<str>, Problem> {
    let address = Address::parse(text).map_err(|why| Problem::new(Reason::InvalidContent, format!("spec.from.address: {why}.")))?;
    Ok(Arc::from(address.to_wire()))
}

fn body_of(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read_bounded(path, BODY_MAX).map_err(|error| format!("{} cannot be read: {error}.", path.display()))?;
    bytes.ok_or_else(|| format!("{} is larger than 1 MiB.", path.display()))
}

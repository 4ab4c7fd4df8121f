//! Layouts and parts: where they are, and which of them were read.

use std::{path::PathBuf, sync::Arc};

use super::{ContentResolver, SourceAt};
use crate::{
    audience::FileVersion,
    message::{Content, PART_MAX, PARTS_BYTES_MAX, Parts},
    resources::{Blocker, Reason, campaign::TemplatesSource},
    source::{PathProblem, Purpose, SETTLED_AFTER, read_bounded, resolve_within, settles_in, written_at},
};

/// The files of parts that a content was made of, and those that were not there: it is as it was while they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::contents) struct PartsRead(Vec<PartRead>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct PartRead {
    name: String,
    /// As the document names it, so that a symlink that is swapped is seen.
    path: PathBuf,
    version: Option<FileVersion>,
}

impl PartsRead {
    /// Whether all of them are those that were read.
    pub(in crate::engine::contents) fn holds(&self) -> bool {
        self.0.iter().all(|part| FileVersion::at(&part.path) == part.version)
    }

    /// The blocker for a part that is being written now: half of it would be mailed.
    pub(in crate::engine::contents) fn being_written(&self) -> Option<Blocker> {
        let PartRead { name, .. } = self.0.iter().find(|part| written_at(&part.path).and_then(settles_in).is_some())?;
        let message = format!(
            "{}: the part `{name}` is being written; it is read once it has not changed for {} s.",
            TemplatesSource::FIELD,
            SETTLED_AFTER.as_secs()
        );
        Some(Blocker::passing(Reason::FileNotFound, message))
    }
}

impl ContentResolver {
    /// Where parts are.
    pub(super) fn templates(&self, templates: &TemplatesSource) -> Result<SourceAt, Blocker> {
        let field = TemplatesSource::FIELD;
        match (&templates.path, &templates.config_map_ref) {
            (Some(path), _) => self.path(field, path, Purpose::Templates).map(SourceAt::Folder),
            (None, Some(reference)) => {
                let (namespace, name) = (&self.key.namespace, &reference.name);
                let map = self.config_maps.map(namespace, name).cloned().map(SourceAt::Map);
                map.ok_or_else(|| {
                    let message = format!("{field}: there is no ConfigMap `{name}` in namespace `{namespace}`.");
                    Blocker::lasting(Reason::ConfigMapNotFound, message)
                })
            }
            (None, None) => Err(Blocker::lasting(Reason::InvalidSpec, format!("{field}: give a path or a configMapRef."))),
        }
    }

    /// The parts that a content's templates name. One that cannot be read is noted there, and told where it is named.
    pub(super) fn parts(&self, templates: &TemplatesSource, content: &Content, read: &mut PartsRead) -> Result<Parts, Blocker> {
        let place = self.templates(templates)?;
        Ok(Parts::read(content, |name, max| {
            let bytes = match &place {
                SourceAt::Map(map) => {
                    let bytes = map.get(name).ok_or_else(|| {
                        let map = templates.config_map_ref.as_ref().map_or("", |map| &map.name);
                        format!("is not a key of the ConfigMap `{map}`; it has {}", listed(map_keys(&place)))
                    })?;
                    if bytes.len() > max { None } else { Some(bytes.to_vec()) }
                }
                _ => self.part_file(templates.path.as_deref().unwrap_or_default(), name, max, read)?,
            };
            let bytes = bytes.ok_or_else(|| {
                if max < PART_MAX {
                    format!("is too large: with it, all parts have more than {} MiB", PARTS_BYTES_MAX >> 20)
                } else {
                    format!("is larger than {} MiB", PART_MAX >> 20)
                }
            })?;
            String::from_utf8(bytes).map(Arc::from).map_err(|_| "is not UTF-8; save it as UTF-8".to_owned())
        }))
    }

    /// The bytes of one version of a file in the folder; none when there are more than `max`.
    fn part_file(&self, folder: &str, name: &str, max: usize, read: &mut PartsRead) -> Result<Option<Vec<u8>>, String> {
        let beside = self.origin.file().and_then(|place| place.file.parent()).map(|beside| beside.join(folder).join(name));
        if let Some(path) = beside {
            let version = FileVersion::at(&path);
            read.0.push(PartRead { name: name.to_owned(), path, version });
        }
        let file = resolve_within(&self.origin, folder, name).map_err(|problem| match problem {
            PathProblem::NotFound { .. } => format!("does not exist in the folder `{folder}` of `content.templates`"),
            problem => format!("cannot be used: {problem}"),
        })?;
        read_bounded(&file, max as u64).map_err(|error| format!("cannot be read: {error}"))
    }
}

/// The names of what is there.
fn map_keys(place: &SourceAt) -> Vec<&str> {
    if let SourceAt::Map(map) = place { map.keys().map(String::as_str).collect() } else { Vec::new() }
}

/// The first of some names, for people.
fn listed(names: Vec<&str>) -> String {
    const LISTED_MAX: usize = 10;
    if names.is_empty() {
        return "none".to_owned();
    }
    let more = names.len().saturating_sub(LISTED_MAX);
    let mut listed: Vec<String> = names.into_iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed.join(", ")
}

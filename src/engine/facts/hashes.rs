//! What objects say, as hashes: to count the generations of files, and to know a campaign again under another name. Pure.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use crate::{
    engine::hash,
    ledger::SpecHash,
    resources::{Campaign, CampaignSpec, Key, Kind, Object, audience::Audience, content::Content},
};

/// A campaign that shares its audience and only a part of its message with one that is gone may be that one, renamed and edited at once,
/// if it began within this time, milliseconds. A newsletter that comes out each day or week may have the same subject each time, or the
/// same file for its bodies.
pub const EDITED_WITHIN_MS: i64 = 20 * 3_600_000;
/// The kinds under which the ledger keeps hashes of what a campaign sends and to whom: the whole, the audience with the subject, and the
/// audience with the bodies; each with the time within which another campaign with the same hash is asked about, milliseconds.
pub const MESSAGES: [(&str, i64); 3] = [("Message", i64::MAX), ("Subject", EDITED_WITHIN_MS), ("Bodies", EDITED_WITHIN_MS)];

/// What a campaign sends, and to whom, as the spec has it: the same under another name, plan or schedule.
fn hashes_of(campaign: &Campaign) -> [u64; MESSAGES.len()] {
    let CampaignSpec { from, reply_to, subject, content, audience, .. } = &*campaign.spec;
    let Audience { csv, xlsx, json_lines, json, sql, inline, outcomes, .. } = audience;
    let Content { html, html_from, text, text_from, mjml, mjml_from, templates, .. } = content;
    let (people, bodies) = ((csv, json_lines, sql, inline, outcomes), (html, html_from, text, text_from, mjml, mjml_from));
    // Without `templates` as before there were any: the hashes that ledgers have stay.
    let with_bodies = match templates {
        None => serde_json::to_string(&(&people, bodies)),
        Some(templates) => serde_json::to_string(&(&people, bodies, templates)),
    };
    // So do those without these audiences.
    let others = if xlsx.is_some() || json.is_some() { serde_json::to_string(&(xlsx, json)) } else { Ok(String::new()) };
    let others = others.unwrap_or_default();
    [
        serde_json::to_string(&(from, reply_to, subject, content, audience)),
        serde_json::to_string(&(&people, subject)).map(|sent| sent + &others),
        with_bodies.map(|sent| sent + &others),
    ]
    .map(|sent| hash(&sent.unwrap_or_default()))
}

/// What a campaign sends.
pub struct Sent {
    /// The campaign, as it was read.
    pub object: Arc<Campaign>,
    /// The hash of each of [`MESSAGES`].
    hashes: [u64; MESSAGES.len()],
    /// Whether the ledger has them.
    pub is_recorded: bool,
    /// Whether the ledger had no other campaign like it when it was asked. That holds until a campaign is gone.
    pub is_unlike: bool,
}

impl Sent {
    /// What it sends, which nothing is known of yet.
    pub fn new(object: Arc<Campaign>) -> Self {
        Self { hashes: hashes_of(&object), object, is_recorded: false, is_unlike: false }
    }

    /// The hashes as the ledger keeps them, each with the time within which another campaign with the same is asked about.
    pub fn messages(&self, key: &Key) -> impl Iterator<Item = (SpecHash, i64)> {
        MESSAGES.iter().zip(self.hashes).map(|((kind, within_ms), spec_hash)| {
            let message = SpecHash { kind: (*kind).to_owned(), key: key.clone(), spec_hash };
            (message, *within_ms)
        })
    }
}

/// The hash of each object's spec, made anew only when the object was read anew.
#[derive(Default)]
pub struct SpecHashes(BTreeMap<(&'static str, Key), Hashed>);

/// An object, and the hash of its spec.
struct Hashed {
    object: Arc<dyn Any + Send + Sync>,
    spec_hash: u64,
}

impl SpecHashes {
    /// The hash of an object's spec.
    pub fn of<K: Kind + HasSpec>(&mut self, kind: &'static str, key: &Key, object: &Arc<K>) -> u64 {
        let is_known = |known: &&Hashed| std::ptr::addr_eq(Arc::as_ptr(&known.object), Arc::as_ptr(object));
        let of = (kind, key.clone());
        if let Some(known) = self.0.get(&of).filter(is_known) {
            return known.spec_hash;
        }
        let spec_hash = hash(&object.spec_json());
        // While it is held, its address is not used again for another.
        self.0.insert(of, Hashed { object: object.clone(), spec_hash });
        spec_hash
    }

    /// Forgets the objects of a kind that are gone.
    pub fn retain(&mut self, kind: &'static str, exists: impl Fn(&Key) -> bool) {
        self.0.retain(|(of, key), _| *of != kind || exists(key));
    }
}

/// Objects whose spec can be hashed.
pub trait HasSpec {
    /// The spec as JSON; equal specs give equal JSON.
    fn spec_json(&self) -> String;
}

impl<S: serde::Serialize, T> HasSpec for Object<S, T> {
    fn spec_json(&self) -> String {
        serde_json::to_string(&self.spec).unwrap_or_default()
    }
}

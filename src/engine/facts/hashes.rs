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
    let Content { html, html_from, text, text_from, mjml, mjml_from, templates, variants, .. } = content;
    let (people, bodies) = ((csv, json_lines, sql, inline, outcomes), (html, html_from, text, text_from, mjml, mjml_from));
    // What came later counts only where there is some of it: the hashes that ledgers have stay.
    let also = |is_some: bool, json: serde_json::Result<String>| if is_some { json.unwrap_or_default() } else { String::new() };
    let people_else = also(xlsx.is_some() || json.is_some(), serde_json::to_string(&(xlsx, json)));
    let subjects: Vec<_> = variants.iter().map(|(name, variant)| (name, &variant.subject)).collect();
    let subjects = also(!variants.is_empty(), serde_json::to_string(&subjects));
    let others: Vec<_> =
        variants.iter().map(|(name, of)| (name, &of.html, &of.html_from, &of.text, &of.text_from, &of.mjml, &of.mjml_from)).collect();
    let others = also(!variants.is_empty(), serde_json::to_string(&others));
    let parts = also(templates.is_some(), serde_json::to_string(templates));
    [
        serde_json::to_string(&(from, reply_to, subject, content, audience)),
        serde_json::to_string(&(&people, subject)).map(|sent| sent + &people_else + &subjects),
        serde_json::to_string(&(&people, bodies)).map(|sent| sent + &people_else + &others + &parts),
    ]
    .map(|sent| hash(&sent.unwrap_or_default()))
}

/// Whether two campaigns send the same to the same people, as a whole or in a part: one may be the other, renamed.
pub fn sends_alike(one: &Campaign, other: &Campaign) -> bool {
    hashes_of(one).iter().zip(hashes_of(other)).any(|(one, other)| *one == other)
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
    pub fn of<K: Kind + HasSpec>(&mut self, key: &Key, object: &Arc<K>) -> u64 {
        let is_known = |known: &&Hashed| std::ptr::addr_eq(Arc::as_ptr(&known.object), Arc::as_ptr(object));
        let of = (K::KIND, key.clone());
        if let Some(known) = self.0.get(&of).filter(is_known) {
            return known.spec_hash;
        }
        let spec_hash = hash(&object.spec_json());
        // While it is held, its address is not used again for another.
        self.0.insert(of, Hashed { object: object.clone(), spec_hash });
        spec_hash
    }

    /// Forgets the objects of a kind that are gone.
    pub fn retain<K: Kind>(&mut self, exists: impl Fn(&Key) -> bool) {
        self.0.retain(|(kind, key), _| *kind != K::KIND || exists(key));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_part_of_what_a_campaign_sends() {
        let of = |content: &str| {
            let yaml = format!(
                "{{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {{name: spring}}, spec: {{planRef: {{name: p}}, from: {{address: a@example.com}}, subject: Hi, content: {{text: Hi{content}}}, audience: {{csv: {{path: people.csv}}}}}}}}"
            );
            hashes_of(&serde_saphyr::from_str(&yaml).expect("a campaign"))
        };
        let people = r#"[{"path":"people.csv"},null,null,null,null]"#;
        let before = [hash(&format!("[{people},\"Hi\"]")), hash(&format!("[{people},[null,null,\"Hi\",null,null,null]]"))];
        assert_eq!(of("")[1..], before, "ledgers of versions without variants have these");
        let german = |more: &str| of(&format!(", variantField: language, variants: {{de: {{subject: Hallo, text: Hallo{more}}}}}"));
        let changed = |one: [u64; 3], other: [u64; 3]| [0, 1, 2].map(|at| one[at] != other[at]);
        assert_eq!(changed(of(""), german("")), [true, true, true]);
        assert_eq!(changed(german(""), german(", html: Hallo")), [true, false, true]);
        assert_eq!(changed(german(""), german(", preheader: Hallo")), [true, false, false]);
        assert_eq!(
            changed(german(""), of(", variantField: language, variants: {de: {subject: Moin, text: Hallo}}")),
            [true, true, false],
            "a new subject in a variant"
        );
    }
}

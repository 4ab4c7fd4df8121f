//! The table of a campaign's status that says why each server was or was not picked. No I/O.
//!
//! Campaigns of one plan have the same rows except for what each of them sent. So rows are kept apart from counts, and many
//! tables share the same rows.

use std::{borrow::Cow, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a server was or was not picked: one row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignServerStatus {
    /// The server's namespace and name.
    pub server: Arc<str>,
    /// Whether the plan grants it, or it is the namespace's own and allowed.
    pub granted: bool,
    /// Whether the campaign uses it (named in `spec.servers`, or no server is named), with a weight above 0.
    pub chosen: bool,
    /// `spec.enabled`.
    pub enabled: bool,
    /// Whether it is Active.
    pub active: bool,
    /// Its weight.
    pub weight: u32,
    /// Its share of the next messages in percent, one decimal.
    pub share_percent: Arc<str>,
    /// Messages left in its longer windows; absent without such limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_left: Option<u64>,
    /// Messages left of today's warm-up; absent without warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_left: Option<u64>,
    /// Messages of this run that it accepted.
    pub accepted: u64,
    /// Why it gets no messages now, or makes the others wait; empty otherwise.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub why_not: Arc<str>,
}

fn is_empty(text: &Arc<str>) -> bool {
    text.is_empty()
}

/// The rows of all servers that a campaign might use, in the order of their names. A copy is two pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTable {
    /// The rows, with no message accepted.
    rows: Arc<[CampaignServerStatus]>,
    /// How many messages each accepted; empty while none accepted any.
    accepted: Arc<[u64]>,
}

impl ServerTable {
    /// A table of these rows, which may be shared with other tables; `accepted` replaces the counts in the rows.
    #[must_use]
    pub fn new(rows: Arc<[CampaignServerStatus]>, mut accepted: Vec<u64>) -> Self {
        let rows = if rows.iter().all(|row| row.accepted == 0) {
            rows
        } else {
            rows.iter().map(|row| CampaignServerStatus { accepted: 0, ..row.clone() }).collect()
        };
        accepted.resize(rows.len(), 0);
        if accepted.iter().all(|count| *count == 0) {
            accepted.clear();
        }
        Self { rows, accepted: accepted.into() }
    }

    /// The same table, with the counts of `old` where they are equal, so that they are held once.
    #[must_use]
    pub fn keeping_counts_of(mut self, old: &Self) -> Self {
        if self.accepted == old.accepted {
            self.accepted = old.accepted.clone();
        }
        self
    }

    /// The rows, each with its server's count.
    pub fn iter(&self) -> impl Iterator<Item = CampaignServerStatus> + '_ {
        let accepted = self.accepted.iter().copied().chain(std::iter::repeat(0));
        self.rows.iter().zip(accepted).map(|(row, accepted)| CampaignServerStatus { accepted, ..row.clone() })
    }

    /// The sum of the counts.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.iter().sum()
    }

    /// The rows as they are shared: with no message accepted.
    #[must_use]
    pub fn shared_rows(&self) -> &Arc<[CampaignServerStatus]> {
        &self.rows
    }

    /// Whether the other is equal, ignoring what changes with every message.
    #[must_use]
    pub fn is_same_but_for_counters(&self, other: &Self) -> bool {
        let shape = |row: &CampaignServerStatus| CampaignServerStatus { limit_left: None, warmup_left: None, ..row.clone() };
        Arc::ptr_eq(&self.rows, &other.rows)
            || (self.rows.len() == other.rows.len() && self.rows.iter().zip(&*other.rows).all(|(row, other)| shape(row) == shape(other)))
    }
}

impl Serialize for ServerTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ServerTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows: Vec<CampaignServerStatus> = Vec::deserialize(deserializer)?;
        let accepted = rows.iter().map(|row| row.accepted).collect();
        Ok(Self::new(rows.into(), accepted))
    }
}

impl JsonSchema for ServerTable {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<CampaignServerStatus>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<CampaignServerStatus>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(server: &str, accepted: u64) -> CampaignServerStatus {
        CampaignServerStatus {
            server: server.into(),
            granted: true,
            chosen: true,
            enabled: true,
            active: true,
            weight: 1,
            share_percent: "50.0".into(),
            limit_left: None,
            warmup_left: Some(7),
            accepted,
            why_not: "".into(),
        }
    }

    #[test]
    fn a_table_is_written_and_read_as_the_list_of_its_rows() {
        for accepted in [[0, 0], [0, 3]] {
            let rows = vec![row("ops/a", accepted[0]), row("ops/b", accepted[1])];
            let table = ServerTable::new(rows.clone().into(), accepted.to_vec());
            assert_eq!(json!(table), json!(rows));
            let read: ServerTable = serde_json::from_value(json!(rows)).expect("a table");
            assert_eq!((read.accepted(), read.iter().collect::<Vec<_>>()), (accepted[1], rows));
            assert_eq!(read, table);
        }
    }

    #[test]
    fn what_every_message_changes_is_told_from_the_rest() {
        let rows = |left, why: &str| -> Arc<[_]> {
            [row("ops/a", 0), CampaignServerStatus { limit_left: Some(left), why_not: why.into(), ..row("ops/b", 0) }].into()
        };
        let table = ServerTable::new(rows(9, ""), vec![1, 2]);
        assert!(table.is_same_but_for_counters(&ServerTable::new(rows(8, ""), vec![1, 3])));
        assert!(!table.is_same_but_for_counters(&ServerTable::new(rows(9, "its weight is 0"), vec![1, 2])));
        assert!(!table.is_same_but_for_counters(&ServerTable::new([row("ops/a", 0)].into(), vec![1])));
    }
}

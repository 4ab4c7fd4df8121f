//! What is known of DNS, and what a judgement still has to know. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::egress::Egress;

/// The types of records that are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A host that takes mail.
    Mx,
    /// The name of an address.
    Ptr,
    /// Text.
    Txt,
}

impl RecordType {
    /// The word in a zone file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Ptr => "PTR",
            Self::Txt => "TXT",
        }
    }

    /// The type of the record that holds this address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::A } else { Self::Aaaa }
    }
}

/// A question to DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The name, in lowercase and without the dot at its end.
    pub name: String,
    /// The type.
    pub kind: RecordType,
}

/// The data of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// Of A and AAAA.
    Address(IpAddr),
    /// Of MX: preference and host; `.` for "takes no mail" (RFC 7505).
    Mx(u16, String),
    /// Of PTR.
    Name(String),
    /// Of TXT, its strings joined.
    Text(String),
    /// The name is an alias (CNAME) of this one, which has the records.
    Alias(String),
}

impl Data {
    /// As people write it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Mx(preference, host) => format!("{preference} {host}"),
            Self::Name(name) | Self::Alias(name) => name.clone(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// The answer to a question, aliases (CNAME) followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At least one record, sorted, and the last alias on the way to it.
    Found(Vec<Data>),
    /// There is no such record.
    Missing,
    /// It is not known: why, in words that are the same from try to try.
    Failed(String),
}

/// The answers so far, and the questions that are open.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    known: BTreeMap<Question, Answer>,
    open: BTreeSet<Question>,
    /// Why nothing is asked.
    offline: Option<&'static str>,
    /// Which addresses count; others are as if they were not there.
    egress: Egress,
}

impl Answers {
    /// Answers that are not looked up, for this reason.
    #[must_use]
    pub fn offline(why: &'static str) -> Self {
        Self { offline: Some(why), ..Self::default() }
    }

    /// Answers of which only these addresses count.
    #[must_use]
    pub fn within(egress: Egress) -> Self {
        Self { egress, ..Self::default() }
    }

    /// The answer; while it is not known, a failure, and the question is open.
    pub fn ask(&mut self, name: &str, kind: RecordType) -> Answer {
        if let Some(why) = self.offline {
            return Answer::Failed(why.to_owned());
        }
        let question = Question { name: name.trim_end_matches('.').to_ascii_lowercase(), kind };
        if let Some(answer) = self.known.get(&question) {
            return answer.clone();
        }
        self.open.insert(question);
        Answer::Failed("it is being looked up".to_owned())
    }

    /// The questions that were asked in vain; none of them is open afterwards.
    pub fn take_open(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.open).into_iter().collect()
    }

    /// Judges until no question is open, as the resolver does.
    #[cfg(test)]
    pub(crate) fn settle<T>(mut judge: impl FnMut(&mut Self) -> T, answer: impl Fn(&Question) -> Answer) -> T {
        let mut answers = Self::default();
        loop {
            let judged = judge(&mut answers);
            let open = answers.take_open();
            if open.is_empty() {
                return judged;
            }
            for question in open {
                let answer = answer(&question);
                answers.note(question, answer);
            }
        }
    }

    /// Notes an answer.
    pub fn note(&mut self, question: Question, answer: Answer) {
        let answer = match answer {
            Answer::Found(mut data) => {
                data.sort();
                data.dedup();
                data.retain(|data| !matches!(data, Data::Address(address) if !self.egress.permits(*address)));
                if data.iter().all(|data| matches!(data, Data::Alias(_))) { Answer::Missing } else { Answer::Found(data) }
            }
            other => other,
        };
        self.known.insert(question, answer);
    }

    /// How many answers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The texts at a name.
    ///
    /// # Errors
    /// When they are not known, why.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        self.shown(name, RecordType::Txt)
    }

    /// What a name is an alias of, as far as the answers say.
    #[must_use]
    pub fn alias(&self, name: &str, kind: RecordType) -> Option<String> {
        match self.known.get(&Question { name: name.to_owned(), kind })? {
            Answer::Found(data) => data.iter().find(|data| matches!(data, Data::Alias(_))).map(Data::shown),
            Answer::Missing | Answer::Failed(_) => None,
        }
    }

    /// The addresses of a name, of one family or both.
    ///
    /// # Errors
    /// When they are not known, why.
    pub fn addresses(&mut self, name: &str, kinds: &[RecordType]) -> Result<Vec<IpAddr>, String> {
        let (mut found, mut failed) = (Vec::new(), None);
        for kind in kinds {
            match self.ask(name, *kind) {
                Answer::Found(data) => found.extend(data.iter().filter_map(|data| match data {
                    Data::Address(address) => Some(*address),
                    _ => None,
                })),
                Answer::Missing => {}
                Answer::Failed(why) => failed = Some(why),
            }
        }
        failed.map_or(Ok(found), Err)
    }

    /// The names of an address.
    ///
    /// # Errors
    /// When they are not known, why.
    pub fn names_of(&mut self, address: IpAddr) -> Result<Vec<String>, String> {
        if !self.egress.permits(address) {
            return Ok(Vec::new());
        }
        self.shown(&reverse_name(address), RecordType::Ptr)
    }

    /// The records of a name as people write them, without the aliases on the way.
    fn shown(&mut self, name: &str, kind: RecordType) -> Result<Vec<String>, String> {
        match self.ask(name, kind) {
            Answer::Found(data) => Ok(data.iter().filter(|data| !matches!(data, Data::Alias(_))).map(Data::shown).collect()),
            Answer::Missing => Ok(Vec::new()),
            Answer::Failed(why) => Err(why),
        }
    }
}

/// The name below which an address has its PTR record (RFC 1035, 3.5; RFC 3596, 2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            let digits: Vec<String> = digits.map(|digit| format!("{digit:x}")).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}

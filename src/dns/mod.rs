//! DNS: the records that senders' domains need, what is published, and what is wrong with it.
//!
//! The judgement is pure: it asks [`Answers`], and notes there which questions are still open; [`Resolver`] looks those up, and the
//! judgement begins again until none is left. [`dkim`], [`spf`] and [`dmarc`] know what a record means, [`check`] what a server's
//! identity needs, [`zone`] how a record is written down.

pub mod answers;
pub mod check;
pub mod dkim;
pub mod dmarc;
mod macros;
mod resolver;
pub mod spf;
pub mod subject;
#[cfg(test)]
mod tests;
pub mod zone;

#[cfg(test)]
pub(crate) use answers::{Answer, Data, Question};
pub use answers::{Answers, RecordType};
pub use check::{Check, Purpose, Verdict, judge};
pub use resolver::{Looked, Resolver, resolver_address};
#[cfg(test)]
pub(crate) use subject::Origin;
pub use subject::{DkimKey, Subject, is_relay};

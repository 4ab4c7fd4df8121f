//! Chooses the server of each message, paces delivery and handles failures.
//!
//! The data plane. `route`, `sample`, `limits`, `retry`, `guard`, `window` and `scheduler` are pure; `feeder` reads the audience and
//! renders, on the threads of `feeders`; `task` is the single task that ties them to the ledger and to the servers. The control plane
//! passes in a [`Handover`] and reads a [`crate::report::Report`].

pub mod calls;
pub mod campaign;
pub mod clocks;
pub mod connections;
pub mod days;
pub mod domains;
pub mod feeder;
pub mod feeders;
pub mod guard;
pub mod index;
pub mod lane;
pub mod likeness;
pub mod limits;
pub mod pace;
pub mod rate;
pub mod receivers;
pub mod refusals;
pub mod rendered;
mod report;
pub mod reroutes;
pub mod retry;
pub mod route;
pub mod sample;
pub mod schedule;
pub mod scheduler;
pub mod stages;
pub mod task;
pub mod turns;
mod unread;
pub mod usage;
pub mod window;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub use task::{Dispatch, Event};

use crate::{message::Template, people::People, providers::Server, resources::Key, routing::Routing, token::unsubscribe::Links};

/// What the control plane hands over: the desired state, and the handles that carry it out.
#[derive(Clone, Default)]
pub struct Handover {
    /// The desired state.
    pub routing: Arc<Routing>,
    /// The handles that carry it out, under the same keys.
    pub handles: Arc<Handles>,
}

/// The parts of servers and campaigns that are not plain data.
#[derive(Clone, Default)]
pub struct Handles {
    /// The client of each server; absent while its spec or secrets are invalid.
    pub servers: BTreeMap<Key, Arc<dyn Server>>,
    /// The audience and the template of each campaign.
    pub contents: BTreeMap<Key, Content>,
    /// Makes the links by which people unsubscribe on our page; the same for the whole life of the process.
    pub links: Option<Links>,
}

impl Handles {
    /// Whether every handle is the same one in both.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_content = |one: &Content, other: &Content| {
            let templates = (&one.template, &other.template);
            Arc::ptr_eq(&one.people, &other.people)
                && matches!(templates, (None, None)) | matches!(templates, (Some(one), Some(other)) if Arc::ptr_eq(one, other))
        };
        self.servers.len() == other.servers.len()
            && self.contents.len() == other.contents.len()
            && self.servers.iter().zip(&other.servers).all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1, other.1))
            && self.contents.iter().zip(&other.contents).all(|(one, other)| one.0 == other.0 && is_same_content(one.1, other.1))
    }
}

/// The audience and the template of a campaign.
#[derive(Clone)]
pub struct Content {
    /// The audience, and who of it is not mailed.
    pub people: Arc<People>,
    /// The compiled template; `None` while the campaign is not sent and others need the memory.
    pub template: Option<Arc<Template>>,
}

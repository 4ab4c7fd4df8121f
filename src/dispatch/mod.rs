//! Which server, how fast, what on failure.
//!
//! The data plane. `route`, `limits`, `retry`, `guard`, `window` and `scheduler` are pure; `feeder` reads the audience and
//! renders, on the threads of `feeders`; `task` is the one task that ties them to the ledger and to the servers. The control
//! plane hands in a [`Handover`] and reads a [`crate::report::Report`].

pub mod calls;
pub mod campaign;
pub mod connections;
pub mod feeder;
pub mod feeders;
pub mod guard;
pub mod index;
pub mod lane;
pub mod likeness;
pub mod limits;
pub mod pace;
pub mod refusals;
pub mod rendered;
mod report;
pub mod reroutes;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod scheduler;
pub mod stages;
pub mod task;
pub mod turns;
pub mod window;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub use task::{Dispatch, Event};

use crate::{audience::Input, message::Template, providers::Server, resources::Key, routing::Routing};

/// What the control plane hands over: what it wants, and what that is done with.
#[derive(Clone, Default)]
pub struct Handover {
    /// What it wants.
    pub routing: Arc<Routing>,
    /// What that is done with; by the same keys.
    pub handles: Arc<Handles>,
}

/// What servers and campaigns are, beside plain data.
#[derive(Clone, Default)]
pub struct Handles {
    /// How each server is spoken to; none while its spec or secrets are not good.
    pub servers: BTreeMap<Key, Arc<dyn Server>>,
    /// What the messages of each campaign are made of.
    pub contents: BTreeMap<Key, Content>,
}

impl Handles {
    /// Whether nothing was replaced.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_content = |one: &Content, other: &Content| {
            let templates = (&one.template, &other.template);
            Arc::ptr_eq(&one.input, &other.input)
                && matches!(templates, (None, None)) | matches!(templates, (Some(one), Some(other)) if Arc::ptr_eq(one, other))
        };
        self.servers.len() == other.servers.len()
            && self.contents.len() == other.contents.len()
            && self.servers.iter().zip(&other.servers).all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1, other.1))
            && self.contents.iter().zip(&other.contents).all(|(one, other)| one.0 == other.0 && is_same_content(one.1, other.1))
    }
}

/// What the messages of a campaign are made of.
#[derive(Clone)]
pub struct Content {
    /// To whom.
    pub input: Arc<Input>,
    /// What; none while it is not sent, and others need the memory.
    pub template: Option<Arc<Template>>,
}

//! The clients of servers, their gates, and the calls that are under way.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::mpsc;

use super::{CallEnded, CallId, Gate, Outgoing, Server};
use crate::{
    dispatch::{Handles, index::LaneIx, lane::Lane},
    routing::Routing,
};

/// A call of `deliver` in progress.
struct CallUnderWay {
    /// The server's client when the call began.
    server: Option<Arc<dyn Server>>,
    /// Takes further messages for the same connection.
    more: mpsc::UnboundedSender<Outgoing>,
    /// How often it has begun again: a call that was over when a message came for it begins again under its id.
    begun: u64,
}

/// What a new call needs.
pub(super) struct NewCall {
    /// The server's client, unless the server is gone.
    pub(super) server: Option<Arc<dyn Server>>,
    /// The gate that it has to pass before each message, unless that is open.
    pub(super) gate: Option<Arc<Gate>>,
    /// Further messages for the same connection.
    pub(super) more: mpsc::UnboundedReceiver<Outgoing>,
    /// How often it has begun again.
    pub(super) begun: u64,
}

/// The clients of servers, by index.
#[derive(Default)]
pub(super) struct Clients {
    servers: BTreeMap<LaneIx, Arc<dyn Server>>,
    /// The gates that enforce their short windows.
    gates: BTreeMap<LaneIx, Arc<Gate>>,
    calls: BTreeMap<(LaneIx, CallId), CallUnderWay>,
}

impl Clients {
    /// Follows the desired state. Calls that are under way keep the client with which they began.
    pub(super) fn take_over(&mut self, lanes: &BTreeMap<LaneIx, Lane>, routing: &Routing, handles: &Handles) {
        self.servers.clear();
        self.gates.retain(|index, _| lanes.contains_key(index));
        for (index, lane) in lanes {
            let Some(intent) = routing.servers.get(&lane.key) else { continue };
            self.gates.entry(*index).or_default().set(&intent.rates);
            if let Some(server) = handles.servers.get(&lane.key) {
                server.sign_with(&intent.signing);
                self.servers.insert(*index, server.clone());
            }
        }
    }

    /// The sizes of what is kept, by name.
    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<(&'static str, usize)> {
        let Self { servers, gates, calls } = self;
        vec![("clients", servers.len()), ("gates", gates.len()), ("calls", calls.len())]
    }

    /// All clients.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneIx, &Arc<dyn Server>)> {
        self.servers.iter().map(|(lane, server)| (*lane, server))
    }

    /// A call begins, or begins again.
    pub(super) fn begin(&mut self, lane: LaneIx, call: CallId) -> NewCall {
        let server = self.servers.get(&lane).cloned();
        let (more, receiver) = mpsc::unbounded_channel();
        let gate = self.gates.get(&lane).filter(|gate| !gate.is_open()).cloned();
        let begun = self.calls.get(&(lane, call)).map_or(0, |under_way| under_way.begun + 1);
        self.calls.insert((lane, call), CallUnderWay { server: server.clone(), more, begun });
        NewCall { server, gate, more: receiver, begun }
    }

    /// Hands a message to a call that is under way. Returns it if the call has ended by now, or if the server has another client.
    pub(super) fn hand_ahead(&self, lane: LaneIx, call: CallId, message: Outgoing) -> Option<Outgoing> {
        let is_same = |server: &Arc<dyn Server>| self.servers.get(&lane).is_some_and(|now| Arc::ptr_eq(now, server));
        match self.calls.get(&(lane, call)) {
            Some(CallUnderWay { server: Some(server), more, .. }) if is_same(server) => more.send(message).err().map(|refused| refused.0),
            _ => Some(message),
        }
    }

    /// A call has ended. True unless it has begun again since.
    pub(super) fn ended(&mut self, CallEnded { lane, call, begun }: &CallEnded) -> bool {
        let is_over = self.calls.get(&(*lane, *call)).is_some_and(|under_way| under_way.begun == *begun);
        if is_over {
            self.calls.remove(&(*lane, *call));
        }
        is_over
    }
}

//! The calls of `deliver` in progress at a server, and which message goes with which call. Pure.
//!
//! Each call uses one connection. Messages are spread over connections rather than queued behind one; only when every connection
//! has a message do further ones go ahead on a connection that is waiting for an answer.

use std::collections::BTreeMap;

use crate::providers::Carriage;

/// The id of a call, never reused in a process.
pub type CallId = u64;

/// A call in progress.
#[derive(Clone, Copy, Debug, Default)]
struct Call {
    /// Its messages without an outcome.
    in_flight: usize,
    /// Its message must be answered before another joins the call.
    is_alone: bool,
}

/// How claimed messages are handed to a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Handover<T> {
    /// Begin a call with these messages.
    Begin {
        /// The id of the call.
        call: CallId,
        /// The messages.
        batch: Vec<T>,
    },
    /// Send the message ahead on a call that is in progress.
    Ahead {
        /// The id of the call.
        call: CallId,
        /// What the call is handed now.
        message: T,
    },
}

/// The calls of one server.
#[derive(Debug, Default)]
pub struct Calls {
    open: BTreeMap<CallId, Call>,
    next: CallId,
}

impl Calls {
    /// The number of calls in progress.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no call is in progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The number of messages that can be handed over now, with this number of connections.
    #[must_use]
    pub fn room(&self, carriage: Carriage, connections: usize) -> usize {
        let each = carriage.each();
        let fresh = connections.saturating_sub(self.open.len()).saturating_mul(each);
        if carriage.ahead == 0 {
            return fresh;
        }
        let open = self.open.values().filter(|call| !call.is_alone).map(|call| each.saturating_sub(call.in_flight));
        fresh + open.sum::<usize>()
    }

    /// Hands messages over: those in `alone` each in its own call, the others spread over connections. Messages for which there is
    /// no room (the server now takes fewer connections) wait for a connection behind the others.
    pub fn hand_over<T>(&mut self, alone: Vec<T>, together: Vec<T>, carriage: Carriage, connections: usize) -> Vec<Handover<T>> {
        let mut handovers: Vec<Handover<T>> = alone.into_iter().map(|message| self.begin(vec![message], true)).collect();
        if carriage.batch > 1 {
            let mut rest = together.into_iter().peekable();
            while rest.peek().is_some() {
                let batch = rest.by_ref().take(carriage.batch).collect();
                handovers.push(self.begin(batch, false));
            }
            return handovers;
        }
        for message in together {
            handovers.push(match self.least_busy(carriage, connections) {
                Some(id) => {
                    if let Some(call) = self.open.get_mut(&id) {
                        call.in_flight += 1;
                    }
                    Handover::Ahead { call: id, message }
                }
                None => self.begin(vec![message], false),
            });
        }
        handovers
    }

    /// The call that the next message joins; `None` for a new one.
    fn least_busy(&self, carriage: Carriage, connections: usize) -> Option<CallId> {
        if carriage.ahead == 0 {
            return None;
        }
        let together = self.open.iter().filter(|(_, call)| !call.is_alone);
        let (id, call) = together.min_by_key(|(_, call)| call.in_flight)?;
        (call.in_flight == 0 || self.open.len() >= connections).then_some(*id)
    }

    fn begin<T>(&mut self, batch: Vec<T>, is_alone: bool) -> Handover<T> {
        self.next += 1;
        self.open.insert(self.next, Call { in_flight: batch.len(), is_alone });
        Handover::Begin { call: self.next, batch }
    }

    /// Notes the outcome of one message of a call.
    pub fn answered(&mut self, id: CallId) {
        if let Some(call) = self.open.get_mut(&id) {
            call.in_flight = call.in_flight.saturating_sub(1);
            call.is_alone = false;
        }
    }

    /// Removes a call that is over.
    pub fn ended(&mut self, id: CallId) {
        self.open.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINING: Carriage = Carriage { batch: 1, ahead: 1, is_windowed: false };

    fn begin(call: CallId, message: char) -> Handover<char> {
        Handover::Begin { call, batch: vec![message] }
    }

    fn ahead(call: CallId, message: char) -> Handover<char> {
        Handover::Ahead { call, message }
    }

    #[test]
    fn messages_are_spread_before_any_goes_ahead() {
        let mut calls = Calls::default();
        assert_eq!(calls.room(PIPELINING, 3), 6);
        let all = calls.hand_over(vec![], vec!['a', 'b', 'c', 'd'], PIPELINING, 3);
        assert_eq!(all, [begin(1, 'a'), begin(2, 'b'), begin(3, 'c'), ahead(1, 'd')]);
        assert_eq!(calls.room(PIPELINING, 3), 2);
        calls.answered(3);
        assert_eq!(calls.hand_over(vec![], vec!['e'], PIPELINING, 3), [ahead(3, 'e')], "an idle connection first");
        calls.ended(2);
        assert_eq!((calls.len(), calls.room(PIPELINING, 3)), (2, 3));
    }

    #[test]
    fn what_goes_alone_has_a_connection_to_itself() {
        let mut calls = Calls::default();
        assert_eq!(calls.hand_over(vec!['a'], vec!['b'], PIPELINING, 1), [begin(1, 'a'), begin(2, 'b')]);
        let mut calls = Calls::default();
        calls.hand_over(vec!['a'], vec![], PIPELINING, 2);
        assert_eq!(calls.room(PIPELINING, 2), 2, "nothing goes ahead beside it");
        calls.answered(1);
        assert_eq!(calls.room(PIPELINING, 2), 4);
    }

    #[test]
    fn a_server_that_takes_no_more_ahead_gets_calls_or_batches() {
        let mut calls = Calls::default();
        assert_eq!(calls.hand_over(vec![], vec![1, 2], Carriage::default(), 5).len(), 2);
        assert_eq!(calls.room(Carriage::default(), 5), 3);
        calls.answered(1);
        assert_eq!(calls.room(Carriage::default(), 5), 3, "until the call is over");
        calls.ended(1);
        assert_eq!(calls.room(Carriage::batches(8), 5), 32);
        let batches = calls.hand_over(vec![], (0..20).collect(), Carriage::batches(8), 5);
        assert_eq!(
            batches.iter().map(|handover| if let Handover::Begin { batch, .. } = handover { batch.len() } else { 0 }).collect::<Vec<_>>(),
            [8, 8, 4]
        );
    }
}

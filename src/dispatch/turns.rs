//! Fair (round-robin) queueing of the messages that wait for a server. Pure.

use std::{collections::VecDeque, sync::Arc};

use super::index::CampaignIx;
use super::stages::ReadyMessage;

/// The queue of one campaign at a server.
#[derive(Debug)]
struct CampaignQueue {
    campaign: CampaignIx,
    messages: VecDeque<ReadyMessage>,
}

/// The messages that wait for a server, taken round robin by namespace, and within a namespace by campaign.
#[derive(Debug, Default)]
pub struct Turns {
    namespaces: VecDeque<(Arc<str>, VecDeque<CampaignQueue>)>,
    len: usize,
}

impl Turns {
    /// The number of waiting messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a message at the end of its campaign's queue.
    pub fn push(&mut self, namespace: &Arc<str>, campaign: CampaignIx, message: ReadyMessage) {
        self.queue(namespace, campaign).push_back(message);
        self.len += 1;
    }

    /// Puts a message back at the front of its campaign's queue.
    pub fn push_front(&mut self, namespace: &Arc<str>, campaign: CampaignIx, message: ReadyMessage) {
        self.queue(namespace, campaign).push_front(message);
        self.len += 1;
    }

    fn queue(&mut self, namespace: &Arc<str>, campaign: CampaignIx) -> &mut VecDeque<ReadyMessage> {
        let at = self.namespaces.iter().position(|(name, _)| name == namespace).unwrap_or_else(|| {
            self.namespaces.push_back((namespace.clone(), VecDeque::new()));
            self.namespaces.len() - 1
        });
        let queues = &mut self.namespaces[at].1;
        let at = queues.iter().position(|queue| queue.campaign == campaign).unwrap_or_else(|| {
            queues.push_back(CampaignQueue { campaign, messages: VecDeque::new() });
            queues.len() - 1
        });
        &mut queues[at].messages
    }

    /// Takes the next message whose campaign `may` send now and which itself `fits`; the turn passes to the next namespace.
    pub fn pop(
        &mut self,
        mut may: impl FnMut(CampaignIx) -> bool,
        mut fits: impl FnMut(CampaignIx, &ReadyMessage) -> bool,
    ) -> Option<(CampaignIx, ReadyMessage)> {
        for at in 0..self.namespaces.len() {
            let queues = &mut self.namespaces[at].1;
            let found = queues.iter().enumerate().find_map(|(turn, queue)| {
                may(queue.campaign)
                    .then(|| queue.messages.iter().position(|message| fits(queue.campaign, message)))
                    .flatten()
                    .map(|m| (turn, m))
            });
            let Some((turn, position)) = found else { continue };
            let Some(mut queue) = queues.remove(turn) else { continue };
            let campaign = queue.campaign;
            let message = if position == 0 { queue.messages.pop_front() } else { queue.messages.remove(position) };
            if !queue.messages.is_empty() {
                queues.push_back(queue);
            }
            if let Some(namespace) = self.namespaces.remove(at)
                && !namespace.1.is_empty()
            {
                self.namespaces.push_back(namespace);
            }
            if let Some(message) = message {
                self.len -= 1;
                return Some((campaign, message));
            }
        }
        None
    }

    /// Whether a message of the campaign waits that `fits`.
    #[must_use]
    pub fn has(&self, campaign: CampaignIx, fits: impl Fn(&ReadyMessage) -> bool) -> bool {
        let mut queues = self.namespaces.iter().flat_map(|(_, queues)| queues);
        queues.any(|queue| queue.campaign == campaign && queue.messages.iter().any(&fits))
    }

    /// The waiting messages.
    pub fn messages(&self) -> impl Iterator<Item = &ReadyMessage> + '_ {
        self.namespaces.iter().flat_map(|(_, queues)| queues).flat_map(|queue| &queue.messages)
    }

    /// The waiting messages with their campaigns, to be told anew what they count towards.
    pub fn messages_mut(&mut self) -> impl Iterator<Item = (CampaignIx, &mut ReadyMessage)> + '_ {
        let queues = self.namespaces.iter_mut().flat_map(|(_, queues)| queues);
        queues.flat_map(|queue| {
            let campaign = queue.campaign;
            queue.messages.iter_mut().map(move |message| (campaign, message))
        })
    }

    /// Takes the messages of which this is so, the last ones first, and no more than `most`.
    pub fn take_last(&mut self, most: usize, mut is_so: impl FnMut(CampaignIx, &ReadyMessage) -> bool) -> Vec<(CampaignIx, ReadyMessage)> {
        let mut taken = Vec::new();
        for (_, queues) in &mut self.namespaces {
            for queue in queues.iter_mut() {
                for at in (0..queue.messages.len()).rev() {
                    if taken.len() < most
                        && queue.messages.get(at).is_some_and(|message| is_so(queue.campaign, message))
                        && let Some(message) = queue.messages.remove(at)
                    {
                        taken.push((queue.campaign, message));
                    }
                }
            }
            queues.retain(|queue| !queue.messages.is_empty());
        }
        self.namespaces.retain(|(_, queues)| !queues.is_empty());
        self.len -= taken.len();
        taken
    }

    /// The campaigns with waiting messages.
    pub fn campaigns(&self) -> impl Iterator<Item = CampaignIx> + '_ {
        self.namespaces.iter().flat_map(|(_, queues)| queues).map(|queue| queue.campaign)
    }

    /// Takes all messages, or those of one campaign.
    pub fn drain(&mut self, only: Option<CampaignIx>) -> Vec<(CampaignIx, ReadyMessage)> {
        let mut taken = Vec::new();
        for (_, queues) in &mut self.namespaces {
            queues.retain_mut(|queue| {
                let take = only.is_none_or(|campaign| campaign == queue.campaign);
                if take {
                    taken.extend(queue.messages.drain(..).map(|message| (queue.campaign, message)));
                }
                !take
            });
        }
        self.namespaces.retain(|(_, queues)| !queues.is_empty());
        self.len -= taken.len();
        taken
    }
}

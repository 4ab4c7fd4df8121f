//! Renders what a feeder has read.

use std::sync::Arc;

use super::{
    Asleep, DueMessage, Fed, Feeder, FeederSpec, Later, Link, MessageReference, ReadyMessage, Recipient, Refusals, RenderContext,
    RenderFailure, Subscription, message,
};

impl Feeder {
    /// Renders due messages; `count` of those that were handed over are done with.
    pub(super) fn render_due(&mut self, due: Vec<DueMessage>, count: usize) {
        let mut messages = Vec::with_capacity(due.len());
        for message in due {
            let attempt = message.attempt + 1;
            let rendered = match message.fields.as_deref().map(Recipient::from_json) {
                Some(Ok(recipient)) => {
                    if let Some(Asleep { first_ms, .. }) = self.asleep(&recipient) {
                        let (seq, recipient_of, fields) = (message.seq, message.recipient.into(), recipient.fields);
                        self.send(Fed::Later(Later { seq, recipient: recipient_of, fields, refusals: message.refusals, at_ms: first_ms }));
                        continue;
                    }
                    self.render(&recipient, Some(message.seq), attempt, Refusals::from_json(message.refusals.as_deref()))
                }
                Some(Err(error)) => Err(format!("the fields kept in the ledger cannot be read: {error}")),
                None => Err("the ledger kept no fields for this recipient".to_owned()),
            };
            match rendered {
                Ok(prepared) => messages.push(ReadyMessage { since_ms: message.since_ms, ..prepared }),
                Err(text) => {
                    self.send(Fed::RenderFailed(RenderFailure {
                        seq: Some(message.seq),
                        was_deferred: true,
                        recipient: message.recipient.into(),
                        message: text,
                    }));
                }
            }
        }
        self.send(Fed::Messages { messages, requested: 0, due: count });
    }

    /// The message to a recipient, or why its template fails.
    pub(super) fn render(
        &mut self,
        recipient: &Recipient,
        seq: Option<u64>,
        attempt: u32,
        refusals: Refusals,
    ) -> Result<ReadyMessage, String> {
        let clock = self.spec.clock;
        let window = self.clocks.as_mut().map(|clocks| clocks.window(&recipient.fields, clock.now_ms()));
        let intent = &self.spec.intent;
        let address: Arc<str> = recipient.address.as_str().into();
        let rcpt_to = match recipient.address.to_wire() {
            std::borrow::Cow::Borrowed(_) => address.clone(),
            std::borrow::Cow::Owned(wire) => wire.into(),
        };
        let domain = intent.work.from_address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let message_id =
            message::message_id(self.ledger.seed(), &self.spec.key.namespace, &self.spec.key.name, &intent.work.run, &address, domain);
        let subscription = self.spec.template.needs_link().then(|| self.subscription(recipient));
        let links = self.spec.links.as_ref().zip(subscription.as_ref());
        let link = links.and_then(|(links, subscription)| links.make(subscription, intent.mail_domain.as_deref()));
        let context = RenderContext {
            message_id: &message_id,
            date: jiff::Timestamp::now(),
            campaign: &self.spec.key.name,
            senders: intent.senders.as_ref(),
            link: link.as_ref().map(|(url, mailto)| Link { url, mailto: mailto.as_deref() }),
        };
        let rendered = self.spec.template.render(recipient, &context).map_err(|error| error.to_string())?;
        Ok(ReadyMessage {
            seq,
            attempt,
            recipient: address.clone(),
            rcpt_to,
            receiver: None,
            window,
            since_ms: None,
            fields: recipient.fields.clone(),
            refusals,
            content: rendered.content,
            needs_8bit: rendered.needs_8bit,
            needs_smtputf8: rendered.needs_smtputf8,
        })
    }

    /// What a recipient ends by the link.
    fn subscription(&self, recipient: &Recipient) -> Subscription {
        let FeederSpec { key, intent, run_id, .. } = &self.spec;
        let address = recipient.fields.address().as_str().into();
        let run = run_id.number().map(|run| (run, MessageReference::ledger_of(self.ledger.seed())));
        Subscription { namespace: key.namespace.clone(), topic: intent.work.topic.clone(), address, run }
    }
}

//! What SES says behind Amazon's signature, for [`crate::fuzzing`].

use super::webhook::SesWebhook;
use crate::{
    feedback::Event,
    meta::Key,
    providers::webhook::{Refused, WebhookCredentials},
};

/// The events of a message, as if Amazon had signed it.
///
/// # Errors
/// When it is not what SES writes.
pub fn events(message: &str) -> Result<Vec<Event>, Refused> {
    let credentials = WebhookCredentials { topic_arn: Some("arn:aws:sns:eu-west-1:1:x".to_owned()), ..WebhookCredentials::default() };
    let webhook = SesWebhook::new(&Key::new("shop", "vendor"), &credentials).map_err(|_| Refused::Unreadable("no topic"))?;
    webhook.events(message)
}

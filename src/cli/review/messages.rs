//! The messages of campaigns for an invented person: a pull request shows nobody's data, and a job reads no audience for it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    audience::Recipient,
    cli::{look::Parts, present::markdown::escaped, preview, validate},
    egress::Egress,
    message::{Link, RenderContext, Template, fields_named, message_id},
    resources::{Key, unsubscribe::Unsubscribe},
    source::Snapshot,
    token::unsubscribe::{Links, Subscription},
};

/// The address of the invented person.
const PERSON: &str = "person@example.com";

/// A campaign's message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The campaign.
    pub campaign: String,
    /// The message in Markdown, or why there is none.
    pub text: String,
    /// The same without its HTML.
    pub short: String,
}

/// The message of a campaign; none of one that is not there. It blocks.
#[must_use]
pub fn shown(key: &Key, snapshot: &Snapshot) -> Option<Message> {
    let sourced = snapshot.campaigns.get(key)?;
    let resolver = validate::resolver(key, sourced, snapshot, Egress::PublicOnly);
    let spec = &sourced.object.spec;
    let made = resolver.content(spec).map_err(|blocker| blocker.message).and_then(|content| {
        let faults = |faults: Vec<crate::message::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let template = Template::compile(&content).map_err(faults)?;
        let mut fields = Map::new();
        for field in fields_named(&content) {
            invent(&mut fields, &field.name, field.attribute.as_deref());
        }
        if let Some(field) = &content.variant_field {
            // The content itself.
            fields.insert(field.clone(), Value::from(""));
        }
        fields.insert("email".to_owned(), PERSON.into());
        let recipient = Recipient::from_json(&Value::Object(fields).to_string())?;
        let links = Links::sample(None);
        let topic = spec.unsubscribe.as_ref().and_then(Unsubscribe::topic).map(Into::into);
        let subscription = Subscription { namespace: key.namespace.clone(), topic, address: PERSON.into(), run: None };
        let link = links.make(&subscription, None);
        let link = link.as_ref().map(|(url, mailto)| Link { url, mailto: mailto.as_deref() });
        let domain = spec.from.address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let id = message_id(0, &key.namespace, &key.name, spec.run(), PERSON, domain);
        let context = RenderContext { message_id: &id, date: Timestamp::UNIX_EPOCH, campaign: &key.name, senders: None, link };
        let rendered = template.render_variant(None, &recipient, &context).map_err(|error| error.to_string())?;
        Parts::without_files(&rendered).ok_or_else(|| "the message cannot be read".to_owned())
    });
    let campaign = key.to_string();
    Some(match made {
        Ok(parts) => {
            let short = Parts { headers: parts.headers.clone(), text: parts.text.clone(), html: None };
            Message { text: in_markdown(&campaign, &parts), short: in_markdown(&campaign, &short), campaign }
        }
        Err(why) => {
            let text = format!("**{}**: no message can be shown for an invented person: {}\n", escaped(&campaign), escaped(&why));
            Message { short: text.clone(), text, campaign }
        }
    })
}

/// A value for a field, by which it is seen where it is printed.
fn invent(fields: &mut Map<String, Value>, name: &str, attribute: Option<&str>) {
    let value = |name: &str| Value::from(format!("⟨{name}⟩"));
    match attribute {
        None => {
            fields.entry(name.to_owned()).or_insert_with(|| value(name));
        }
        Some(attribute) => {
            let field = fields.entry(name.to_owned()).or_insert_with(|| json!({}));
            if !field.is_object() {
                *field = json!({});
            }
            field[attribute] = value(&format!("{name}.{attribute}"));
        }
    }
}

fn in_markdown(campaign: &str, parts: &Parts) -> String {
    let mut out = Vec::new();
    // Nothing fails that is written into memory.
    let _ = preview::as_markdown(&mut out, campaign, "an invented person", parts);
    let text = String::from_utf8_lossy(&out).into_owned();
    let heading = text.lines().next().unwrap_or_default().trim_start_matches('#').trim().to_owned();
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    format!("<details><summary>{heading}</summary>\n{rest}\n</details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_seen_where_they_are_printed() {
        let mut fields = Map::new();
        for (name, attribute) in [("name", None), ("address", None), ("address", Some("city")), ("name", None)] {
            invent(&mut fields, name, attribute);
        }
        assert_eq!(Value::Object(fields), json!({"name": "⟨name⟩", "address": {"city": "⟨address.city⟩"}}));
    }
}

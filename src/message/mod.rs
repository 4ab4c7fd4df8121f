use std::collections::BTreeMap;
use crate::{audience::Recipient, resources::{campaign::Mailbox, check::Fault}};
#[derive(Clone, Debug)]
pub struct Content { pub from: Mailbox, pub reply_to: Option<Mailbox>, pub subject: String, pub html: Option<String>, pub text: Option<String>, pub mjml: Option<String>, pub headers: BTreeMap<String,String>, pub unsubscribe_url: Option<String>, pub one_click: bool }
pub struct Template { content: Content }
pub struct RenderContext<'a> { pub message_id: &'a str, pub date: jiff::Timestamp, pub campaign: &'a str }
pub struct Rendered { pub content: Vec<u8>, pub needs_8bit: bool, pub needs_smtputf8: bool }
impl Template {
 pub fn compile(c: &Content) -> Result<Template, Vec<Fault>> { Ok(Template{content: c.clone()}) }
 pub fn render(&self, r: &Recipient, c: &RenderContext) -> Result<Rendered, String> { Ok(Rendered{content: format!("From: {}\r\nTo: {}\r\nSubject: {}\r\nMessage-ID: <{}>\r\n\r\n{}\r\n", self.content.from.address, r.address.as_str(), self.content.subject, c.message_id, self.content.text.as_deref().unwrap_or("")).into_bytes(), needs_8bit: false, needs_smtputf8: false}) }
}
pub fn message_id(seed: u64, ns: &str, c: &str, run: &str, r: &str, d: &str) -> String { format!("{seed:x}.{ns}.{c}.{run}.{}@{d}", r.replace('@', ".")) }

//! Which variant of a campaign's content its recipients get, and messages in a variant that a person asks for.

use std::ops::ControlFlow;

use super::{Look, Made, Stop, Whose};
use crate::{
    audience::Recipient,
    message::{CONTENT_ITSELF, Choice, Chooser},
};

impl Look {
    /// Whether recipients get different variants.
    pub fn has_variants(&self) -> bool {
        self.template.chooser().field().is_some()
    }

    /// The names of the variants.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        self.template.chooser().names()
    }

    /// The field of the audience that chooses the variant.
    pub fn variant_field(&self) -> Option<&str> {
        self.template.chooser().field()
    }

    /// The variant of a recipient.
    pub fn choice(&self, recipient: &Recipient) -> Choice<'_> {
        self.template.chooser().choose(&recipient.fields)
    }

    /// The same in words; absent in a campaign without variants.
    pub fn choice_in_words(&self, recipient: &Recipient) -> Option<String> {
        let field = self.variant_field()?;
        Some(match self.choice(recipient) {
            Choice::Variant(name) => name.to_owned(),
            Choice::Content => format!("none ({field} is empty)"),
            Choice::Unmatched(value) => format!("none (no variant for {field} {value})"),
        })
    }

    /// The variant that a person asks for; `None` is the content itself.
    fn variant_named(&self, name: &str) -> Result<Option<&str>, Stop> {
        if name.eq_ignore_ascii_case(CONTENT_ITSELF) {
            return Ok(None);
        }
        self.variants().find(|other| Chooser::are_same(other, name)).map(Some).ok_or_else(|| {
            let names: Vec<&str> = self.variants().chain([CONTENT_ITSELF]).collect();
            let has = if self.has_variants() { format!("; there are {}", names.join(", ")) } else { " and no other".to_owned() };
            Stop::configuration(format!("campaign {} has no variant `{name}`{has}", self.key))
        })
    }

    /// The first recipients who get a variant; if nobody does, the first of all.
    fn first_of(&self, variant: Option<&str>, count: usize, runtime: &tokio::runtime::Handle) -> Result<Vec<Recipient>, Stop> {
        let mut found = Vec::new();
        self.each(runtime, |recipient| {
            if self.choice(&recipient).variant() == variant {
                found.push(recipient);
            }
            if found.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if found.is_empty() { self.recipients(&Whose::First(count), runtime) } else { Ok(found) }
    }
}

/// Makes each message of the recipients; with a variant, those of the first who get it, or else in that variant.
pub(in crate::cli) fn made(
    look: &Look,
    whose: &Whose,
    variant: Option<&str>,
    run: &str,
    runtime: &tokio::runtime::Handle,
) -> Result<Vec<Made>, Stop> {
    let wanted = variant.map(|name| look.variant_named(name)).transpose()?;
    let recipients = match (wanted, whose) {
        (Some(wanted), Whose::First(count)) => look.first_of(wanted, *count, runtime)?,
        _ => look.recipients(whose, runtime)?,
    };
    let made = recipients.into_iter().map(|recipient| {
        let own = look.choice(&recipient).variant();
        let as_variant = wanted.unwrap_or(own);
        let gets = look.choice_in_words(&recipient);
        let variant = match gets {
            Some(gets) if as_variant != own => Some(format!("{}; this recipient gets {gets}", as_variant.unwrap_or("none"))),
            gets => gets,
        };
        Ok(Made { rendered: look.message_in(as_variant, &recipient, run)?, variant, recipient })
    });
    made.collect()
}

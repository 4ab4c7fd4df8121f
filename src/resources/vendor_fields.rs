//! Header fields by which a message controls a vendor or a relay's software in the account of the server's owner: additional
//! recipients, the signing domain, another template. Pure.

/// Fields of one vendor or one software.
struct Fields {
    /// The vendor or software, for people.
    of: &'static str,
    /// The lowercase prefix of their names.
    prefix: &'static str,
    /// The rest of those names that only label the message or track its readers.
    labels: &'static [&'static str],
}

/// From the pages on SMTP headers of each, as of 2026: twilio.com/docs/sendgrid (X-SMTPAPI), docs.aws.amazon.com/ses (sending
/// authorization, event publishing), documentation.mailgun.com (sending options), mailchimp.com/developer (SMTP headers),
/// developers.sparkpost.com (SMTP API), postmarkapp.com/developer (SMTP), dev.mailjet.com (custom headers), mailerq.com (MIME
/// headers), the PowerMTA user's guide and greenarrowemail.com/docs (X-headers).
const KNOWN: &[Fields] = &[
    Fields { of: "SendGrid", prefix: "x-smtpapi", labels: &[] },
    Fields { of: "Amazon SES", prefix: "x-ses-", labels: &["message-tags"] },
    Fields { of: "Mailgun", prefix: "x-mailgun-", labels: &["tag", "track", "track-clicks", "track-opens", "variables"] },
    Fields { of: "Mandrill", prefix: "x-mc-", labels: &["tags", "track", "metadata", "autotext", "important"] },
    Fields { of: "SparkPost", prefix: "x-msys-", labels: &[] },
    Fields { of: "Postmark", prefix: "x-pm-", labels: &["tag", "track-opens", "trackopens", "tracklinks"] },
    Fields { of: "Mailjet", prefix: "x-mj-", labels: &["customid", "eventpayload"] },
    Fields { of: "Mailjet", prefix: "x-mailjet-", labels: &["campaign", "trackopen", "trackclick"] },
    Fields { of: "Elastic Email", prefix: "x-elasticemail", labels: &[] },
    Fields { of: "MailerQ", prefix: "x-mq-", labels: &["tag"] },
    Fields { of: "PowerMTA", prefix: "x-virtual-mta", labels: &[] },
    Fields { of: "GreenArrow", prefix: "x-greenarrow-", labels: &[] },
];

/// Fields of metadata that a vendor stores with a message.
const METADATA: &[&str] = &["x-pm-metadata-"];

/// The vendor that a header field of this name controls, if any.
#[must_use]
pub fn gives_orders_to(field: &str) -> Option<&'static str> {
    let field = field.to_ascii_lowercase();
    if METADATA.iter().any(|prefix| field.starts_with(prefix)) {
        return None;
    }
    let found = KNOWN.iter().find_map(|fields| Some((fields, field.strip_prefix(fields.prefix)?)));
    found.filter(|(fields, rest)| !fields.labels.contains(rest)).map(|(fields, _)| fields.of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_from_labels() {
        for (field, of) in [
            ("X-SMTPAPI", "SendGrid"),
            ("x-smtpapi", "SendGrid"),
            ("X-SES-SOURCE-ARN", "Amazon SES"),
            ("X-SES-CONFIGURATION-SET", "Amazon SES"),
            ("X-Mailgun-Secondary-DKIM", "Mailgun"),
            ("X-Mailgun-Recipient-Variables", "Mailgun"),
            ("X-MC-SigningDomain", "Mandrill"),
            ("X-MC-BccAddress", "Mandrill"),
            ("X-MSYS-API", "SparkPost"),
            ("X-PM-Message-Stream", "Postmark"),
            ("X-MJ-TemplateErrorReporting", "Mailjet"),
            ("x-mq-envelope", "MailerQ"),
            ("X-Virtual-MTA", "PowerMTA"),
        ] {
            assert_eq!(gives_orders_to(field), Some(of), "{field}");
        }
        for field in [
            "X-PM-Tag",
            "X-PM-Metadata-Customer",
            "X-Mailgun-Tag",
            "X-MC-Tags",
            "X-MJ-CustomID",
            "X-SES-MESSAGE-TAGS",
            "X-Campaign",
            "List-Id",
        ] {
            assert_eq!(gives_orders_to(field), None, "{field}");
        }
    }
}

//! The SMTP endpoints of vendors: host, port, login and what one connection takes, so that nobody has to look them up.
//!
//! Sources: docs.aws.amazon.com/ses "Using the SMTP interface"; docs.sendgrid.com "Integrating with the SMTP API";
//! documentation.mailgun.com "Sending via SMTP"; developers.sparkpost.com "SMTP API"; help.elasticemail.com "SMTP settings";
//! postmarkapp.com/developer "Send email with SMTP"; developers.brevo.com "SMTP integration".

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mechanism, auth::Login};
use crate::{
    dkim::Fields,
    meta::secret::SecretValue,
    providers::signing::{self, Signing},
};

/// A vendor's SMTP endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// Amazon SES; needs `region`. Secret: `accessKeyId` and `secretAccessKey` of an IAM user that is allowed ses:SendRawEmail, or `username` and `password` created in the SES console.
    Ses,
    /// Twilio SendGrid. Secret: `apiKey`.
    SendGrid,
    /// Mailgun; `region` US or EU. Secret: `username` (postmaster@DOMAIN) and `password`.
    Mailgun,
    /// SparkPost; `region` US or EU. Secret: `apiKey`, with Send via SMTP.
    SparkPost,
    /// Elastic Email. Secret: `username` and `password` of an SMTP credential.
    ElasticEmail,
    /// Postmark, transactional; for broadcasts set `host: smtp-broadcasts.postmarkapp.com`. Secret: `serverToken`.
    Postmark,
    /// Brevo. Secret: `username` and `password`, which is the SMTP key and not the API key.
    Brevo,
}

/// How a vendor's login is made from a Secret.
enum Keys {
    /// `username` and `password`.
    Password,
    /// A fixed user, and a key as the password.
    Key(&'static str, &'static str),
    /// A key as both.
    Twice(&'static str),
    /// AWS's pair, or `username` and `password`.
    Aws,
}

impl Preset {
    pub const ALL: [Self; 7] = [Self::Ses, Self::SendGrid, Self::Mailgun, Self::SparkPost, Self::ElasticEmail, Self::Postmark, Self::Brevo];

    /// The word in the YAML.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ses => "Ses",
            Self::SendGrid => "SendGrid",
            Self::Mailgun => "Mailgun",
            Self::SparkPost => "SparkPost",
            Self::ElasticEmail => "ElasticEmail",
            Self::Postmark => "Postmark",
            Self::Brevo => "Brevo",
        }
    }

    /// The vendor at this host.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let is_at = |preset: &Self| ["US", "EU"].iter().any(|region| preset.host(Some(region)) == host);
        let is_ses = host.starts_with("email-smtp.") && host.ends_with(".amazonaws.com");
        if is_ses { Some(Self::Ses) } else { Self::ALL.into_iter().find(is_at) }
    }

    /// Who signs what goes through the vendor.
    #[must_use]
    pub const fn signing(self) -> Signing {
        match self {
            Self::Ses | Self::Mailgun | Self::SparkPost => Signing::Ours(&Fields::REDATED),
            Self::SendGrid | Self::ElasticEmail | Self::Postmark | Self::Brevo => signing::REWRITTEN,
        }
    }

    /// The host for a region; all of them use port 587 with STARTTLS.
    #[must_use]
    pub fn host(self, region: Option<&str>) -> String {
        let is_eu = region == Some("EU");
        match self {
            Self::Ses => format!("email-smtp.{}.amazonaws.com", region.unwrap_or("us-east-1")),
            Self::SendGrid => "smtp.sendgrid.net".to_owned(),
            Self::Mailgun if is_eu => "smtp.eu.mailgun.org".to_owned(),
            Self::Mailgun => "smtp.mailgun.org".to_owned(),
            Self::SparkPost if is_eu => "smtp.eu.sparkpostmail.com".to_owned(),
            Self::SparkPost => "smtp.sparkpostmail.com".to_owned(),
            Self::ElasticEmail => "smtp.elasticemail.com".to_owned(),
            Self::Postmark => "smtp.postmarkapp.com".to_owned(),
            Self::Brevo => "smtp-relay.brevo.com".to_owned(),
        }
    }

    /// Messages that the vendor accepts over one connection; none where it sets no limit.
    #[must_use]
    pub const fn messages_per_connection(self) -> Option<u32> {
        match self {
            Self::SparkPost => Some(100),
            Self::SendGrid => Some(5000),
            _ => None,
        }
    }

    /// The mechanism that the vendor requires; none where the strongest common one is used.
    #[must_use]
    pub const fn mechanism(self) -> Option<Mechanism> {
        match self {
            Self::SparkPost => Some(Mechanism::Login),
            _ => None,
        }
    }

    const fn keys(self) -> Keys {
        match self {
            Self::SendGrid => Keys::Key("apikey", "apiKey"),
            Self::SparkPost => Keys::Key("SMTP_Injection", "apiKey"),
            Self::Postmark => Keys::Twice("serverToken"),
            Self::Ses => Keys::Aws,
            Self::Mailgun | Self::ElasticEmail | Self::Brevo => Keys::Password,
        }
    }

    /// The keys of the Secret that are read, and whether each may be absent.
    #[must_use]
    pub const fn secret_keys(self) -> &'static [(&'static str, bool)] {
        match self.keys() {
            Keys::Password => &[("username", false), ("password", false)],
            Keys::Key(..) => &[("apiKey", false)],
            Keys::Twice(_) => &[("serverToken", false)],
            Keys::Aws => &[("username", true), ("password", true), ("accessKeyId", true), ("secretAccessKey", true)],
        }
    }

    /// The login, from what `get` finds in the Secret.
    ///
    /// # Errors
    /// Those of `get`, and of `missing`, which names the key that is needed where several would do.
    pub fn login<E>(
        self,
        region: Option<&str>,
        mechanism: Option<Mechanism>,
        get: impl Fn(&str) -> Result<Option<SecretValue>, E>,
        missing: impl Fn(&str) -> E,
    ) -> Result<Login, E> {
        let need = |key: &str| get(key)?.ok_or_else(|| missing(key));
        let text = |value: &SecretValue| value.expose_text().unwrap_or_default().to_owned();
        let (username, secret) = match self.keys() {
            Keys::Password => (text(&need("username")?), need("password")?),
            Keys::Key(user, key) => (user.to_owned(), need(key)?),
            Keys::Twice(key) => {
                let value = need(key)?;
                (text(&value), value)
            }
            Keys::Aws => {
                if let (Some(username), Some(password)) = (get("username")?, get("password")?) {
                    (text(&username), password)
                } else {
                    let (id, secret) = (need("accessKeyId")?, need("secretAccessKey")?);
                    (text(&id), ses_password(&text(&secret), region.unwrap_or("us-east-1")))
                }
            }
        };
        Ok(Login { username, secret, is_token: false, mechanism: mechanism.or(self.mechanism()) })
    }
}

/// The SMTP password derived from an AWS secret access key, valid for one region: AWS's signature chain (version 4) over
/// `SendRawEmail`, with the version byte before it.
///
/// Source: docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html, "Obtaining SES SMTP credentials by converting".
#[must_use]
pub fn ses_password(secret_access_key: &str, region: &str) -> SecretValue {
    let mut key = format!("AWS4{secret_access_key}").into_bytes();
    for part in ["11111111", region, "ses", "aws4_request", "SendRawEmail"] {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    key.insert(0, 0x04);
    SecretValue::new(STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ses_password_is_that_of_the_region() {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        for (region, password) in
            [("us-east-1", "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"), ("eu-west-1", "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk")]
        {
            assert_eq!(ses_password(secret, region).expose_text(), Some(password));
        }
    }

    #[test]
    fn every_preset_has_its_endpoint_and_login() {
        let secret = |key: &str| -> Result<Option<SecretValue>, String> {
            Ok(match key {
                "apiKey" => Some(SecretValue::new("key-1")),
                "serverToken" => Some(SecretValue::new("token-1")),
                "accessKeyId" => Some(SecretValue::new("AKIA1")),
                "secretAccessKey" => Some(SecretValue::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")),
                _ => None,
            })
        };
        let with_password = |key: &str| -> Result<Option<SecretValue>, String> {
            Ok(match key {
                "username" => Some(SecretValue::new("ann")),
                "password" => Some(SecretValue::new("pass")),
                _ => None,
            })
        };
        let missing = |key: &str| format!("{key} is missing");
        for (preset, region, host, user, password) in [
            (Preset::Ses, Some("eu-west-1"), "email-smtp.eu-west-1.amazonaws.com", "AKIA1", "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk"),
            (Preset::SendGrid, None, "smtp.sendgrid.net", "apikey", "key-1"),
            (Preset::SparkPost, Some("EU"), "smtp.eu.sparkpostmail.com", "SMTP_Injection", "key-1"),
            (Preset::SparkPost, None, "smtp.sparkpostmail.com", "SMTP_Injection", "key-1"),
            (Preset::Postmark, None, "smtp.postmarkapp.com", "token-1", "token-1"),
        ] {
            let login = preset.login(region, None, secret, missing).unwrap();
            assert_eq!((preset.host(region).as_str(), login.username.as_str(), login.secret.expose_text()), (host, user, Some(password)));
        }
        for (preset, region, host) in [
            (Preset::Ses, Some("us-east-1"), "email-smtp.us-east-1.amazonaws.com"),
            (Preset::Mailgun, None, "smtp.mailgun.org"),
            (Preset::Mailgun, Some("EU"), "smtp.eu.mailgun.org"),
            (Preset::ElasticEmail, None, "smtp.elasticemail.com"),
            (Preset::Brevo, None, "smtp-relay.brevo.com"),
        ] {
            let login = preset.login(region, None, with_password, missing).unwrap();
            assert_eq!((preset.host(region).as_str(), login.username.as_str(), login.secret.expose_text()), (host, "ann", Some("pass")));
            assert_eq!(
                preset.login(region, None, |_| Ok(None), missing).err(),
                Some(missing(if preset == Preset::Ses { "accessKeyId" } else { "username" }))
            );
        }
        assert_eq!(Preset::SparkPost.login(None, None, secret, missing).unwrap().mechanism, Some(Mechanism::Login));
        assert_eq!(Preset::ALL.map(Preset::messages_per_connection), [None, Some(5000), None, Some(100), None, None, None]);
        for preset in Preset::ALL {
            assert_eq!(serde_json::to_value(preset).unwrap(), preset.as_str());
        }
    }
}

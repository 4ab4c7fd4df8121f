//! What SES's answers mean. Pure.

use serde::Deserialize;

use super::SesApi;
use crate::{
    meta::{Duration, Rate, Reason},
    providers::{
        Blocker, Outgoing, Probed, Quota, Scope, api,
        diagnose::Endpoint,
        http::Reply,
        verdict::{Judge, NotTaken, Word},
    },
};

/// Where the words for people are; services in front of SES capitalise the key.
pub const SAID: &[&str] = &["/message", "/Message"];

/// The type of an error, from a header or the body, without the namespace before it and the URL after it.
fn kind(reply: &Reply<'_>) -> String {
    let said = reply.header("x-amzn-errortype").map(str::to_owned).or_else(|| reply.text("/__type")).or_else(|| reply.text("/code"));
    let said = said.unwrap_or_default();
    said.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned()
}

/// What is wrong with the key, the account or the quota; none where the message or the operation is at fault. `actions` are
/// what the policy must allow.
fn of_account_at_large(reply: &Reply<'_>, kind: &str, actions: &str) -> Option<Blocker> {
    let for_person = |reason, to_do: &str| Some(reply.fail(reason, to_do).for_person());
    match kind {
        "RequestExpired" | "RequestTimeTooSkewed" => for_person(Reason::AuthenticationFailed, CLOCK),
        "SignatureDoesNotMatch" | "InvalidSignatureException"
            if ["expired", "not yet current", "skew"].iter().any(|word| reply.mentions(word)) =>
        {
            for_person(Reason::AuthenticationFailed, CLOCK)
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            for_person(Reason::AuthenticationFailed, "The session token has expired: put new temporary credentials into the Secret.")
        }
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "InvalidAccessKeyId"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => for_person(
            Reason::AuthenticationFailed,
            "Correct accessKeyId and secretAccessKey in the Secret; the key may have been deleted.",
        ),
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" => {
            for_person(Reason::PermissionDenied, &format!("Allow {actions} in a policy of the key's user or role."))
        }
        "AccountSuspendedException" => {
            for_person(Reason::AccountSuspended, "Ask AWS why the account may not send, in the console's Support Center.")
        }
        "SendingPausedException" | "AccountSendingPausedException" | "ConfigurationSetSendingPausedException" => {
            for_person(Reason::SendingPaused, "Enable sending again for the account or the configuration set, in SES's console.")
        }
        "OptInRequired" | "SubscriptionRequiredException" => {
            for_person(Reason::PermissionDenied, "Activate SES for the account in the console.")
        }
        "LimitExceededException" => Some(reply.fail(Reason::QuotaExceeded, "Raise the quota in the console's Service Quotas, or wait.")),
        "TooManyRequestsException" | "ThrottlingException" | "Throttling" if reply.mentions("daily") || reply.mentions("quota") => {
            Some(reply.fail(Reason::QuotaExceeded, "SES counts over 24 hours: wait, or raise the quota in the console."))
        }
        "TooManyRequestsException" | "ThrottlingException" | "Throttling" => {
            Some(reply.fail(Reason::Throttled, "Lower limits.rates or limits.connections, or raise the sending rate in the console."))
        }
        _ => None,
    }
}

const CLOCK: &str = "The signature's time is wrong: correct this machine's clock.";

impl Judge for SesApi {
    const PERMISSION: &'static str = "ses:SendEmail and ses:SendRawEmail";

    fn taken(&self, reply: &Reply<'_>, _asked: &[&Outgoing]) -> Option<Word> {
        reply.taken_as("/MessageId").map(Word::Together)
    }

    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        let kind = kind(reply);
        if let Some(failure) = of_account_at_large(reply, &kind, Self::PERMISSION) {
            return Some(NotTaken::Failed(failure));
        }
        match (reply.status(), kind.as_str()) {
            (_, "MessageRejected" | "MessageRejectedException") => self.rejected(reply, asked),
            (_, "MailFromDomainNotVerifiedException") => {
                Some(reply.refuse_sender("Set the MX record of the custom MAIL FROM domain, or remove it from the identity."))
            }
            (404, _) => reply.failed_for_person(Reason::NotFoundAtVendor, "Check configurationSet, identityArn and region."),
            (400, "BadRequestException" | "InvalidParameterValue" | "ValidationException") => {
                // An address that is not said to be the recipient's may be the sender's, which concerns every message.
                if reply.names_recipient(asked) {
                    Some(reply.refuse(Scope::Recipient))
                } else if reply.mentions_any(&["header", "message length", "too long", "size"]) {
                    Some(reply.refuse(Scope::Message))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        !kind(reply).is_empty() && reply.json.is_object()
    }
}

impl SesApi {
    /// `MessageRejected`, which is said of the account, the sender, the recipient and the content alike.
    fn rejected(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        if reply.mentions("suspended") {
            return reply
                .failed_for_person(Reason::AccountSuspended, "Ask AWS why the account may not send, in the console's Support Center.");
        }
        if reply.mentions_any(&["paused", "shut down"]) {
            return reply.failed_for_person(Reason::SendingPaused, "Enable sending again for the account, in SES's console.");
        }
        if reply.mentions_any(&["not verified", "authority"]) {
            // The words name the identities that failed; in the sandbox that can be the recipient's.
            return match (reply.names_recipient(asked), self.allows_sandbox()) {
                (true, true) => Some(reply.refuse(Scope::Recipient)),
                (true, false) => reply.failed_for_person(
                    Reason::SandboxOnly,
                    "The account is in the sandbox and can only send to verified addresses: ask AWS for production access.",
                ),
                (false, _) => {
                    Some(reply.refuse_sender("Verify the From address or its domain in this region (SES's console, Identities)."))
                }
            };
        }
        if reply.mentions_any(&["virus", "content", "illegal", "attachment"]) {
            return Some(reply.refuse_content("Check the campaign's content and attachments; other servers may accept it."));
        }
        reply.names_recipient(asked).then(|| reply.refuse(Scope::Recipient))
    }
}

/// The account, as GetAccount returns it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    sending_enabled: bool,
    #[serde(default)]
    production_access_enabled: bool,
    enforcement_status: Option<String>,
    send_quota: Option<SendQuota>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SendQuota {
    #[serde(rename = "Max24HourSend")]
    per_day: f64,
    #[serde(rename = "MaxSendRate")]
    per_second: f64,
    #[serde(rename = "SentLast24Hours")]
    sent: f64,
}

/// What the answer to the probe says.
pub fn of_probe(reply: &Reply<'_>, allow_sandbox: bool, endpoint: &Endpoint) -> Result<Probed, Blocker> {
    if reply.status() == 200
        && let Ok(account) = Account::deserialize(&reply.json)
    {
        return of_account(&account, allow_sandbox, endpoint);
    }
    Err(of_account_at_large(reply, &kind(reply), "ses:GetAccount").unwrap_or_else(|| api::probe_failure(reply)))
}

/// What the account's own state says.
fn of_account(account: &Account, allow_sandbox: bool, endpoint: &Endpoint) -> Result<Probed, Blocker> {
    let failed = |reason, what: &str, to_do: &str| Err(endpoint.connection(reason, what, to_do).for_person());
    if account.enforcement_status.as_deref() == Some("SHUTDOWN") {
        return failed(
            Reason::AccountSuspended,
            "AWS has shut down sending for the account",
            "See the console's Support Center for the reason.",
        );
    }
    if !account.sending_enabled {
        return failed(Reason::SendingPaused, "sending is paused for the account in this region", "Enable it in SES's console.");
    }
    if !account.production_access_enabled && !allow_sandbox {
        let to_do = "Ask AWS for production access, or set allowSandbox.";
        return failed(Reason::SandboxOnly, "the account is in this region's sandbox and can only send to verified addresses", to_do);
    }
    let quotas = account.send_quota.as_ref().map(|quota| quotas(quota.per_day, quota.per_second, quota.sent)).unwrap_or_default();
    Ok(Probed { quotas, ..Probed::default() })
}

/// The windows of a quota; -1 is none.
fn quotas(per_day: f64, per_second: f64, sent: f64) -> Vec<Quota> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded, and whole numbers are meant")]
    let window = |most: f64, per: Duration, used: f64| {
        (most >= 1.0).then(|| Quota { rate: Rate { messages: most.min(1e9) as u64, per }, used: used.clamp(0.0, 1e9) as u64 })
    };
    [window(per_day, Duration::from_secs(24 * 3600), sent), window(per_second, Duration::from_secs(1), 0.0)].into_iter().flatten().collect()
}

/// A host that does not resolve is a region without SES.
pub fn of_region(failure: Blocker, endpoint: &Endpoint) -> Blocker {
    if failure.reason == Reason::NameNotResolved {
        return endpoint.connection(
            Reason::NameNotResolved,
            "the host name does not resolve",
            "Check region (SES is not available in all of them), endpoint and DNS.",
        );
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_of_minus_one_is_none_and_fractions_of_a_message_do_not_count() {
        let day = Quota { rate: Rate { messages: 50_000, per: Duration::from_secs(86400) }, used: 49_999 };
        let second = Quota { rate: Rate { messages: 14, per: Duration::from_secs(1) }, used: 0 };
        assert_eq!(quotas(50_000.0, 14.7, 49_999.0), [day, second]);
        assert_eq!(quotas(-1.0, 14.0, 12.0), [second]);
        assert_eq!(quotas(0.0, 0.0, 0.0), []);
    }
}

//! Lines about the login and the account behind it.

use super::line::{Cause, DELIVERY, MESSAGE, OPENING, SMTP, coded, said};
use crate::{meta::Reason, providers::Stage};

const LOGIN: &str = "The server requires a login: set auth to a Secret that it accepts.";
const CREDENTIALS: &str = "The login was rejected: correct username and password (or token) in the Secret.";
const SUSPENDED: &str = "The account is suspended or blocked from sending: ask the vendor, or look for the reason in its console.";

pub const CAUSES: &[Cause] = &[
    Cause::server(
        "an application password is required",
        Reason::AuthenticationFailed,
        "The account requires a password for programs (application password, authorization code): create one, and put it in the Secret.",
        &[
            said(&["application-specific password required"], "Gmail, 534 5.7.9"),
            said(&["application password is required"], "Mail.ru, 535"),
            said(&["application password"], "Mail.ru, Yandex").at(OPENING),
            said(&["app password"], "Yahoo, AOL, Fastmail").at(OPENING),
            said(&["enter your authorization code"], "Tencent QQ, 535"),
            said(&["authorization code"], "NetEase 163").at(OPENING),
            said(&["log in via your web browser"], "Gmail, 534 5.7.14"),
            said(&["please log in with your web browser"], "Gmail, 534 5.7.14"),
        ],
    )
    .for_person(),
    Cause::server(
        "SMTP login is disabled",
        Reason::AuthenticationFailed,
        "SMTP login is disabled for the account: enable SMTP AUTH at the vendor (Exchange: tenant and mailbox), or use XOAUTH2.",
        &[
            said(&["smtpclientauthentication is disabled"], "Exchange Online, 5.7.139"),
            said(&["basic authentication is disabled"], "Exchange Online, 5.7.139"),
            said(&["smtp auth* is disabled"], "Exchange Online"),
            said(&["user has no permission"], "NetEase 163, 550"),
            said(&["does not have access rights to this service"], "Yandex, 535 5.7.8"),
            said(&["blocked by your organization's policy"], "Exchange Online, 5.7.3"),
        ],
    )
    .for_person(),
    Cause::server(
        "a login is required",
        Reason::AuthenticationFailed,
        LOGIN,
        &[
            said(&["authentication required"], "RFC 4954, 530; SES; Exim").at(SMTP),
            said(&["authentication is required"], "NetEase 163, 553").at(SMTP),
            said(&["requires authentication"], "MailEnable, hMailServer").at(SMTP),
            said(&["auth* required"], "GMX, T-Online, Sendmail").at(SMTP),
            said(&["must authenticate"], "common wording").at(SMTP),
            said(&["must be authenticated"], "common wording").at(SMTP),
            said(&["need to authenticate"], "common wording").at(SMTP),
            said(&["please authenticate"], "Courier, OpenSMTPD").at(SMTP),
            said(&["authenticate first"], "common wording").at(SMTP),
            said(&["log in first"], "MDaemon").at(SMTP),
            said(&["not authenticated to send"], "Exchange, 5.7.57"),
            said(&["client was not authenticated"], "Exchange, 5.7.1 and 5.7.57"),
            said(&["unauthenticated senders not allowed"], "SendGrid, 550"),
            said(&["turn on smtp authentication"], "Exim of cPanel"),
            said(&["smtp authentication"], "Exim of cPanel, qmail patches").at(MESSAGE),
            said(&["without authentication"], "Exim of cPanel").at(MESSAGE),
            said(&["proper authentication required"], "Sendmail").at(SMTP),
            said(&["you are not authenticated"], "common wording").at(SMTP),
            said(&["sender is not authenticated"], "MDaemon, Infomaniak").at(MESSAGE),
            said(&["first authenticate"], "Mailjet, panels").at(SMTP),
            said(&["only authenticated users"], "Haraka, JAMES").at(SMTP),
            said(&["authenticated users only"], "JAMES").at(SMTP),
        ],
    )
    .for_person(),
    Cause::server(
        "the login is rejected",
        Reason::AuthenticationFailed,
        CREDENTIALS,
        &[
            said(&["username and password not accepted"], "Gmail, 5.7.8"),
            said(&["authentication credentials invalid"], "SES, GMX, 535"),
            said(&["account not subscribed to ses"], "Amazon SES, 535"),
            said(&["invalid login or password"], "Mailtrap, 535"),
            said(&["bad username / password"], "SendGrid, 535"),
            said(&["is not loving your login or password"], "Mailgun, 535"),
        ],
    )
    .for_person(),
    Cause::server(
        "a permission is missing",
        Reason::PermissionDenied,
        "The login is not allowed to do this: grant it the permission that the reply names.",
        &[
            said(&["is not authorized to perform"], "Amazon SES, 554 Access denied"),
            said(&["unauthorized to send", "api key"], "SendGrid, SparkPost"),
            said(&["does not have permission", "send"], "SparkPost, Mailjet"),
        ],
    )
    .for_person(),
    Cause::server(
        "sending is paused",
        Reason::SendingPaused,
        "The vendor has paused sending for this account: its console, or its email to the account, says why.",
        &[
            said(&["sending paused for this account"], "Amazon SES, 554"),
            said(&["sending is paused"], "Amazon SES"),
            said(&["configuration set", "paused"], "Amazon SES"),
        ],
    )
    .for_person(),
    Cause::server(
        "the account is suspended",
        Reason::AccountSuspended,
        SUSPENDED,
        &[
            said(&["sending suspended for this account"], "Amazon SES, 554"),
            said(&["outgoing mail from", "suspended"], "Exim of cPanel, 550 5.7.1"),
            said(&["account", "suspended", "!recipient"], "Mailgun, Mailjet, SMTP2GO").at(OPENING),
            said(&["your account", "suspended"], "SMTP2GO, Mailjet, Zoho"),
            said(&["your account", "blocked"], "Brevo, Mailjet"),
            said(&["your account", "disabled"], "Mailgun, Mailjet"),
            said(&["your account", "not activated"], "Brevo, SMTP"),
            said(&["account is not yet activated"], "Brevo, 502"),
            said(&["account has been temporarily blocked"], "Mailjet, Zoho"),
            said(&["user account disabled"], "RFC 5248, 525").at(OPENING),
            said(&["account disabled"], "Mailgun").at(OPENING),
            said(&["bad outbound sender"], "Exchange Online, 5.1.8"),
            said(&["spam abuse detected"], "Exchange Online, 5.7.501"),
            said(&["unusual sending activity detected"], "Zoho, 550 5.4.6"),
            said(&["tenant has exceeded threshold"], "Exchange Online, 5.7.705"),
            said(&["business verification"], "Mailgun"),
            said(&["account is probationary"], "Mailgun"),
        ],
    )
    .for_person(),
    Cause::unclear(
        "the account is in a sandbox",
        Reason::SandboxOnly,
        "The account can only send to verified recipients: ask the vendor for production access, or verify the recipient.",
        &[
            said(&["email address is not verified", "failed the check", "{recipient}"], "Amazon SES, 554"),
            said(&["sandbox subdomains are for test purposes only"], "Mailgun"),
            said(&["free accounts are for test purposes only"], "Mailgun"),
            said(&["authorized recipients"], "Mailgun"),
            said(&["you can only send testing emails to your own"], "Resend, 550"),
            said(&["demo domain"], "Mailtrap, MailerSend"),
            said(&["trial account", "recipient*"], "MailerSend"),
        ],
    )
    .for_person(),
    Cause::server(
        "something does not exist at the vendor",
        Reason::NotFoundAtVendor,
        "The vendor does not have what the message names: correct the header or the field that names it.",
        &[said(&["configuration set", "does not exist"], "Amazon SES, 554"), said(&["no inbox found"], "Mailtrap, 554")],
    )
    .for_person(),
    Cause::server(
        "an enhanced code about the account",
        Reason::AccountSuspended,
        SUSPENDED,
        &[
            coded(&["5.7.501", "5.7.502", "5.7.503", "5.7.705"], "Exchange Online, banned accounts").at(MESSAGE),
            coded(&["7.13"], "RFC 5248, user account disabled").at(OPENING),
            coded(&["5.7.708"], "Exchange Online, low reputation of a new tenant").at(DELIVERY),
        ],
    )
    .for_person(),
    Cause::server(
        "a code about the login",
        Reason::AuthenticationFailed,
        LOGIN,
        &[
            said(&[], "RFC 4954, 530, 534, 535 and 538").at(MESSAGE).with(&[530, 534, 535, 538]),
            coded(&["5.7.57"], "Exchange, not authenticated").at(MESSAGE),
            coded(&["7.8", "7.12"], "RFC 4954").at(&[Stage::Mail]),
            coded(&["7.9"], "RFC 4954").at(&[Stage::Mail]),
        ],
    )
    .for_person(),
];

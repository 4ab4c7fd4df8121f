//! Lines about the campaign's content, or about this one message's size and format.

use super::line::{Cause, DELIVERY, FORMAT, MESSAGE, SMTP, coded, said};
use crate::providers::Stage;

const SPAM: &str = "The server considers the content spam: check subject, links and text (`mailfleet run --dry-run` shows the messages), or ask its operator.";
const ALIGNMENT: &str = "The server finds no SPF or DKIM aligned with the From address: set up DKIM signing for its domain at this server, and include the server in its SPF record.";
const FORM: &str = "The server does not accept the message's format: check the headers and parts that the campaign adds.";
const POLICY: &str = "The server's policy forbids this message: ask its operator which rule applies.";

/// Said about links in the content, in words that are otherwise about our address.
pub const FIRST: &[Cause] = &[Cause::content(
    "a link on a block list",
    "A link in the content is on a block list: remove it, or have its domain delisted.",
    &[
        said(&["url", "listed*"], "SpamRL, KumoMTA community/bounces.toml").at(DELIVERY),
        said(&["url", "block*"], "Barracuda, Trend Micro").at(DELIVERY),
        said(&["spam url in content"], "Barracuda, 554").at(DELIVERY),
        said(&["spammy url"], "zone-mta bounces.txt").at(DELIVERY),
        said(&["surbl*"], "SpamAssassin, Rspamd").at(&[Stage::Content]),
        said(&["uribl*"], "SpamAssassin, Rspamd").at(&[Stage::Content]),
        said(&["link*", "listed in"], "common wording").at(&[Stage::Content]),
        said(&["the links within"], "Gmail, 4.7.0").at(SMTP),
    ],
)];

pub const CAUSES: &[Cause] = &[
    Cause::content(
        "SPF, DKIM and DMARC of the From address",
        ALIGNMENT,
        &[
            said(&["dmarc"], "RFC 7489; Gmail, Yahoo, iCloud, Exchange Online, Mimecast, Orange").at(MESSAGE),
            said(&["unauthenticated email"], "Gmail, 5.7.26").at(MESSAGE),
            said(&["sender is unauthenticated"], "Gmail, 5.7.26").at(MESSAGE),
            said(&["mail is unauthenticated"], "Gmail, 5.7.26").at(MESSAGE),
            said(&["required authentication level"], "Outlook.com, 5.7.515").at(MESSAGE),
            said(&["authenticate with", "spf", "dkim"], "Gmail, 5.7.26").at(MESSAGE),
            said(&["dkim", "fail*"], "Rspamd, Yahoo (AU01)").at(&[Stage::Content]),
            said(&["dkim", "invalid"], "Yahoo (AU01)").at(&[Stage::Content]),
            said(&["dkim", "not pass*"], "common wording").at(&[Stage::Content]),
            said(&["no dkim signature"], "common wording").at(&[Stage::Content]),
        ],
    ),
    Cause::content(
        "a virus or a forbidden attachment",
        "The server considers the content dangerous: check its links and attachments.",
        &[
            said(&["virus*"], "ClamAV by milters, Zoho, Free").at(DELIVERY),
            said(&["infected"], "Amavis").at(DELIVERY),
            said(&["malware"], "Exim with ClamAV").at(DELIVERY),
            said(&["potential security issue"], "Gmail, 5.7.0").at(DELIVERY),
            said(&["illegal attachment"], "Gmail, 5.7.0").at(DELIVERY),
            said(&["- banned"], "Amavis").at(DELIVERY),
            said(&["banned content"], "Barracuda").at(DELIVERY),
            said(&["attachment*", "not allowed"], "common wording").at(DELIVERY),
            said(&["attachment*", "block*"], "common wording").at(DELIVERY),
            said(&["phishing"], "common wording").at(DELIVERY),
        ],
    ),
    Cause::content(
        "spam",
        SPAM,
        &[
            said(&["spam*"], "SpamAssassin, Rspamd, Amavis, Yandex, Mail.ru, T-Online").at(&[Stage::Content]),
            said(&["spam message rejected"], "Mail.ru, Rspamd, Rambler").at(DELIVERY),
            said(&["suspicion of spam"], "Yandex").at(DELIVERY),
            said(&["rejected as spam"], "KumoMTA community/bounces.toml").at(DELIVERY),
            said(&["spam detected"], "Free").at(DELIVERY),
            said(&["unsolicited"], "Gmail, 5.7.1").at(&[Stage::Content]),
            said(&["likely suspicious"], "Gmail, 5.7.1").at(SMTP),
            said(&["this message is suspicious"], "Gmail, 4.7.0").at(SMTP),
            said(&["junkmail"], "KumoMTA community/bounces.toml").at(DELIVERY),
            said(&["junk mail"], "common wording").at(DELIVERY),
            said(&["dt:spm"], "NetEase 163").at(SMTP),
            said(&["mi:spb"], "NetEase 163").at(SMTP),
            said(&["gtube*"], "Rspamd, SpamAssassin").at(DELIVERY),
            said(&["mail content denied"], "Tencent QQ").at(DELIVERY),
            said(&["content rejected"], "iCloud, sisimai").at(DELIVERY),
            said(&["content denied"], "Tencent QQ").at(DELIVERY),
            said(&["rejected - content policy"], "KumoMTA community/bounces.toml").at(DELIVERY),
            said(&["hvu:b*"], "AOL, zone-mta bounces.txt").at(SMTP),
            said(&["rly:bd"], "AOL, zone-mta bounces.txt").at(SMTP),
            said(&["bulk mail"], "common wording").at(&[Stage::Content]),
        ],
    ),
    Cause::content(
        "a content policy",
        POLICY,
        &[
            said(&["not accepted for policy reasons"], "Yahoo, 5.7.9 and PH01").at(MESSAGE),
            said(&["reject due to policy restrictions", "!ip based"], "GMX, WEB.DE").at(MESSAGE),
            said(&["rejected due to local policy"], "iCloud, CS01").at(MESSAGE),
            said(&["local policy violation"], "Proofpoint, 5.7.0").at(&[Stage::Content]),
            said(&["due to security policies"], "Mimecast, 554").at(MESSAGE),
            said(&["mailpolicy violation"], "Zoho, 5.2.3").at(&[Stage::Content]),
            said(&["message not allowed"], "Yahoo, PH01").at(&[Stage::Content]),
            said(&["message filtered"], "Symantec, 553").at(DELIVERY),
            said(&["message content rejected"], "Postfix, header_checks and body_checks").at(&[Stage::Content]),
            said(&["content is not accepted"], "common wording").at(&[Stage::Content]),
            said(&["sender rejected aup"], "AT&T").at(DELIVERY),
        ],
    ),
    Cause::content(
        "the format of the content",
        FORM,
        &[
            said(&["not rfc 5322"], "Gmail, 5.7.1").at(&[Stage::Content]),
            said(&["not rfc 2822"], "Gmail, 5.7.1").at(&[Stage::Content]),
            said(&["not rfc compliant"], "Yahoo, 291").at(&[Stage::Content]),
            said(&["must be rfc"], "Exchange Online, 5.7.512").at(&[Stage::Content]),
            said(&["missing a valid address in from"], "Gmail, 5.7.1").at(&[Stage::Content]),
            said(&["from", "header is missing or invalid"], "Tencent QQ").at(&[Stage::Content]),
            said(&["missing", "header"], "Exim, verify = header_syntax; Gmail, 5.7.1").at(&[Stage::Content]),
            said(&["header", "syntax"], "Exim, verify = header_syntax").at(&[Stage::Content]),
            said(&["duplicate header*"], "Gmail, SES").at(&[Stage::Content]),
            said(&["multiple", "headers"], "Gmail, 5.7.1").at(&[Stage::Content]),
            said(&["lines longer than"], "Exim").at(&[Stage::Content]),
            said(&["maximum allowed line length"], "Exim, example configuration").at(&[Stage::Content]),
            said(&["line too long"], "Sendmail, Exim").at(&[Stage::Content]),
            said(&["bare lf"], "Postfix, smtpd_forbid_bare_newline").at(&[Stage::Content]),
            said(&["bare <lf>"], "Postfix, smtpd_forbid_bare_newline").at(&[Stage::Content]),
            said(&["corrupt message content"], "Exchange").at(&[Stage::Content]),
        ],
    ),
    Cause::message(
        "too large for the server",
        &[
            said(&["message size exceeds"], "Postfix, Sendmail, Exim (RFC 1870)").at(FORMAT),
            said(&["message file too big"], "Postfix, 5.3.4").at(FORMAT),
            said(&["message too large"], "RFC 1870").at(FORMAT),
            said(&["message is too large"], "common wording").at(FORMAT),
            said(&["message too big"], "Exim").at(FORMAT),
            said(&["message is too long"], "Amazon SES, 552").at(FORMAT),
            said(&["exceeded", "message size limits"], "Gmail, 5.2.3").at(FORMAT),
            said(&["message size limit"], "common wording").at(FORMAT),
            said(&["maximum message size"], "Exchange, common wording").at(FORMAT),
            said(&["fixed maximum"], "RFC 1870, Sendmail").at(FORMAT),
            said(&["message length exceeds"], "Amazon SES").at(FORMAT),
            said(&["message exceeds", "size"], "common wording").at(FORMAT),
            said(&["size limit exceeded", "!mailbox"], "Exim").at(&[Stage::Mail, Stage::Content]),
            said(&[], "RFC 1870, 552").at(&[Stage::Mail]).with(&[552]),
        ],
    ),
    Cause::message(
        "a format that the server does not support",
        &[
            said(&["smtputf8 is required"], "Postfix, 5.6.7").at(MESSAGE),
            said(&["smtputf8", "not supported"], "RFC 6531").at(MESSAGE),
            said(&["does not support smtputf8"], "RFC 6531").at(MESSAGE),
            said(&["8bitmime", "not"], "RFC 6152").at(MESSAGE).with(&[5]),
        ],
    ),
];

pub const CODES: &[Cause] = &[
    Cause::message(
        "an enhanced code about size or format",
        &[
            coded(&["3.4"], "RFC 3463, message too big for system").at(MESSAGE),
            coded(&["2.3"], "RFC 3463, message length exceeds administrative limit").at(MESSAGE),
            coded(&["3.3"], "RFC 3463, system not capable of selected features").at(MESSAGE),
            coded(&["6.3", "6.7", "6.9"], "RFC 3463 and RFC 6531, conversion or SMTPUTF8").at(MESSAGE),
        ],
    ),
    Cause::content(
        "an enhanced code about SPF, DKIM and DMARC",
        ALIGNMENT,
        &[
            coded(&["7.20", "7.21", "7.22"], "RFC 7372, DKIM").at(&[Stage::Content]),
            coded(&["7.26"], "RFC 7372, several checks").at(MESSAGE),
            coded(&["7.29", "7.30"], "RFC 8617, ARC; RFC 8689, REQUIRETLS").at(&[Stage::Content]),
            coded(&["5.7.509", "5.7.515"], "Exchange Online and Outlook.com").at(MESSAGE),
        ],
    ),
    Cause::content(
        "an enhanced code about the format of the content",
        FORM,
        &[
            coded(&["6.0", "6.1", "6.2"], "RFC 3463, content or media").at(&[Stage::Content]),
            coded(&["5.7.512"], "Exchange Online").at(MESSAGE),
        ],
    ),
];

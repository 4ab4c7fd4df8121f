//! Lines about the recipient alone.

use super::line::{Cause, DELIVERY, Line, coded, said};
use crate::providers::Stage;

/// Said about a recipient in words that would otherwise be about us.
pub const FIRST: &[Cause] = &[
    Cause::recipient(
        "recipient verification at another server",
        &[
            said(&["undeliverable address", "!sender address rejected"], "Postfix, reject_unverified_recipient").at(DELIVERY),
            said(&["unverified address", "!sender address rejected"], "Postfix, reject_unverified_recipient").at(DELIVERY),
            said(&["address verification in progress", "!sender address rejected"], "Postfix, reject_unverified_recipient").at(DELIVERY),
            said(&["could not complete recipient verify*"], "Exim, verify = recipient/callout").at(DELIVERY),
            said(&["recipient callout verification failed"], "Exim, verify = recipient/callout").at(DELIVERY),
        ],
    ),
    Cause::recipient(
        "the recipient receives too much",
        &[
            said(&["user you are trying to contact is receiving mail"], "Gmail, 4.2.1 and 5.2.1").at(DELIVERY),
            said(&["user is receiving mail too quickly"], "Yahoo, 450").at(DELIVERY),
            said(&["recipient has exceeded"], "Yandex, 4.2.1; Outlook.com, 5.2.122").at(DELIVERY),
            said(&["messages they can send to this recipient"], "Outlook.com, 5.2.121").at(DELIVERY),
            said(&["{recipient}", "too many recent messages"], "Comcast, 4.1.1").at(DELIVERY),
            said(&["too many messages", "for this recipient"], "common wording").at(DELIVERY),
        ],
    ),
    Cause::recipient(
        "greylisting",
        &[
            said(&["greylist*"], "Postgrey, Rspamd, Barracuda, ZEROSPAM").at(DELIVERY).with(&[4]),
            said(&["graylist*"], "common wording").at(DELIVERY).with(&[4]),
            said(&["grey-list*"], "common wording").at(DELIVERY).with(&[4]),
            said(&["blocked using grey*"], "zone-mta bounces.txt").at(DELIVERY).with(&[4]),
        ],
    ),
];

/// The causes that say that there is no such mailbox, now or later.
pub const OF_NO_MAILBOX: &[&str] = &["no such mailbox", "no such mailbox, in other languages"];

pub const CAUSES: &[Cause] = &[
    Cause::recipient("no such mailbox", NO_SUCH).gone(),
    Cause::recipient("no such mailbox, in other languages", NO_SUCH_ELSEWHERE).gone(),
    Cause::recipient("a mailbox that is closed for now", CLOSED_FOR_NOW),
    Cause::recipient("a mailbox that is closed", CLOSED).gone(),
    Cause::recipient("a full mailbox", FULL),
    Cause::recipient(
        "the recipient's domain",
        &[
            said(&["recipient address rejected", "domain not found"], "Postfix, reject_unknown_recipient_domain").at(DELIVERY),
            said(&["recipient address rejected", "does not accept mail"], "Postfix, null MX (RFC 7505)").at(DELIVERY),
            said(&["recipient address rejected", "need fully-qualified address"], "Postfix, reject_non_fqdn_recipient").at(DELIVERY),
            said(&["recipient address", "null mx"], "RFC 7505").at(DELIVERY),
            said(&["bad recipient address syntax"], "Postfix").at(DELIVERY),
            said(&["bad address syntax"], "Tencent QQ, 501").at(&[Stage::Recipient]),
            said(&["is not a valid rfc-5321 address"], "Gmail, 5.1.2").at(DELIVERY),
            said(&["tenant or domain not found"], "Outlook.com, 556").at(DELIVERY),
            said(&["no such domain"], "Courier").at(DELIVERY),
            said(&["host unknown"], "Sendmail, 5.1.2").at(DELIVERY),
        ],
    )
    .gone(),
    Cause::recipient(
        "a domain without a way to it",
        &[
            said(&["unrouteable address"], "Exim").at(DELIVERY),
            said(&["unroutable address"], "Exim forks").at(DELIVERY),
            said(&["no mx for"], "KumoMTA community/bounces.toml").at(DELIVERY),
        ],
    ),
    Cause::recipient(
        "the recipient's own choice",
        &[
            said(&["mail is rejected by recipients"], "Tencent QQ, 550").at(DELIVERY),
            said(&["due to recipient preferences"], "Facebook, 5.1.1 RCP-P2").at(DELIVERY),
            said(&["policy rejection on the target address"], "Yandex, 5.7.1").at(DELIVERY),
            said(&["blacklisted by recipient"], "zone-mta bounces.txt").at(DELIVERY),
            said(&["suppressed due to"], "SparkPost"),
            said(&["address is suppressed"], "Amazon SES, SparkPost"),
            said(&["on the suppression list"], "Amazon SES, Mailgun"),
            said(&["user email address is marked as invalid"], "Proofpoint, 5.7.1").at(DELIVERY),
        ],
    ),
];

const NO_SUCH: &[Line] = &[
    said(&["user unknown"], "Postfix, Sendmail, Proofpoint").at(DELIVERY),
    said(&["unknown user"], "Exim, Courier, qmail patches").at(DELIVERY),
    said(&["no such user*"], "Exim, Yandex, Barracuda").at(DELIVERY),
    said(&["no such recipient*"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["no such mailbox*"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["no such address"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["no such person"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["no such account"], "common wording").at(DELIVERY),
    said(&["no such id"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["mailbox unavailable"], "RFC 5321, 4.2.3; Outlook.com, GMX, QQ").at(DELIVERY).with(&[450, 550]),
    said(&["mailbox not found"], "Yahoo, QQ").at(DELIVERY),
    said(&["mailbox", "does not exist"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["account", "does not exist"], "Gmail, 5.1.1").at(DELIVERY),
    said(&["user", "does not exist"], "iCloud, sisimai").at(DELIVERY),
    said(&["recipient", "does not exist"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["address does not exist"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["user doesn't exist"], "common wording").at(DELIVERY),
    said(&["mailbox doesn't exist"], "common wording").at(DELIVERY),
    said(&["user doesn't have a"], "Yahoo, 554").at(DELIVERY),
    said(&["no mailbox here by that name"], "qmail, vpopmail").at(DELIVERY),
    said(&["no mail-box here by that name"], "qmail, vpopmail").at(DELIVERY),
    said(&["no mailbox by that name"], "common wording").at(DELIVERY),
    said(&["sorry, no mailbox"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["user not found"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["recipient not found"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["email address could not be found"], "Rackspace, 5.1.1").at(DELIVERY),
    said(&["recipient unknown"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["unknown recipient"], "zone-mta bounces.txt").at(DELIVERY),
    said(&["unknown mailbox"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["unknown address"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["unknown local part"], "Exim, 550").at(DELIVERY),
    said(&["address unknown"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["addressee unknown"], "AT&T, 5.2.1").at(DELIVERY),
    said(&["invalid recipient*"], "Mimecast, Symantec, Orange").at(DELIVERY),
    said(&["invalid-recipient"], "Trend Micro").at(DELIVERY),
    said(&["invalid mailbox"], "Mail.ru").at(DELIVERY),
    said(&["invalid user"], "sisimai, UserUnknown").at(DELIVERY),
    said(&["not a valid user"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["not a valid mailbox"], "node-bounce-handler").at(DELIVERY),
    said(&["not a valid email address"], "Proofpoint, 5.1.1").at(DELIVERY),
    said(&["not in recipient list"], "ZEROSPAM").at(DELIVERY),
    said(&["recipient unrecognized"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["not our customer"], "Comcast, 5.1.1").at(DELIVERY),
    said(&["recipient mailbox unallocated"], "Comcast, 5.1.1").at(DELIVERY),
    said(&["user not local"], "RFC 5321, 551").at(DELIVERY).with(&[551]),
    said(&["recipient address rejected: access denied"], "Exchange Online, 5.4.1 and 5.1.4").at(DELIVERY).and(&["4.1", "1.4", "1.10"]),
    said(&["all recipient addresses rejected"], "Outlook.com, 5.4.1").at(DELIVERY),
    said(&["no-domain"], "Trend Micro").at(DELIVERY),
    said(&["not listed in domino directory"], "HCL Domino").at(DELIVERY),
    said(&["not listed in public name"], "Lotus Notes").at(DELIVERY),
    said(&["recipient name is not recognized"], "Exchange 5.5").at(DELIVERY),
    said(&["user not exist"], "McAfee").at(DELIVERY),
    said(&["invalid final delivery userid"], "IMail").at(DELIVERY),
    said(&["address couldn't be found"], "Gmail, its bounces").at(DELIVERY),
    said(&["is not a registered gateway user"], "common wording").at(DELIVERY),
];

/// German, French, Spanish, Italian, Portuguese, Polish, Dutch, Russian, Chinese, Japanese.
const NO_SUCH_ELSEWHERE: &[Line] = &[
    said(&["unbekannter benutzer"], "German").at(DELIVERY),
    said(&["benutzer unbekannt"], "German").at(DELIVERY),
    said(&["unbekannter empf*"], "German").at(DELIVERY),
    said(&["empfänger unbekannt"], "German").at(DELIVERY),
    said(&["empfaenger unbekannt"], "German").at(DELIVERY),
    said(&["adresse unbekannt"], "German").at(DELIVERY),
    said(&["existiert nicht"], "German").at(DELIVERY),
    said(&["utilisateur inconnu"], "French; KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["destinataire inconnu"], "French").at(DELIVERY),
    said(&["destinataire invalide"], "French; Orange, OFR_416").at(DELIVERY),
    said(&["usuario desconocido"], "Spanish").at(DELIVERY),
    said(&["usuario no existe"], "Spanish").at(DELIVERY),
    said(&["no existe el usuario"], "Spanish").at(DELIVERY),
    said(&["destinatario desconocido"], "Spanish").at(DELIVERY),
    said(&["utente sconosciuto"], "Italian").at(DELIVERY),
    said(&["destinatario sconosciuto"], "Italian; node-bounce-handler").at(DELIVERY),
    said(&["destinatario errato"], "Italian; node-bounce-handler").at(DELIVERY),
    said(&["indirizzo inesistente"], "Italian; node-bounce-handler").at(DELIVERY),
    said(&["usuario desconhecido"], "Portuguese").at(DELIVERY),
    said(&["usuário desconhecido"], "Portuguese").at(DELIVERY),
    said(&["usuário inexistente"], "Portuguese").at(DELIVERY),
    said(&["usuario inexistente"], "Portuguese and Spanish").at(DELIVERY),
    said(&["nie ma takiego konta"], "Polish; node-bounce-handler").at(DELIVERY),
    said(&["nie istnieje"], "Polish; node-bounce-handler").at(DELIVERY),
    said(&["onbekende gebruiker"], "Dutch").at(DELIVERY),
    said(&["gebruiker onbekend"], "Dutch").at(DELIVERY),
    said(&["пользователь не найден"], "Russian").at(DELIVERY),
    said(&["нет такого пользователя"], "Russian").at(DELIVERY),
    said(&["用户不存在"], "Chinese").at(DELIVERY),
    said(&["收件人不存在"], "Chinese").at(DELIVERY),
    said(&["邮箱不存在"], "Chinese").at(DELIVERY),
    said(&["宛先不明"], "Japanese").at(DELIVERY),
];

const CLOSED_FOR_NOW: &[Line] = &[
    said(&["account", "suspended", "!your"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["mailbox", "suspended"], "sisimai, Suspend").at(DELIVERY),
    said(&["user", "suspended"], "sisimai, Suspend").at(DELIVERY),
    said(&["recipient unavailable"], "Comcast, 5.2.0").at(DELIVERY),
    said(&["recipient temporarily unavailable"], "Comcast, 4.2.0").at(DELIVERY),
];

const CLOSED: &[Line] = &[
    said(&["mailbox", "disabled"], "Yahoo (554.30), Sendmail").at(DELIVERY),
    said(&["account", "disabled", "!your"], "Gmail, 5.2.1; Mail.ru").at(DELIVERY),
    said(&["that you tried to reach is disabled"], "Gmail, 5.2.1").at(DELIVERY),
    said(&["user", "disabled"], "sisimai, Suspend").at(DELIVERY),
    said(&["recipient", "disabled"], "sisimai, Suspend").at(DELIVERY),
    said(&["account is not active"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["user account not activated"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["account inactive"], "common wording").at(DELIVERY),
    said(&["inactive user"], "Mail.ee, 5.2.1").at(DELIVERY),
    said(&["inactive account"], "sisimai, Suspend").at(DELIVERY),
    said(&["inactive mailbox"], "common wording").at(DELIVERY),
    said(&["recipient address rejected: inactive"], "Rambler, 540").at(DELIVERY),
    said(&["recipient address rejected: blocked"], "Rambler, 540").at(DELIVERY),
    said(&["blocked due to inactivity"], "Free, 5.2.1").at(DELIVERY),
    said(&["account closed"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["expired account"], "Hot.ee, 5.2.1").at(DELIVERY),
    said(&["is no longer valid"], "Yahoo, 554").at(DELIVERY),
    said(&["no longer accepts"], "RFC 3463, X.1.6").at(DELIVERY),
    said(&["no longer available"], "common wording").at(DELIVERY),
    said(&["cuenta desactivada"], "Spanish").at(DELIVERY),
    said(&["mailbox", "inactive"], "common wording").at(DELIVERY),
];

const FULL: &[Line] = &[
    said(&["mailbox", "full"], "RFC 3463, X.2.2; Postfix, Dovecot").at(DELIVERY),
    said(&["inbox", "full"], "common wording").at(DELIVERY),
    said(&["over quota"], "Gmail, OverQuotaTemp and OverQuotaPerm; Comcast").at(DELIVERY),
    said(&["overquota"], "iCloud, Orange").at(DELIVERY),
    said(&["quota exceeded", "mailbox"], "Dovecot, Free").at(DELIVERY),
    said(&["mailbox", "quota"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["user quota exceeded"], "Free, 5.2.2").at(DELIVERY),
    said(&["extended quota violation"], "Comcast, 552").at(DELIVERY),
    said(&["mailbox size limit exceeded"], "Yandex, 5.2.2").at(DELIVERY),
    said(&["mailbox limit"], "KumoMTA community/bounces.toml").at(DELIVERY),
    said(&["out of storage space"], "Gmail, 4.2.2").at(DELIVERY),
    said(&["exceeded storage allocation", "quota exceeded"], "GMX, WEB.DE, 552").at(DELIVERY),
    said(&["exceeded storage allocation"], "RFC 5321, 552").at(&[Stage::Recipient]),
    said(&["quota exceeded"], "Dovecot LMTP, Cyrus").at(DELIVERY).with(&[552]),
    said(&["recipient storage full"], "Yahoo").at(DELIVERY),
    said(&["destinataire pleine"], "French; Orange, OFR_417").at(DELIVERY),
    said(&["casella piena"], "Italian").at(DELIVERY),
    said(&["buzón lleno"], "Spanish").at(DELIVERY),
    said(&["buzon lleno"], "Spanish").at(DELIVERY),
    said(&["caixa postal cheia"], "Portuguese").at(DELIVERY),
    said(&["postfach", "voll"], "German").at(DELIVERY),
];

pub const CODES: &[Cause] = &[
    Cause::recipient(
        "an enhanced code that says that the address takes none",
        &[
            coded(&["1.1", "1.2", "1.3", "1.6", "1.10"], "RFC 3463 and RFC 7505, destination addresses").at(DELIVERY),
            coded(&["2.1"], "RFC 3463, a disabled mailbox").at(DELIVERY),
        ],
    )
    .gone(),
    Cause::recipient(
        "an enhanced code about the recipient",
        &[
            coded(&["1.4", "1.9"], "RFC 3463, destination addresses").at(DELIVERY),
            coded(&["2.2", "2.4"], "RFC 3463, mailboxes").at(DELIVERY),
            coded(&["7.2"], "RFC 3463, mailing list expansion").at(DELIVERY),
            coded(&["7.17", "7.18"], "RFC 7293, the owner has changed").at(DELIVERY),
            coded(&["5.4.1"], "Exchange Online, no such recipient").at(&[Stage::Recipient]).with(&[550]),
            coded(&["5.2.121", "5.2.122"], "Outlook.com, the recipient receives too much").at(DELIVERY),
        ],
    ),
];

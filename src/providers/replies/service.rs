//! Lines about the server's own health.

use super::line::{Cause, DELIVERY, MESSAGE, SMTP, coded, said};
use crate::meta::Reason;

const LATER: &str = "The server itself has a problem: it is retried; if this lasts, ask its operator.";

pub const CAUSES: &[Cause] = &[Cause::server(
    "the server has a problem",
    Reason::ServiceNotAvailable,
    LATER,
    &[
        said(&["insufficient system storage"], "RFC 5321, 452; Postfix, 4.3.1").at(SMTP).with(&[4]),
        said(&["insufficient system resources"], "Exchange, 452 4.3.1").at(SMTP).with(&[4]),
        said(&["insufficient disk space"], "Sendmail, 452 4.4.5").at(SMTP).with(&[4]),
        said(&["temporary lookup failure"], "Postfix, 451 4.3.0").at(MESSAGE).with(&[4]),
        said(&["temporary lookup error"], "Postfix, 451 4.3.0").at(SMTP).with(&[4]),
        said(&["server configuration error"], "Postfix, 451 4.3.5").at(SMTP),
        said(&["server configuration problem"], "Postfix, 451 4.3.5").at(SMTP),
        said(&["local data error"], "Postfix, 421 4.3.0").at(SMTP),
        said(&["queue file write error"], "Postfix, 451 4.3.0").at(SMTP),
        said(&["mail system error"], "Postfix, 421 4.3.0").at(SMTP),
        said(&["internal server error"], "Yahoo, 4.3.2").at(SMTP),
        said(&["service unavailable - try again later"], "Postfix, milter_default_action; iCloud").at(SMTP).with(&[4]),
        said(&["service is currently unavailable"], "Yandex, 4.7.1").at(SMTP).with(&[4]),
        said(&["service temporarily unavailable"], "Symantec, 421").at(SMTP).with(&[4]),
        said(&["temporary service failure"], "Amazon SES, 454").at(SMTP),
        said(&["temporary server error"], "Exchange Online, 451").at(SMTP).with(&[4]),
        said(&["temporary system problem"], "Gmail, 4.3.0").at(SMTP),
        said(&["temporary system error"], "Zoho, 4.3.1").at(SMTP),
        said(&["resources temporarily unavailable"], "Yahoo, 451").at(SMTP).with(&[4]),
        said(&["resource temporarily unavailable"], "Mimecast, 451").at(SMTP).with(&[4]),
        said(&["mail server temporarily rejected message"], "Gmail, 4.3.0").at(SMTP),
        said(&["license expired"], "Barracuda, 422").at(SMTP),
        said(&["no space left"], "common wording").at(SMTP),
        said(&["disk full"], "common wording").at(SMTP),
        said(&["qq temporary problem"], "qmail, 4.3.0").at(SMTP),
        said(&["qq internal bug"], "qmail, 4.3.0").at(SMTP),
        said(&["unable to accept message", "try again later"], "qmail").at(SMTP),
        said(&["not accepting network messages"], "RFC 3463, X.3.2").at(SMTP),
        said(&["no healthy secondary server"], "Exchange, 4.4.0").at(SMTP),
    ],
)];

pub const CODES: &[Cause] = &[Cause::server(
    "an enhanced code about the server",
    Reason::ServiceNotAvailable,
    LATER,
    &[
        coded(&["3.2"], "RFC 3463, system not accepting messages").at(SMTP),
        coded(&["3.5"], "RFC 3463, system incorrectly configured").at(DELIVERY),
    ],
)];

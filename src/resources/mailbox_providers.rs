//! Which receiving domains belong to one mailbox provider, and so share a limit. Pure.
//!
//! The table names those whose domains their operator, or a page that is kept for senders, lists. Companies' own domains at a provider
//! (Google Workspace, Microsoft 365) are told by their MX alone, which nobody looks up here: limits name these domains themselves.

/// A mailbox provider.
#[derive(Debug)]
pub struct MailboxProvider {
    /// Its domains in A-labels and lowercase; the first stands for all.
    pub domains: &'static [&'static str],
    /// Where that is written.
    pub source: &'static str,
}

/// The known providers.
pub const PROVIDERS: &[MailboxProvider] = &[
    MailboxProvider { domains: &["gmail.com", "googlemail.com"], source: "https://support.google.com/a/answer/14229414" },
    MailboxProvider {
        domains: &[
            "outlook.com",
            "hotmail.com",
            "live.com",
            "msn.com",
            "windowslive.com",
            "hotmail.at",
            "hotmail.ca",
            "hotmail.co.il",
            "hotmail.co.uk",
            "hotmail.com.ar",
            "hotmail.com.au",
            "hotmail.com.br",
            "hotmail.com.tr",
            "hotmail.de",
            "hotmail.dk",
            "hotmail.es",
            "hotmail.fr",
            "hotmail.it",
            "hotmail.se",
            "live.at",
            "live.ca",
        ],
        source: "https://knowledge.validity.com/hc/en-us/articles/224887947-Microsoft-Outlook-com-and-Hotmail-overview",
    },
    // yahoo.co.jp is another company's.
    MailboxProvider {
        domains: &[
            "yahoo.com",
            "ymail.com",
            "rocketmail.com",
            "aol.com",
            "aim.com",
            "yahoo.ca",
            "yahoo.co.in",
            "yahoo.co.uk",
            "yahoo.com.ar",
            "yahoo.com.au",
            "yahoo.com.br",
            "yahoo.com.mx",
            "yahoo.de",
            "yahoo.es",
            "yahoo.fr",
            "yahoo.in",
            "yahoo.it",
        ],
        source: "https://senders.yahooinc.com/faqs/",
    },
    MailboxProvider { domains: &["icloud.com", "me.com", "mac.com"], source: "https://support.apple.com/HT201771" },
];

/// The provider of a domain, which is in A-labels and lowercase.
#[must_use]
pub fn provider_of(domain: &str) -> Option<&'static MailboxProvider> {
    PROVIDERS.iter().find(|provider| provider.domains.contains(&domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_domain_has_one_provider_and_a_source() {
        let all: Vec<&str> = PROVIDERS.iter().flat_map(|provider| provider.domains).copied().collect();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        for domain in all {
            assert_eq!(super::super::senders::canonical(domain), domain);
        }
        assert!(PROVIDERS.iter().all(|provider| provider.source.starts_with("https://")));
        assert_eq!(provider_of("googlemail.com").map(|provider| provider.domains[0]), Some("gmail.com"));
        assert!(provider_of("example.com").is_none() && provider_of("yahoo.co.jp").is_none());
    }
}

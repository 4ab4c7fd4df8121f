//! Whether a server takes what a campaign's messages hold: decided before the first of them is sent. Pure.

use crate::{
    providers::{Holds, Provider as _},
    resources::SendingServer,
    routing::Work,
};

/// What the messages of a campaign hold besides their texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    /// What attachments add to each message, bytes.
    attached_bytes: u64,
    /// Whether the HTML shows files that go with it.
    has_inline: bool,
}

impl Load {
    /// What is sent; nothing while that is not known.
    pub fn of(work: Option<&Work>) -> Self {
        work.map(|work| Self { attached_bytes: work.attached_bytes, has_inline: work.has_inline }).unwrap_or_default()
    }

    /// Why a server does not take it, if it does not; `size_max` is what the server itself says.
    pub fn too_much_for(self, server: &SendingServer, size_max: Option<u64>) -> Option<String> {
        if self == Self::default() {
            return None;
        }
        let Holds { bytes_max, inline } = server.spec.provider.holds();
        if self.has_inline && !inline {
            return Some("it does not support inline images (attachments with `inline`)".to_owned());
        }
        let max = [bytes_max, size_max].into_iter().flatten().min().filter(|max| self.attached_bytes > *max)?;
        let (size, max) = (megabytes(self.attached_bytes, u64::div_ceil), megabytes(max, |bytes, unit| bytes / unit));
        Some(format!("it accepts messages of up to {max} MB, and the attachments alone are {size} MB when encoded"))
    }
}

/// Bytes in megabytes with a decimal, rounded so that what is larger also reads as larger.
fn megabytes(bytes: u64, tenths: impl Fn(u64, u64) -> u64) -> String {
    let tenths = tenths(bytes, 100_000);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_takes_what_its_vendor_and_itself_say() {
        let server = |provider: &str| -> SendingServer {
            let yaml = format!(
                "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: s}}, spec: {{provider: {provider}}}}}"
            );
            serde_saphyr::from_str(&yaml).expect("a server")
        };
        let smtp = "{smtp: {host: relay.example, port: 25, encryption: None}}";
        let postmark = "{postmark: {secretRef: {name: s}}}";
        let brevo = "{brevo: {secretRef: {name: s}}}";
        let nothing = Load::default();
        let load = |attached_bytes, has_inline| Load { attached_bytes, has_inline };
        for (load, provider, says, wanted) in [
            (nothing, smtp, Some(1), None),
            (load(10_000_000, false), smtp, None, None),
            (load(10_000_000, true), smtp, Some(10_000_000), None),
            (load(10_000_001, false), smtp, Some(10_000_000), Some("up to 10.0 MB, and the attachments alone are 10.1 MB")),
            (load(10_000_000, true), postmark, None, None),
            (load(10_000_001, false), postmark, None, Some("up to 10.0 MB")),
            (load(10_000_000, false), brevo, None, None),
            (load(1, true), brevo, None, Some("does not support inline images")),
        ] {
            let why = load.too_much_for(&server(provider), says);
            assert_eq!(why.is_some(), wanted.is_some(), "{load:?} {provider}: {why:?}");
            assert!(why.unwrap_or_default().contains(wanted.unwrap_or_default()), "{load:?} {provider}");
        }
    }
}

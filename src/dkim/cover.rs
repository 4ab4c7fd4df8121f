//! Which header fields a signature covers.

/// How a field is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Each that is there, and once more, so that none can be added; also where none is there.
    Sealed,
    /// The same where one is there; otherwise nothing.
    SealedIfThere,
    /// Each that is there: others may be added.
    Signed,
}

/// The fields that are covered, in the order of the signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Fields(pub &'static [(&'static str, Cover)]);

impl Fields {
    /// Where the server passes a message on as it is.
    pub const UNTOUCHED: Self = Self(&[
        ("From", Cover::Sealed),
        ("Reply-To", Cover::Sealed),
        ("To", Cover::Sealed),
        ("Cc", Cover::Sealed),
        ("Subject", Cover::Sealed),
        ("Date", Cover::SealedIfThere),
        ("Message-ID", Cover::SealedIfThere),
        ("MIME-Version", Cover::SealedIfThere),
        ("Content-Type", Cover::SealedIfThere),
        ("Content-Transfer-Encoding", Cover::SealedIfThere),
        ("List-Unsubscribe", Cover::SealedIfThere),
        ("List-Unsubscribe-Post", Cover::SealedIfThere),
        ("List-Id", Cover::SealedIfThere),
        ("List-Help", Cover::Signed),
        ("List-Owner", Cover::Signed),
        ("Sender", Cover::Signed),
        ("In-Reply-To", Cover::Signed),
        ("References", Cover::Signed),
    ]);

    /// Where a vendor keeps the body and writes Date and Message-ID anew, or may add list fields of its own.
    pub const REDATED: Self = Self(&[
        ("From", Cover::Sealed),
        ("Reply-To", Cover::Sealed),
        ("To", Cover::Sealed),
        ("Cc", Cover::Sealed),
        ("Subject", Cover::Sealed),
        ("MIME-Version", Cover::Signed),
        ("Content-Type", Cover::Signed),
        ("Content-Transfer-Encoding", Cover::Signed),
        ("List-Unsubscribe", Cover::Signed),
        ("List-Unsubscribe-Post", Cover::Signed),
        ("List-Id", Cover::Signed),
    ]);
}

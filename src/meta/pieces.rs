//! The bytes of a message, of which all messages of a campaign may share the largest part: its attachments are held once.

use std::{borrow::Cow, sync::Arc};

/// The bytes of a message: its own, and the ones that it shares with others, wherever they stand among them.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    own: Arc<[u8]>,
    inserts: Option<Arc<[Insert]>>,
}

/// Bytes that many messages hold: whole lines, ended by CRLF.
#[derive(PartialEq, Eq)]
pub struct Shared {
    bytes: Box<[u8]>,
}

/// Shared bytes, and how many of the message's own precede them.
#[derive(Clone, Debug)]
struct Insert {
    at: usize,
    shared: Arc<Shared>,
}

impl Shared {
    /// Lines that are shared.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes: bytes.into() })
    }

    /// The lines.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} shared bytes", self.bytes.len())
    }
}

impl Pieces {
    /// A message's own bytes with shared ones, each at its place among them, in ascending order.
    #[must_use]
    pub fn with(own: Vec<u8>, shared: Vec<(usize, Arc<Shared>)>) -> Self {
        let inserts: Vec<Insert> = shared.into_iter().map(|(at, shared)| Insert { at: at.min(own.len()), shared }).collect();
        Self { own: own.into(), inserts: (!inserts.is_empty()).then(|| inserts.into()) }
    }

    /// The shared parts, each with how many own bytes precede it.
    #[must_use]
    pub fn inserts(&self) -> impl ExactSizeIterator<Item = (usize, &Arc<Shared>)> {
        self.inserts.as_deref().unwrap_or_default().iter().map(|insert| (insert.at, &insert.shared))
    }

    /// The bytes that it does not share, as they are held.
    #[must_use]
    pub fn own_held(&self) -> Arc<[u8]> {
        self.own.clone()
    }

    /// The size of all of it, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.len() + self.shared().map(|shared| shared.bytes.len()).sum::<usize>()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that it does not share; the header section is at their start.
    #[must_use]
    pub fn own(&self) -> &[u8] {
        &self.own
    }

    /// The shared parts, in their order.
    #[must_use]
    pub fn shared(&self) -> impl ExactSizeIterator<Item = &Arc<Shared>> {
        self.inserts().map(|(_, shared)| shared)
    }

    /// All of it, in order, from an offset among its own bytes on; no piece is empty.
    pub fn after(&self, begin: usize) -> impl Iterator<Item = &[u8]> {
        let ends = self.inserts().map(|(at, shared)| (at, &*shared.bytes)).chain([(self.own.len(), &[][..])]);
        let mut start = begin;
        ends.flat_map(move |(end, shared)| {
            let own = self.own.get(start..end).unwrap_or_default();
            start = start.max(end);
            [own, if end < begin { &[] } else { shared }]
        })
        .filter(|piece| !piece.is_empty())
    }

    /// All of it, in order; no piece is empty.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.after(0)
    }

    /// The rest of the piece that holds the byte at an offset; empty behind the end.
    #[must_use]
    pub fn at(&self, offset: usize) -> &[u8] {
        let mut left = offset;
        for piece in self.iter() {
            match piece.get(left..).filter(|rest| !rest.is_empty()) {
                Some(rest) => return rest,
                None => left -= piece.len(),
            }
        }
        &[]
    }

    /// Whether it ends with these bytes, which are not longer than its last piece.
    #[must_use]
    pub fn ends_with(&self, end: &[u8]) -> bool {
        self.iter().last().is_some_and(|last| last.ends_with(end))
    }

    /// All of it in one piece, copied if it has several.
    #[must_use]
    pub fn whole(&self) -> Cow<'_, [u8]> {
        if self.inserts.is_none() {
            return Cow::Borrowed(&self.own);
        }
        let mut whole = Vec::with_capacity(self.len());
        self.iter().for_each(|piece| whole.extend_from_slice(piece));
        Cow::Owned(whole)
    }

    /// Whether both hold the same memory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.own, &other.own) && self.has_same_shared(other)
    }

    /// Whether both share the same memory with others, at whatever place.
    fn has_same_shared(&self, other: &Self) -> bool {
        self.shared().len() == other.shared().len() && self.shared().zip(other.shared()).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (self.is_same(other) || self.whole() == other.whole())
    }
}

impl Eq for Pieces {}

impl From<Arc<[u8]>> for Pieces {
    fn from(own: Arc<[u8]>) -> Self {
        Self { own, inserts: None }
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(own: Vec<u8>) -> Self {
        Arc::<[u8]>::from(own).into()
    }
}

impl From<&[u8]> for Pieces {
    fn from(own: &[u8]) -> Self {
        Arc::<[u8]>::from(own).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(own: &str, shared: &[(usize, &str)]) -> Pieces {
        Pieces::with(own.into(), shared.iter().map(|(at, text)| (*at, Shared::new((*text).into()))).collect())
    }

    #[test]
    fn pieces_are_the_whole_in_order_from_wherever_it_is_read() {
        for (pieces, whole) in [
            (made("abcd", &[]), "abcd"),
            (made("abcd", &[(2, "XY")]), "abXYcd"),
            (made("abcd", &[(0, "X"), (2, "Y"), (2, "Z"), (4, "W")]), "XabYZcdW"),
            (made("abcd", &[(9, "X")]), "abcdX"),
            (made("", &[(0, "X")]), "X"),
            (made("", &[]), ""),
        ] {
            assert_eq!(pieces.whole(), whole.as_bytes());
            assert_eq!((pieces.len(), pieces.is_empty()), (whole.len(), whole.is_empty()));
            for offset in 0..=whole.len() + 1 {
                let rest = pieces.at(offset);
                let behind = whole.get(offset..).unwrap_or_default().as_bytes();
                assert!(behind.starts_with(rest) && rest.is_empty() == behind.is_empty(), "{whole} at {offset}");
            }
            assert!(pieces == Pieces::from(whole.as_bytes()) && pieces.clone().is_same(&pieces));
        }
        let pieces = made("abcd", &[(2, "XY")]);
        let after = |begin| pieces.after(begin).collect::<Vec<_>>().concat();
        assert_eq!([after(0), after(1), after(2), after(3), after(4)], [&b"abXYcd"[..], b"bXYcd", b"XYcd", b"d", b""]);
        assert!(pieces.ends_with(b"cd") && !pieces.ends_with(b"XY") && pieces != made("abcd", &[(1, "XY")]));
    }
}

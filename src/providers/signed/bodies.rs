//! The hashes of bodies that many messages share: a campaign whose body is the same for everybody needs one.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{
    dkim::body_hash_of,
    meta::{Pieces, pieces::Shared},
};

/// Bodies that are kept: more than a campaign has variants.
const BODIES_MAX: usize = 64;
/// What the messages of all of them may hold, in bytes without what they share.
const ALL_MAX: usize = 16 << 20;
/// The largest message whose body is kept, in bytes without what it shares.
const MESSAGE_MAX: usize = 1024 * 1024;
/// The shortest body that is worth a comparison.
const BODY_MIN: usize = 256;

/// Bodies that were hashed, the last one first.
#[derive(Default)]
pub struct Bodies(Mutex<Vec<Known>>);

#[derive(Clone)]
struct Known {
    /// The message's own bytes, and where its body begins.
    content: Arc<[u8]>,
    begin: usize,
    /// What it shares with others, which are not kept for this.
    shared: Arc<[(usize, Weak<Shared>)]>,
    hash: [u8; 32],
}

impl Known {
    /// A body whose hash is not known yet.
    fn new(content: &Pieces, begin: usize) -> Self {
        let shared = content.inserts().map(|(at, shared)| (at - begin.min(at), Arc::downgrade(shared))).collect();
        let pieces: Vec<&[u8]> = content.after(begin).collect();
        Self { content: content.own_held(), begin, shared, hash: body_hash_of(&pieces) }
    }

    /// Whether it may be the body of a message, as far as lengths tell.
    fn is_like(&self, content: &Pieces, begin: usize) -> bool {
        self.content.len() - self.begin == content.own().len() - begin && self.shared.len() == content.inserts().len()
    }

    fn is(&self, content: &Pieces, begin: usize) -> bool {
        self.is_like(content, begin)
            && self
                .shared
                .iter()
                .zip(content.inserts())
                .all(|((at, known), (place, shared))| *at == place - begin.min(place) && std::ptr::eq(known.as_ptr(), Arc::as_ptr(shared)))
            && self.content[self.begin..] == content.own()[begin..]
    }
}

impl Bodies {
    /// The hash of a message's body, which begins there among its own bytes.
    pub fn hash(&self, content: &Pieces, begin: usize) -> [u8; 32] {
        if content.own().len() - begin < BODY_MIN || content.own().len() > MESSAGE_MAX {
            return body_hash_of(&content.after(begin).collect::<Vec<_>>());
        }
        // Bodies that differ mostly differ in length, or early.
        let first = self.lock().first().filter(|known| known.is_like(content, begin)).cloned();
        if let Some(known) = first.filter(|known| known.is(content, begin)) {
            return known.hash;
        }
        let others: Vec<Known> = self.lock().iter().filter(|known| known.is_like(content, begin)).cloned().collect();
        let known = others.into_iter().find(|known| known.is(content, begin)).unwrap_or_else(|| Known::new(content, begin));
        let hash = known.hash;
        let mut bodies = self.lock();
        // What was used last is kept longest.
        bodies.retain(|other| !Arc::ptr_eq(&other.content, &known.content));
        bodies.insert(0, known);
        let mut held = 0;
        let fitting = bodies.iter().take(BODIES_MAX).take_while(|known| {
            held += known.content.len();
            held <= ALL_MAX
        });
        let fitting = fitting.count();
        bodies.truncate(fitting);
        hash
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Known>> {
        // The list is whole whatever happened to the last holder of the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::body_hash;

    #[test]
    fn a_body_is_hashed_once_and_none_is_taken_for_another() {
        let bodies = Bodies::default();
        let message = |head: &str, body: &str| Pieces::from(format!("{head}\r\n\r\n{body}").into_bytes());
        let hash = |content: &Pieces| {
            let begin = content.own().windows(4).position(|at| at == b"\r\n\r\n").expect("a body") + 4;
            bodies.hash(content, begin)
        };
        let long = |letter: &str| format!("{}\r\n", letter.repeat(600));
        let first = message("To: a", &long("a"));
        assert_eq!(hash(&first), body_hash(long("a").as_bytes()));
        assert_eq!(hash(&message("To: somebody else", &long("a"))), body_hash(long("a").as_bytes()));
        assert!(bodies.lock()[0].content.as_ptr() == first.own().as_ptr(), "the first message's hash serves the second");
        // Of equal length, and different at the end.
        let close = format!("{}b\r\n", "a".repeat(599));
        assert_eq!(hash(&message("To: c", &close)), body_hash(close.as_bytes()));
        for number in 0..BODIES_MAX + 2 {
            hash(&message("To: d", &format!("{number:0600}\r\n")));
            hash(&first);
        }
        assert_eq!(bodies.lock().len(), BODIES_MAX);
        assert!(bodies.lock()[0].content.as_ptr() == first.own().as_ptr(), "what is used stays");
        let large = message("To: e", &"x".repeat(MESSAGE_MAX));
        hash(&large);
        assert!(bodies.lock().iter().all(|known| known.content.as_ptr() != large.own().as_ptr()), "large messages are not kept");
        for number in 0..40 {
            hash(&message("To: f", &format!("{number:04}{}\r\n", "x".repeat(900_000))));
            hash(&first);
        }
        let held: usize = bodies.lock().iter().map(|known| known.content.len()).sum();
        assert!((ALL_MAX / 2..=ALL_MAX).contains(&held), "{held} bytes are held");
        assert!(bodies.lock()[0].content.as_ptr() == first.own().as_ptr(), "what is used stays");
    }

    #[test]
    fn a_body_with_shared_parts_is_known_by_them_and_keeps_none_in_memory() {
        let bodies = Bodies::default();
        let lines = |letter: &str| Shared::new(format!("{}\r\n", letter.repeat(76)).repeat(30_000).into_bytes());
        let (one, other) = (lines("a"), lines("b"));
        let message = |to: &str, shared: &Arc<Shared>| {
            let own = format!("To: {to}\r\n\r\n{}\r\n\r\n", "x".repeat(300));
            let at = own.len();
            (Pieces::with((own + "--end--\r\n").into_bytes(), vec![(at, shared.clone())]), 6 + to.len() + 2)
        };
        for (to, shared) in [("ann", &one), ("somebody", &one), ("ann", &other), ("bob", &one)] {
            let (content, begin) = message(to, shared);
            let whole = content.whole();
            assert_eq!(&whole[begin..begin + 3], b"xxx");
            assert_eq!(bodies.hash(&content, begin), body_hash(&whole[begin..]), "{to}");
        }
        assert_eq!(bodies.lock().len(), 2, "the place in the message does not count, and what is shared does");
        assert_eq!(Arc::strong_count(&one), 1);
    }
}

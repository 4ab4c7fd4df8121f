//! The hashes of bodies that many messages share: a campaign whose body is the same for everybody needs one.
//!
//! A body is kept once it comes a second time. Most bodies are one recipient's own: of these only a fingerprint is noted, so that
//! they cost no lookup among the others and their memory is free as soon as they are sent.

use std::{
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use foldhash::quality::RandomState;

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
/// How much of each end of a body its fingerprint is made of, in bytes: bodies of one length that differ in their middle alone cost a
/// comparison, and all of every body would cost as much as a fifth of an Ed25519 signature.
const END: usize = 256;
/// Fingerprints that are noted, a power of two; a newer one takes the place of one with the same end.
const SEEN: usize = 1024;

/// Bodies that were hashed.
#[derive(Default)]
pub struct Bodies {
    state: RandomState,
    kept: Mutex<Kept>,
}

struct Kept {
    /// The one that was used last is first.
    known: Vec<Known>,
    /// The fingerprints of bodies that came once.
    seen: Box<[u64]>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { known: Vec::new(), seen: vec![0; SEEN].into() }
    }
}

#[derive(Clone)]
struct Known {
    /// Whether two bodies have the same one says nothing yet: they are compared.
    fingerprint: u64,
    /// The message's own bytes, and where its body begins.
    content: Arc<[u8]>,
    begin: usize,
    /// What it shares with others, which are not kept for this.
    shared: Arc<[(usize, Weak<Shared>)]>,
    hash: [u8; 32],
}

impl Known {
    fn is(&self, content: &Pieces, begin: usize) -> bool {
        self.shared.len() == content.inserts().len()
            && self
                .shared
                .iter()
                .zip(content.inserts())
                .all(|((at, known), (place, shared))| *at == place - begin.min(place) && std::ptr::eq(known.as_ptr(), Arc::as_ptr(shared)))
            && self.content[self.begin..] == content.own()[begin..]
    }
}

impl Kept {
    /// The body with this fingerprint.
    fn find(&mut self, fingerprint: u64) -> Option<Known> {
        let at = self.known.iter().position(|known| known.fingerprint == fingerprint)?;
        self.known[..=at].rotate_right(1);
        self.known.first().cloned()
    }

    /// Notes a body that was hashed; returns whether it came before.
    fn is_second(&mut self, fingerprint: u64) -> bool {
        // The place is below SEEN, whatever a usize is.
        let place = usize::try_from(fingerprint % SEEN as u64).unwrap_or(0);
        std::mem::replace(&mut self.seen[place], fingerprint) == fingerprint
    }

    fn keep(&mut self, body: Known) {
        self.known.retain(|other| other.fingerprint != body.fingerprint);
        self.known.insert(0, body);
        let mut held = 0;
        let fitting = self.known.iter().take(BODIES_MAX).take_while(|known| {
            held += known.content.len();
            held <= ALL_MAX
        });
        let fitting = fitting.count();
        self.known.truncate(fitting);
    }
}

impl Bodies {
    /// The hash of a message's body, which begins there among its own bytes.
    pub fn hash(&self, content: &Pieces, begin: usize) -> [u8; 32] {
        let hashed = || body_hash_of(&content.after(begin).collect::<Vec<_>>());
        if content.own().len() - begin < BODY_MIN || content.own().len() > MESSAGE_MAX {
            return hashed();
        }
        let fingerprint = self.fingerprint(content, begin);
        let known = self.lock().find(fingerprint);
        if let Some(known) = known.filter(|known| known.is(content, begin)) {
            return known.hash;
        }
        let hash = hashed();
        let mut kept = self.lock();
        if kept.is_second(fingerprint) {
            let shared = content.inserts().map(|(at, shared)| (at - begin.min(at), Arc::downgrade(shared))).collect();
            kept.keep(Known { fingerprint, content: content.own_held(), begin, shared, hash });
        }
        hash
    }

    fn fingerprint(&self, content: &Pieces, begin: usize) -> u64 {
        let mut hasher = self.state.build_hasher();
        let body = &content.own()[begin..];
        let end = END.min(body.len());
        hasher.write_usize(body.len());
        hasher.write(&body[..end]);
        hasher.write(&body[body.len() - end..]);
        content.inserts().for_each(|(at, shared)| (at - begin.min(at), Arc::as_ptr(shared).addr()).hash(&mut hasher));
        hasher.finish()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // The list is whole whatever happened to the last holder of the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::body_hash;

    /// The body is hashed so often; the hash is that of the last time.
    fn hash_times(bodies: &Bodies, times: usize, content: &Pieces) -> [u8; 32] {
        let begin = content.own().windows(4).position(|at| at == b"\r\n\r\n").expect("a body") + 4;
        (0..times).map(|_| bodies.hash(content, begin)).last().expect("a hash")
    }

    fn message(head: &str, body: &str) -> Pieces {
        Pieces::from(format!("{head}\r\n\r\n{body}").into_bytes())
    }

    fn long(letter: &str) -> String {
        format!("{}\r\n", letter.repeat(600))
    }

    #[test]
    fn a_body_is_kept_when_it_comes_again_and_none_is_taken_for_another() {
        let bodies = Bodies::default();
        let is_first = |message: &Pieces| bodies.lock().known.first().is_some_and(|known| known.content.as_ptr() == message.own().as_ptr());
        let (first, second) = (message("To: a", &long("a")), message("To: somebody else", &long("a")));
        assert_eq!(hash_times(&bodies, 1, &first), body_hash(long("a").as_bytes()));
        assert!(bodies.lock().known.is_empty(), "nothing is kept of what may be one recipient's own");
        assert_eq!(hash_times(&bodies, 2, &second), body_hash(long("a").as_bytes()));
        assert!(is_first(&second), "it came twice");
        assert_eq!(hash_times(&bodies, 1, &first), body_hash(long("a").as_bytes()));
        assert!(is_first(&second), "one message's hash serves the next");
        // Of equal length, and different at the end.
        let close = format!("{}b\r\n", "a".repeat(599));
        assert_eq!(hash_times(&bodies, 2, &message("To: c", &close)), body_hash(close.as_bytes()));
        for number in 0..BODIES_MAX + 2 {
            hash_times(&bodies, 2, &message("To: d", &format!("{number:0600}\r\n")));
            hash_times(&bodies, 1, &first);
        }
        assert_eq!(bodies.lock().known.len(), BODIES_MAX);
        assert!(is_first(&second), "what is used stays");
        let large = message("To: e", &"x".repeat(MESSAGE_MAX));
        hash_times(&bodies, 3, &large);
        assert!(bodies.lock().known.iter().all(|known| known.content.as_ptr() != large.own().as_ptr()), "large messages are not kept");
        for number in 0..40 {
            hash_times(&bodies, 2, &message("To: f", &format!("{number:04}{}\r\n", "x".repeat(900_000))));
            hash_times(&bodies, 1, &first);
        }
        let held: usize = bodies.lock().known.iter().map(|known| known.content.len()).sum();
        assert!((ALL_MAX / 2..=ALL_MAX).contains(&held), "{held} bytes are held");
        assert!(is_first(&second), "what is used stays");
    }

    #[test]
    fn equal_fingerprints_are_not_equal_bodies() {
        let bodies = Bodies::default();
        let (one, other) = (message("To: a", &long("a")), message("To: a", &long("b")));
        hash_times(&bodies, 2, &one);
        let fingerprint = bodies.fingerprint(&other, "To: a\r\n\r\n".len());
        bodies.lock().known[0].fingerprint = fingerprint;
        assert_eq!(hash_times(&bodies, 3, &other), body_hash(long("b").as_bytes()));
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
            for _ in 0..2 {
                assert_eq!(bodies.hash(&content, begin), body_hash(&whole[begin..]), "{to}");
            }
        }
        assert_eq!(bodies.lock().known.len(), 2, "the place in the message does not count, and what is shared does");
        assert_eq!(Arc::strong_count(&one), 1);
    }
}

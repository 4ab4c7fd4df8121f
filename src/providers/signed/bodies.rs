//! The hashes of bodies that many messages share: a campaign whose body is the same for everybody needs one.

use std::sync::{Arc, Mutex, PoisonError};

use crate::dkim::body_hash;

/// Bodies that are kept.
const BODIES_MAX: usize = 16;
/// The largest message whose body is kept, in bytes: 16 MiB in all.
const MESSAGE_MAX: usize = 1024 * 1024;
/// The shortest body that is worth a comparison.
const BODY_MIN: usize = 256;

/// Bodies that were hashed, the last one first.
#[derive(Default)]
pub struct Bodies(Mutex<Vec<Known>>);

#[derive(Clone)]
struct Known {
    /// The message, and where its body begins.
    content: Arc<[u8]>,
    begin: usize,
    hash: [u8; 32],
}

impl Known {
    fn body(&self) -> &[u8] {
        &self.content[self.begin..]
    }
}

impl Bodies {
    /// The hash of a message's body.
    pub fn hash(&self, content: &Arc<[u8]>, body: &[u8]) -> [u8; 32] {
        if body.len() < BODY_MIN || content.len() > MESSAGE_MAX {
            return body_hash(body);
        }
        // Bodies that differ mostly differ in length, or early.
        let first = self.lock().first().filter(|known| known.body().len() == body.len()).cloned();
        if let Some(known) = first.filter(|known| known.body() == body) {
            return known.hash;
        }
        let others: Vec<Known> = self.lock().iter().filter(|known| known.body().len() == body.len()).cloned().collect();
        let known = others.into_iter().find(|known| known.body() == body).unwrap_or_else(|| {
            let begin = content.len() - body.len();
            Known { content: content.clone(), begin, hash: body_hash(body) }
        });
        let hash = known.hash;
        let mut bodies = self.lock();
        // What was used last is kept longest.
        bodies.retain(|other| !Arc::ptr_eq(&other.content, &known.content));
        bodies.insert(0, known);
        bodies.truncate(BODIES_MAX);
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

    #[test]
    fn a_body_is_hashed_once_and_none_is_taken_for_another() {
        let bodies = Bodies::default();
        let message = |head: &str, body: &str| -> Arc<[u8]> { format!("{head}\r\n\r\n{body}").into_bytes().into() };
        let hash = |content: &Arc<[u8]>| {
            let begin = content.windows(4).position(|at| at == b"\r\n\r\n").expect("a body") + 4;
            bodies.hash(content, &content[begin..])
        };
        let long = |letter: &str| format!("{}\r\n", letter.repeat(600));
        let first = message("To: a", &long("a"));
        assert_eq!(hash(&first), body_hash(long("a").as_bytes()));
        assert_eq!(hash(&message("To: somebody else", &long("a"))), body_hash(long("a").as_bytes()));
        assert!(Arc::ptr_eq(&bodies.lock()[0].content, &first), "the first message's hash serves the second");
        // Of equal length, and different at the end.
        let close = format!("{}b\r\n", "a".repeat(599));
        assert_eq!(hash(&message("To: c", &close)), body_hash(close.as_bytes()));
        for letter in "cdefghijklmnopqrst".chars() {
            hash(&message("To: d", &long(&letter.to_string())));
            hash(&first);
        }
        assert_eq!(bodies.lock().len(), BODIES_MAX);
        assert!(Arc::ptr_eq(&bodies.lock()[0].content, &first), "what is used stays");
        let large = message("To: e", &"x".repeat(MESSAGE_MAX));
        hash(&large);
        assert!(bodies.lock().iter().all(|known| !Arc::ptr_eq(&known.content, &large)), "large messages are not kept");
    }
}

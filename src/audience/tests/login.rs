//! Credentials of an audience's URL: who gets them, who does not, and where they are not shown.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering},
};

use super::*;
use crate::audience::{Credential, Login, Remote};

const SECRET: &str = "s3cr3t-of-the-crm";

/// A credential, and the header field that it becomes, in lowercase.
type Form = (fn() -> Credential, &'static str);

/// A server whose answers follow from the path, and the heads of all requests.
pub(super) struct Server {
    pub base: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers by the path.
    fn start(answers: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        Self::by_target(move |target| answers(target.split('?').next().unwrap_or_default()))
    }

    /// Answers by the path and the query, in lowercase.
    pub fn by_target(answers: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = heads.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    request.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&request).to_lowercase();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().expect("unpoisoned").push(head);
                let _ = stream.write_all(&answers(&target));
            }
        });
        Self { base, heads }
    }

    /// The heads of all requests, in lowercase.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("unpoisoned").clone()
    }
}

fn people() -> Vec<u8> {
    answer("200 OK\r\nContent-Length: 20", b"email\nann@x.example\n")
}

fn to(place: &str) -> Vec<u8> {
    answer(&format!("302 Found\r\nLocation: {place}\r\nContent-Length: 0"), b"")
}

pub(super) fn login(credential: fn() -> Credential) -> Login {
    Login::new(move || Ok(credential()))
}

pub(super) fn header() -> Credential {
    Credential::header("X-Api-Key", SECRET).expect("a header")
}

fn open(url: &str, login: Login) -> Result<Vec<Row>, Blocker> {
    let remote = Remote { url: url.to_owned(), egress: Egress::Everywhere, login: Some(login) };
    let runtime = runtime();
    Reader::open(&Input::csv(Location::Url(remote)), runtime.handle())?.collect()
}

#[test]
fn each_form_is_sent_as_its_standard_says() {
    let server = Server::start(|_| people());
    let url = format!("{}/people.csv", server.base);
    let forms: [Form; 3] = [
        (|| Credential::bearer("mF_9.B5f-4.1JqM").expect("RFC 6750, 2.1"), "authorization: bearer mf_9.b5f-4.1jqm\r\n"),
        (|| Credential::basic("Aladdin", "open sesame").expect("RFC 7617, 2"), "authorization: basic qwxhzgrpbjpvcgvuihnlc2ftzq==\r\n"),
        (header, "x-api-key: s3cr3t-of-the-crm\r\n"),
    ];
    for (index, (credential, wanted)) in forms.into_iter().enumerate() {
        assert_eq!(open(&url, login(credential)).expect("rows").len(), 1);
        assert!(server.heads()[index].contains(wanted), "{:?}", server.heads());
        assert_eq!(format!("{:?} {:?}", credential(), login(credential)), "*** Login");
    }
}

#[test]
fn another_origin_gets_nothing_and_neither_does_http() {
    let other = Server::start(|path| if path == "/b" { to("/c?signature=x") } else { people() });
    let elsewhere = other.base.clone();
    let server = Server::start(move |path| match path {
        "/people.csv" => to("/a"),
        "/a" => to(&format!("{elsewhere}/b")),
        _ => people(),
    });
    for credential in [header, || Credential::bearer(SECRET).expect("a token")] {
        let (before, before_other) = (server.heads().len(), other.heads().len());
        assert_eq!(open(&format!("{}/people.csv?signature=x", server.base), login(credential)).expect("rows").len(), 1);
        assert_eq!(server.heads().len() - before, 2, "the URL and a redirect to the same origin");
        assert!(server.heads()[before..].iter().all(|head| head.contains(SECRET)), "{:?}", server.heads());
        assert_eq!(other.heads().len() - before_other, 2, "two requests elsewhere");
    }
    for head in other.heads() {
        assert!(!head.contains(SECRET) && !head.contains("authorization") && !head.contains("referer"), "{head}");
    }
    // The other port is another origin, whatever the host; a name that is not loopback is not even asked.
    let error = open("http://crm.example/people.csv", login(header)).expect_err("plain http");
    assert!(error.needs_person && error.message.contains("not sent over http; give an https URL"), "{error}");
}

#[test]
fn what_the_other_side_repeats_is_not_shown() {
    let page = || answer("200 OK\r\nConnection: close", format!("Invalid key {SECRET},x\n").as_bytes());
    let rows = || answer("200 OK\r\nConnection: close", format!("email,name\n{SECRET},x\n").as_bytes());
    let server = Server::start(move |path| if path == "/page" { page() } else { rows() });
    let error = open(&format!("{}/page", server.base), login(header)).expect_err("no column email");
    assert!(error.message.contains("Invalid key ***") && !error.message.contains(SECRET), "{error}");
    let rows = open(&format!("{}/rows", server.base), login(header)).expect("rows");
    let [Row::Bad { why, .. }] = &*rows else { panic!("{rows:?}") };
    assert!(!why.contains(SECRET), "{why}");
}

#[test]
fn a_secret_is_looked_up_for_each_request_and_a_refusal_names_it() {
    let server = Server::start(|_| answer("401 Unauthorized\r\nContent-Length: 0", b""));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let counting = Login::new(move || {
        let token = format!("token-{}", counted.fetch_add(1, Ordering::Relaxed));
        Ok(Credential::bearer(&token).expect("a token"))
    });
    for turn in 0..2 {
        let error = open(&format!("{}/people.csv", server.base), counting.clone()).expect_err("401");
        assert!(error.needs_person && error.message.contains("401 Unauthorized; check the Secret that `auth` names."), "{error}");
        assert!(server.heads()[turn].contains(&format!("token-{turn}")), "{:?}", server.heads());
    }
    let missing = Login::new(|| Err(Blocker::lasting(Reason::SecretNotFound, "gone")));
    assert_eq!(open(&server.base, missing).expect_err("no Secret").reason, Reason::SecretNotFound);
    assert_eq!((server.heads().len(), count.load(Ordering::Relaxed)), (2, 2), "nobody is asked without the credential");
}

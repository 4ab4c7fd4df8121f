//! APIs that answer JSON page by page, and servers that never come to an end.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    super::{
        Remote,
        pages::{Next, Pages, Pointer},
        xlsx::Folder,
    },
    Arc, Egress, Input, Reader, Reason, answer,
    login::{Server, header, login},
    runtime, told,
};

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).expect("a pointer")
}

fn pages(url: &str, items: &str, next: Option<Next>, columns: &[(&str, &str)]) -> Pages {
    Pages {
        remote: Remote { url: url.to_owned(), egress: Egress::Everywhere, login: None },
        items: pointer(items),
        next,
        columns: columns.iter().map(|(field, at)| ((*field).to_owned(), pointer(at))).collect(),
        folder: Folder(std::env::temp_dir()),
    }
}

fn json(body: &str) -> Vec<u8> {
    answer(&format!("200 OK\r\nContent-Length: {}", body.len()), body.as_bytes())
}

/// A page with one person and a `Link` header.
fn linked(link: &str) -> Vec<u8> {
    let body = format!("[{}]", person(0));
    answer(&format!("200 OK\r\nLink: {link}\r\nContent-Length: {}", body.len()), body.as_bytes())
}

fn read(pages: Pages) -> Vec<String> {
    told(&Input::Json(Box::new(pages)))
}

/// The addresses that were read, in their order.
fn addresses(pages: Pages) -> String {
    let short = |told: String| told.split_once(" {").map_or(told.clone(), |(address, _)| address.to_owned());
    read(pages).into_iter().map(short).collect::<Vec<_>>().join(" ")
}

/// A member of a page.
fn person(number: usize) -> String {
    format!("{{\"email\":\"p{number}@x.example\"}}")
}

fn list(numbers: std::ops::Range<usize>) -> String {
    numbers.map(person).collect::<Vec<_>>().join(",")
}

#[test]
fn each_way_to_the_next_page_is_followed_to_its_end() {
    let server = Server::by_target(|target| match target {
        "/link" => linked("</link?page=2>; rel=\"next\""),
        "/link?page=2" => json(&format!("[{}]", list(1..3))),
        "/url" => json(&format!("{{\"data\":{{\"people\":[{}]}},\"next\":\"url?token=x\"}}", list(0..2))),
        "/url?token=x" => json(&format!("{{\"next\":null,\"data\":{{\"people\":[{}]}}}}", person(2))),
        "/cursor?limit=2" => json(&format!("{{\"results\":[{}],\"paging\":{{\"after\":\"c/2\"}}}}", list(0..2))),
        "/cursor?limit=2&after=c%2f2" => json(&format!("{{\"results\":[{}],\"paging\":{{}}}}", person(2))),
        "/page?page=1" | "/offset?skip=0" => json(&format!("{{\"a\":[{}]}}", list(0..2))),
        "/page?page=2" | "/offset?skip=2" => json(&format!("{{\"a\":[{}]}}", person(2))),
        "/page?page=3" => json("{\"a\":[]}"),
        "/offset?skip=3" => json("{\"a\":null}"),
        "/once" => json(&format!("{{\"a\":[{}]}}", list(0..3))),
        other => panic!("{other}"),
    });
    let cases = [
        ("/link", "", Some(Next::Link)),
        ("/url", "/data/people", Some(Next::Url(pointer("/next")))),
        ("/cursor?limit=2", "/results", Some(Next::Cursor(pointer("/paging/after"), "after".to_owned()))),
        ("/page", "/a", Some(Next::Page("page".to_owned(), 1))),
        ("/offset", "/a", Some(Next::Offset("skip".to_owned()))),
        ("/once", "/a", None),
    ];
    for (target, items, next) in cases {
        let found = addresses(pages(&format!("{}{target}", server.base), items, next, &[]));
        assert_eq!(found, "p0@x.example p1@x.example p2@x.example", "{target}");
    }
}

#[test]
fn columns_are_found_within_items() {
    let body = r#"{"results":[
        {"id":1,"properties":{"email":"a@x.example","firstname":"Ann","tags":["x"]},"name":"other"},
        {"id":2,"properties":{"email":null}},
        "b@x.example",
        {"id":3,"properties":{"email":"c@x.example","firstname":null}}]}"#;
    let body = body.to_owned();
    let server = Server::by_target(move |_| json(&body));
    let columns = [("email", "/properties/email"), ("name", "/properties/firstname"), ("tag", "/properties/tags/0")];
    let found = read(pages(&server.base, "/results", None, &columns));
    assert_eq!(
        found,
        [
            r#"a@x.example {"id":1,"properties":{"email":"a@x.example","firstname":"Ann","tags":["x"]},"email":"a@x.example","name":"Ann","tag":"x"}"#,
            "item 2: there is no field `email`",
            "item 3: the item is not a JSON object",
            r#"c@x.example {"id":3,"properties":{"email":"c@x.example","firstname":null},"email":"c@x.example"}"#,
        ]
    );
    let found = read(pages(&server.base, "/results", None, &[]));
    assert!(
        found.len() == 1
            && found[0].contains("no item of the first page has a member `email`; the first has `id`, `properties`, `name`")
            && found[0].contains("if `/properties/email` is it, write `columns: {email: /properties/email}`"),
        "{found:?}"
    );
}

#[test]
fn a_page_that_fails_is_asked_for_again() {
    let failures =
        ["429 Too Many Requests\r\nRetry-After: 1", "503 Service Unavailable", "500 Internal Server Error", "408 Request Timeout"];
    let asked = AtomicUsize::new(0);
    let server = Server::by_target(move |target| match (target, asked.fetch_add(1, Ordering::Relaxed)) {
        ("/?page=1", _) => json(&format!("[{}]", person(0))),
        ("/?page=2", count) if count <= failures.len() => answer(&format!("{}\r\nContent-Length: 0", failures[count - 1]), b""),
        ("/?page=2", _) => json(&format!("[{}]", person(1))),
        _ => json("[]"),
    });
    let next = || Some(Next::Page("page".to_owned(), 1));
    assert_eq!(addresses(pages(&format!("{}/", server.base), "", next(), &[])), "p0@x.example p1@x.example");
    // After that the reading fails, and what came is read; so it does where the server wants to be left alone for long.
    for (refusal, passes, requests) in [("503 Down", true, 6), ("429 Slow\r\nRetry-After: 3600", true, 2), ("404 Gone", false, 2)] {
        let server = Server::by_target(move |target| match target {
            "/?page=1" => json(&format!("[{}]", person(0))),
            _ => answer(&format!("{refusal}\r\nContent-Length: 0"), b""),
        });
        let runtime = runtime();
        let input = Input::Json(Box::new(pages(&format!("{}/", server.base), "", next(), &[])));
        let mut reader = Reader::open(&input, runtime.handle()).expect("the first page");
        assert!(reader.next().expect("a row").is_ok());
        let error = reader.next().expect("an end").expect_err("an error");
        assert!(error.message.contains("the server answered") && error.message.ends_with("(page 2)"), "{error}");
        assert_eq!((error.reason, !error.needs_person, server.heads().len()), (Reason::AudienceUnreadable, passes, requests), "{refusal}");
    }
    // A first page that is not there is told at once.
    let server = Server::by_target(|_| answer("503 Down\r\nContent-Length: 0", b""));
    assert!(read(pages(&server.base, "", next(), &[]))[0].contains("the server answered 503"));
    assert_eq!(server.heads().len(), 1);
}

#[test]
fn pages_that_never_end_are_found() {
    let turn = AtomicUsize::new(0);
    let server = Server::by_target(move |target| match target.split('?').next().unwrap_or_default() {
        // It does not know the parameter.
        "/same" => json(&format!("[{}]", list(0..2))),
        // Its last page leads to itself.
        "/self" => json(&format!("{{\"a\":[{}],\"next\":\"/self?x\"}}", person(turn.fetch_add(1, Ordering::Relaxed)))),
        // It has somebody new for ever.
        _ => json(&format!("[{}]", person(turn.fetch_add(1, Ordering::Relaxed)))),
    });
    let next = || Next::Page("page".to_owned(), 1);
    let cases = [
        ("/same", "", next(), 2, "page 2 has the same people as one before; the server may not know the parameter `page`"),
        ("/self", "/a", Next::Url(pointer("/next")), 2, "page 2 leads back to a page that was read before"),
        ("/new", "", next(), 20, "it has more than 20 pages"),
    ];
    for (path, items, next, people, wanted) in cases {
        let mut found = read(pages(&format!("{}{path}", server.base), items, Some(next), &[]));
        let error = found.pop().expect("an error");
        assert!(error.contains(wanted), "{error}");
        assert!(found.len() <= people + 2 && found.len() >= people.min(2), "{found:?}");
    }
}

#[test]
fn another_host_gets_no_credentials_and_must_be_allowed() {
    let other = Server::by_target(|_| json(&format!("[{}]", person(1))));
    let (there, paths): (String, Arc<Mutex<Vec<String>>>) = (other.base.clone(), Arc::default());
    let next_at = |to: String| {
        let seen = paths.clone();
        Server::by_target(move |target| {
            seen.lock().expect("unpoisoned").push(target.to_owned());
            linked(&format!("<{to}>; rel=next"))
        })
    };
    let asked = |server: &Server| {
        let mut pages = pages(&server.base, "", Some(Next::Link), &[]);
        pages.remote.login = Some(login(header));
        read(pages)
    };
    let server = next_at(format!("{there}/more"));
    let found = asked(&server);
    assert!(found.len() == 2 && found[1].starts_with("p1@x.example"), "{found:?}");
    assert!(server.heads().iter().all(|head| head.contains("x-api-key: s3cr3t")));
    assert!(other.heads().len() == 1 && !other.heads()[0].contains("s3cr3t"), "{:?}", other.heads());
    // What is no URL of the web, and what may not be contacted.
    let file = next_at("file:///etc/passwd".to_owned());
    assert!(asked(&file)[1].contains("only http and https URLs are supported"), "{:?}", asked(&file));
    let private = Pages {
        remote: Remote { egress: Egress::PublicOnly, ..pages(&server.base, "", None, &[]).remote },
        ..pages(&server.base, "", None, &[])
    };
    assert!(read(private)[0].contains("the host has no public address"));
    let plain = super::super::http::parsed("http://127.0.0.1:9/x").expect("a URL");
    let remote = Remote { url: "https://api.example/".to_owned(), egress: Egress::Everywhere, login: None };
    let refused = super::super::http::ask(&remote, &plain, runtime().handle(), &crate::providers::scrub::Scrubber::default());
    assert!(refused.err().is_some_and(|refused| refused.blocker.message.contains("an https URL redirects or links to it, and it is http")));
}

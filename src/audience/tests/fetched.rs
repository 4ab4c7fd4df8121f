//! Files that are fetched as a whole.

use super::*;
use crate::audience::Remote;

#[test]
fn a_file_is_fetched_whole_or_not_at_all() {
    let runtime = runtime();
    let body = b"0123456789".repeat(20_000);
    let fetched = |head: &str, body: &[u8], max: u64| {
        let base = serve(vec![answer(head, body)]);
        let remote = Remote { url: format!("{base}/a.pdf?key=secret"), egress: Egress::Everywhere, login: None };
        crate::audience::fetch(&remote, runtime.handle(), max).map_err(|blocker| blocker.message)
    };
    let length = format!("200 OK\r\nContent-Length: {}", body.len());
    assert_eq!(fetched(&length, &body, 200_000), Ok(Some(body.clone())));
    // A file of more bytes is none, whether its length is said or not.
    assert_eq!(fetched(&length, &body, 199_999), Ok(None));
    assert_eq!(fetched("200 OK\r\nConnection: close", &body, 199_999), Ok(None));
    assert_eq!(fetched("200 OK\r\nConnection: close", &body, 200_000), Ok(Some(body.clone())));
    let cut = fetched("200 OK\r\nContent-Length: 300000", &body, 400_000).expect_err("half a file is none");
    assert!(!cut.contains("secret"), "{cut}");
    let missing = fetched("404 Not Found\r\nContent-Length: 0", b"", 10).expect_err("nothing is there");
    assert!(missing.contains("the server answered 404 Not Found") && !missing.contains("secret"), "{missing}");
    let private = Remote { url: "http://127.0.0.1:9/a".to_owned(), egress: Egress::PublicOnly, login: None };
    let refused = crate::audience::fetch(&private, runtime.handle(), 10).expect_err("it may not be contacted");
    assert_eq!(refused.reason, Reason::AddressNotAllowed);
}

//! The pages over a world with everything in it, and the dashboard over a real socket.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::{
    super::tests::{exchange, start_at, view},
    *,
};
use crate::{
    engine::View,
    feedback::Judged,
    ledger::{Failure, HistoryRow, Transition},
    resources::{
        Condition, ConditionStatus, ConditionType, Key, Reason,
        campaign::CampaignState,
        fate::Fate,
        server_table::{CampaignServerStatus, ServerTable},
    },
    serve::ProcessPhase,
};

/// What is hostile in every text that others write.
const SCRIPT_TEXT: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";

fn moment(view: View) -> Moment {
    Moment { phase: ProcessPhase::Leading, view, now_ms: 1_800_000_000_000, commands: Commands::default(), shows_recipients: false }
}

fn past(text: &str) -> Past {
    let transition = Transition {
        at_ms: 1_799_999_000_000,
        kind: "SendingServer".into(),
        key: Key::new("ops", text),
        generation: 3,
        what: "Ready".into(),
        status: "False".into(),
        state: text.into(),
        reason: text.into(),
        message: text.into(),
    };
    let failure = |recipient: &str, reply: &str| Failure {
        recipient: recipient.into(),
        fate: Fate::Rejected,
        server: Some(text.into()),
        at_ms: 1_799_999_000_000,
        reply: Some(reply.into()),
    };
    let judged = Judged { accepted: 500, rejected: 3, bounced: 2, complained: 1 };
    Past {
        hours: vec![(1_799_996_400_000, judged)],
        days: vec![(1_799_971_200_000, judged)],
        history: vec![HistoryRow { id: 7, transition }],
        has_more: true,
        failures: vec![failure("ann@example.com", text), failure("bob@example.com", "550 5.1.1 <bob@example.com> unknown")],
        problem: Some(text.into()),
    }
}

/// A world of so many servers and campaigns, in which this text stands wherever another's text may.
fn world(text: &str, servers: usize, campaigns: usize) -> View {
    let mut view = view(servers, campaigns);
    let mut decision = (*view.decision).clone();
    for server in decision.servers.values_mut() {
        let condition = Condition::new(ConditionType::Ready, ConditionStatus::False, Reason::TimedOut, text.to_owned());
        server.status.conditions = vec![condition];
        server.status.address = text.to_owned();
        server.status.provider = text.chars().take(60).collect();
    }
    for (place, campaign) in decision.campaigns.values_mut().enumerate() {
        let condition = Condition::new(ConditionType::Ready, ConditionStatus::False, Reason::NoActiveServer, text.to_owned());
        campaign.status.conditions = vec![condition];
        campaign.status.run = text.to_owned();
        campaign.status.state = if place.is_multiple_of(2) { CampaignState::Stopped } else { CampaignState::Sending };
        let row = |number: usize| CampaignServerStatus {
            server: format!("ops/server-{number:05}").into(),
            granted: true,
            chosen: true,
            enabled: true,
            active: number.is_multiple_of(2),
            weight: 3,
            share_percent: "50.0".into(),
            limit_left: Some(9),
            warmup_left: None,
            accepted: 0,
            why_not: text.into(),
        };
        let rows: Vec<CampaignServerStatus> = (0..servers.min(1000)).map(row).collect();
        let accepted = vec![1; rows.len()];
        campaign.status.servers = ServerTable::new(rows.into(), accepted);
    }
    view.decision = Arc::new(decision);
    view
}

fn all_pages() -> Vec<Route> {
    let targets = [
        "/",
        "/servers",
        "/servers?q=%3Cscript%3E&type=%3Cscript%3E&sort=%3Cscript%3E",
        "/servers?state=Inactive&sort=-accepted&page=9999",
        "/servers/ops/server-00000",
        "/campaigns",
        "/campaigns?sort=state&q=0",
        "/campaigns/shop/campaign-00000",
        "/campaigns/shop/campaign-00001",
        "/plans",
        "/audit",
        "/audit?q=%3Cscript%3E&type=Campaign&before=9",
        "/plans/%3Cscript%3E/x",
    ];
    targets.into_iter().map(|target| Route::read(target).expect(target)).collect()
}

#[test]
fn what_others_write_stays_text() {
    let moment = moment(world(SCRIPT_TEXT, 3, 3));
    for route in all_pages() {
        let made = made(&route, &moment, &past(SCRIPT_TEXT));
        let content = made.content.to_lowercase();
        for tag in ["<script", "<img", "onerror=\"", " style="] {
            assert!(!content.contains(tag), "{tag} on {}: {content}", route.target());
        }
        let frame = Frame { title: SCRIPT_TEXT, target: &route.target(), version: &made.version, assets: "x", has_login: true };
        let page = parts::page(&frame, &made.content);
        assert_eq!(page.matches("<script").count(), 1, "{page}");
    }
    let server = made(&Route::Server(Key::new("ops", "server-00000")), &moment, &past(SCRIPT_TEXT)).content;
    assert!(server.contains("&lt;script&gt;alert("), "{server}");
}

#[test]
fn recipients_are_masked_unless_they_may_be_shown() {
    let reply = "550 <ann@example.com> refused";
    let mut view = world(reply, 2, 2);
    let mut decision = (*view.decision).clone();
    decision.campaigns.values_mut().for_each(|campaign| campaign.status.run = "first".to_owned());
    view.decision = Arc::new(decision);
    let mut moment = moment(view);
    let mut past = Past { problem: None, ..past(reply) };
    for row in &mut past.history {
        (row.transition.state, row.transition.reason) = (String::new(), String::new());
    }
    past.failures.iter_mut().for_each(|failure| failure.server = None);
    let route = Route::Campaign(Key::new("shop", "campaign-00000"));
    let content = made(&route, &moment, &past).content;
    assert!(content.contains("a***@example.com") && !content.contains("ann@") && !content.contains("bob@"), "{content}");
    moment.shows_recipients = true;
    let content = made(&route, &moment, &past).content;
    assert!(content.contains("ann@example.com") && content.contains("bob@example.com"), "{content}");
}

#[test]
fn a_page_of_a_large_world_is_small() {
    let long = "Connection refused: nothing listens there. Check host and port, and that the server runs. ".repeat(3);
    let moment = moment(world(&long, 5000, 1000));
    let mut row = past(&long.repeat(9)).history.remove(0);
    row.transition.key = Key::new("operations", "a-server-with-a-name-of-some-length-00001");
    (row.transition.state, row.transition.reason) = ("Inactive".into(), "ConnectionRefused".into());
    let of_all = Past { history: vec![row; 50], ..past(&long) };
    let past = Past { history: of_all.history[..25].to_vec(), ..of_all.clone() };
    for route in all_pages() {
        let made = made(&route, &moment, if matches!(route, Route::Audit(_)) { &of_all } else { &past });
        assert!(made.content.len() < 95_000, "{} has {} bytes", route.target(), made.content.len());
    }
    let list = made(&Route::read("/servers?page=2").expect("a page"), &moment, &past).content;
    assert!(list.contains("server-00050") && !list.contains("server-00049") && list.contains("page 2 of 100"), "{list}");
    let found = made(&Route::read("/servers?q=R-04321").expect("a page"), &moment, &past).content;
    assert!(found.contains("server-04321") && found.contains("1 servers"), "{found}");
}

async fn get(address: SocketAddr, target: &str, headers: &str) -> (u16, String) {
    let answer = exchange(address, format!("GET {target} HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes()).await;
    (answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), answer)
}

const HOST: &str = "Host: localhost:9";

#[tokio::test]
async fn a_page_lets_a_browser_do_nothing_else() {
    let (_sender, receiver) = watch::channel(view(3, 2));
    let (address, _) = start_at("127.0.0.1:0", receiver, DashboardOptions::default()).await;
    let (status, page) = get(address, "/servers", HOST).await;
    assert_eq!(status, 200, "{page}");
    for field in [
        "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: same-origin",
        "cache-control: no-store",
    ] {
        assert!(page.lines().any(|line| line == field), "{field} is not in\n{page}");
    }
    for (target, headers, expected) in [
        ("/", HOST, 200),
        ("/servers/ops/server-00001", HOST, 200),
        ("/servers/ops/none", HOST, 404),
        ("/nothing", HOST, 404),
        ("/%2e%2e/etc/passwd", HOST, 404),
        ("/assets/style.css", HOST, 200),
        ("/assets/passwd", HOST, 404),
        ("/", "Host: evil.example", 403),
        ("/live?page=/", "Host: evil.example", 403),
        ("/live?page=/nothing", HOST, 404),
        ("/livez", "Host: evil.example", 200),
    ] {
        let (status, answer) = get(address, target, headers).await;
        assert_eq!(status, expected, "{target} {headers}: {answer}");
    }
    let posted = exchange(address, b"POST /servers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc").await;
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
}

#[tokio::test]
async fn elsewhere_it_is_closed_or_asks_for_the_token() {
    let (_sender, receiver) = watch::channel(view(1, 1));
    let (open, _) = start_at("0.0.0.0:0", receiver.clone(), DashboardOptions::default()).await;
    let open = SocketAddr::from(([127, 0, 0, 1], open.port()));
    let (status, answer) = get(open, "/", HOST).await;
    assert!(status == 403 && answer.contains("--admin-token-file"), "{answer}");
    assert_eq!(get(open, "/live?page=/", HOST).await.0, 403);
    assert_eq!((get(open, "/livez", HOST).await.0, get(open, "/metrics", HOST).await.0), (200, 200));

    let token = Token::read("correct-horse-battery").expect("a token");
    let (address, _) = start_at("0.0.0.0:0", receiver, DashboardOptions { token: Some(token), ..DashboardOptions::default() }).await;
    let address = SocketAddr::from(([127, 0, 0, 1], address.port()));
    let (status, answer) = get(address, "/servers?q=a", HOST).await;
    assert!(status == 303 && answer.contains("location: /login?next=%2Fservers%3Fq%3Da"), "{answer}");
    assert_eq!(get(address, "/", &format!("{HOST}\r\nAuthorization: Bearer correct-horse-battery")).await.0, 200);
    let sign_in = async |token: &str, next: &str| {
        let form = format!("token={token}&next={next}");
        let request = format!("POST /login HTTP/1.1\r\n{HOST}\r\nContent-Length: {}\r\n\r\n{form}", form.len());
        exchange(address, request.as_bytes()).await
    };
    let wrong = sign_in("wrong-horse-battery", "%2F").await;
    assert!(wrong.starts_with("HTTP/1.1 403 ") && !wrong.contains("set-cookie"), "{wrong}");
    let right = sign_in("correct-horse-battery", "%2Fservers%3Fq%3Da").await;
    assert!(right.starts_with("HTTP/1.1 303 ") && right.contains("location: /servers?q=a"), "{right}");
    // Nobody is led to another's page.
    let elsewhere = sign_in("correct-horse-battery", "%2F%2Fevil.example").await;
    assert!(elsewhere.contains("location: /\r\n"), "{elsewhere}");
    let cookie =
        right.lines().find_map(|line| line.strip_prefix("set-cookie: ")).and_then(|line| line.split(';').next()).expect("a cookie");
    assert_eq!(get(address, "/servers", &format!("{HOST}\r\nCookie: {cookie}")).await.0, 200);
    let out = exchange(address, format!("POST /logout HTTP/1.1\r\n{HOST}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
    assert!(out.contains("Max-Age=0"), "{out}");
}

#[tokio::test]
async fn an_open_page_is_told_what_changed_and_nothing_else() {
    let (sender, receiver) = watch::channel(view(3, 2));
    let (address, health) = start_at("127.0.0.1:0", receiver, DashboardOptions::default()).await;
    health.enter(ProcessPhase::Leading);
    let (_, page) = get(address, "/servers", HOST).await;
    let version = page.split("data-version=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a version").to_owned();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET /live?page=%2Fservers&version={version} HTTP/1.1\r\n{HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut told = String::new();
    let mut read_until = async |words: &str| {
        let mut bytes = vec![0; 65_536];
        while !told.contains(words) {
            let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut bytes)).await;
            let count = read.unwrap_or_else(|_| panic!("no {words} in {told}")).expect("it is open");
            assert!(count > 0, "it ended: {told}");
            told.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        std::mem::take(&mut told)
    };
    let head = read_until("retry:").await;
    assert!(head.contains("text/event-stream"), "{head}");
    sender.send_replace(view(4, 2));
    let news = read_until("server-00003").await;
    assert!(news.contains("data: {\"version\":\"") && !head.contains("data: {"), "{news}");
}

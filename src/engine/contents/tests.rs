//! Contents that are prepared in the background.

use std::collections::BTreeSet;

use super::*;
use crate::{egress::Egress, source::Origin};

/// A campaign's resolver and its object, with this content.
fn campaign(key: &str, content: &str, folder: &std::path::Path) -> (ContentResolver, Arc<Campaign>) {
    let (namespace, name) = key.split_once('/').expect("a key");
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {{name: {name}}}, spec: {{planRef: {{name: p}}, from: {{address: a@example.com}}, subject: Hi, content: {content}, audience: {{inline: [{{email: b@example.com}}]}}}}}}"
    );
    let place = crate::source::FilePlace { file: folder.join("c.yaml"), line: 1, root: folder.into(), closed: Arc::default() };
    let resolver = ContentResolver {
        key: Key::new(namespace, name),
        origin: Origin::File(Arc::new(place)),
        config_maps: crate::source::ConfigMapStore::default(),
        egress: Egress::Everywhere,
        secrets: NewestSecrets::default(),
        scratch: folder.into(),
        fetching: None,
        has_links: false,
    };
    (resolver, Arc::new(serde_saphyr::from_str(&yaml).expect("a campaign")))
}

fn want(contents: &mut Contents, (resolver, object): &(ContentResolver, Arc<Campaign>), generation: i64) -> Result<u64, Blocker> {
    let stamp = resolver.stamp(object, generation).expect("all is there");
    let rank = Rank { is_new: true, created_ms: 0, name: resolver.key.name.clone() };
    contents.want(resolver.clone(), stamp, rank);
    result(contents, &resolver.key)
}

/// The hash of what a campaign sends.
fn result(contents: &Contents, key: &Key) -> Result<u64, Blocker> {
    contents.work(key).map(|work| work.work_hash)
}

fn template(contents: &Contents, key: &Key) -> Option<Arc<Template>> {
    contents.slots.get(key)?.made.as_ref()?.template.clone()
}

fn reason(result: Result<u64, Blocker>) -> Option<Reason> {
    result.err().map(|problem| problem.reason)
}

/// Takes prepared contents until `is_over`.
async fn settle(contents: &mut Contents, is_over: impl Fn(&Contents) -> bool) {
    while !is_over(contents) {
        let done = contents.next().await.expect("it ends");
        contents.take(done);
    }
}

#[tokio::test]
async fn an_edit_waits_for_its_content_and_a_file_that_is_written_anew_holds_up_nothing() {
    let folder = std::env::temp_dir().join(format!("mailfleet-contents-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = |text: &str| std::fs::write(folder.join("body.txt"), text).expect("a file");
    write("one {{ name }}");
    let spring = campaign("shop/spring", "{textFrom: {path: body.txt}}", &folder);
    let mut contents = Contents::new();
    assert_eq!(reason(want(&mut contents, &spring, 1)), Some(Reason::Preparing));
    contents.wait().await;
    settle(&mut contents, |contents| result(contents, &spring.0.key).is_ok()).await;
    let first = result(&contents, &spring.0.key);
    let first_template = template(&contents, &spring.0.key);
    assert_eq!(want(&mut contents, &spring, 1), first, "nothing has changed");
    assert!(contents.wait().await < WAIT_MAX, "and nothing is waited for");

    assert_eq!(reason(want(&mut contents, &spring, 2)), Some(Reason::Preparing), "what the older generation sent is not sent");
    contents.wait().await;
    settle(&mut contents, |contents| result(contents, &spring.0.key).is_ok()).await;
    let second = result(&contents, &spring.0.key);
    assert!(second.is_ok() && second != first);
    let same = template(&contents, &spring.0.key);
    assert!(first_template.zip(same).is_some_and(|(one, other)| Arc::ptr_eq(&one, &other)), "the same content is not compiled again");

    write("two {{ name }}, and longer");
    assert_eq!(want(&mut contents, &spring, 2), second, "what was read whole goes on");
    contents.wait().await;
    settle(&mut contents, |contents| result(contents, &spring.0.key) != second).await;
    assert!(result(&contents, &spring.0.key).is_ok());
    write("three {% if %}");
    want(&mut contents, &spring, 2).expect("what was read whole goes on");
    contents.wait().await;
    settle(&mut contents, |contents| result(contents, &spring.0.key).is_err()).await;
    assert_eq!(reason(result(&contents, &spring.0.key)), Some(Reason::InvalidContent));
    let last = contents.last_work(&spring.0.key).map(|work| work.work_hash);
    assert!(last.is_some_and(|last| Ok(last) != first), "messages of it may be in flight");
    assert!(template(&contents, &spring.0.key).is_none(), "and nothing new is rendered");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn all_bodies_of_a_campaign_have_a_bound() {
    let folder = std::env::temp_dir().join(format!("mailfleet-bodies-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("body.txt"), "x".repeat((1 << 20) - 1)).expect("a file");
    let of = |count: usize| {
        let variants: String = (0..count).map(|number| format!("v{number}: {{subject: x, textFrom: {{path: body.txt}}}}, ")).collect();
        let content = format!("{{text: Hi, variantField: language, variants: {{{variants}}}}}");
        let (resolver, object) = campaign("shop/spring", &content, &folder);
        resolver.content(&object.spec).map(|content| content.variants.len())
    };
    assert_eq!(of(16).ok(), Some(16));
    let problem = of(17).expect_err("too large");
    assert_eq!(problem.reason, Reason::InvalidContent);
    assert!(
        problem.message.starts_with("spec.content.variants.v9.text: with it, all bodies of the campaign are larger than 16 MiB"),
        "{problem:?}"
    );
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn what_was_sent_stays_known_while_a_config_map_is_gone() {
    let body = |text: &str| {
        crate::source::ConfigMapStore::new(BTreeMap::from([(
            Key::new("shop", "body"),
            BTreeMap::from([("html".to_owned(), Arc::from(text.as_bytes()))]),
        )]))
    };
    let (mut resolver, object) = campaign("shop/spring", "{htmlFrom: {configMapRef: {name: body, key: html}}}", std::path::Path::new("/"));
    let key = resolver.key.clone();
    let sourced = Sourced { object: object.clone(), origin: resolver.origin.clone(), stale: None, previous_status: None };
    let mut contents = Contents::new();
    let look = |contents: &mut Contents, resolver: &ContentResolver| {
        contents.blocked.clear();
        contents.look_for(resolver.clone(), &sourced, &LedgerFacts::default());
        contents.start();
    };
    resolver.config_maps = body("one");
    look(&mut contents, &resolver);
    settle(&mut contents, |contents| result(contents, &key).is_ok()).await;
    let sent = result(&contents, &key).ok();

    let there = std::mem::take(&mut resolver.config_maps);
    for _ in 0..2 {
        look(&mut contents, &resolver);
        assert_eq!(reason(result(&contents, &key)), Some(Reason::ConfigMapNotFound));
        assert_eq!(contents.last_work(&key).map(|work| work.work_hash), sent, "messages of it may be in flight");
        assert!(template(&contents, &key).is_none(), "no memory is held for it");
    }
    resolver.config_maps = there;
    look(&mut contents, &resolver);
    settle(&mut contents, |contents| result(contents, &key).is_ok()).await;
    assert_eq!(result(&contents, &key).ok(), sent);
    assert!(template(&contents, &key).is_some());
}

#[tokio::test]
async fn a_look_waits_no_longer_than_its_bound_and_nobody_behind_another_namespace() {
    let sections = "<mj-section><mj-column><mj-text>Hi {{ name }}</mj-text></mj-column></mj-section>".repeat(1500);
    let folder = std::env::temp_dir();
    let mut contents = Contents::new();
    for number in 0..20 {
        let content = format!("{{mjml: \"<mjml><mj-body>{sections}<mj-raw>{number}</mj-raw></mj-body></mjml>\"}}");
        let _ = want(&mut contents, &campaign(&format!("many/c{number:02}"), &content, &folder), 1);
    }
    let one = campaign("one/news", "{text: Hi}", &folder);
    let _ = want(&mut contents, &one, 1);
    let waited = contents.wait().await;
    assert!(waited < WAIT_MAX * 3, "{waited:?}");
    let ready = |contents: &Contents| (0..20).filter(|number| result(contents, &Key::new("many", format!("c{number:02}"))).is_ok()).count();
    settle(&mut contents, |contents| result(contents, &one.0.key).is_ok()).await;
    let before = ready(&contents);
    assert!(before < 10, "{before} of the other namespace went before");
    settle(&mut contents, |contents| ready(contents) == before + 2).await;
}

#[tokio::test]
async fn templates_hold_no_more_than_their_namespaces_share() {
    let folder = std::env::temp_dir();
    // With more tokens than a template that is compiled again for each request.
    let text = "words ".repeat(165_000) + &"{{ name }}".repeat(400);
    let mut contents = Contents::new();
    let keys: Vec<Key> = (0..40).map(|number| Key::new("many", format!("c{number:02}"))).collect();
    for (number, key) in keys.iter().enumerate() {
        let _ = want(&mut contents, &campaign(&key.to_string(), &format!("{{text: '{text} {number} {{{{ name }}}}'}}"), &folder), 1);
    }
    contents.wait().await;
    let all = |contents: &Contents, is: fn(Option<Reason>) -> bool| keys.iter().all(|key| is(reason(result(contents, key))));
    settle(&mut contents, |contents| all(contents, |reason| reason.is_none())).await;
    let held = |contents: &Contents| {
        let templates = keys.iter().filter_map(|key| template(contents, key).map(|template| template.cost()));
        (templates.clone().count(), templates.sum::<usize>())
    };
    let (count, bytes) = held(&contents);
    assert!((20..40).contains(&count) && bytes <= NAMESPACE_MAX, "{count} of {bytes} bytes");

    // All of them send: those without a template wait for memory, and another namespace does not.
    assert_eq!(contents.note(|_| true).len(), 40 - count);
    let waiting: Vec<&Key> = keys.iter().filter(|key| reason(result(&contents, key)) == Some(Reason::WaitingForMemory)).collect();
    assert_eq!(waiting.len(), 40 - count);
    let one = campaign("one/news", &format!("{{text: '{text} {{{{ name }}}}'}}"), &folder);
    let _ = want(&mut contents, &one, 1);
    contents.wait().await;
    settle(&mut contents, |contents| template(contents, &one.0.key).is_some()).await;

    // Those that were sending have ended, and make room.
    let sends: BTreeSet<Key> = waiting.into_iter().cloned().collect();
    contents.note(|key| sends.contains(key));
    contents.note(|key| sends.contains(key));
    let is_ready = |contents: &Contents, key: &Key| result(contents, key).is_ok() && template(contents, key).is_some();
    settle(&mut contents, |contents| sends.iter().all(|key| is_ready(contents, key))).await;
    assert!(held(&contents).1 <= NAMESPACE_MAX);
    assert!(keys.iter().all(|key| result(&contents, key).is_ok()), "what does not send now needs no template");
}

#[tokio::test]
async fn a_campaign_without_the_links_that_it_needs_is_not_prepared() {
    let (resolver, object) = campaign("shop/spring", "{text: Hi}", std::path::Path::new("/nowhere"));
    let reason = |unsubscribe: &str, has_links| {
        let mut object = (*object).clone();
        Arc::make_mut(&mut object.spec).unsubscribe = serde_saphyr::from_str(unsubscribe).expect("a spec");
        ContentResolver { has_links, ..resolver.clone() }
            .stamp(&Arc::new(object), 1)
            .err()
            .map(|blocker| (blocker.reason, blocker.needs_person))
    };
    assert_eq!(reason("{oneClick: {}}", false), Some((Reason::PublicUrlMissing, true)));
    assert_eq!(reason("{oneClick: {topic: offers}}", false), Some((Reason::PublicUrlMissing, true)));
    assert_eq!(reason("{oneClick: {}}", true), None);
    assert_eq!(reason("{oneClick: {}, url: \"https://x.example/\"}", false), None, "a page of one's own");
    assert_eq!(reason("{url: \"https://x.example/\"}", false), None);
    assert_eq!(reason("{}", false), None);
}

#[tokio::test]
async fn an_edit_of_a_part_is_seen_as_one_of_a_body_is() {
    let folder = std::env::temp_dir().join(format!("mailfleet-contents-parts-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("parts")).expect("a folder");
    let write = |text: &str| std::fs::write(folder.join("parts/footer.txt"), text).expect("a file");
    write("one");
    let spring = campaign("shop/spring", "{text: \"{% include 'footer.txt' %}\", templates: {path: parts}}", &folder);
    let key = spring.0.key.clone();
    let sourced = Sourced { object: spring.1.clone(), origin: spring.0.origin.clone(), stale: None, previous_status: None };
    let mut contents = Contents::new();
    // Looks again and again, as the engine does: what was written a moment ago is not read yet.
    async fn look(contents: &mut Contents, resolver: &ContentResolver, sourced: &Sourced<Campaign>, is_over: impl Fn(&Contents) -> bool) {
        let began = Instant::now();
        while !is_over(contents) {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", result(contents, &resolver.key));
            contents.blocked.clear();
            contents.look_for(resolver.clone(), sourced, &LedgerFacts::default());
            contents.wait().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    look(&mut contents, &spring.0, &sourced, |contents| result(contents, &key).is_ok()).await;
    let first = result(&contents, &key);

    write("two, and longer");
    look(&mut contents, &spring.0, &sourced, |contents| result(contents, &key) != first).await;
    let second = result(&contents, &key);
    assert!(second.is_ok(), "what was read before is sent until then: {second:?}");

    std::fs::remove_file(folder.join("parts/footer.txt")).expect("removed");
    look(&mut contents, &spring.0, &sourced, |contents| result(contents, &key).is_err()).await;
    assert_eq!(reason(result(&contents, &key)), Some(Reason::FileNotFound));
    assert!(template(&contents, &key).is_none() && contents.last_work(&key).is_some());
    write("{% if %}");
    look(&mut contents, &spring.0, &sourced, |contents| reason(result(contents, &key)) == Some(Reason::InvalidContent)).await;
    write("two, and longer");
    look(&mut contents, &spring.0, &sourced, |contents| result(contents, &key) == second).await;
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn parts_stay_in_their_folder() {
    let folder = std::env::temp_dir().join(format!("mailfleet-parts-stay-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("parts/inner")).expect("a folder");
    let write = |name: &str| std::fs::write(folder.join(name), "x").expect("a file");
    ["outside.txt", "parts/a.txt", "parts/inner/b.txt", "parts/object.yaml", "parts/.hidden"].into_iter().for_each(write);
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).expect("a link");
    link("../outside.txt", "parts/escape.txt");
    link("/etc/hostname", "parts/root.txt");
    link("inner/b.txt", "parts/inward.txt");
    link("..", "parts/up");
    let (resolver, _) = campaign("shop/spring", "{text: x}", &folder);
    let read = |name: &str| {
        let content = format!("{{text: \"{{% include '{name}' %}}\", templates: {{path: parts}}}}");
        let (_, object) = campaign("shop/spring", &content, &folder);
        let content = resolver.content(&object.spec).expect("what is wrong is told where it is named");
        Template::compile(&content).map(|_| ()).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    for name in ["a.txt", "inner/b.txt", "inward.txt"] {
        assert_eq!(read(name), Ok(()), "{name}");
    }
    let cases = [
        ("escape.txt", "leads out of the folder"),
        ("root.txt", "is outside the folder"),
        ("up/outside.txt", "leads out of the folder"),
        ("../outside.txt", "is not the name of a part"),
        ("inner/../../outside.txt", "is not the name of a part"),
        ("object.yaml", "never mailed"),
        (".hidden", "hidden"),
        ("inner", "not a regular file"),
        ("none.txt", "does not exist in the folder `parts`"),
    ];
    for (name, words) in cases {
        let told = read(name).expect_err(name);
        assert!(told.contains(words), "{name}: {told}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn parts_come_from_a_config_map_too() {
    let maps = |data: &[(&str, &str)]| {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), Arc::from(text.as_bytes()))).collect();
        crate::source::ConfigMapStore::new(BTreeMap::from([(Key::new("shop", "parts"), data)]))
    };
    let content = "{text: \"{% include 'footer.txt' %}\", templates: {configMapRef: {name: parts}}}";
    let (mut resolver, object) = campaign("shop/spring", content, std::path::Path::new("/"));
    let key = resolver.key.clone();
    let sourced = Sourced { object, origin: resolver.origin.clone(), stale: None, previous_status: None };
    let mut contents = Contents::new();
    let mut results = Vec::new();
    for store in [
        maps(&[("footer.txt", "one")]),
        maps(&[("footer.txt", "two")]),
        maps(&[("other.txt", "two")]),
        crate::source::ConfigMapStore::default(),
        maps(&[("footer.txt", "one")]),
    ] {
        resolver.config_maps = store;
        contents.blocked.clear();
        contents.look_for(resolver.clone(), &sourced, &LedgerFacts::default());
        contents.wait_for_all().await;
        results.push(contents.work(&key).map(|work| work.work_hash).map_err(|blocker| (blocker.reason, blocker.message)));
    }
    assert!(results[0].is_ok() && results[1].is_ok() && results[0] != results[1]);
    let (reason, message) = results[2].clone().expect_err("it has no such key");
    assert_eq!(reason, Reason::ConfigMapKeyNotFound);
    assert!(message.contains("the part `footer.txt` is not a key of the ConfigMap `parts`; it has `other.txt`"), "{message}");
    assert_eq!(results[3].clone().map_err(|(reason, _)| reason), Err(Reason::ConfigMapNotFound));
    assert_eq!(results[4], results[0]);
}

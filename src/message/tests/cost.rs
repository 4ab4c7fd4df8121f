//! What a template holds once a message was made of it, measured beside what it says that it holds.
//!
//! Each shape is measured in a process of its own: the test runs itself again, told by the environment which shape it is.

use std::{fmt::Write as _, process::Command};

use super::{Content, ann, content};
use crate::message::{RenderContext, Template};

const SHAPE: &str = "MAILFLEET_TEST_COST_OF";
/// So much is held of each shape, so that pages and free lists do not count. Bytes, by the cost.
const HELD: usize = 32 << 20;

/// Bodies of any size, and of what the engine makes most of.
fn shapes() -> Vec<(&'static str, String)> {
    let times = |text: &str, count: usize| text.repeat(count);
    let mut literals = String::new();
    for number in 0..9000 {
        let _ = write!(literals, "{{{{ {number} ~ 'text {number}' }}}}");
    }
    vec![
        ("nothing but text", times("<p>Words and words.</p>", 20_000)),
        ("a letter", format!("<p>Dear {{{{ name }}}}</p>{}", times("<p>Words and words.</p>", 400))),
        ("one tag", "{{ name }}".to_owned()),
        ("short tags", times("{{a}}", 19_000)),
        ("attributes", times("{{ a.b.c.d.e }}", 15_000)),
        ("filters", times("{{ a|default('x')|upper|lower }}", 9000)),
        ("comparisons", times("{{ a == b and c != d or e in f }}", 9000)),
        ("sums", times("{{ 1+a+1+a+1+a+1+a+1+a+1+a+1+a+1+a+1+a+1+a }}", 4000)),
        ("lists", times("{{ [a,1,a,1,a,1,a,1,a,1,a,1] }}", 6000)),
        ("maps", times("{{ {'a': a, 'b': [a, {'c': a}]} }}", 6000)),
        ("loops", times("{% for x in a %}{% if x %}{{ x }}{% else %}{{ loop.index }}{% endif %}{% endfor %}", 2000)),
        ("macros", times("{% macro m(a, b=1) %}{{ a }}{{ b }}{% endmacro %}", 3000)),
        ("sets", times("{% set a = [a, a] %}", 9000)),
        ("calls", times("{{ range(1, 2, 3)|join(', ') }}", 6000)),
        ("texts of tags", literals),
    ]
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.expect("statm") * 4096
}

/// What all templates of a shape hold, and what they say.
fn measured(source: &str) -> (usize, usize) {
    let made = || {
        let template = Template::compile(&Content { html: Some(source.into()), ..content() }).expect("a good template");
        let context = RenderContext { message_id: "a@b", date: jiff::Timestamp::UNIX_EPOCH, campaign: "c", senders: None, link: None };
        // A template that fails for this recipient is compiled as well.
        let _ = template.render(&ann(), &context);
        template.rest();
        template
    };
    let cost = made().cost();
    let count = (HELD / cost).clamp(2, 1200);
    let before = resident();
    let held: Vec<Template> = (0..count).map(|_| made()).collect();
    (resident().saturating_sub(before) / held.len(), cost)
}

#[test]
fn a_template_holds_no_more_than_its_cost() {
    if let Ok(name) = std::env::var(SHAPE) {
        let (_, source) = shapes().into_iter().find(|(shape, _)| *shape == name).expect("a shape");
        let (holds, cost) = measured(&source);
        println!("measured {holds} {cost}");
        return;
    }
    let mut wrong = Vec::new();
    for (name, source) in shapes() {
        let program = std::env::current_exe().expect("this program");
        let words = ["--exact", "message::tests::cost::a_template_holds_no_more_than_its_cost", "--nocapture"];
        let told = Command::new(program).args(words).env(SHAPE, name).output().expect("it runs");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let figures = told.lines().find_map(|line| line.split_once("measured ")).map(|(_, figures)| figures.to_owned());
        let figures = figures.unwrap_or_else(|| panic!("{name}: {told}"));
        let (holds, cost) =
            figures.split_once(' ').and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?))).expect("two");
        println!("{name}: {} bytes of source, holds {holds}, cost {cost}, {} %", source.len(), holds * 100 / cost);
        if holds > cost {
            wrong.push(format!("{name}: {} bytes of source hold {holds}, and cost {cost}", source.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

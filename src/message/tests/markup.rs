//! The text of HTML: lists, lines that stay, and entities.

use crate::message::text;

#[test]
fn lists_and_lines() {
    let cases = [
        ("<ol><li>one</li><li>two</li></ol>end", "1. one\n2. two\n\nend"),
        ("<ol start=\"9\"><li>nine</li><li>ten</li></ol>", "9. nine\n10. ten"),
        ("<ol><li value=5>five</li><li>six</li><li value=x>seven</li></ol>", "5. five\n6. six\n7. seven"),
        ("<ul><li><p>one</p></li><li><p>two</p></li></ul>end", "- one\n- two\n\nend"),
        ("<ul>\n <li>\n  <p>one</p>\n  <p>more</p>\n </li>\n <li>two</li>\n</ul>", "- one\n\nmore\n- two"),
        ("a<ol><li>one<ul><li>x</li><li>y</li></ul></li><li>two</li></ol>b", "a\n\n1. one\n  - x\n  - y\n2. two\n\nb"),
        ("<ul><li></li><li>b</li></ul>c", "-\n- b\n\nc"),
        ("<li>alone</li>", "- alone"),
        ("<p>a</p><pre>\nx\n  y &lt; 1\n\n\nz  <b>w</b>\n</pre><p>b</p>", "a\n\nx\n  y < 1\n\n\nz  w\n\nb"),
        ("<pre>a\r\nb</pre>", "a\nb"),
        ("a<img alt=x style=\"display:none\" />b<img alt=y hidden>c", "abc"),
    ];
    for (html, wanted) in cases {
        assert_eq!(text::from_html(html), wanted, "{html}");
    }
}

#[test]
fn entities_are_decoded() {
    let cases = [
        ("&Oslash; &Aring; &Agrave; &scaron; &Scaron; &yuml;", "Ø Å À š Š ÿ"),
        ("&alpha;&le;&infin;&CounterClockwiseContourIntegral;", "α≤∞∳"),
        ("&NotEqualTilde; &bne; &fjlig; &nvlt;", "≂\u{338} =\u{20e5} fj <\u{20d2}"),
        ("می&zwnj;خواهم 👩&zwj;💻 &#x1f469;&zwj;&#x1f4bb;", "می\u{200c}خواهم 👩\u{200d}💻 👩\u{200d}💻"),
        ("a&zwnj;&nbsp;&zwnj;&nbsp;&zwj;b&shy;c&zwnj;", "a bc"),
        ("&copy 2026 &eacutex &notit; &ampamp", "© 2026 éx ¬it; &amp"),
        ("&#150;&#146;&#8211 &#x2014", "–’– —"),
        ("a&Tab;b&#9;c", "a b c"),
        ("&unknown; &; &#; &#x; &#99999999999;", "&unknown; &; &#; &#x; &#99999999999;"),
        ("<a href=\"https://x.example/?a=1&copy=2&reg;\">go</a>", "go (https://x.example/?a=1&copy=2®)"),
        ("<img alt=\"caf&eacute\">", "café"),
    ];
    for (html, wanted) in cases {
        assert_eq!(text::from_html(html), wanted, "{html}");
    }
}

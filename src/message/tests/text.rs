//! The plain text of HTML, and of HTML templates.

use super::{Content, content, recipient, render};
use crate::message::text;

#[test]
fn text_of_html() {
    let cases = [
        ("<p>One\n  two</p>\n<p>three</p>", "One two\n\nthree"),
        ("a<br>b<br/><br />c", "a\nb\n\nc"),
        ("<ul><li>one</li>\n<li>two <b>x</b></li></ul>end", "- one\n- two x\n\nend"),
        ("<a href=\"https://x.example/?a=1&amp;b=2\">Read <b>on</b></a>.", "Read on (https://x.example/?a=1&b=2)."),
        (
            "<a href='https://x.example'>https://x.example</a> <a href=\"mailto:a@x.example\">a@x.example</a> <a href=#top>up</a>",
            "https://x.example a@x.example up",
        ),
        ("<a href=https://x.example><img alt='A logo' src=x></a>", "A logo (https://x.example)"),
        ("<a href=https://x.example><img src=x></a>", "https://x.example"),
        ("<html><head><title>T</title><style>p{}</style></head><body>x<script>a<b</script><style>q</style>y</body></html>", "xy"),
        ("<head><title>T</title><body>x", "x"),
        ("a &lt;b&gt; &amp;amp; &#169;&#x20AC;&nbsp;&unknown; &uuml; & &#0; &#xD800;", "a <b> &amp; ©€ &unknown; ü & &#0; &#xD800;"),
        ("<!-- a > b -->x<!--[if mso]><p>no</p><![endif]-->y", "xy"),
        ("<div style=\"color:red; Display : none\">pre<div>x</div>header</div><p hidden>y</p>shown", "shown"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("1 < 2 and 3 > 2 <", "1 < 2 and 3 > 2 <"),
        ("{{ not a tag }}", "{{ not a tag }}"),
        ("<p>a</p><hr><p>b</p>", "a\n\n---\n\nb"),
        ("日本語<br>ünï</p", "日本語\nünï"),
        ("", ""),
    ];
    for (html, wanted) in cases {
        assert_eq!(text::from_html(html), wanted, "{html}");
    }
}

#[test]
fn text_of_a_template_is_the_text_of_its_html() {
    let cases = [
        ("<p>Hello {{ name }},</p><p>bye</p>", true),
        ("<p>{% if x %}a{% else %}b{% endif %} c</p>", true),
        ("<p>{% if x %}</p><p>{% endif %}<p>t</p>", true),
        ("text{% if missing %}<p>foo</p>{% endif %}<p>bar</p>", true),
        ("<ul>{% for i in [1, 2] %}<li>{{ i }}</li>{% endfor %}</ul>{# no <b> #}<p>end</p>", true),
        ("<a href=\"{{ url }}\">{{ name }}</a>", true),
        ("<a href=\"https://x.example/?u={{ name|urlencode }}&amp;b=1\" title=\"{{ '>' }}\">go</a>", true),
        ("{{ \"}} <b>\" }}", true),
        ("<p>{{ name | safe }}</p>", false),
        ("<p {% if x %}hidden{% endif %}>y</p>", false),
        ("<head>{% set y = 1 %}</head>{{ y }}", false),
        ("<!-- {% set y = 1 %} -->{{ y }}", false),
        ("<p>&#123;&#123; name }}</p>", false),
        ("{% raw %}{{ x }}{% endraw %}", false),
        ("<p>{<b>{</b> name }}</p>", false),
    ];
    let ann = recipient(&[("name", "A & <B>"), ("x", "1"), ("url", "https://x.example/?a=1&b=2")]);
    for (html, derived) in cases {
        assert_eq!(text::from_template(html).is_some(), derived, "{html}");
        let message = |text: Option<std::sync::Arc<str>>| {
            let message = render(&Content { html: Some(html.into()), text, ..content() }, &ann);
            message.split("\r\n\r\n").skip(1).collect::<Vec<_>>().join("\r\n\r\n").split("\r\n--").next().expect("a part").to_owned()
        };
        let rendered = render(&Content { html: Some(html.into()), text: Some("t".into()), ..content() }, &ann);
        let html_part =
            rendered.split("Content-Transfer-Encoding: 7bit\r\n\r\n").nth(2).expect("a part").split("\r\n--").next().expect("a part");
        let from_rendered = text::from_html(&html_part.replace("\r\n", "\n"));
        let got = message(None);
        let body = got.split_once("7bit\r\n\r\n").expect("a part").1;
        let collapse = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(collapse(body), collapse(&from_rendered), "{html}");
        assert!(!body.contains("\r\n\r\n\r\n"), "{html}: {body:?}");
    }
}

#[test]
fn tidied_text() {
    let cases = [("\n\na\n\n\n\nb  c \n d\n", "a\n\nb c\nd"), ("a\n\nb", "a\n\nb"), ("  ", ""), ("", "")];
    for (text, wanted) in cases {
        assert_eq!(text::tidy(text.to_owned()), wanted, "{text:?}");
    }
}

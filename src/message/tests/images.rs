//! Which images nobody can see.

use super::content;
use crate::message::{Content, unreachable_images};

#[test]
fn images_that_nobody_can_see_are_told() {
    let told = |html: &str| {
        let content = Content { html: Some(html.into()), ..content() };
        unreachable_images(&content).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let shown = [
        "<img src=\"https://x.example/a.png\">",
        "<img alt='a > b' src='{{ url }}'>",
        "<img src=//cdn.example/a.png >",
        "<img src=\"data:image/png;base64,AA==\">",
        "<image src=a.png>",
        "<img alt=x>",
        "<img",
        "<img src=\"a",
        "text <img >",
    ];
    for html in shown {
        assert_eq!(told(html), "", "{html}");
    }
    let path = "will not be shown: a path of this machine means nothing to the reader's";
    let lost = [
        ("<p>\n<IMG width=1 SRC=logo.png>", "line 2: the image `logo.png` ", path),
        ("<img alt='a > b' src='../img/{{ name }}.png' />", "line 1: the image `../img/{{ name }}.png` ", path),
        ("<img src=\"C:\\logo.png\">", "line 1: the image `C:\\logo.png` ", path),
        ("<img src='file:///a.png'>", "line 1: the image `file:///a.png` ", path),
        ("<img src=\"cid:logo\">", "line 1: the image `cid:logo` ", "will not be shown: a message has no inline images"),
    ];
    for (html, image, why) in lost {
        let said = told(html);
        assert!(said.contains(&format!("spec.content.html: {image}{why}")), "{html}: {said}");
    }
    let mjml = Content { mjml: Some("<mjml>\n<mj-image src=\"a.png\" />".into()), ..content() };
    assert!(unreachable_images(&mjml)[0].to_string().starts_with("spec.content.mjml: line 2: the image `a.png`"));
}

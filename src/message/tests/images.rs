//! Which images nobody can see.

use super::content;
use crate::message::{Attachment, Content, unreachable_images};

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
    ];
    for (html, image, why) in lost {
        let said = told(html);
        assert!(said.contains(&format!("spec.content.html: {image}{why}")), "{html}: {said}");
    }
    let mjml = Content { mjml: Some("<mjml>\n<mj-image src=\"a.png\" />".into()), ..content() };
    assert!(unreachable_images(&mjml)[0].to_string().starts_with("spec.content.mjml: line 2: the image `a.png`"));
}

#[test]
fn what_the_html_shows_and_what_goes_with_it_are_the_same() {
    let attachment = |id: &str| Attachment { filename: "a.png".to_owned(), content_type: None, inline: Some(id.to_owned()), file: None };
    let told = |html: &str, ids: &[&str]| {
        let attachments = ids.iter().map(|id| attachment(id)).collect();
        let content = Content { html: Some(html.into()), attachments, ..content() };
        unreachable_images(&content).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for html in ["<img src=\"cid:logo\">", "<td background='CID:logo'>", "<p style=\"background: url( cid:logo)\">", "<img src=cid:logo>"] {
        assert_eq!(told(html, &["logo"]), Vec::<String>::new(), "{html}");
        let said = told(&format!("<p>\n{html}"), &["icon"]);
        assert!(
            matches!(&said[..], [one, other] if one.starts_with("spec.content.html: line 2: `cid:logo` will not be shown: no attachment has this id; the attachments with `inline` have the ids `icon`")
                && other.starts_with("spec.content.attachments[0].inline: the HTML does not show it: write `cid:icon`")),
            "{html}: {said:?}"
        );
    }
    assert!(told("<img src=\"cid:logo\">", &[])[0].ends_with("give an attachment `inline: logo`, or write an https:// URL"));
    let made = told("<img src=\"cid:{{ \'a\' }}\"><p>acid: 7, \"acid:x\"</p>", &["a", "b"]);
    assert_eq!(made, Vec::<String>::new(), "a template may make any id");
}

//! `mj-social`: icons of networks with links.

use super::{
    element::{Element, Render},
    value,
};

/// What goes down to the icons.
const INHERITED: &[&str] = &[
    "border",
    "border-radius",
    "color",
    "font-family",
    "font-size",
    "font-weight",
    "font-style",
    "icon-size",
    "icon-height",
    "icon-padding",
    "text-padding",
    "line-height",
    "text-decoration",
];

/// Where MJML's own icons are.
const ICONS: &str = "https://www.mailjet.com/images/theme/v1/icons/ico-social/";

/// A network's name, colour, icon, and what its sharing page's address has before and after the link.
type Network = (&'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

#[rustfmt::skip]
const NETWORKS: &[Network] = &[
    ("facebook", "#3b5998", "facebook", Some(("https://www.facebook.com/sharer/sharer.php?u=", ""))),
    ("twitter", "#55acee", "twitter", Some(("https://twitter.com/intent/tweet?url=", ""))),
    ("x", "#000000", "twitter-x", Some(("https://twitter.com/intent/tweet?url=", ""))),
    ("google", "#dc4e41", "google-plus", Some(("https://plus.google.com/share?url=", ""))),
    ("pinterest", "#bd081c", "pinterest", Some(("https://pinterest.com/pin/create/button/?url=", "&media=&description="))),
    ("linkedin", "#0077b5", "linkedin", Some(("https://www.linkedin.com/shareArticle?mini=true&url=", "&title=&summary=&source="))),
    ("instagram", "#3f729b", "instagram", None),
    ("web", "#4BADE9", "web", None),
    ("snapchat", "#FFFA54", "snapchat", None),
    ("youtube", "#EB3323", "youtube", None),
    ("tumblr", "#344356", "tumblr", Some(("https://www.tumblr.com/widgets/share/tool?canonicalUrl=", ""))),
    ("github", "#000000", "github", None),
    ("xing", "#296366", "xing", Some(("https://www.xing.com/app/user?op=share&url=", ""))),
    ("vimeo", "#53B4E7", "vimeo", None),
    ("medium", "#000000", "medium", None),
    ("soundcloud", "#EF7F31", "soundcloud", None),
    ("dribbble", "#D95988", "dribbble", None),
];

const PLAIN: [(&str, Option<&str>); 4] =
    [("border", Some("0")), ("cellpadding", Some("0")), ("cellspacing", Some("0")), ("role", Some("presentation"))];

impl Render<'_> {
    pub(super) fn social(&mut self, element: &Element<'_>) -> String {
        let mut inherited = element.same(INHERITED);
        inherited.push(("padding", element.truly("inner-padding")));
        if element.get("mode") != Some("horizontal") {
            let table = value::attributes(&[PLAIN[0], PLAIN[1], PLAIN[2], PLAIN[3], ("style", Some("margin:0px;"))]);
            let children = self.children(element, &element.context, &inherited, &mut |render, child| render.render(child));
            return format!("<table{table}>\n<tbody>{children}</tbody>\n</table>");
        }
        let align = ("align", element.get("align"));
        let outlook = value::attributes(&[align, PLAIN[0], PLAIN[1], PLAIN[2], PLAIN[3]]);
        let table =
            value::attributes(&[align, PLAIN[0], PLAIN[1], PLAIN[2], PLAIN[3], ("style", Some("float:none;display:inline-table;"))]);
        let children = self.children(element, &element.context, &inherited, &mut |render, child| {
            let inner = render.render(child);
            format!(
                "<!--[if mso | IE]><td><![endif]-->\n<table{table}>\n<tbody>\n{inner}\n</tbody>\n</table>\n<!--[if mso | IE]></td><![endif]-->"
            )
        });
        format!("<!--[if mso | IE]><table{outlook}><tr><![endif]-->\n{children}\n<!--[if mso | IE]></tr></table><![endif]-->")
    }
}

pub(super) fn element(element: &Element<'_>) -> String {
    let name = element.get("name").unwrap_or_default();
    let plain = name.strip_suffix("-noshare");
    let network = NETWORKS.iter().find(|network| network.0 == plain.unwrap_or(name));
    let share = network.and_then(|network| network.3).filter(|_| plain.is_none());
    let href = element.truly("href").map(|href| share.map_or_else(|| href.to_owned(), |(before, after)| format!("{before}{href}{after}")));
    let source = element.truly("src").map(str::to_owned).or_else(|| network.map(|network| format!("{ICONS}{}.png", network.2)));
    let colour = element.truly("background-color").or_else(|| network.map(|network| network.1));
    let size = element.truly("icon-size");
    let link = |style: Option<&str>| {
        let attributes = value::attributes(&[
            ("href", href.as_deref()),
            ("style", style),
            ("rel", element.get("rel")),
            ("target", element.get("target")),
        ]);
        href.as_ref().map(|_| format!("<a{attributes}>"))
    };

    let mut cell = element.same(&["padding", "padding-top", "padding-right", "padding-bottom", "padding-left"]);
    cell.push(("vertical-align", element.get("vertical-align")));
    let table = value::style(&[("background", colour), ("border-radius", element.get("border-radius")), ("width", size)]);
    let table = value::attributes(&[PLAIN[0], PLAIN[1], PLAIN[2], PLAIN[3], ("style", Some(&table))]);
    let icon_cell = value::style(&[
        ("padding", element.get("icon-padding")),
        ("font-size", Some("0")),
        ("height", element.truly("icon-height").or(size)),
        ("vertical-align", Some("middle")),
        ("width", size),
    ]);
    let image =
        value::style(&[("border", element.get("border")), ("border-radius", element.get("border-radius")), ("display", Some("block"))]);
    let width = size.map(value::int).filter(|width| !width.is_nan()).map(|width| width.to_string());
    let image = value::attributes(&[
        ("alt", element.get("alt")),
        ("title", element.get("title")),
        ("src", source.as_deref()),
        ("style", Some(&image)),
        ("width", width.as_deref()),
        ("sizes", element.truly("sizes")),
        ("srcset", element.truly("srcset")),
    ]);
    let icon = format!(
        "<td{}>\n<table{table}>\n<tbody>\n<tr>\n<td{}>\n{}<img{image} />\n{}</td>\n</tr>\n</tbody>\n</table>\n</td>",
        value::attributes(&[("style", Some(&value::style(&cell)))]),
        value::attributes(&[("style", Some(&icon_cell))]),
        link(None).map(|link| format!("{link}\n")).unwrap_or_default(),
        if href.is_some() { "</a>\n" } else { "" }
    );
    let text = text(element, &link);
    let cells = if element.get("icon-position") == Some("left") { format!("{icon}\n{text}") } else { format!("{text}\n{icon}") };
    format!("<tr{}>\n{cells}\n</tr>", value::attributes(&[("class", element.get("css-class"))]))
}

/// What stands beside the icon, if anything does.
fn text(element: &Element<'_>, link: &dyn Fn(Option<&str>) -> Option<String>) -> String {
    if element.content().is_empty() {
        return String::new();
    }
    let cell =
        value::style(&[("vertical-align", Some("middle")), ("padding", element.get("text-padding")), ("text-align", element.get("align"))]);
    let style =
        value::style(&element.same(&["color", "font-size", "font-weight", "font-style", "font-family", "line-height", "text-decoration"]));
    let (open, close) = match link(Some(&style)) {
        Some(link) => (link, "</a>"),
        None => (format!("<span{}>", value::attributes(&[("style", Some(&style))])), "</span>"),
    };
    format!("<td{}>\n{open}\n{}\n{close}\n</td>", value::attributes(&[("style", Some(&cell))]), element.content())
}

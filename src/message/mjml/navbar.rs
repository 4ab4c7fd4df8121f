//! `mj-navbar`: links in a line, or behind three bars on a narrow screen.

use super::{
    element::{Element, Render},
    head, value,
};

impl Render<'_> {
    pub(super) fn navbar(&mut self, element: &Element<'_>) -> String {
        let breakpoint = head::below(&self.head.breakpoint);
        self.css("mj-navbar", || {
            format!(
                "noinput.mj-menu-checkbox {{ display:block!important; max-height:none!important; visibility:visible!important; }}
@media only screen and (max-width:{breakpoint}) {{
  .mj-menu-checkbox[type=\"checkbox\"] ~ .mj-inline-links {{ display:none!important; }}
  .mj-menu-checkbox[type=\"checkbox\"]:checked ~ .mj-inline-links,
  .mj-menu-checkbox[type=\"checkbox\"] ~ .mj-menu-trigger {{ display:block!important; max-width:none!important; \
max-height:none!important; font-size:inherit!important; }}
  .mj-menu-checkbox[type=\"checkbox\"] ~ .mj-inline-links > a {{ display:block!important; }}
  .mj-menu-checkbox[type=\"checkbox\"]:checked ~ .mj-menu-trigger .mj-menu-icon-close {{ display:block!important; }}
  .mj-menu-checkbox[type=\"checkbox\"]:checked ~ .mj-menu-trigger .mj-menu-icon-open {{ display:none!important; }}
}}"
            )
        });
        let bars = if element.get("hamburger") == Some("hamburger") { self.hamburger(element) } else { String::new() };
        let base = element.truly("base-url");
        let children = self.children(element, &element.context, &[("navbarBaseUrl", base)], &mut |render, child| render.render(child));
        let align = element.get("align");
        format!(
            "{bars}<div class=\"mj-inline-links\" style=\"\">\n\
             <!--[if mso | IE]><table role=\"presentation\" border=\"0\" cellpadding=\"0\" cellspacing=\"0\"{}><tr><![endif]-->\n\
             {children}\n<!--[if mso | IE]></tr></table><![endif]-->\n</div>",
            value::attributes(&[("align", align)])
        )
    }

    fn hamburger(&mut self, element: &Element<'_>) -> String {
        let id = self.id();
        let ico = |name: &str| element.get(&format!("ico-{name}"));
        let style = value::style(&[
            ("display", Some("block")),
            ("cursor", Some("pointer")),
            ("mso-hide", Some("all")),
            ("-moz-user-select", Some("none")),
            ("user-select", Some("none")),
            ("color", ico("color")),
            ("font-size", ico("font-size")),
            ("font-family", ico("font-family")),
            ("text-transform", ico("text-transform")),
            ("text-decoration", ico("text-decoration")),
            ("line-height", ico("line-height")),
            ("padding", ico("padding")),
            ("padding-top", ico("padding-top")),
            ("padding-right", ico("padding-right")),
            ("padding-bottom", ico("padding-bottom")),
            ("padding-left", ico("padding-left")),
        ]);
        let label =
            value::attributes(&[("for", Some(&id)), ("class", Some("mj-menu-label")), ("style", Some(&style)), ("align", ico("align"))]);
        format!(
            "<!--[if !mso]><!-->\n\
             <input type=\"checkbox\" id=\"{id}\" class=\"mj-menu-checkbox\" style=\"display:none !important; max-height:0; visibility:hidden;\" />\n\
             <!--<![endif]-->\n\
             <div class=\"mj-menu-trigger\" style=\"display:none;max-height:0px;max-width:0px;font-size:0px;overflow:hidden;\">\n\
             <label{label}>\n<span class=\"mj-menu-icon-open\" style=\"mso-hide:all;\">\n{}\n</span>\n\
             <span class=\"mj-menu-icon-close\" style=\"display:none;mso-hide:all;\">\n{}\n</span>\n</label>\n</div>\n",
            ico("open").unwrap_or_default(),
            ico("close").unwrap_or_default()
        )
    }
}

pub(super) fn link(element: &Element<'_>) -> String {
    let padding = element.same(&["padding", "padding-top", "padding-left", "padding-right", "padding-bottom"]);
    let mut style = vec![("display", Some("inline-block"))];
    style.extend(element.same(&[
        "color",
        "font-family",
        "font-size",
        "font-style",
        "font-weight",
        "letter-spacing",
        "line-height",
        "text-decoration",
        "text-transform",
    ]));
    style.extend(padding.iter().copied());
    let cell = value::attributes(&[
        ("style", Some(&value::style(&padding))),
        ("class", Some(&value::suffixed(element.get("css-class"), "outlook"))),
    ]);
    let base = element.get("navbarBaseUrl").unwrap_or_default();
    let href = element.get("href").map(|href| format!("{base}{href}"));
    let class = element.truly("css-class").map_or_else(|| "mj-link".to_owned(), |class| format!("mj-link {class}"));
    let link = value::attributes(&[
        ("class", Some(&class)),
        ("href", href.as_deref()),
        ("rel", element.get("rel")),
        ("target", element.get("target")),
        ("name", element.get("name")),
        ("style", Some(&value::style(&style))),
    ]);
    format!("<!--[if mso | IE]><td{cell}><![endif]-->\n<a{link}>\n{}\n</a>\n<!--[if mso | IE]></td><![endif]-->", element.content())
}

//! `mj-accordion`: texts that open and close where the mail program knows how.

use super::{
    element::{Context, Element, Place, Render},
    parse::Node,
    table, value,
};

/// What goes down to the elements, their titles and texts.
const INHERITED: &[&str] = &[
    "border",
    "icon-align",
    "icon-width",
    "icon-height",
    "icon-position",
    "icon-wrapped-url",
    "icon-wrapped-alt",
    "icon-unwrapped-url",
    "icon-unwrapped-alt",
];

/// The rules behind the check boxes; `noinput` is for programs that take the boxes out.
const CSS: &str = "noinput.mj-accordion-checkbox { display:block!important; }
@media yahoo, only screen and (min-width:0) {
  .mj-accordion-element { display:block; }
  .mj-accordion-checkbox[type=\"checkbox\"], .mj-accordion-less { display:none!important; }
  .mj-accordion-checkbox[type=\"checkbox\"] + * .mj-accordion-title { cursor:pointer; touch-action:manipulation; \
-webkit-user-select:none; -moz-user-select:none; user-select:none; }
  .mj-accordion-checkbox[type=\"checkbox\"] + * .mj-accordion-content { overflow:hidden; display:none; }
  .mj-accordion-checkbox[type=\"checkbox\"] + * .mj-accordion-more { display:block!important; }
  .mj-accordion-checkbox:checked + * .mj-accordion-content { display:block; }
  .mj-accordion-checkbox:checked + * .mj-accordion-more { display:none!important; }
  .mj-accordion-checkbox:checked + * .mj-accordion-less { display:block!important; }
}
.moz-text-html input.mj-accordion-checkbox + * .mj-accordion-title { cursor: auto; touch-action: auto; \
-webkit-user-select: auto; -moz-user-select: auto; user-select: auto; }
.moz-text-html input.mj-accordion-checkbox + * .mj-accordion-content { overflow: hidden; display: block; }
.moz-text-html input.mj-accordion-checkbox + * .mj-accordion-ico { display: none; }
@goodbye { @gmail }";

impl Render<'_> {
    pub(super) fn accordion(&mut self, element: &Element<'_>) -> String {
        self.css("mj-accordion", || CSS.to_owned());
        let style = value::style(&[
            ("width", Some("100%")),
            ("border-collapse", Some("collapse")),
            ("border", element.get("border")),
            ("border-bottom", Some("none")),
            ("font-family", element.get("font-family")),
        ]);
        let attributes = value::attributes(&[
            ("cellspacing", Some("0")),
            ("cellpadding", Some("0")),
            ("class", Some("mj-accordion")),
            ("style", Some(&style)),
        ]);
        let context = Context { font: element.truly("font-family").map(str::to_owned), ..element.context.clone() };
        let children = self.children(element, &context, &element.same(INHERITED), &mut |render, child| render.render(child));
        format!("<table{attributes}>\n<tbody>{children}</tbody>\n</table>")
    }

    pub(super) fn accordion_element(&mut self, element: &Element<'_>) -> String {
        let font = element.truly("font-family").map(str::to_owned).or_else(|| element.context.font.clone());
        let context = Context { font, ..element.context.clone() };
        let inherited = element.same(INHERITED);
        let has = |name: &str| element.node.children.iter().any(|child| child.name() == name);
        let mut inner = String::new();
        // Both are there even where nobody wrote them.
        if !has("mj-accordion-title") {
            inner.push_str(&absent("mj-accordion-title", element.node, &inherited, &context));
        }
        inner.push_str(&self.children(element, &context, &inherited, &mut |_, child| part(child)));
        if !has("mj-accordion-text") {
            inner.push_str(&absent("mj-accordion-text", element.node, &inherited, &context));
        }
        let cell = value::style(&[("padding", Some("0px")), ("background-color", element.get("background-color"))]);
        let label = value::style(&[("font-size", Some("13px")), ("font-family", element.get("font-family"))]);
        let label = value::attributes(&[("class", Some("mj-accordion-element")), ("style", Some(&label))]);
        format!(
            "<tr{}>\n<td{}>\n<label{label}>\n<!--[if !mso | IE]><!-->\n\
             <input class=\"mj-accordion-checkbox\" type=\"checkbox\" style=\"display:none;\" />\n<!--<![endif]-->\n\
             <div>\n{inner}\n</div>\n</label>\n</td>\n</tr>",
            value::attributes(&[("class", element.get("css-class"))]),
            value::attributes(&[("style", Some(&cell))])
        )
    }
}

/// A title or text that nobody wrote.
fn absent(name: &str, like: &Node, inherited: &[(&str, Option<&str>)], context: &Context) -> String {
    let component = table::component(name).unwrap_or_else(table::raw);
    let node = Node { component, own: Vec::new(), applied: Vec::new(), children: Vec::new(), content: String::new(), ..like.clone() };
    part(&Element::new(&node, inherited, &[], context.clone(), Place::default()))
}

/// A title or a text.
fn part(element: &Element<'_>) -> String {
    // The head's font goes behind that of the accordion.
    let font = element.node.own("font-family").or(element.context.font.as_deref());
    let is_title = element.node.name() == "mj-accordion-title";
    let mut style = if is_title {
        let mut style = vec![("width", Some("100%"))];
        style.extend(element.same(&["background-color", "color", "font-size"]));
        style.extend([("font-family", font), ("font-weight", element.get("font-weight"))]);
        style
    } else {
        let mut style = vec![("background", element.get("background-color"))];
        style.extend(element.same(&["font-size"]));
        style.push(("font-family", font));
        style.extend(element.same(&["font-weight", "letter-spacing", "line-height", "color"]));
        style
    };
    style.extend(element.same(&["padding", "padding-bottom", "padding-left", "padding-right", "padding-top"]));
    let cell = value::attributes(&[("class", element.get("css-class")), ("style", Some(&value::style(&style)))]);
    let cell = format!("<td{cell}>\n{}\n</td>", element.content());
    let row = match (is_title, element.get("icon-position")) {
        (false, _) => cell,
        (true, Some("right")) => format!("{cell}\n{}", icons(element)),
        (true, _) => format!("{}\n{cell}", icons(element)),
    };
    let table = value::style(&[("width", Some("100%")), ("border-bottom", element.get("border"))]);
    let table = value::attributes(&[("cellspacing", Some("0")), ("cellpadding", Some("0")), ("style", Some(&table))]);
    let class = if is_title { "mj-accordion-title" } else { "mj-accordion-content" };
    format!("<div class=\"{class}\">\n<table{table}>\n<tbody>\n<tr>\n{row}\n</tr>\n</tbody>\n</table>\n</div>")
}

fn icons(element: &Element<'_>) -> String {
    let cell = value::style(&[
        ("padding", Some("16px")),
        ("background", element.get("background-color")),
        ("vertical-align", element.get("icon-align")),
    ]);
    let cell = value::attributes(&[("class", Some("mj-accordion-ico")), ("style", Some(&cell))]);
    let style = value::style(&[("display", Some("none")), ("width", element.get("icon-width")), ("height", element.get("icon-height"))]);
    let icon = |state: &str, class: &str| {
        value::attributes(&[
            ("src", element.get(&format!("icon-{state}-url"))),
            ("alt", element.get(&format!("icon-{state}-alt"))),
            ("class", Some(class)),
            ("style", Some(&style)),
        ])
    };
    format!(
        "<!--[if !mso | IE]><!-->\n<td{cell}>\n<img{} />\n<img{} />\n</td>\n<!--<![endif]-->",
        icon("wrapped", "mj-accordion-more"),
        icon("unwrapped", "mj-accordion-less")
    )
}

//! Elements with all their attributes, and what they know of where they stand.

use super::{
    super::tags,
    head::Head,
    parse::Node,
    value::{self, Side},
};

/// The largest HTML that may come of MJML; no mail program shows nearly as much.
const HTML_MAX: usize = 8 << 20;

/// Attributes that are computed with, so that no template tag can stand in them.
const MEASURED: &[&str] = &[
    "width",
    "gutter",
    "padding",
    "padding-top",
    "padding-right",
    "padding-bottom",
    "padding-left",
    "inner-padding",
    "inner-padding-left",
    "inner-padding-right",
    "icon-width",
    "icon-size",
    "tb-width",
    "background-width",
    "background-height",
    "height",
];

/// What goes down from an element to those within.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// The room, as `600px`.
    pub(super) width: String,
    pub(super) gap: Option<String>,
    pub(super) gutter: Option<String>,
    pub(super) direction: Option<String>,
    pub(super) is_in_group: bool,
    pub(super) font: Option<String>,
}

/// Which one of its parent's children an element is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) siblings: usize,
    /// Siblings that are no `mj-raw`, itself included.
    pub(super) columns: usize,
}

/// One element while it is rendered.
#[derive(Debug)]
pub(super) struct Element<'n> {
    pub(super) node: &'n Node,
    attributes: Vec<(String, String)>,
    pub(super) context: Context,
    pub(super) place: Place,
}

/// The widths of an element in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(super) borders: f64,
    pub(super) paddings: f64,
    /// What is left for its content.
    pub(super) content: f64,
}

impl<'n> Element<'n> {
    /// With attributes of its own, from the parent, for all elements, and defaults, in this order.
    pub(super) fn new(
        node: &'n Node,
        inherited: &[(&str, Option<&str>)],
        all: &[(String, String)],
        context: Context,
        place: Place,
    ) -> Self {
        let mut attributes: Vec<(String, String)> = Vec::new();
        let inherited = inherited.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        for (name, value) in pairs(&node.applied).chain(inherited).chain(pairs(all)).chain(node.component.defaults.iter().copied()) {
            if !attributes.iter().any(|(other, _)| other == name) {
                let value = if name.ends_with("color") { value::long_colour(value) } else { None }.unwrap_or_else(|| value.to_owned());
                attributes.push((name.to_owned(), value));
            }
        }
        Self { node, attributes, context, place }
    }
}

impl Element<'_> {
    /// An attribute: its own, or one from the head or the parent, or the default.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// An attribute that says something.
    pub(super) fn truly(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty() && *value != "false")
    }

    /// Attributes as declarations of the same names.
    pub(super) fn same<'a>(&'a self, names: &[&'static str]) -> Vec<(&'static str, Option<&'a str>)> {
        names.iter().map(|name| (*name, self.get(name))).collect()
    }

    pub(super) fn is_raw(&self) -> bool {
        self.node.name() == "mj-raw"
    }

    pub(super) fn content(&self) -> &str {
        &self.node.content
    }

    /// One side of a shorthand attribute, in whole pixels.
    pub(super) fn side(&self, attribute: &str, side: Side) -> f64 {
        let own = self.truly(&format!("{attribute}-{}", side.name())).map(value::int);
        let number = own.unwrap_or_else(|| self.truly(attribute).map_or(0.0, |shorthand| value::side(shorthand, side)));
        if number.is_nan() { 0.0 } else { number }
    }

    /// Left and right of a shorthand attribute, in whole pixels.
    pub(super) fn sides(&self, attribute: &str) -> f64 {
        self.side(attribute, Side::Left) + self.side(attribute, Side::Right)
    }

    /// The width of borders left and right, in whole pixels.
    pub(super) fn borders(&self, attribute: &str) -> f64 {
        let border = |side: Side| {
            let own = self.truly(&format!("{attribute}-{}", side.name()));
            value::border(own.or_else(|| self.truly(attribute)).unwrap_or("0"))
        };
        border(Side::Left) + border(Side::Right)
    }

    pub(super) fn widths(&self) -> Widths {
        let (borders, paddings) = (self.borders("border"), self.sides("padding"));
        Widths { borders, paddings, content: value::int(&self.context.width) - paddings - borders }
    }
}

/// The body while it is rendered, and what it adds to the head.
#[derive(Debug)]
pub(super) struct Render<'h> {
    pub(super) head: &'h Head,
    /// Classes and their rules for wide screens.
    pub(super) queries: Vec<(String, String)>,
    /// CSS that elements of a kind need, once for each kind.
    pub(super) kinds: Vec<(&'static str, String)>,
    /// CSS of single elements.
    pub(super) singles: Vec<String>,
    ids: usize,
    written: usize,
    pub(super) faults: Vec<String>,
}

impl<'h> Render<'h> {
    pub(super) fn new(head: &'h Head) -> Self {
        Self { head, queries: Vec::new(), kinds: Vec::new(), singles: Vec::new(), ids: 0, written: 0, faults: Vec::new() }
    }

    /// A word that no other element of the mail has.
    pub(super) fn id(&mut self) -> String {
        self.ids += 1;
        format!("{:016x}", self.ids)
    }

    pub(super) fn query(&mut self, class: String, rule: String) {
        match self.queries.iter_mut().find(|(other, _)| *other == class) {
            Some(query) => query.1 = rule,
            None => self.queries.push((class, rule)),
        }
    }

    /// CSS of one element.
    pub(super) fn single(&mut self, css: String) {
        self.written += css.len();
        self.singles.push(css);
    }

    pub(super) fn css(&mut self, kind: &'static str, css: impl FnOnce() -> String) {
        if !self.kinds.iter().any(|(other, _)| *other == kind) {
            self.kinds.push((kind, css()));
        }
    }

    /// An element with its attributes, of which its own go first, then those of its classes, of its parent and of all.
    pub(super) fn element<'n>(
        &mut self,
        node: &'n Node,
        inherited: &[(&str, Option<&str>)],
        context: Context,
        place: Place,
    ) -> Element<'n> {
        let element = Element::new(node, inherited, &self.head.all, context, place);
        self.judge(&element);
        element
    }

    fn judge(&mut self, element: &Element<'_>) {
        let name = element.node.name();
        let is_measured = |attribute: &&&str| match **attribute {
            "height" => matches!(name, "mj-image" | "mj-hero"),
            attribute => element.node.component.has(attribute),
        };
        for attribute in MEASURED.iter().filter(is_measured) {
            let Some(value) = element.truly(attribute) else { continue };
            let fault = if tags::next(value, 0).is_some() {
                "is used in calculations and cannot contain a template tag; write a size such as 20px"
            } else if !attribute.contains("padding") && value != "auto" && value::int(value).is_nan() {
                "is not a size; write one such as 20px"
            } else {
                continue;
            };
            self.faults.push(format!("line {}: `{attribute}` of <{name}> {fault}", element.node.line));
        }
    }

    /// The children one after another: what is raw as it is, all others as `wrap` makes them.
    pub(super) fn children(
        &mut self,
        parent: &Element<'_>,
        context: &Context,
        inherited: &[(&str, Option<&str>)],
        wrap: &mut dyn FnMut(&mut Self, &Element<'_>) -> String,
    ) -> String {
        let nodes = &parent.node.children;
        let columns = nodes.iter().filter(|node| node.name() != "mj-raw").count();
        let mut out = String::new();
        for (index, node) in nodes.iter().enumerate() {
            let place = Place { index, siblings: nodes.len(), columns };
            if self.written > HTML_MAX {
                self.faults.push(format!("line {}: the HTML becomes larger than {HTML_MAX} bytes", node.line));
                return out;
            }
            let element = self.element(node, inherited, context.clone(), place);
            out.push('\n');
            let piece = if element.is_raw() { element.content().to_owned() } else { wrap(self, &element) };
            self.written += if node.children.is_empty() { piece.len() } else { 0 };
            out.push_str(&piece);
        }
        out.push('\n');
        out
    }

    /// What an element becomes.
    pub(super) fn render(&mut self, element: &Element<'_>) -> String {
        match element.node.name() {
            "mj-section" => self.section(element, false),
            "mj-wrapper" => self.section(element, true),
            "mj-column" => self.column(element),
            "mj-group" => self.group(element),
            "mj-hero" => self.hero(element),
            "mj-text" => super::simple::text(element),
            "mj-button" => super::simple::button(element),
            "mj-image" => self.image(element),
            "mj-divider" => super::simple::divider(element),
            "mj-spacer" => super::simple::spacer(element),
            "mj-table" => super::simple::table(element),
            "mj-accordion" => self.accordion(element),
            "mj-accordion-element" => self.accordion_element(element),
            "mj-navbar" => self.navbar(element),
            "mj-navbar-link" => super::navbar::link(element),
            "mj-social" => self.social(element),
            "mj-social-element" => super::social::element(element),
            "mj-carousel" => self.carousel(element),
            _ => element.content().to_owned(),
        }
    }

    /// The row of a column's or hero's table around an element.
    pub(super) fn row(&mut self, element: &Element<'_>, with_background: bool) -> String {
        let background = element.get("container-background-color");
        let style = value::style(&[
            ("background", background),
            ("font-size", Some("0px")),
            ("padding", element.get("padding")),
            ("padding-top", element.get("padding-top")),
            ("padding-right", element.get("padding-right")),
            ("padding-bottom", element.get("padding-bottom")),
            ("padding-left", element.get("padding-left")),
            ("word-break", Some("break-word")),
        ]);
        let attributes = value::attributes(&[
            ("align", element.get("align")),
            ("background", background.filter(|_| with_background)),
            ("class", element.get("css-class")),
            ("style", Some(&style)),
        ]);
        let inner = self.render(element);
        format!("<tr>\n<td{attributes}>\n{inner}\n</td>\n</tr>")
    }
}

fn pairs(attributes: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

//! `mj-head`, and the page around the body.

use super::{element::Render, inline, parse::Node, value};

/// Each font is looked for in the whole mail.
const FONTS_MAX: usize = 50;

/// What is around the text of `mj-preview`.
pub(super) const PREVIEW: &str =
    "<div style=\"display:none;font-size:1px;color:#ffffff;line-height:1px;max-height:0px;max-width:0px;opacity:0;overflow:hidden;\">";

/// What the head says.
#[derive(Debug)]
pub(super) struct Head {
    before_doctype: String,
    pub(super) breakpoint: String,
    /// Attributes of every element.
    pub(super) all: Pairs,
    /// Attributes by an element's name.
    elements: Vec<(String, Pairs)>,
    /// Attributes by a class.
    classes: Vec<(String, Pairs)>,
    /// Attributes by the class of a parent and an element's name.
    within: Vec<(String, String, Pairs)>,
    html_attributes: Vec<(String, Pairs)>,
    fonts: Vec<(String, String)>,
    styles: Vec<String>,
    inline_styles: Vec<String>,
    inline_line: usize,
    raw: Vec<String>,
    preview: String,
    title: String,
    lang: String,
    dir: String,
    /// The wide form in Outlook on the web.
    is_desktop: bool,
}

type Pairs = Vec<(String, String)>;

fn set(pairs: &mut Pairs, name: &str, value: &str) {
    match pairs.iter_mut().find(|(other, _)| other == name) {
        Some(pair) => value.clone_into(&mut pair.1),
        None => pairs.push((name.to_owned(), value.to_owned())),
    }
}

/// One pixel below the breakpoint.
pub(super) fn below(breakpoint: &str) -> String {
    let digits = breakpoint.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = value::int(digits);
    if number.is_nan() { breakpoint.to_owned() } else { format!("{}px", number - 1.0) }
}

impl Head {
    /// Reads the head, and what stands outside head and body.
    ///
    /// # Errors
    /// What would not be in the mail.
    pub(super) fn read(root: &Node) -> Result<Self, String> {
        let own = |name: &str, other: &str| root.own(name).filter(|value| !value.is_empty()).unwrap_or(other).to_owned();
        let font =
            |name: &str| (name.to_owned(), format!("https://fonts.googleapis.com/css?family={}:300,400,500,700", name.replace(' ', "+")));
        let mut head = Self {
            before_doctype: String::new(),
            breakpoint: "480px".to_owned(),
            all: Vec::new(),
            elements: Vec::new(),
            classes: Vec::new(),
            within: Vec::new(),
            html_attributes: Vec::new(),
            fonts: ["Open Sans", "Droid Sans", "Lato", "Roboto", "Ubuntu"].map(font).into(),
            styles: Vec::new(),
            inline_styles: Vec::new(),
            inline_line: 0,
            raw: Vec::new(),
            preview: String::new(),
            title: String::new(),
            lang: own("lang", "und"),
            dir: own("dir", "auto"),
            is_desktop: root.own("owa") == Some("desktop"),
        };
        let mut has_head = false;
        for node in &root.children {
            match node.name() {
                "mj-head" if std::mem::replace(&mut has_head, true) => {
                    return Err(format!("line {}: there is a second <mj-head>", node.line));
                }
                "mj-head" => node.children.iter().for_each(|node| head.take(node)),
                "mj-raw" if node.own("position") == Some("file-start") => {
                    head.before_doctype.push_str(&node.content);
                    head.before_doctype.push('\n');
                }
                "mj-raw" if !node.is_comment && !node.content.is_empty() => {
                    return Err(format!(
                        "line {}: this <mj-raw> is outside <mj-body>; what belongs before the HTML needs `position=\"file-start\"`",
                        node.line
                    ));
                }
                _ => {}
            }
        }
        if head.fonts.len() > FONTS_MAX {
            return Err(format!("there are more than {FONTS_MAX} fonts"));
        }
        Ok(head)
    }

    fn take(&mut self, node: &Node) {
        match node.name() {
            "mj-attributes" => node.children.iter().for_each(|node| self.take_attributes(node)),
            "mj-breakpoint" => {
                if let Some(width) = node.own("width") {
                    width.clone_into(&mut self.breakpoint);
                }
            }
            "mj-font" => set(&mut self.fonts, node.own("name").unwrap_or_default(), node.own("href").unwrap_or_default()),
            "mj-html-attributes" => {
                for choice in node.children.iter().filter(|node| node.name() == "mj-selector") {
                    let attributes =
                        choice.children.iter().filter_map(|node| Some((node.own("name")?.to_owned(), node.content.trim().to_owned())));
                    self.html_attributes.push((choice.own("path").unwrap_or_default().to_owned(), attributes.collect()));
                }
            }
            "mj-preview" => self.preview.clone_from(&node.content),
            "mj-style" if node.own("inline") == Some("inline") => {
                self.inline_line = if self.inline_styles.is_empty() { node.line } else { self.inline_line };
                self.inline_styles.push(inline::without_comments(&node.content));
            }
            "mj-style" => self.styles.push(node.content.clone()),
            "mj-title" => self.title.clone_from(&node.content),
            _ => self.raw.push(node.content.clone()),
        }
    }

    fn take_attributes(&mut self, node: &Node) {
        match (node.name(), node.own("name")) {
            ("mj-all", _) => node.own.iter().for_each(|(name, value)| set(&mut self.all, name, value)),
            ("mj-class", Some(class)) => {
                let pairs = named(&mut self.classes, class);
                node.own.iter().filter(|(name, _)| name != "name").for_each(|(name, value)| set(pairs, name, value));
                for child in &node.children {
                    self.within.retain(|(other, name, _)| other != class || name != child.name());
                    self.within.push((class.to_owned(), child.name().to_owned(), child.own.clone()));
                }
            }
            (element, _) => {
                let pairs = named(&mut self.elements, element);
                node.own.iter().for_each(|(name, value)| set(pairs, name, value));
            }
        }
    }

    /// Gives an element and all within what the head says of them.
    pub(super) fn apply(&self, node: &mut Node, parent_classes: &str) {
        let classes = node.own("mj-class").unwrap_or_default().to_owned();
        let mut applied: Pairs = node.own.iter().filter(|(name, _)| name != "mj-class").cloned().collect();
        let mut add = |pairs: &Pairs| {
            for (name, value) in pairs {
                if !applied.iter().any(|(other, _)| other == name) {
                    applied.push((name.clone(), value.clone()));
                }
            }
        };
        for class in parent_classes.split(' ').rev() {
            self.within.iter().filter(|(other, name, _)| other == class && name == node.name()).for_each(|(_, _, pairs)| add(pairs));
        }
        let mut of_classes: Pairs = Vec::new();
        for class in classes.split(' ') {
            let Some((_, pairs)) = self.classes.iter().find(|(other, _)| other == class) else { continue };
            for (name, value) in pairs {
                // Of all attributes only the classes of CSS add up.
                let before = of_classes.iter().find(|(other, _)| other == name && name == "css-class").map(|(_, before)| before.clone());
                set(&mut of_classes, name, &before.map_or_else(|| value.clone(), |before| format!("{before} {value}")));
            }
        }
        add(&of_classes);
        self.elements.iter().filter(|(name, _)| name == node.name()).for_each(|(_, pairs)| add(pairs));
        node.applied = applied;
        let classes = if node.own("mj-class").is_some() { classes } else { parent_classes.to_owned() };
        node.children.iter_mut().for_each(|child| self.apply(child, &classes));
    }

    /// The `<body>` around what the body's elements became.
    pub(super) fn body(&self, attributes: &str, background: Option<&str>, inner: &str) -> String {
        let style = value::style(&[("word-spacing", Some("normal")), ("background-color", background)]);
        let preview = if self.preview.is_empty() { String::new() } else { format!("\n{PREVIEW}{}</div>", self.preview) };
        let article = value::attributes(&[
            ("aria-label", Some(&*self.title).filter(|title| !title.is_empty())),
            ("aria-roledescription", Some("email")),
            ("role", Some("article")),
            ("lang", Some(&self.lang)),
            ("dir", Some(&self.dir)),
            ("style", Some(&style)),
        ]);
        let style = value::attributes(&[("style", Some(&style))]);
        format!("<body{attributes}{style}>{preview}\n<div{article}>\n{inner}\n</div>\n</body>")
    }

    /// The whole page.
    ///
    /// # Errors
    /// Rules that cannot be inlined.
    pub(super) fn page(&self, body: String, render: &Render<'_>) -> Result<String, String> {
        let body = if self.html_attributes.is_empty() { body } else { inline::set_attributes(&body, &self.html_attributes)? };
        let mut head = String::new();
        head.push_str(&self.font_tags(&body));
        head.push_str(&self.media_queries(render));
        let kinds = render.singles.iter().chain(render.kinds.iter().map(|(_, css)| css)).cloned().collect::<Vec<_>>();
        for styles in [&kinds, &self.styles].into_iter().filter(|styles| !styles.is_empty()) {
            head.push_str(&format!("<style type=\"text/css\">\n{}\n</style>\n", styles.join("\n")));
        }
        for raw in &self.raw {
            head.push_str(raw);
            head.push('\n');
        }
        let language = value::attributes(&[("lang", Some(&self.lang)), ("dir", Some(&self.dir))]);
        let (before, title) = (&self.before_doctype, &self.title);
        let page = format!(
            "{before}<!doctype html>\n<html{language} xmlns=\"http://www.w3.org/1999/xhtml\" xmlns:v=\"urn:schemas-microsoft-com:vml\" \
             xmlns:o=\"urn:schemas-microsoft-com:office:office\">\n<head>\n<title>{title}</title>\n{RESET}{head}</head>\n{body}\n</html>\n"
        );
        if self.inline_styles.is_empty() {
            return Ok(page);
        }
        inline::inline(&page, &self.inline_styles.join("\n")).map_err(|why| format!("line {}: {why}", self.inline_line))
    }

    /// Fonts that the mail uses, for programs that load some.
    fn font_tags(&self, body: &str) -> String {
        let body = body.to_ascii_lowercase();
        let styles: Vec<String> = self.inline_styles.iter().map(|style| style.to_ascii_lowercase()).collect();
        let uses = |text: &str, stops: &[char], name: &str| {
            text.split("font-family:").skip(1).any(|rest| rest.split(stops).next().unwrap_or_default().contains(name))
        };
        let used: Vec<&String> = self
            .fonts
            .iter()
            .filter(|(name, _)| {
                let name = name.to_ascii_lowercase();
                uses(&body, &['"'], &name) || styles.iter().any(|style| uses(style, &[';', '}'], &name))
            })
            .map(|(_, url)| url)
            .collect();
        if used.is_empty() {
            return String::new();
        }
        let link = |url: &&String| {
            format!(
                "<link{}>\n",
                value::attributes(&[("href", Some(url.as_str())), ("rel", Some("stylesheet")), ("type", Some("text/css"))])
            )
        };
        let links: String = used.iter().map(link).collect();
        let imports: String = used.iter().map(|url| format!("@import url({url});\n")).collect();
        format!("<!--[if !mso]><!-->\n{links}<style type=\"text/css\">\n{imports}</style>\n<!--<![endif]-->\n")
    }

    /// The widths of columns on wide screens.
    fn media_queries(&self, render: &Render<'_>) -> String {
        if render.queries.is_empty() {
            return String::new();
        }
        let mut grouped: Vec<(&str, Vec<&str>)> = Vec::new();
        for (class, rule) in &render.queries {
            match grouped.iter_mut().find(|(other, _)| other == rule) {
                Some((_, classes)) => classes.push(class),
                None => grouped.push((rule, vec![class])),
            }
        }
        let rules = |prefix: &str| {
            let rule = |(rule, classes): &(&str, Vec<&str>)| {
                let classes: Vec<String> = classes.iter().map(|class| format!("{prefix}.{class}")).collect();
                format!("{} {rule}\n", classes.join(", "))
            };
            grouped.iter().map(rule).collect::<String>()
        };
        let breakpoint = &self.breakpoint;
        let desktop: String = if self.is_desktop {
            let lines: String = rules("").lines().map(|line| format!("[owa] {line}\n")).collect();
            format!("<style type=\"text/css\">\n{lines}</style>\n")
        } else {
            String::new()
        };
        format!(
            "<style type=\"text/css\">\n@media only screen and (min-width:{breakpoint}) {{\n{}}}\n</style>\n\
             <style media=\"screen and (min-width:{breakpoint})\">\n{}</style>\n{desktop}",
            rules(""),
            rules(".moz-text-html ")
        )
    }
}

fn named<'a>(list: &'a mut Vec<(String, Pairs)>, name: &str) -> &'a mut Pairs {
    let index = list.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
        list.push((name.to_owned(), Vec::new()));
        list.len() - 1
    });
    &mut list[index].1
}

/// What every mail needs so that programs agree on where it begins.
const RESET: &str = "<!--[if !mso]><!-->
<meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\">
<!--<![endif]-->
<meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<style type=\"text/css\">
#outlook a { padding:0; }
body { margin:0;padding:0;-webkit-text-size-adjust:100%;-ms-text-size-adjust:100%; }
table, td { border-collapse:collapse;mso-table-lspace:0pt;mso-table-rspace:0pt; }
img { border:0;height:auto;line-height:100%; outline:none;text-decoration:none;-ms-interpolation-mode:bicubic; }
p { display:block;margin:13px 0; }
</style>
<!--[if mso]>
<noscript>
<xml>
<o:OfficeDocumentSettings>
<o:AllowPNG/>
<o:PixelsPerInch>96</o:PixelsPerInch>
</o:OfficeDocumentSettings>
</xml>
</noscript>
<![endif]-->
<!--[if lte mso 11]>
<style type=\"text/css\">
.mj-outlook-group-fix { width:100% !important; }
</style>
<![endif]-->
";

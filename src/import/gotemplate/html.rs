//! Where in an HTML document a value stands, since Go's html/template escapes it by that. Pure.

/// Attributes whose value is a URL.
const URLS: [&str; 9] = ["href", "src", "action", "background", "cite", "poster", "formaction", "data", "longdesc"];

/// What becomes of a value at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is escaped as HTML, as Jinja does.
    Html,
    /// It is the beginning of a URL: Go lets http, https and mailto through, and nothing else.
    Url,
    /// It is within a URL's path: Go percent-encodes what no URL has.
    UrlPath,
    /// It is within a URL's query: Go percent-encodes it.
    UrlQuery,
    /// It is within a style: Go lets plain values through, and nothing else.
    Style,
    /// Go escapes it in a way that Jinja has not.
    Other(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Plain,
    Style,
    Script,
    Url,
    UrlPath,
    UrlQuery,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Text,
    Comment,
    /// `</` or `<` and letters.
    TagName(String),
    Tag,
    AttributeName(String),
    AfterName(String),
    BeforeValue(String),
    Quoted(char, Value),
    Unquoted,
    /// In an element whose content is no markup, up to its end tag.
    Raw(&'static str),
    StyleComment,
}

/// The place after what was read so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html {
    state: State,
    /// The element that is being opened.
    element: String,
}

impl Default for Html {
    fn default() -> Self {
        Self { state: State::Text, element: String::new() }
    }
}

impl Html {
    /// What stands here.
    pub fn place(&self) -> Place {
        match &self.state {
            State::Text | State::Raw("title" | "textarea") => Place::Html,
            State::Raw("style") => Place::Style,
            State::Raw(_) => Place::Other("in a script"),
            State::Quoted(_, value) => match value {
                Value::Plain => Place::Html,
                Value::Url => Place::Url,
                Value::UrlPath => Place::UrlPath,
                Value::UrlQuery => Place::UrlQuery,
                Value::Style => Place::Style,
                Value::Script => Place::Other("in a script"),
            },
            State::Comment | State::StyleComment => Place::Other("in a comment"),
            State::Unquoted | State::BeforeValue(_) => Place::Other("as the value of an attribute without quotes"),
            State::Tag | State::TagName(_) | State::AttributeName(_) | State::AfterName(_) => Place::Other("within a tag"),
        }
    }

    /// A value was written: what follows a URL's beginning is its path.
    pub fn value(&mut self) {
        if let State::Quoted(_, value @ Value::Url) = &mut self.state {
            *value = Value::UrlPath;
        }
    }

    /// Reads text, and gives it without comments, which Go's html/template does not write; the flag is set where there was one.
    pub fn text(&mut self, text: &str, had_comment: &mut bool) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let Some(c) = rest.chars().next() else { break };
            let mut length = c.len_utf8();
            let mut writes = true;
            self.state = match std::mem::replace(&mut self.state, State::Text) {
                State::Text if rest.starts_with("<!--") => {
                    (length, writes, *had_comment) = (4, false, true);
                    State::Comment
                }
                State::Text if c == '<' && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') => {
                    length = if rest[1..].starts_with('/') { 2 } else { 1 };
                    State::TagName(if length == 2 { "/".to_owned() } else { String::new() })
                }
                State::Text => State::Text,
                State::Comment => {
                    writes = false;
                    if rest.starts_with("-->") {
                        length = 3;
                        State::Text
                    } else {
                        State::Comment
                    }
                }
                State::TagName(mut name) if c.is_ascii_alphanumeric() || c == '-' || c == ':' => {
                    name.push(c.to_ascii_lowercase());
                    State::TagName(name)
                }
                State::TagName(name) => {
                    self.element = name;
                    self.in_tag(c)
                }
                State::AttributeName(mut name) if !c.is_whitespace() && !matches!(c, '=' | '>' | '/') => {
                    name.push(c.to_ascii_lowercase());
                    State::AttributeName(name)
                }
                State::AttributeName(name) | State::AfterName(name) if c == '=' => State::BeforeValue(name),
                State::AttributeName(name) | State::AfterName(name) if c.is_whitespace() => State::AfterName(name),
                State::Tag | State::AttributeName(_) | State::AfterName(_) => self.in_tag(c),
                State::BeforeValue(name) if c.is_whitespace() => State::BeforeValue(name),
                State::BeforeValue(name) if c == '"' || c == '\'' => State::Quoted(c, kind(&name)),
                State::BeforeValue(_) if c == '>' => self.in_tag(c),
                State::Quoted(quote, _) if c == quote => State::Tag,
                State::Quoted(quote, value) => State::Quoted(
                    quote,
                    match (value, c) {
                        (Value::Url | Value::UrlPath, '?' | '#') => Value::UrlQuery,
                        (Value::Url, _) if !c.is_whitespace() => Value::UrlPath,
                        (value, _) => value,
                    },
                ),
                State::Unquoted if c.is_whitespace() || c == '>' => self.in_tag(c),
                State::BeforeValue(_) | State::Unquoted => State::Unquoted,
                State::Raw("style") if rest.starts_with("/*") => {
                    (length, writes) = (2, false);
                    out.push(' ');
                    State::StyleComment
                }
                // The style ends there, whatever the comment says.
                State::StyleComment if ends(rest, "style") => {
                    length = 2;
                    State::TagName("/".to_owned())
                }
                State::StyleComment => {
                    writes = false;
                    if rest.starts_with("*/") {
                        length = 2;
                        State::Raw("style")
                    } else {
                        State::StyleComment
                    }
                }
                State::Raw(element) if ends(rest, element) => {
                    length = 2;
                    State::TagName("/".to_owned())
                }
                State::Raw(element) => State::Raw(element),
            };
            if writes {
                out.push_str(&rest[..length]);
            }
            at += length;
        }
        out
    }

    /// Within a tag, outside of names and values.
    fn in_tag(&mut self, c: char) -> State {
        match c {
            '>' => match &*std::mem::take(&mut self.element) {
                "script" => State::Raw("script"),
                "style" => State::Raw("style"),
                "title" => State::Raw("title"),
                "textarea" => State::Raw("textarea"),
                _ => State::Text,
            },
            _ if c.is_whitespace() || c == '/' => State::Tag,
            _ => State::AttributeName(c.to_ascii_lowercase().to_string()),
        }
    }
}

fn ends(rest: &str, element: &str) -> bool {
    rest.starts_with("</") && rest.get(2..2 + element.len()).is_some_and(|name| name.eq_ignore_ascii_case(element))
}

fn kind(attribute: &str) -> Value {
    match attribute {
        "style" => Value::Style,
        "srcset" => Value::Script,
        _ if attribute.starts_with("on") => Value::Script,
        _ if URLS.contains(&attribute) => Value::Url,
        _ => Value::Plain,
    }
}

//! What MJML has: its elements, where they may stand, their attributes and what these are when nobody says.
//!
//! The names and values are those of the npm package `mjml` 5.4.1 (MIT licence), which is the reference for what MJML is.

/// A kind of element.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) name: &'static str,
    /// What is inside goes into the mail as it is written.
    pub(super) passes: bool,
    /// The elements that may stand inside.
    children: &'static str,
    attributes: &'static str,
    pub(super) defaults: &'static [(&'static str, &'static str)],
}

impl Component {
    /// Whether `child` may stand inside.
    pub(super) fn takes(&self, child: &Self) -> bool {
        match self.name {
            "mj-attributes" => child.name != "mjml" && child.name != "mj-html-attribute" && child.name != "mj-selector",
            // The defaults of what stands inside an element with this class.
            "mj-class" => !matches!(child.name, "mjml" | "mj-all" | "mj-class" | "mj-html-attribute" | "mj-selector"),
            _ => lists(self.children, child.name),
        }
    }

    /// Whether it has the attribute.
    pub(super) fn has(&self, attribute: &str) -> bool {
        attribute == "css-class" || lists(self.attributes, attribute)
    }
}

fn lists(words: &str, word: &str) -> bool {
    words.split(' ').any(|other| other == word)
}

/// The element of that name, which is in small letters.
pub(super) fn component(name: &str) -> Option<&'static Component> {
    COMPONENTS.binary_search_by(|component| component.name.cmp(name)).ok().and_then(|index| COMPONENTS.get(index))
}

/// `mj-raw`, which comments are too.
pub(super) fn raw() -> &'static Component {
    component("mj-raw").unwrap_or(&COMPONENTS[0])
}

/// Where an element may stand, for people.
pub(super) fn places(child: &Component) -> String {
    let places: Vec<String> =
        COMPONENTS.iter().filter(|parent| lists(parent.children, child.name)).map(|parent| format!("<{}>", parent.name)).collect();
    if places.is_empty() { String::new() } else { format!(", only in {}", places.join(" or ")) }
}

/// By their names.
#[rustfmt::skip]
const COMPONENTS: &[Component] = &[
    Component {
        name: "mj-accordion", passes: false,
        children: "mj-accordion-element mj-raw",
        attributes: "border container-background-color font-family icon-align icon-height icon-position icon-unwrapped-alt \
            icon-unwrapped-url icon-width icon-wrapped-alt icon-wrapped-url padding padding-bottom padding-left \
            padding-right padding-top",
        defaults: &[
            ("border", "2px solid black"), ("font-family", "Ubuntu, Helvetica, Arial, sans-serif"), ("icon-align", "middle"),
            ("icon-wrapped-url", "https://i.imgur.com/bIXv1bk.png"), ("icon-wrapped-alt", "+"),
            ("icon-unwrapped-url", "https://i.imgur.com/w4uTygT.png"), ("icon-unwrapped-alt", "-"),
            ("icon-position", "right"), ("icon-height", "32px"), ("icon-width", "32px"), ("padding", "10px 25px"),
        ],
    },
    Component {
        name: "mj-accordion-element", passes: false,
        children: "mj-accordion-title mj-accordion-text mj-raw",
        attributes: "background-color border font-family icon-align icon-height icon-position icon-unwrapped-alt icon-unwrapped-url \
            icon-width icon-wrapped-alt icon-wrapped-url",
        defaults: &[],
    },
    Component {
        name: "mj-accordion-text", passes: true,
        children: "",
        attributes: "background-color color font-family font-size font-weight letter-spacing line-height padding padding-bottom \
            padding-left padding-right padding-top",
        defaults: &[
            ("font-size", "13px"), ("line-height", "1"), ("padding", "16px"),
        ],
    },
    Component {
        name: "mj-accordion-title", passes: true,
        children: "",
        attributes: "background-color color font-family font-size font-weight padding padding-bottom padding-left padding-right \
            padding-top",
        defaults: &[
            ("font-size", "13px"), ("padding", "16px"),
        ],
    },
    Component {
        name: "mj-all", passes: false,
        children: "",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-attributes", passes: false,
        children: "",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-body", passes: false,
        children: "mj-raw mj-section mj-wrapper mj-hero",
        attributes: "background-color id width",
        defaults: &[
            ("width", "600px"),
        ],
    },
    Component {
        name: "mj-breakpoint", passes: true,
        children: "",
        attributes: "width",
        defaults: &[],
    },
    Component {
        name: "mj-button", passes: true,
        children: "",
        attributes: "align background-color border border-bottom border-left border-radius border-right border-top color \
            container-background-color font-family font-size font-style font-weight height href inner-padding letter-spacing \
            line-height name padding padding-bottom padding-left padding-right padding-top rel target text-align \
            text-decoration text-transform title vertical-align width",
        defaults: &[
            ("align", "center"), ("background-color", "#414141"), ("border", "none"), ("border-radius", "3px"),
            ("color", "#ffffff"), ("font-family", "Ubuntu, Helvetica, Arial, sans-serif"), ("font-size", "13px"),
            ("font-weight", "normal"), ("inner-padding", "10px 25px"), ("line-height", "120%"), ("padding", "10px 25px"),
            ("target", "_blank"), ("text-decoration", "none"), ("text-transform", "none"), ("vertical-align", "middle"),
        ],
    },
    Component {
        name: "mj-carousel", passes: false,
        children: "mj-carousel-image",
        attributes: "align border-radius container-background-color icon-width left-icon padding padding-bottom padding-left \
            padding-right padding-top right-icon tb-border tb-border-radius tb-hover-border-color tb-selected-border-color \
            tb-width thumbnails",
        defaults: &[
            ("align", "center"), ("border-radius", "6px"), ("icon-width", "44px"),
            ("left-icon", "https://i.imgur.com/xTh3hln.png"), ("right-icon", "https://i.imgur.com/os7o9kz.png"),
            ("thumbnails", "visible"), ("tb-border", "2px solid transparent"), ("tb-border-radius", "6px"),
            ("tb-hover-border-color", "#fead0d"), ("tb-selected-border-color", "#ccc"),
        ],
    },
    Component {
        name: "mj-carousel-image", passes: true,
        children: "",
        attributes: "alt border-radius href rel src target tb-border tb-border-radius thumbnails-src title",
        defaults: &[
            ("alt", ""), ("target", "_blank"),
        ],
    },
    Component {
        name: "mj-class", passes: false,
        children: "",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-column", passes: false,
        children: "mj-accordion mj-button mj-carousel mj-divider mj-image mj-raw mj-social mj-spacer mj-table mj-text mj-navbar",
        attributes: "background-color border border-bottom border-left border-radius border-right border-top direction \
            inner-background-color inner-border inner-border-bottom inner-border-left inner-border-radius inner-border-right \
            inner-border-top padding padding-bottom padding-left padding-right padding-top vertical-align width",
        defaults: &[
            ("direction", "ltr"), ("vertical-align", "top"),
        ],
    },
    Component {
        name: "mj-divider", passes: false,
        children: "",
        attributes: "align border-color border-style border-width container-background-color padding padding-bottom padding-left \
            padding-right padding-top width",
        defaults: &[
            ("border-color", "#000000"), ("border-style", "solid"), ("border-width", "4px"), ("padding", "10px 25px"),
            ("width", "100%"), ("align", "center"),
        ],
    },
    Component {
        name: "mj-font", passes: false,
        children: "",
        attributes: "href name",
        defaults: &[],
    },
    Component {
        name: "mj-group", passes: false,
        children: "mj-column mj-raw",
        attributes: "background-color direction vertical-align width",
        defaults: &[
            ("direction", "ltr"),
        ],
    },
    Component {
        name: "mj-head", passes: false,
        children: "mj-attributes mj-breakpoint mj-html-attributes mj-font mj-preview mj-style mj-title mj-raw",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-hero", passes: false,
        children: "mj-accordion mj-button mj-carousel mj-divider mj-image mj-social mj-spacer mj-table mj-text mj-navbar mj-raw",
        attributes: "background-color background-height background-position background-url background-width border-radius height \
            inner-background-color inner-padding inner-padding-bottom inner-padding-left inner-padding-right \
            inner-padding-top mode padding padding-bottom padding-left padding-right padding-top vertical-align",
        defaults: &[
            ("mode", "fixed-height"), ("height", "0px"), ("background-position", "center center"), ("padding", "0px"),
            ("background-color", "#ffffff"), ("vertical-align", "top"),
        ],
    },
    Component {
        name: "mj-html-attribute", passes: false,
        children: "",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-html-attributes", passes: false,
        children: "mj-selector",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-image", passes: false,
        children: "",
        attributes: "align alt border border-bottom border-left border-radius border-right border-top container-background-color \
            fluid-on-mobile font-size height href max-height name padding padding-bottom padding-left padding-right \
            padding-top rel sizes src srcset target title usemap width",
        defaults: &[
            ("alt", ""), ("align", "center"), ("border", "0"), ("height", "auto"), ("padding", "10px 25px"),
            ("target", "_blank"), ("font-size", "13px"),
        ],
    },
    Component {
        name: "mj-navbar", passes: false,
        children: "mj-navbar-link mj-raw",
        attributes: "align base-url hamburger ico-align ico-close ico-color ico-font-family ico-font-size ico-line-height ico-open \
            ico-padding ico-padding-bottom ico-padding-left ico-padding-right ico-padding-top ico-text-decoration \
            ico-text-transform padding padding-bottom padding-left padding-right padding-top",
        defaults: &[
            ("align", "center"), ("ico-align", "center"), ("ico-open", "&#9776;"), ("ico-close", "&#8855;"),
            ("ico-color", "#000000"), ("ico-font-size", "30px"), ("ico-font-family", "Ubuntu, Helvetica, Arial, sans-serif"),
            ("ico-text-transform", "uppercase"), ("ico-padding", "10px"), ("ico-text-decoration", "none"),
            ("ico-line-height", "30px"),
        ],
    },
    Component {
        name: "mj-navbar-link", passes: true,
        children: "",
        attributes: "color font-family font-size font-style font-weight href letter-spacing line-height name padding padding-bottom \
            padding-left padding-right padding-top rel target text-decoration text-transform",
        defaults: &[
            ("color", "#000000"), ("font-family", "Ubuntu, Helvetica, Arial, sans-serif"), ("font-size", "13px"),
            ("font-weight", "normal"), ("line-height", "22px"), ("padding", "15px 10px"), ("target", "_blank"),
            ("text-decoration", "none"), ("text-transform", "uppercase"),
        ],
    },
    Component {
        name: "mj-preview", passes: true,
        children: "",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-raw", passes: true,
        children: "",
        attributes: "position",
        defaults: &[],
    },
    Component {
        name: "mj-section", passes: false,
        children: "mj-column mj-group mj-raw",
        attributes: "background-color background-position background-position-x background-position-y background-repeat \
            background-size background-url border border-bottom border-left border-radius border-right border-top direction \
            full-width gutter padding padding-bottom padding-left padding-right padding-top text-align text-padding",
        defaults: &[
            ("background-repeat", "repeat"), ("background-size", "auto"), ("background-position", "top center"),
            ("direction", "ltr"), ("padding", "20px 0"), ("text-align", "center"), ("text-padding", "4px 4px 4px 0"),
        ],
    },
    Component {
        name: "mj-selector", passes: false,
        children: "mj-html-attribute",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-social", passes: false,
        children: "mj-social-element mj-raw",
        attributes: "align border border-radius color container-background-color font-family font-size font-style font-weight \
            icon-height icon-padding icon-size inner-padding line-height mode padding padding-bottom padding-left \
            padding-right padding-top table-layout text-decoration text-padding vertical-align",
        defaults: &[
            ("align", "center"), ("border-radius", "3px"), ("color", "#333333"),
            ("font-family", "Ubuntu, Helvetica, Arial, sans-serif"), ("font-size", "13px"), ("icon-size", "20px"),
            ("line-height", "22px"), ("mode", "horizontal"), ("padding", "10px 25px"), ("text-decoration", "none"),
        ],
    },
    Component {
        name: "mj-social-element", passes: true,
        children: "",
        attributes: "align alt background-color border border-radius color font-family font-size font-style font-weight href \
            icon-height icon-padding icon-position icon-size line-height name padding padding-bottom padding-left \
            padding-right padding-top rel sizes src srcset target text-decoration text-padding title vertical-align",
        defaults: &[
            ("alt", ""), ("align", "left"), ("icon-position", "left"), ("color", "#000"), ("border", "0"),
            ("border-radius", "3px"), ("font-family", "Ubuntu, Helvetica, Arial, sans-serif"), ("font-size", "13px"),
            ("line-height", "1"), ("padding", "4px"), ("text-padding", "4px 4px 4px 0"), ("target", "_blank"),
            ("text-decoration", "none"), ("vertical-align", "middle"),
        ],
    },
    Component {
        name: "mj-spacer", passes: false,
        children: "",
        attributes: "border border-bottom border-left border-right border-top container-background-color height padding \
            padding-bottom padding-left padding-right padding-top",
        defaults: &[
            ("height", "20px"),
        ],
    },
    Component {
        name: "mj-style", passes: true,
        children: "",
        attributes: "inline",
        defaults: &[],
    },
    Component {
        name: "mj-table", passes: true,
        children: "",
        attributes: "align border cellpadding cellspacing color container-background-color font-family font-size font-weight \
            line-height padding padding-bottom padding-left padding-right padding-top role table-layout vertical-align width",
        defaults: &[
            ("align", "left"), ("border", "none"), ("cellpadding", "0"), ("cellspacing", "0"), ("color", "#000000"),
            ("font-family", "Ubuntu, Helvetica, Arial, sans-serif"), ("font-size", "13px"), ("line-height", "22px"),
            ("padding", "10px 25px"), ("table-layout", "auto"), ("width", "100%"),
        ],
    },
    Component {
        name: "mj-text", passes: true,
        children: "",
        attributes: "align background-color color container-background-color font-family font-size font-style font-weight height \
            letter-spacing line-height padding padding-bottom padding-left padding-right padding-top text-decoration \
            text-transform vertical-align",
        defaults: &[
            ("align", "left"), ("color", "#000000"), ("font-family", "Ubuntu, Helvetica, Arial, sans-serif"),
            ("font-size", "13px"), ("line-height", "1"), ("padding", "10px 25px"),
        ],
    },
    Component {
        name: "mj-title", passes: true,
        children: "",
        attributes: "",
        defaults: &[],
    },
    Component {
        name: "mj-wrapper", passes: false,
        children: "mj-hero mj-raw mj-section",
        attributes: "background-color background-position background-position-x background-position-y background-repeat \
            background-size background-url border border-bottom border-left border-radius border-right border-top direction \
            full-width gap gutter padding padding-bottom padding-left padding-right padding-top text-align text-padding",
        defaults: &[
            ("background-repeat", "repeat"), ("background-size", "auto"), ("background-position", "top center"),
            ("direction", "ltr"), ("padding", "20px 0"), ("text-align", "center"), ("text-padding", "4px 4px 4px 0"),
        ],
    },
    Component {
        name: "mjml", passes: false,
        children: "mj-body mj-head mj-raw",
        attributes: "dir lang owa",
        defaults: &[],
    },
];

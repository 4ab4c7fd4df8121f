//! `mj-carousel`: images one after another where the mail program knows how, and the first one elsewhere.

use super::{
    element::{Element, Place, Render},
    value,
};

/// Its CSS grows with the square of their number.
const IMAGES_MAX: usize = 50;

impl Render<'_> {
    pub(super) fn carousel(&mut self, element: &Element<'_>) -> String {
        let id = self.id();
        let images = element.node.children.len();
        if images == 0 || images > IMAGES_MAX {
            let line = element.node.line;
            self.faults.push(format!("line {line}: a <mj-carousel> has 1 to {IMAGES_MAX} images, each a <mj-carousel-image>"));
            return String::new();
        }
        self.single(css(element, &id, images));
        let radius = ("border-radius", element.get("border-radius"));
        let mut each = |inherited: &[(&str, Option<&str>)], make: &dyn Fn(&Element<'_>) -> String| {
            self.children(element, &element.context, inherited, &mut |_, child| make(child))
        };
        let radios = each(&[], &|child| radio(child, &id));
        let thumbnails = match element.get("thumbnails") {
            Some(shown @ ("visible" | "supported")) => {
                let inherited = [
                    ("tb-border", element.get("tb-border")),
                    ("tb-border-radius", element.get("tb-border-radius")),
                    ("tb-width", Some(element.truly("tb-width").unwrap_or("110px"))),
                ];
                each(&inherited, &|child| thumbnail(child, &id, shown == "supported"))
            }
            _ => String::new(),
        };
        let pictures = each(&[radius], &|child| image(child, child.place.index));
        // All others are for programs that know more than Outlook.
        let first = element.node.children.first().map(|node| self.element(node, &[radius], element.context.clone(), Place::default()));
        let first = first.map(|first| image(&first, 0)).unwrap_or_default();
        let previous = control(element, &id, "previous", element.get("left-icon"));
        let next = control(element, &id, "next", element.get("right-icon"));
        format!(
            "<!--[if !mso]><!-->\n<div class=\"mj-carousel\">{radios}\
             <div class=\"mj-carousel-content mj-carousel-{id}-content\" \
             style=\"display:table;width:100%;table-layout:fixed;text-align:center;font-size:0px;\">\n{thumbnails}\n\
             <table style=\"caption-side:top;display:table-caption;table-layout:fixed;width:100%;\" border=\"0\" cellpadding=\"0\" \
             cellspacing=\"0\" width=\"100%\" role=\"presentation\" class=\"mj-carousel-main\">\n<tbody>\n<tr>\n{previous}\n\
             <td style=\"padding:0px;\">\n<div class=\"mj-carousel-images\">{pictures}</div>\n</td>\n{next}\n</tr>\n</tbody>\n</table>\n\
             </div>\n</div>\n<!--<![endif]-->\n<!--[if mso]>{first}<![endif]-->"
        )
    }
}

fn radio(image: &Element<'_>, id: &str) -> String {
    let number = image.place.index + 1;
    let attributes = value::attributes(&[
        ("class", Some(&format!("mj-carousel-radio mj-carousel-{id}-radio mj-carousel-{id}-radio-{number}"))),
        ("checked", (number == 1).then_some("checked")),
        ("type", Some("radio")),
        ("name", Some(&format!("mj-carousel-radio-{id}"))),
        ("id", Some(&format!("mj-carousel-{id}-radio-{number}"))),
        ("style", Some("display:none;mso-hide:all;")),
    ]);
    format!("<input{attributes} />")
}

fn thumbnail(image: &Element<'_>, id: &str, is_supported: bool) -> String {
    let number = image.place.index + 1;
    let is_supported = image.truly("thumbnails").map_or(is_supported, |shown| shown == "supported");
    let width = image.get("tb-width");
    let style = value::style(&[
        ("border", image.get("tb-border")),
        ("border-radius", image.get("tb-border-radius")),
        ("display", Some(if is_supported { "none" } else { "inline-block" })),
        ("overflow", Some("hidden")),
        ("width", width),
    ]);
    let own = value::suffixed(image.get("css-class"), "thumbnail");
    let class = format!("mj-carousel-thumbnail mj-carousel-{id}-thumbnail mj-carousel-{id}-thumbnail-{number} {own}");
    let link = value::attributes(&[
        ("style", Some(&style)),
        ("href", Some(&format!("#{number}"))),
        ("target", image.get("target")),
        ("class", Some(&class)),
    ]);
    let picture = value::attributes(&[
        ("style", Some("display:block;width:100%;height:auto;")),
        ("src", image.truly("thumbnails-src").or_else(|| image.get("src"))),
        ("alt", image.get("alt")),
        ("width", width.map(|width| value::int(width).to_string()).as_deref()),
    ]);
    format!("<a{link}>\n<label for=\"mj-carousel-{id}-radio-{number}\">\n<img{picture} />\n</label>\n</a>")
}

fn image(image: &Element<'_>, index: usize) -> String {
    let room = &*image.context.width;
    let style = value::style(&[
        ("border-radius", image.get("border-radius")),
        ("display", Some("block")),
        ("width", Some(room)),
        ("max-width", Some("100%")),
        ("height", Some("auto")),
    ]);
    let picture = value::attributes(&[
        ("title", image.get("title")),
        ("src", image.get("src")),
        ("alt", image.get("alt")),
        ("style", Some(&style)),
        ("width", Some(&value::int(room).to_string())),
        ("border", Some("0")),
    ]);
    let picture = format!("<img{picture} />");
    let picture = match image.truly("href") {
        Some(href) => {
            let link = value::attributes(&[("href", Some(href)), ("rel", image.get("rel")), ("target", Some("_blank"))]);
            format!("<a{link}>{picture}</a>")
        }
        None => picture,
    };
    let class = format!("mj-carousel-image mj-carousel-image-{} {}", index + 1, image.get("css-class").unwrap_or_default());
    let style = if index == 0 { "" } else { "display:none;mso-hide:all;" };
    format!("<div{}>\n{picture}\n</div>", value::attributes(&[("class", Some(&class)), ("style", Some(style))]))
}

fn control(element: &Element<'_>, id: &str, direction: &str, icon: Option<&str>) -> String {
    let width = element.get("icon-width");
    let style = value::style(&[("display", Some("block")), ("width", width), ("height", Some("auto"))]);
    let picture = value::attributes(&[
        ("src", icon),
        ("alt", Some(direction)),
        ("style", Some(&style)),
        ("width", width.map(|width| value::int(width).to_string()).as_deref()),
    ]);
    let labels: String = (1..=element.node.children.len())
        .map(|number| {
            let label = value::attributes(&[
                ("for", Some(&*format!("mj-carousel-{id}-radio-{number}"))),
                ("class", Some(&format!("mj-carousel-{direction} mj-carousel-{direction}-{number}"))),
            ]);
            format!("<label{label}>\n<img{picture} />\n</label>\n")
        })
        .collect();
    format!(
        "<td class=\"mj-carousel-{id}-icons-cell\" style=\"font-size:0px;display:none;mso-hide:all;padding:0px;\">\n\
         <div class=\"mj-carousel-{direction}-icons\" style=\"display:none;mso-hide:all;\">\n{labels}</div>\n</td>"
    )
}

/// The rules by which the radio buttons show one image and hide the others.
fn css(element: &Element<'_>, id: &str, images: usize) -> String {
    let list = |of: &dyn Fn(usize) -> String| (0..images).map(of).collect::<Vec<_>>().join(",");
    let steps = |count: usize| "+ * ".repeat(count);
    let after = |index: usize| steps(images - index - 1);
    let radio = |index: usize| format!(".mj-carousel-{id}-radio-{}:checked {}+ .mj-carousel-content", index + 1, after(index));
    let hidden = list(&|index| format!(".mj-carousel-{id}-radio:checked {}+ .mj-carousel-content .mj-carousel-image", steps(index)));
    let shown = list(&|index| format!("{} .mj-carousel-image-{}", radio(index), index + 1));
    let next = list(&|index| format!("{} .mj-carousel-next-{}", radio(index), (index + 1) % images + 1));
    let previous = list(&|index| format!("{} .mj-carousel-previous-{}", radio(index), (index + images - 1) % images + 1));
    let selected = list(&|index| format!("{} .mj-carousel-{id}-thumbnail-{}", radio(index), index + 1));
    let thumbnails = list(&|index| format!("{} .mj-carousel-{id}-thumbnail", radio(index)));
    let hovered = list(&|index| format!(".mj-carousel-{id}-thumbnail:hover {}+ .mj-carousel-main .mj-carousel-image", after(index)));
    let over = list(&|index| {
        let number = index + 1;
        format!(".mj-carousel-{id}-thumbnail-{number}:hover {}+ .mj-carousel-main .mj-carousel-image-{number}", after(index))
    });
    let of = |name: &str| element.get(name).unwrap_or_default();
    let (icon, selected_colour, hover_colour) = (of("icon-width"), of("tb-selected-border-color"), of("tb-hover-border-color"));
    let yahoo = "+ *".repeat(images - 1);
    format!(
        ".mj-carousel {{ -webkit-user-select: none; -moz-user-select: none; user-select: none; }}
.mj-carousel-{id}-icons-cell {{ display: table-cell !important; width: {icon} !important; }}
.mj-carousel-radio, .mj-carousel-next, .mj-carousel-previous {{ display: none !important; }}
.mj-carousel-thumbnail, .mj-carousel-next, .mj-carousel-previous {{ touch-action: manipulation; }}
{hidden} {{ display: none !important; }}
{shown} {{ display: block !important; }}
.mj-carousel-previous-icons, .mj-carousel-next-icons, {next}, {previous} {{ display: block !important; }}
{selected} {{ border-color: {selected_colour} !important; }}
{thumbnails} {{ display: inline-block !important; }}
.mj-carousel-image img + div, .mj-carousel-thumbnail img + div {{ display: none !important; }}
{hovered} {{ display: none !important; }}
.mj-carousel-thumbnail:hover {{ border-color: {hover_colour} !important; }}
{over} {{ display: block !important; }}
.mj-carousel noinput {{ display:block !important; }}
.mj-carousel noinput .mj-carousel-image-1 {{ display: block !important; }}
.mj-carousel noinput .mj-carousel-arrows, .mj-carousel noinput .mj-carousel-thumbnails {{ display: none !important; }}
[owa] .mj-carousel-thumbnail {{ display: none !important; }}
@media screen yahoo {{
  .mj-carousel-{id}-icons-cell, .mj-carousel-previous-icons, .mj-carousel-next-icons {{ display: none !important; }}
  .mj-carousel-{id}-radio-1:checked {yahoo}+ .mj-carousel-content .mj-carousel-{id}-thumbnail-1 {{ border-color: transparent; }}
}}"
    )
}

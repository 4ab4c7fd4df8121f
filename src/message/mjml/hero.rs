//! `mj-hero`: one column over a background image.

use super::{
    element::{Context, Element, Render},
    value::{self, Side},
};

/// What a table has that only places things.
const PLAIN: [(&str, Option<&str>); 4] =
    [("border", Some("0")), ("cellpadding", Some("0")), ("cellspacing", Some("0")), ("role", Some("presentation"))];

impl Render<'_> {
    pub(super) fn hero(&mut self, element: &Element<'_>) -> String {
        let room = &*element.context.width;
        let url = element.truly("background-url");
        let outlook_table = value::attributes(&[
            ("align", Some("center")),
            PLAIN[0],
            PLAIN[1],
            PLAIN[2],
            PLAIN[3],
            ("style", Some(&format!("width:{room};"))),
            ("width", Some(&value::int(room).to_string())),
        ]);
        let image = value::style(&[
            ("border", Some("0")),
            ("height", element.get("background-height")),
            ("mso-position-horizontal", Some("center")),
            ("position", Some("absolute")),
            ("top", Some("0")),
            ("width", Some(element.truly("background-width").unwrap_or(room))),
            ("z-index", Some("-3")),
        ]);
        let image = value::attributes(&[
            ("style", Some(&image)),
            ("src", element.get("background-url")),
            ("xmlns:v", Some("urn:schemas-microsoft-com:vml")),
        ]);
        let div = value::attributes(&[
            ("align", element.get("align")),
            ("class", element.get("css-class")),
            ("style", Some(&format!("margin:0 auto;max-width:{room};"))),
        ]);
        let table = value::attributes(&[("align", Some("center")), PLAIN[0], PLAIN[1], PLAIN[2], PLAIN[3], ("style", Some("width:100%;"))]);
        // Outlook's cell has no height of a line, so that the image begins at its top.
        let outlook_cell = "style=\"line-height:0;font-size:0;mso-line-height-rule:exactly;\"";
        let table = table.replacen(" align=\"center\"", "", 1);
        let background = [
            element.get("background-color").unwrap_or_default().to_owned(),
            url.map(|url| {
                let position = element.get("background-position").unwrap_or_default();
                format!("url('{url}') no-repeat {position} / cover")
            })
            .unwrap_or_default(),
        ];
        let background = background.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let cells = self.hero_cells(element, &background);
        format!(
            "<!--[if mso | IE]><table{outlook_table}><tr><td {outlook_cell}><v:image{image} /><![endif]-->\n\
             <div{div}>\n<table{table}>\n<tbody>\n<tr style=\"vertical-align:top;\">\n{cells}\n</tr>\n</tbody>\n</table>\n</div>\n\
             <!--[if mso | IE]></td></tr></table><![endif]-->"
        )
    }

    /// The cell with the content, and in the fluid mode one at each side that keeps the proportions.
    fn hero_cells(&mut self, element: &Element<'_>, background: &str) -> String {
        let mut style = vec![
            ("background", Some(background)),
            ("background-position", element.get("background-position")),
            ("background-repeat", Some("no-repeat")),
        ];
        style.extend(element.same(&[
            "border-radius",
            "padding",
            "padding-top",
            "padding-left",
            "padding-right",
            "padding-bottom",
            "vertical-align",
        ]));
        let content = self.hero_content(element);
        let url = ("background", element.get("background-url"));
        if element.get("mode") == Some("fluid-height") {
            let of = |name| value::int(element.get(name).unwrap_or_default());
            let ratio = value::round(of("background-height") / of("background-width") * 100.0);
            if ratio.is_nan() {
                let line = element.node.line;
                self.faults.push(format!("line {line}: a <mj-hero> of fluid height needs `background-width` and `background-height`"));
            }
            let side = format!("<td style=\"width:0.01%;padding-bottom:{ratio}%;mso-padding-bottom-alt:0;\"></td>");
            let cell = value::attributes(&[url, ("style", Some(&value::style(&style)))]);
            return format!("{side}\n<td{cell}>\n{content}\n</td>\n{side}");
        }
        let height = value::int(element.get("height").unwrap_or_default())
            - element.side("padding", Side::Top)
            - element.side("padding", Side::Bottom);
        let pixels = format!("{height}px");
        style.push(("height", Some(&pixels)));
        let cell = value::attributes(&[url, ("style", Some(&value::style(&style))), ("height", Some(&height.to_string()))]);
        format!("<td{cell}>\n{content}\n</td>")
    }

    fn hero_content(&mut self, element: &Element<'_>) -> String {
        let width = format!("{}px", value::float(&element.context.width) - element.sides("padding"));
        let context = Context { width, ..element.context.clone() };
        let inner = |name: &str| element.get(&format!("inner-{name}"));
        let padding = [
            ("padding", inner("padding")),
            ("padding-top", inner("padding-top")),
            ("padding-left", inner("padding-left")),
            ("padding-right", inner("padding-right")),
            ("padding-bottom", inner("padding-bottom")),
        ];
        let mut cell = vec![("background-color", inner("background-color"))];
        cell.extend(padding);
        let mut div = vec![
            ("background-color", inner("background-color")),
            ("float", element.get("align")),
            ("margin", Some("0px auto")),
            ("width", element.get("width")),
        ];
        div.extend(padding);
        let outlook = value::attributes(&[
            ("align", element.get("align")),
            PLAIN[0],
            PLAIN[1],
            PLAIN[2],
            ("style", Some(&format!("width:{};", context.width))),
            ("width", Some(&value::int(&context.width).to_string())),
        ]);
        let cell = value::attributes(&[("style", Some(&value::style(&cell)))]);
        let div =
            value::attributes(&[("align", element.get("align")), ("class", Some("mj-hero-content")), ("style", Some(&value::style(&div)))]);
        let table = value::attributes(&[PLAIN[0], PLAIN[1], PLAIN[2], PLAIN[3], ("style", Some("width:100%;margin:0px;"))]);
        let children = self.children(element, &context, &[], &mut |render, child| render.row(child, true));
        format!(
            "<!--[if mso | IE]><table{outlook}><tr><td{cell}><![endif]-->\n<div{div}>\n<table{table}>\n<tbody>\n<tr>\n<td style=\"\">\n\
             <table{table}>\n<tbody>{children}</tbody>\n</table>\n</td>\n</tr>\n</tbody>\n</table>\n</div>\n\
             <!--[if mso | IE]></td></tr></table><![endif]-->"
        )
    }
}

//! Names of variants as tags of languages (RFC 5646), for Content-Language (RFC 3282).

/// Languages with a code of two letters (ISO 639-1).
const TWO_LETTERS: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";
/// Languages without such a code in which people are written to: those of three letters that Unicode's CLDR has.
const THREE_LETTERS: &str = "agq asa ast bas bem bez brx ceb cgg chr ckb dav dje doi dsb dua dyo ebu ewo fil fur gsw guz haw hsb jgo jmc kab kam kde kea kgp khq kkj kln kok ksb ksf ksh lag lkt lrc luo luy mai mas mer mfe mgh mgo mni mua mzn naq nds nmg nnh nus nyn pcm rof rwk sah saq sat sbp scn seh ses shi smn syr szl teo tok tpi twq tzm vai vec vun wae xog yav yrl yue zgh";

/// The tag that a name is, in the usual capitals: `de`, `de-AT`, `zh-Hant-TW`. `None` for a name that is no language, such as `premium`,
/// also where it has the form of one, as `vip` has.
#[must_use]
pub fn language_tag(name: &str) -> Option<String> {
    let mut parts = name.split(['-', '_']);
    let language = parts.next()?.to_ascii_lowercase();
    if !TWO_LETTERS.split(' ').chain(THREE_LETTERS.split(' ')).any(|known| known == language) {
        return None;
    }
    let mut tag = language;
    // What may still follow: a script, then a region, then variants of the language.
    let (mut may_script, mut may_region) = (true, true);
    for part in parts {
        let is = |of: fn(&u8) -> bool| part.bytes().all(|byte| of(&byte));
        let starts_with_digit = part.starts_with(|c: char| c.is_ascii_digit());
        let written = match part.len() {
            4 if may_script && is(u8::is_ascii_alphabetic) => {
                may_script = false;
                format!("{}{}", part[..1].to_ascii_uppercase(), part[1..].to_ascii_lowercase())
            }
            2 if may_region && is(u8::is_ascii_alphabetic) => {
                (may_script, may_region) = (false, false);
                part.to_ascii_uppercase()
            }
            3 if may_region && is(u8::is_ascii_digit) => {
                (may_script, may_region) = (false, false);
                part.to_owned()
            }
            4..=8 if (part.len() > 4 || starts_with_digit) && is(u8::is_ascii_alphanumeric) => {
                (may_script, may_region) = (false, false);
                part.to_ascii_lowercase()
            }
            _ => return None,
        };
        tag.push('-');
        tag.push_str(&written);
    }
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_languages_are_tags_and_others_are_none() {
        for (name, tag) in [
            ("de", "de"),
            ("DE", "de"),
            ("de-at", "de-AT"),
            ("pt_BR", "pt-BR"),
            ("es-419", "es-419"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("SR-LATN", "sr-Latn"),
            ("fil", "fil"),
            ("gsw-CH", "gsw-CH"),
            ("de-1996", "de-1996"),
            ("ca-valencia", "ca-valencia"),
        ] {
            assert_eq!(language_tag(name).as_deref(), Some(tag), "{name}");
        }
        for name in [
            "",
            "vip",
            "premium",
            "x",
            "xx",
            "deu",
            "de-",
            "de-A",
            "de-AT-Latn",
            "de-AT-CH",
            "german",
            "de-x-private",
            "a-b",
            "de at",
            "dé",
        ] {
            assert_eq!(language_tag(name), None, "{name}");
        }
    }
}

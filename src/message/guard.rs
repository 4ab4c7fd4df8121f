//! What a template may contain, checked on the engine's own tokens before anything recursive sees it; and the template as it is run, in which
//! every operand of an operator, a filter or a call is measured.
//!
//! The engine charges for what an instruction makes, and not for what is inside a list that it prints, compares or walks: a list of two
//! times the one before, 40 times over, costs 40 instructions and has 2⁴⁰ elements. So [`MEASURED`] follows each operand, and
//! charges for every element in it, shared ones as often as they are reached (see [`super::measure`]). What is printed alone is measured by the
//! formatter, so that an ordinary template is run as it is written.
//!
//! The parser and what walks its tree recurse once for each operator, bracket and block. Their depth is at most that of the brackets,
//! each with the tokens since the last comma in it, and of the blocks around.

use minijinja::{
    machinery::{Span, Token, tokenize},
    syntax::SyntaxConfig,
};

/// The filter after an operand.
pub(super) const MEASURED: &str = "measured__";
/// The filter after an operand that may be neither a list nor a map: those of `*`, and what an attribute of a namespace is set to.
pub(super) const SINGLE: &str = "single__";
/// The filter after the name of a part, which charges for what reading it into the message costs.
pub(super) const PART: &str = "part__";
/// All filters that are put into templates, and that no template may name.
pub(super) const OWN: [&str; 3] = [MEASURED, SINGLE, PART];

/// The longest source of one template, in bytes; no body that is read is longer.
pub(super) const SOURCE_MAX: usize = 5 << 20;
/// Tags of one template.
pub(super) const TAGS_MAX: usize = 20_000;
/// Tokens in all tags of one template.
pub(super) const TOKENS_MAX: usize = 200_000;
/// Nested tokens in one tag: those since the last comma, in all open brackets.
const DEPTH_MAX: usize = 250;
/// Nested brackets in one tag.
const BRACKETS_MAX: usize = 30;
/// Nested blocks; an `elif` counts as one more.
const BLOCKS_MAX: usize = 60;
/// `{% block %}`s of one template, and of all parts of a campaign together: each call of a macro costs the engine something for each.
pub(super) const NAMED_BLOCKS_MAX: usize = 100;
/// The longest text, name or number in a tag, in bytes.
const LITERAL_MAX: usize = 64 << 10;
/// The longest number in a tag, in digits and signs.
const NUMBER_MAX: usize = 400;

/// Words that are operators where one is allowed, and never names.
const KEYWORDS: &[&str] = &["if", "else", "not", "and", "or", "in", "is"];
const CONSTANTS: &[&str] = &["true", "True", "false", "False", "none", "None"];
/// Filters that look at no element, or whose own code measures its input.
const SHALLOW: &[&str] = &["default", "d", "length", "count", "int", "float", "round", "abs", "first", "e", "escape", "safe"];
/// Statements that always open a block.
const BLOCKS: &[&str] = &["for", "if", "with", "autoescape", "filter", "macro", "call", "block"];
/// Statements that read a part, whose name is their first word.
pub(super) const OF_PARTS: &[&str] = &["extends", "include", "import", "from"];

/// What precedes a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// An operator, an opening bracket, a comma or nothing: an operand is next.
    Nothing,
    /// `not`: an operand is next, or it is a name.
    Not,
    /// The `not` of `not in`.
    NotIn,
    /// The end of an operand that may be a list or a map.
    Operand,
    /// The end of one that cannot.
    Constant,
    /// The dot of an attribute.
    Dot,
    /// A bar, or the dot in a filter's name.
    Pipe,
    /// The name of a filter.
    Filter,
    /// `is`, `is not`, or the dot in a test's name.
    Is,
    /// The name of a test.
    Test,
}

impl Before {
    /// An operator may follow.
    fn is_end(self) -> bool {
        matches!(self, Self::Operand | Self::Constant | Self::Filter | Self::Test)
    }
}

/// An open bracket, or the tag itself.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Tokens since the last comma in it.
    tokens: usize,
    /// What the whole is once it is closed.
    after: Before,
    /// Parameters, or names that are assigned to.
    is_declaration: bool,
    /// The name that comes is declared and not read.
    declares: bool,
    /// The operand that comes is the right one of `*`.
    is_factor: bool,
    /// There was an operator that looks into its operands.
    has_operator: bool,
}

impl Open {
    fn new(after: Before, is_declaration: bool) -> Self {
        Self { tokens: 0, after, is_declaration, declares: is_declaration, is_factor: false, has_operator: false }
    }
}

/// The tag being read.
#[derive(Clone, Copy, Debug, Default)]
struct Tag<'s> {
    start: usize,
    is_statement: bool,
    /// The keyword of a statement; none in `{{ }}`, or before it is read.
    word: Option<&'s str>,
    /// The target of an assignment has a dot, or a comma.
    target_has_dot: bool,
    target_has_comma: bool,
    /// An attribute is set: what it is set to is in brackets, and must be single.
    is_single: bool,
    /// The name of a part is next.
    expects_part: bool,
}

/// The tokens of a template, texts between its tags among them.
fn tokens_of(source: &str) -> usize {
    tokenize(source, false, SyntaxConfig::default()).take_while(Result::is_ok).count()
}

/// A template as it is run, and how much it holds.
pub(super) struct Guarded {
    pub(super) run: String,
    /// The tokens of `run`.
    pub(super) run_tokens: usize,
    pub(super) tags: usize,
    pub(super) tokens: usize,
    /// Its `{% block %}`s.
    pub(super) named_blocks: usize,
}

/// The template as it is run.
///
/// # Errors
/// What it may not contain, with the line, and what to do. Syntax errors are left to the engine.
pub(super) fn guarded(source: &str) -> Result<Guarded, String> {
    if source.len() > SOURCE_MAX {
        return Err(format!("it is longer than {SOURCE_MAX} bytes; shorten the template"));
    }
    let mut guard = Guard {
        source,
        out: String::with_capacity(source.len() + source.len() / 8),
        written: 0,
        tags: 0,
        tokens: 0,
        named_blocks: 0,
        blocks: Vec::new(),
        depth: 0,
        tag: Tag::default(),
        brackets: Vec::new(),
        before: Before::Nothing,
        end: 0,
        piped: None,
    };
    for token in tokenize(source, false, SyntaxConfig::default()) {
        // The engine finds the same mistake, and reports it better.
        let Ok((token, span)) = token else { break };
        guard.take(&token, span).map_err(|message| {
            let line = memchr::memchr_iter(b'\n', &source.as_bytes()[..guard.tag.start]).count() + 1;
            format!("line {line}: {message}")
        })?;
    }
    guard.out.push_str(&source[guard.written..]);
    let Guard { out: run, tags, tokens, named_blocks, .. } = guard;
    Ok(Guarded { run_tokens: tokens_of(&run), run, tags, tokens, named_blocks })
}

/// A part of a template that is run, as it was written.
pub(super) fn as_written(run: &str) -> String {
    OWN.iter().fold(run.to_owned(), |text, filter| text.replace(&format!("|{filter}"), "").replace(filter, ""))
}

struct Guard<'s> {
    source: &'s str,
    out: String,
    /// Up to where the source is in `out`.
    written: usize,
    tags: usize,
    tokens: usize,
    named_blocks: usize,
    /// The open blocks, each with its `elif`s.
    blocks: Vec<usize>,
    depth: usize,
    tag: Tag<'s>,
    /// The tag, and the open brackets in it.
    brackets: Vec<Open>,
    before: Before,
    /// Where the last token ended.
    end: usize,
    /// Where an operand ended whose filter is not known yet.
    piped: Option<usize>,
}

impl<'s> Guard<'s> {
    fn insert(&mut self, at: usize, text: &str) {
        self.out.push_str(&self.source[self.written..at]);
        self.out.push_str(text);
        self.written = at;
    }

    fn measure(&mut self, at: usize, filter: &str) {
        self.insert(at, "|");
        self.insert(at, filter);
    }

    fn take(&mut self, token: &Token<'s>, span: Span) -> Result<(), String> {
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        match token {
            Token::TemplateData(_) => return Ok(()),
            Token::VariableStart | Token::BlockStart => {
                self.tags += 1;
                self.tag = Tag { start, is_statement: matches!(token, Token::BlockStart), ..Tag::default() };
                self.brackets.clear();
                self.brackets.push(Open::new(Before::Nothing, false));
                self.before = Before::Nothing;
                if self.tags > TAGS_MAX {
                    return Err(format!("there are more than {TAGS_MAX} tags; loop over a list instead"));
                }
            }
            Token::VariableEnd | Token::BlockEnd => self.close_tag()?,
            _ => {
                self.bound(token, end.saturating_sub(start))?;
                match *token {
                    Token::Ident(word) if self.tag.is_statement && self.tag.word.is_none() => self.keyword(word)?,
                    _ if self.tag.word.is_some_and(|word| word == "block" || OF_PARTS.contains(&word)) => self.naming(token, end)?,
                    _ => {
                        self.operand_ends(token);
                        self.step(token, end)?;
                    }
                }
            }
        }
        self.end = end;
        Ok(())
    }

    fn bound(&mut self, token: &Token<'s>, length: usize) -> Result<(), String> {
        self.tokens += 1;
        if self.tokens > TOKENS_MAX {
            return Err(format!("the template's tags have more than {TOKENS_MAX} words and signs; put data into the audience's fields"));
        }
        let is_number = matches!(token, Token::Int(_) | Token::Int128(_) | Token::Float(_));
        if length > LITERAL_MAX || is_number && length > NUMBER_MAX {
            let most = if is_number { NUMBER_MAX } else { LITERAL_MAX };
            return Err(format!("a tag has a text, name or number of {length} bytes, and {most} is the maximum; put text outside tags"));
        }
        if let Some(open) = self.brackets.last_mut() {
            open.tokens += 1;
        }
        if self.brackets.len() > BRACKETS_MAX + 1 {
            return Err(format!("more than {BRACKETS_MAX} brackets are nested; split the expression with `{{% set %}}`"));
        }
        if self.brackets.iter().map(|open| open.tokens).sum::<usize>() > DEPTH_MAX {
            return Err(format!("an expression has more than {DEPTH_MAX} words and signs without a comma; split it with `{{% set %}}`"));
        }
        Ok(())
    }

    /// The first word of a statement.
    fn keyword(&mut self, word: &'s str) -> Result<(), String> {
        self.tag.word = Some(word);
        if BLOCKS.contains(&word) {
            self.opens_block()?;
        } else if word == "elif" {
            if let Some(elifs) = self.blocks.last_mut() {
                *elifs += 1;
            }
            self.deeper()?;
        } else if word.starts_with("end") {
            self.depth = self.depth.saturating_sub(self.blocks.pop().unwrap_or(0));
        }
        if matches!(word, "for" | "set" | "with") {
            self.brackets.clear();
            self.brackets.push(Open::new(Before::Nothing, true));
        }
        if word == "filter" {
            self.before = Before::Pipe;
        }
        self.tag.expects_part = OF_PARTS.contains(&word);
        self.named_blocks += usize::from(word == "block");
        if self.named_blocks > NAMED_BLOCKS_MAX {
            return Err(format!("there are more than {NAMED_BLOCKS_MAX} `{{% block %}}`s; put what belongs together into one"));
        }
        Ok(())
    }

    /// What follows the word of a statement that names a part or a block: names alone, none of which is an operand.
    fn naming(&mut self, token: &Token<'s>, end: usize) -> Result<(), String> {
        let expects_part = std::mem::take(&mut self.tag.expects_part);
        let word = self.tag.word.unwrap_or_default();
        match token {
            Token::Str(_) | Token::String(_) if expects_part => {
                self.measure(end, PART);
                Ok(())
            }
            Token::Ident("ignore") if word == "include" && !expects_part => {
                Err("without a part that is missing, part of the message would be missing; remove `ignore missing`".to_owned())
            }
            Token::Ident(name) if !expects_part && !KEYWORDS.contains(name) => Ok(()),
            Token::Comma if !expects_part => Ok(()),
            _ if word == "block" => Err("`{% block %}` takes a name and nothing else, as in `{% block content %}`".to_owned()),
            _ => Err(format!(
                "`{{% {word} %}}` takes the name of one part, in quotes, as in `{{% {word} \"{}\"{} %}}`; to choose among parts, use `{{% if %}}`",
                if word == "extends" { "layout.html" } else { "part.html" },
                match word {
                    "import" => " as parts",
                    "from" => " import button",
                    _ => "",
                }
            )),
        }
    }

    fn opens_block(&mut self) -> Result<(), String> {
        self.blocks.push(1);
        self.deeper()
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > BLOCKS_MAX {
            return Err(format!("more than {BLOCKS_MAX} blocks are nested, counting each `elif`; look up in a map instead"));
        }
        Ok(())
    }

    /// Measures the operand that ends before this token.
    fn operand_ends(&mut self, token: &Token<'s>) {
        let Some(&open) = self.brackets.last() else { return };
        if !matches!(token, Token::Ident(_)) {
            self.piped = None;
        }
        let goes_on = match self.before {
            Before::Operand => matches!(token, Token::Dot | Token::BracketOpen | Token::ParenOpen | Token::Assign),
            Before::Filter => matches!(token, Token::Dot | Token::ParenOpen),
            _ => true,
        };
        let is_passed = match token {
            // A test looks into no operand but those that it measures.
            Token::Ident("is") => true,
            // These hand on one of their operands.
            Token::Ident("if" | "else" | "and" | "or") => !open.has_operator && !open.is_factor,
            _ => false,
        };
        if goes_on || is_passed || open.declares {
            return;
        }
        match token {
            Token::Pipe => self.piped = Some(self.end),
            Token::Mul => self.measure(self.end, SINGLE),
            _ => self.measure(self.end, if open.is_factor { SINGLE } else { MEASURED }),
        }
    }

    fn close_tag(&mut self) -> Result<(), String> {
        let Some(&open) = self.brackets.last() else { return Ok(()) };
        // `{% call %}` and `{% do %}` accept a call and nothing else.
        let takes_filter = !matches!(self.tag.word, Some("call" | "do" | "macro" | "filter"));
        if self.before == Before::Not {
            return Err(named("not"));
        }
        if matches!(self.before, Before::Operand | Before::Filter) && !open.declares && takes_filter {
            // What is printed alone is measured as it is printed.
            if open.is_factor {
                self.measure(self.end, SINGLE);
            } else if open.has_operator {
                self.measure(self.end, MEASURED);
            }
        }
        if self.tag.is_single {
            self.insert(self.end, ")");
            self.measure(self.end, SINGLE);
        }
        // Without a value it opens a block.
        if self.tag.word == Some("set") && open.declares {
            self.opens_block()?;
        }
        Ok(())
    }

    /// What precedes the next token.
    fn step(&mut self, token: &Token<'s>, end: usize) -> Result<(), String> {
        let before = self.before;
        let depth = self.brackets.len();
        let Some(open) = self.brackets.last_mut() else { return Ok(()) };
        self.before = match token {
            Token::Ident(word) => return self.name(word),
            Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
                if before == Before::Dot {
                    Before::Operand
                } else {
                    Before::Constant
                }
            }
            Token::Dot if before == Before::Not => return Err(named("not")),
            Token::Dot => {
                self.tag.target_has_dot |= open.declares;
                match before {
                    Before::Filter => Before::Pipe,
                    Before::Test => Before::Is,
                    _ => Before::Dot,
                }
            }
            Token::Pipe => Before::Pipe,
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                let is_declaration = match self.tag.word {
                    Some("macro") => depth == 1,
                    Some("call") => depth == 1 && before == Before::Nothing,
                    // The arguments of a filter are not targets.
                    _ => open.declares && before == Before::Nothing,
                };
                let after = match before {
                    Before::Test => Before::Constant,
                    _ if is_declaration && self.tag.word == Some("call") => Before::Nothing,
                    _ => Before::Operand,
                };
                self.brackets.push(Open::new(after, is_declaration));
                Before::Nothing
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                if before == Before::Not {
                    return Err(named("not"));
                }
                if depth > 1 { self.brackets.pop().map_or(Before::Operand, |open| open.after) } else { Before::Operand }
            }
            Token::Comma => {
                if before == Before::Not {
                    return Err(named("not"));
                }
                self.tag.target_has_comma |= open.declares;
                // What follows is declared again among parameters and in `{% with a = 1, b = 2 %}`, and not in `{% set a = 1, 2 %}`.
                let declares = open.is_declaration && (open.declares || self.tag.word != Some("set") || depth > 1);
                *open = Open { declares, is_declaration: open.is_declaration, ..Open::new(open.after, false) };
                Before::Nothing
            }
            Token::Assign => {
                let is_target = open.declares && depth == 1;
                open.declares = false;
                if is_target && self.tag.word == Some("set") && self.tag.target_has_dot {
                    if self.tag.target_has_comma {
                        return Err("`{% set %}` sets an attribute among other targets; use a tag for each".to_owned());
                    }
                    self.tag.is_single = true;
                    self.insert(end, "(");
                }
                Before::Nothing
            }
            _ if before == Before::Not && !matches!(token, Token::Minus) => return Err(named("not")),
            _ => {
                open.has_operator |= before.is_end();
                open.is_factor = match token {
                    Token::Mul => before.is_end(),
                    // A sign before the factor.
                    Token::Minus if !before.is_end() => open.is_factor,
                    _ => false,
                };
                Before::Nothing
            }
        };
        Ok(())
    }

    fn name(&mut self, word: &'s str) -> Result<(), String> {
        let (before, depth, is_for) = (self.before, self.brackets.len(), self.tag.word == Some("for"));
        let Some(open) = self.brackets.last_mut() else { return Ok(()) };
        self.before = match before {
            Before::Dot => Before::Operand,
            Before::Pipe => {
                if let Some(at) = self.piped.take().filter(|_| !SHALLOW.contains(&word)) {
                    self.measure(at, MEASURED);
                }
                Before::Filter
            }
            Before::Is if word == "not" => Before::Is,
            Before::Is => Before::Test,
            Before::NotIn => Before::Nothing,
            Before::Nothing | Before::Not if word == "not" && !open.declares => Before::Not,
            Before::Nothing | Before::Not if KEYWORDS.contains(&word) => return Err(named(word)),
            Before::Operand if word == "in" && is_for && open.declares && depth == 1 => {
                open.declares = false;
                open.tokens = 0;
                Before::Nothing
            }
            _ if word == "is" => Before::Is,
            _ if KEYWORDS.contains(&word) => {
                open.has_operator = matches!(word, "in" | "not");
                open.is_factor = false;
                if word == "not" { Before::NotIn } else { Before::Nothing }
            }
            _ if CONSTANTS.contains(&word) => Before::Constant,
            _ => Before::Operand,
        };
        Ok(())
    }
}

fn named(word: &str) -> String {
    format!("`{word}` is a keyword of the template language and cannot be a name; to read a field of that name, write `fields.{word}`")
}

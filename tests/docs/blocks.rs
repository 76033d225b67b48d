//! Markdown → blocks of SQL with what is expected of them. Fences in other languages are looked at only so far that a
//! misspelled one can't hide SQL from the tests.

/// One fenced block of SQL.
#[derive(Debug)]
pub struct Block {
    /// Of its opening fence, from 1.
    pub line: usize,
    pub statements: Vec<String>,
    pub mode: Mode,
    /// The lines of the text block behind it, if there is one.
    pub expected: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Plain,
    /// The last statement fails with this SQLSTATE.
    Error(String),
    /// The last statement never ends.
    Stream,
    /// The last statement answers as expected sooner or later.
    Eventually,
}

/// Languages whose fences are not run.
const OTHER_LANGUAGES: [&str; 9] = ["", "sh", "text", "toml", "rust", "python", "json", "csv", "yaml"];

struct Fence {
    line: usize,
    info: String,
    body: Vec<String>,
    /// Only blank lines lie between this fence and the one before.
    follows: bool,
}

/// All blocks of a page. Errors name the line.
pub fn parse(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks: Vec<Block> = vec![];
    let mut previous_is_sql = false;
    for fence in fences(text)? {
        let (language, attribute) = fence.info.split_once(',').unwrap_or((&fence.info, ""));
        match language {
            "sql" => {
                let mode = mode(attribute).map_err(|error| format!("{}: {error}", fence.line))?;
                let statements = statements(&fence.body.join("\n"));
                if statements.is_empty() {
                    return Err(format!("{}: a block without a statement", fence.line));
                }
                blocks.push(Block { line: fence.line, statements, mode, expected: None });
            }
            "text" if fence.follows && previous_is_sql => {
                blocks.last_mut().expect("a SQL block came before").expected = Some(fence.body);
            }
            other if OTHER_LANGUAGES.contains(&other) => {}
            other => return Err(format!("{}: fences of language \"{other}\" are not known here", fence.line)),
        }
        previous_is_sql = language == "sql";
    }
    let needs = |block: &&Block| matches!(block.mode, Mode::Stream | Mode::Eventually) && block.expected.is_none();
    match blocks.iter().find(needs) {
        Some(block) => Err(format!("{}: needs a text block after it", block.line)),
        None => Ok(blocks),
    }
}

fn mode(attribute: &str) -> Result<Mode, String> {
    match attribute.split_once('=') {
        Some(("error", state)) if state.len() == 5 => Ok(Mode::Error(state.to_string())),
        None if attribute.is_empty() => Ok(Mode::Plain),
        None if attribute == "stream" => Ok(Mode::Stream),
        None if attribute == "eventually" => Ok(Mode::Eventually),
        _ => Err(format!("\"{attribute}\" is no mark of a SQL block")),
    }
}

fn fences(text: &str) -> Result<Vec<Fence>, String> {
    let mut fences: Vec<Fence> = vec![];
    let mut open: Option<Fence> = None;
    let mut only_blank = false;
    for (index, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        match (&mut open, is_fence) {
            (Some(_), true) => {
                fences.push(open.take().expect("just seen"));
                only_blank = true;
            }
            (Some(fence), false) => fence.body.push(line.to_string()),
            (None, true) => {
                let info = line.trim_start().trim_start_matches('`').trim().to_string();
                open = Some(Fence { line: index + 1, info, body: vec![], follows: only_blank });
            }
            (None, false) => only_blank &= line.trim().is_empty(),
        }
    }
    match open {
        Some(fence) => Err(format!("{}: the fence is never closed", fence.line)),
        None => Ok(fences),
    }
}

/// Splits at semicolons outside quotes and comments.
fn statements(text: &str) -> Vec<String> {
    let mut statements = vec![];
    let mut current = String::new();
    let mut quote: Option<char> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if quote.is_none() && character == '-' && characters.peek() == Some(&'-') {
            // Comments are left out: what remains must be a statement.
            while characters.next_if(|next| *next != '\n').is_some() {}
            continue;
        }
        match quote {
            Some(open) if open == character => quote = None,
            None if matches!(character, '\'' | '"') => quote = Some(character),
            None if character == ';' => {
                statements.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(character);
    }
    statements.push(current);
    statements.into_iter().map(|s| s.trim().to_string()).filter(|s| !s.is_empty()).collect()
}

//! The line editor: history in a file, several lines until the semicolon, Tab completes.

use std::borrow::Cow;
use std::path::PathBuf;

use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator,
    default_emacs_keybindings,
};

use super::complete::{Names, SqlCompleter};
use crate::logging::colours_on;
use crate::split;

const HISTORY_LINES_MAX: usize = 10_000;
const COMPLETION_MENU: &str = "completion_menu";

pub(super) enum Input {
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D.
    End,
}

pub(super) struct Editor {
    reedline: Reedline,
}

impl Editor {
    pub(super) fn new(names: Names) -> Editor {
        let menu = Box::new(ColumnarMenu::default().with_name(COMPLETION_MENU));
        let mut keys = default_emacs_keybindings();
        keys.add_binding(
            KeyModifiers::NONE,
            KeyCode::Tab,
            ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(COMPLETION_MENU.to_owned()), ReedlineEvent::MenuNext]),
        );
        let mut reedline = Reedline::create()
            .with_ansi_colors(colours_on(&std::io::stdout()))
            .with_validator(Box::new(UntilSemicolon))
            .with_completer(Box::new(SqlCompleter { names }))
            .with_menu(ReedlineMenu::EngineCompleter(menu))
            .with_edit_mode(Box::new(Emacs::new(keys)));
        // Without a home directory, or one that cannot be written, history lives as long as the shell.
        if let Some(history) =
            history_file().and_then(|file| FileBackedHistory::with_file(HISTORY_LINES_MAX, file).ok())
        {
            reedline = reedline.with_history(Box::new(history));
        }
        Editor { reedline }
    }

    pub(super) fn read(&mut self) -> anyhow::Result<Input> {
        Ok(match self.reedline.read_line(&ShellPrompt)? {
            Signal::Success(text) => Input::Text(text),
            Signal::CtrlD => Input::End,
            _ => Input::Interrupted,
        })
    }
}

fn history_file() -> Option<PathBuf> {
    std::env::var_os("HIGHWATER_HISTORY").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
        Some(PathBuf::from(home).join(".highwater_history"))
    })
}

/// Enter sends what ends with a semicolon, backslash commands, and nothing.
struct UntilSemicolon;

impl Validator for UntilSemicolon {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.trim_start().starts_with('\\') || split::is_complete(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct ShellPrompt;

impl Prompt for ShellPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "highwater".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        "=> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "highwater-> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search: {}) ", search.term).into()
    }
}

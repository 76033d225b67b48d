//! Backslash commands, with psql's names. Those that list objects are SHOW and DESCRIBE statements.

use super::Shell;

pub(super) enum Outcome {
    Done,
    Failed,
    Quit,
}

const HELP: &str = "\
\\d               sources, tables, views and materialized views
\\d NAME          columns of a relation
\\ds \\dt \\dv \\dm  sources, tables, views, materialized views
\\dn \\dj          schemas, background jobs
\\l               databases
\\c [URL]         connect again, or elsewhere
\\i FILE          run a file
\\x [on|off]      one line per column
\\timing [on|off] show how long statements take
\\?               this help
\\q               leave

Statements end with a semicolon. Ctrl-C cancels a running statement, Ctrl-D leaves.
";

impl Shell<'_> {
    /// One line that begins with a backslash.
    pub(super) fn command(&mut self, line: &str) -> Outcome {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        let succeeded = match command {
            "\\q" | "\\quit" => return Outcome::Quit,
            "\\?" | "\\h" | "\\help" => {
                print!("{HELP}");
                true
            }
            "\\d" | "\\d+" if argument.is_empty() => self.list_all(),
            "\\d" | "\\d+" => self.run_sql(&format!("DESCRIBE {argument}")),
            "\\ds" => self.run_sql("SHOW SOURCES"),
            "\\dt" => self.run_sql("SHOW TABLES"),
            "\\dv" => self.run_sql("SHOW VIEWS"),
            "\\dm" => self.run_sql("SHOW MATERIALIZED VIEWS"),
            "\\dn" => self.run_sql("SHOW SCHEMAS"),
            "\\dj" => self.run_sql("SHOW JOBS"),
            "\\l" => self.run_sql("SHOW DATABASES"),
            "\\x" => {
                self.display.expanded = switched(argument, self.display.expanded);
                println!("Expanded display is {}.", on_off(self.display.expanded));
                true
            }
            "\\timing" => {
                self.display.timing = switched(argument, self.display.timing);
                println!("Timing is {}.", on_off(self.display.timing));
                true
            }
            "\\c" | "\\connect" => {
                let url = if argument.is_empty() { self.url.clone() } else { argument.to_owned() };
                self.reconnect(&url)
            }
            "\\i" | "\\include" => self.include(argument),
            _ => {
                eprintln!("unknown command {command}; \\? lists them");
                false
            }
        };
        if succeeded { Outcome::Done } else { Outcome::Failed }
    }

    fn list_all(&mut self) -> bool {
        let lists = [
            ("Sources", "SHOW SOURCES"),
            ("Tables", "SHOW TABLES"),
            ("Views", "SHOW VIEWS"),
            ("Materialized views", "SHOW MATERIALIZED VIEWS"),
        ];
        lists.into_iter().all(|(title, statement)| {
            println!("{title}");
            self.run_sql(statement)
        })
    }

    fn include(&mut self, file: &str) -> bool {
        match std::fs::read_to_string(file) {
            Ok(text) => self.run_sql(&text),
            Err(error) => {
                eprintln!("{file}: {error}");
                false
            }
        }
    }
}

/// `on`, `off`, or the other one.
fn switched(argument: &str, current: bool) -> bool {
    match argument.to_lowercase().as_str() {
        "on" | "true" | "1" => true,
        "off" | "false" | "0" => false,
        _ => !current,
    }
}

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

//! How the demo looks: on a terminal a table that redraws in place, elsewhere a line a second. A summary at the end.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crossterm::style::Stylize;
use crossterm::{cursor, queue, terminal};

use super::probes::Probes;
use crate::logging::colours_on;

const DRAW_INTERVAL: Duration = Duration::from_millis(250);
const LINE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Screen {
    live: bool,
    colours: bool,
    /// Lines of the table drawn last.
    drawn: u16,
    next: Duration,
}

impl Screen {
    pub(super) fn new() -> Screen {
        let out = std::io::stdout();
        Screen { live: out.is_terminal(), colours: colours_on(&out), drawn: 0, next: Duration::ZERO }
    }

    /// Draws if it is time to.
    pub(super) fn show(&mut self, probes: &Probes, elapsed: Duration) -> std::io::Result<()> {
        if elapsed < self.next {
            return Ok(());
        }
        self.next = elapsed + if self.live { DRAW_INTERVAL } else { LINE_INTERVAL };
        let mut out = std::io::stdout().lock();
        if !self.live {
            writeln!(out, "{}", line(probes, elapsed))?;
            return out.flush();
        }
        let text = table(probes, elapsed) + &details(probes);
        if self.drawn > 0 {
            queue!(out, cursor::MoveToPreviousLine(self.drawn))?;
        }
        queue!(out, cursor::Hide, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        for (n, line) in text.lines().enumerate() {
            if n == 0 && self.colours {
                writeln!(out, "{}", line.bold())?;
            } else {
                writeln!(out, "{line}")?;
            }
        }
        self.drawn = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
        out.flush()
    }

    pub(super) fn finish(&mut self, probes: &Probes, elapsed: Duration) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.live {
            queue!(out, cursor::Show)?;
        }
        let seconds = elapsed.as_secs_f64();
        let freshness = probes.freshness();
        writeln!(out, "\nSummary after {seconds:.1} s")?;
        write!(out, "{}", table(probes, elapsed))?;
        writeln!(
            out,
            "{} events in the views, {} events/s; freshness as this client saw it: p50 {}, p99 {}",
            thousands(probes.events()),
            thousands((probes.events() as f64 / seconds.max(0.001)) as i64),
            age(freshness.percentile(50)),
            age(freshness.percentile(99)),
        )?;
        out.flush()
    }
}

fn line(probes: &Probes, elapsed: Duration) -> String {
    let freshness = probes.freshness();
    let rows: Vec<String> = probes.views.iter().map(|view| format!("{}={}", view.name, view.rows)).collect();
    format!(
        "{:6.1} s  events={}  freshness p50={} p99={}  rows: {}",
        elapsed.as_secs_f64(),
        probes.events(),
        age(freshness.percentile(50)),
        age(freshness.percentile(99)),
        rows.join(" ")
    )
}

fn table(probes: &Probes, elapsed: Duration) -> String {
    let mut text = format!(
        "{:<20}{:>12}{:>14}{:>12}{:>12}{:>10}{:>10}\n",
        format!("view, {:.1} s", elapsed.as_secs_f64()),
        "rows",
        "events",
        "events/s",
        "freshness",
        "p50",
        "p99"
    );
    for view in &probes.views {
        text.push_str(&format!(
            "{:<20}{:>12}{:>14}{:>12}{:>12}{:>10}{:>10}\n",
            view.name,
            thousands(view.rows),
            view.events.map_or("–".to_owned(), thousands),
            view.rate().map_or("–".to_owned(), |rate| thousands(rate as i64)),
            age(view.freshness.last()),
            age(view.freshness.percentile(50)),
            age(view.freshness.percentile(99)),
        ));
    }
    text
}

/// The newest window of two views.
fn details(probes: &Probes) -> String {
    let mut text = "\nbids per channel, this window\n".to_owned();
    for (channel, bids, highest) in &probes.channels {
        text.push_str(&format!("  {channel:<12}{:>12} bids, highest {:>14}\n", thousands(*bids), thousands(*highest)));
    }
    text.push_str("\ntop sellers, newest window\n");
    for (seller, auctions) in &probes.sellers {
        text.push_str(&format!("  {seller:<12}{:>12} auctions\n", thousands(*auctions)));
    }
    text.push_str("\nCtrl-C ends the demo\n");
    text
}

fn age(age: Option<Duration>) -> String {
    match age {
        None => "–".to_owned(),
        Some(age) if age < Duration::from_secs(10) => format!("{:.1} ms", age.as_secs_f64() * 1_000.0),
        Some(age) => format!("{:.0} s", age.as_secs_f64()),
    }
}

fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(-1234567), "-1,234,567");
        assert_eq!(age(Some(Duration::from_micros(1_250))), "1.2 ms");
        assert_eq!(age(Some(Duration::from_secs(75))), "75 s");
    }
}

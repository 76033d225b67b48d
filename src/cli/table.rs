//! Result rows as text, laid out as psql does: aligned or expanded.

/// Text cells; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// Aligned: header, line, rows, row count. Columns of nothing but numbers stand to the right.
pub(crate) fn aligned(columns: &[String], rows: &[Row]) -> String {
    let widths: Vec<usize> = (0..columns.len())
        .map(|n| rows.iter().map(|row| cell_width(&row[n])).chain([width(&columns[n])]).max().unwrap_or(0))
        .collect();
    let right: Vec<bool> = (0..columns.len()).map(|n| all_numbers(rows, n)).collect();
    let mut text = header(columns, &widths);
    for row in rows {
        text.push_str(&aligned_row(row, &widths, &right));
    }
    text.push_str(&row_count(rows.len()));
    text
}

/// Names centred, and the line below them.
pub(crate) fn header(columns: &[String], widths: &[usize]) -> String {
    let names: Vec<String> =
        columns.iter().zip(widths).map(|(name, width)| format!(" {} ", centred(name, *width))).collect();
    let line: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    format!("{}\n{}\n", names.join("|").trim_end(), line.join("+"))
}

/// One row; cells of several lines continue below, marked with `+`.
pub(crate) fn aligned_row(row: &Row, widths: &[usize], right: &[bool]) -> String {
    let cells: Vec<Vec<&str>> = row.iter().map(|cell| cell.as_deref().unwrap_or("").split('\n').collect()).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(1);
    let mut text = String::new();
    for line in 0..height {
        let mut parts = vec![];
        for (n, lines) in cells.iter().enumerate() {
            let part = lines.get(line).copied().unwrap_or("");
            let more = if line + 1 < lines.len() { "+" } else { " " };
            let padding = " ".repeat(widths[n].saturating_sub(width(part)));
            parts.push(if right[n] { format!(" {padding}{part}{more}") } else { format!(" {part}{padding}{more}") });
        }
        text.push_str(parts.join("|").trim_end());
        text.push('\n');
    }
    text
}

/// Expanded: one line per cell.
pub(crate) fn expanded(columns: &[String], rows: &[Row]) -> String {
    let names_width = columns.iter().map(|name| width(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text.push_str(&format!("-[ RECORD {} ]{}\n", number + 1, "-".repeat(names_width.saturating_sub(8))));
        for (name, cell) in columns.iter().zip(row) {
            let padding = " ".repeat(names_width - width(name));
            for (n, line) in cell.as_deref().unwrap_or("").split('\n').enumerate() {
                let label = if n == 0 { format!("{name}{padding}") } else { " ".repeat(names_width) };
                text.push_str(format!("{label} | {line}").trim_end());
                text.push('\n');
            }
        }
    }
    text.push_str(&row_count(rows.len()));
    text
}

pub(crate) fn row_count(rows: usize) -> String {
    format!("({rows} row{})\n", if rows == 1 { "" } else { "s" })
}

pub(crate) fn all_numbers(rows: &[Row], column: usize) -> bool {
    let mut cells = rows.iter().filter_map(|row| row[column].as_deref()).peekable();
    cells.peek().is_some() && cells.all(|cell| cell.parse::<f64>().is_ok())
}

/// Width of a name or value on the screen, the widest line of it: wide characters of East Asian scripts count two.
pub(crate) fn width(text: &str) -> usize {
    text.split('\n').map(|line| line.chars().map(char_width).sum()).max().unwrap_or(0)
}

fn cell_width(cell: &Option<String>) -> usize {
    cell.as_deref().map_or(0, width)
}

fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 => 2,
        0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

fn centred(name: &str, to: usize) -> String {
    let space = to.saturating_sub(width(name));
    let left = space / 2;
    format!("{}{name}{}", " ".repeat(left), " ".repeat(space - left))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn sample() -> (Vec<String>, Vec<Row>) {
        let cell = |text: &str| Some(text.to_owned());
        let rows = vec![vec![cell("1"), cell("ü")], vec![cell("-20"), cell("two\nlines")], vec![None, cell("")]];
        (vec!["n".to_owned(), "some text".to_owned()], rows)
    }

    #[test]
    fn aligned_as_psql() {
        let (columns, rows) = sample();
        expect![[r#"
              n  | some text
            -----+-----------
               1 | ü
             -20 | two      +
                 | lines
                 |
            (3 rows)
        "#]]
        .assert_eq(&aligned(&columns, &rows));
    }

    #[test]
    fn expanded_as_psql() {
        let (columns, rows) = sample();
        expect![[r#"
            -[ RECORD 1 ]-
            n         | 1
            some text | ü
            -[ RECORD 2 ]-
            n         | -20
            some text | two
                      | lines
            -[ RECORD 3 ]-
            n         |
            some text |
            (3 rows)
        "#]]
        .assert_eq(&expanded(&columns, &rows));
    }
}

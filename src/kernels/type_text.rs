//! Names of types inside the texts of the libraries' errors, as Postgres spells them: `List(Int64)` is `bigint[]`.

/// The text with the types that it names respelled; everything else stays.
pub fn postgres_types_in(text: &str) -> String {
    let mut rest = text;
    let mut respelled = String::with_capacity(text.len());
    let mut in_word = false;
    while let Some(c) = rest.chars().next() {
        if !in_word && let Some((name, after)) = leading_type(rest) {
            respelled.push_str(&name);
            rest = after;
            in_word = true;
            continue;
        }
        in_word = c.is_alphanumeric() || c == '_' || c == '\'' || c == '"';
        respelled.push(c);
        rest = &rest[c.len_utf8()..];
    }
    respelled
}

/// Types without parameters. Whole words only.
const PLAIN: [(&str, &str); 18] = [
    ("Int8", "smallint"),
    ("Int16", "smallint"),
    ("Int32", "integer"),
    ("Int64", "bigint"),
    ("UInt32", "oid"),
    ("UInt64", "numeric"),
    ("Float16", "real"),
    ("Float32", "real"),
    ("Float64", "double precision"),
    ("LargeUtf8", "text"),
    ("Utf8View", "text"),
    ("Utf8", "text"),
    ("Boolean", "boolean"),
    ("LargeBinary", "bytea"),
    ("BinaryView", "bytea"),
    ("Binary", "bytea"),
    ("Date32", "date"),
    ("Null", "unknown"),
];

/// A type at the beginning of `text`, in Postgres' words, and what comes after it.
fn leading_type(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    if let Some((_, name)) = PLAIN.iter().find(|(arrow, _)| *arrow == word) {
        return Some((name.to_string(), after));
    }
    let (inside, after) = parenthesised(after)?;
    let name = match word {
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "numeric".to_string(),
        "Timestamp" if inside.contains(", None") || !inside.contains(',') => "timestamp without time zone".to_string(),
        "Timestamp" => "timestamp with time zone".to_string(),
        "Time32" | "Time64" => "time without time zone".to_string(),
        "Interval" | "Duration" => "interval".to_string(),
        "FixedSizeBinary" => "bytea".to_string(),
        "Struct" | "Map" | "Union" => "record".to_string(),
        "List" | "LargeList" | "FixedSizeList" | "ListView" => {
            // The item may stand behind a size (`3 x Int64`) or a promise (`non-null Int64`).
            let item = inside.rsplit_once(" x ").map_or(inside, |(_, item)| item).trim_start_matches("non-null ");
            format!("{}[]", postgres_types_in(item))
        }
        _ => return None,
    };
    Some((name, after))
}

/// What stands in the parentheses that `text` begins with, and what comes after them.
fn parenthesised(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('(')?;
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::postgres_types_in;

    #[test]
    fn types_of_every_form_are_respelled() {
        for (text, expected) in [
            ("List(Int64) !~* List(List(Utf8))", "bigint[] !~* text[][]"),
            ("Decimal128(10, 2) - Timestamp(µs, \"UTC\")", "numeric - timestamp with time zone"),
            ("Timestamp(ns)", "timestamp without time zone"),
            ("compare Int16 with [Int64, Interval(MonthDayNano)]", "compare smallint with [bigint, interval]"),
            ("Struct(\"c0\": List(Int64)) = Null", "record = unknown"),
            ("FixedSizeList(3 x Float64)", "double precision[]"),
        ] {
            assert_eq!(postgres_types_in(text), expected);
        }
    }

    #[test]
    fn other_words_stay() {
        for text in ["column \"Int64\" does not exist", "aUtf8", "Timestamp", "a (b)"] {
            assert_eq!(postgres_types_in(text), text);
        }
    }
}

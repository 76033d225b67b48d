//! Postgres' template patterns: text to tokens.

pub(super) type Template = Vec<Token>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Text(String),
    Field {
        field: Field,
        /// FM: no zeros or blanks for padding.
        fill: bool,
        ordinal: Option<Case>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Case {
    Upper,
    Title,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    Fraction(u32),
    SecondOfDay,
    Meridiem(Case, bool),
    Era(Case, bool),
    YearWithComma,
    Year(u32),
    IsoYear(u32),
    MonthName(Case),
    MonthShort(Case),
    Month,
    DayName(Case),
    DayShort(Case),
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    Roman(Case),
    Zone(Case),
    ZoneHour,
    ZoneMinute,
    Offset,
}

/// Longer spellings before their prefixes. Numeric patterns are read in upper and lower case.
const PATTERNS: &[(&str, Field)] = &[
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("Y,YYY", Field::YearWithComma),
    ("IYYY", Field::IsoYear(4)),
    ("YYYY", Field::Year(4)),
    ("IDDD", Field::IsoDayOfYear),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("IYY", Field::IsoYear(3)),
    ("YYY", Field::Year(3)),
    ("DDD", Field::DayOfYear),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("HH", Field::Hour12),
    ("MI", Field::Minute),
    ("SS", Field::Second),
    ("MS", Field::Fraction(3)),
    ("US", Field::Fraction(6)),
    ("MM", Field::Month),
    ("DD", Field::Day),
    ("IY", Field::IsoYear(2)),
    ("YY", Field::Year(2)),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("WW", Field::WeekOfYear),
    ("CC", Field::Century),
    ("OF", Field::Offset),
    ("I", Field::IsoYear(1)),
    ("Y", Field::Year(1)),
    ("D", Field::DayOfWeek),
    ("W", Field::WeekOfMonth),
    ("J", Field::Julian),
    ("Q", Field::Quarter),
];

/// Patterns whose spelling decides the case of the output; read before [`PATTERNS`].
const CASED: &[(&str, Field)] = &[
    ("MONTH", Field::MonthName(Case::Upper)),
    ("Month", Field::MonthName(Case::Title)),
    ("month", Field::MonthName(Case::Lower)),
    ("MON", Field::MonthShort(Case::Upper)),
    ("Mon", Field::MonthShort(Case::Title)),
    ("mon", Field::MonthShort(Case::Lower)),
    ("DAY", Field::DayName(Case::Upper)),
    ("Day", Field::DayName(Case::Title)),
    ("day", Field::DayName(Case::Lower)),
    ("DY", Field::DayShort(Case::Upper)),
    ("Dy", Field::DayShort(Case::Title)),
    ("dy", Field::DayShort(Case::Lower)),
    ("A.M.", Field::Meridiem(Case::Upper, true)),
    ("P.M.", Field::Meridiem(Case::Upper, true)),
    ("a.m.", Field::Meridiem(Case::Lower, true)),
    ("p.m.", Field::Meridiem(Case::Lower, true)),
    ("AM", Field::Meridiem(Case::Upper, false)),
    ("PM", Field::Meridiem(Case::Upper, false)),
    ("am", Field::Meridiem(Case::Lower, false)),
    ("pm", Field::Meridiem(Case::Lower, false)),
    ("B.C.", Field::Era(Case::Upper, true)),
    ("A.D.", Field::Era(Case::Upper, true)),
    ("b.c.", Field::Era(Case::Lower, true)),
    ("a.d.", Field::Era(Case::Lower, true)),
    ("BC", Field::Era(Case::Upper, false)),
    ("AD", Field::Era(Case::Upper, false)),
    ("bc", Field::Era(Case::Lower, false)),
    ("ad", Field::Era(Case::Lower, false)),
    ("RM", Field::Roman(Case::Upper)),
    ("rm", Field::Roman(Case::Lower)),
];

/// Reads a template. Total: what is no pattern stands for itself.
pub(super) fn parse(format: &str) -> Template {
    let mut template = vec![];
    let mut rest = format;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = parse_quoted(quoted, &mut template);
            continue;
        }
        let fill = !starts_with_ignore_case(rest, "FM");
        let after = if fill { rest } else { &rest[2..] };
        if let Some((length, field)) = parse_field(after) {
            rest = &after[length..];
            let ordinal = match rest.get(..2) {
                Some("TH") => Some(Case::Upper),
                Some("th") => Some(Case::Lower),
                _ => None,
            };
            rest = if ordinal.is_some() { &rest[2..] } else { rest };
            template.push(Token::Field { field, fill, ordinal });
            continue;
        }
        rest = after;
        let mut chars = rest.chars();
        if let Some(c) = chars.next() {
            push_text(&mut template, c);
            rest = chars.as_str();
        }
    }
    template
}

fn parse_quoted<'a>(quoted: &'a str, template: &mut Template) -> &'a str {
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.as_str(),
            '\\' => chars.next().into_iter().for_each(|escaped| push_text(template, escaped)),
            c => push_text(template, c),
        }
    }
    chars.as_str()
}

pub(super) fn push_text(template: &mut Template, c: char) {
    match template.last_mut() {
        Some(Token::Text(text)) => text.push(c),
        _ => template.push(Token::Text(c.to_string())),
    }
}

fn parse_field(rest: &str) -> Option<(usize, Field)> {
    let zone = |case| {
        (!starts_with_ignore_case(rest, "TZH") && !starts_with_ignore_case(rest, "TZM"))
            .then_some((2, Field::Zone(case)))
    };
    match rest.get(..2) {
        Some("TZ") => return zone(Case::Upper).or_else(|| numeric_field(rest)),
        Some("tz") => return zone(Case::Lower).or_else(|| numeric_field(rest)),
        _ => {}
    }
    let cased = CASED.iter().find(|(spelling, _)| rest.starts_with(spelling));
    cased.map(|(spelling, field)| (spelling.len(), *field)).or_else(|| numeric_field(rest))
}

fn numeric_field(rest: &str) -> Option<(usize, Field)> {
    let found = PATTERNS.iter().find(|(spelling, _)| starts_with_ignore_case(rest, spelling));
    found.map(|(spelling, field)| (spelling.len(), *field))
}

fn starts_with_ignore_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

//! Constant intervals.

use expect_test::expect;

use super::*;
use crate::{interval_text_us, interval_us, parse_expression};

fn check_intervals(texts: &[&str], expected: Expect) {
    let rendered: Vec<String> = texts
        .iter()
        .map(|text| match interval_us(&parse_expression(text).unwrap_or_else(|e| panic!("{text}: {e}"))) {
            Ok(us) => format!("{text} = {us}"),
            Err(error) => format!("{text}: {} {}", error.state, error.message),
        })
        .collect();
    expected.assert_eq(&rendered.join("\n"));
}

#[test]
fn every_form_of_a_constant() {
    check_intervals(
        &[
            "INTERVAL '10' SECOND",
            "INTERVAL '10 minutes'",
            "INTERVAL '1:30' MINUTE TO SECOND",
            "INTERVAL '1 day 2 hours'",
            "INTERVAL '1 2:03' DAY TO MINUTE",
            "INTERVAL '1 2:03:04.5' DAY TO SECOND",
            "INTERVAL '2:30' HOUR TO MINUTE",
            "INTERVAL '-1 2:00' DAY TO MINUTE",
            "INTERVAL '1.5' HOUR",
            "INTERVAL 5 MINUTE",
            "INTERVAL '1:02:03'",
            "INTERVAL '-1:00'",
            "INTERVAL '10'",
            "INTERVAL '0.000001'",
            "INTERVAL '1h 5m 3s 7ms'",
            "INTERVAL '@ 5 minutes ago'",
            "INTERVAL 'P1DT2H3M4.5S'",
            "INTERVAL '2 weeks'",
            "'90 seconds'::interval",
            "CAST('1 hour' AS INTERVAL)",
            "-INTERVAL '1 second'",
            "(INTERVAL '1' DAY)",
            "INTERVAL '3 s' MINUTE",
        ],
        expect![[r#"
            INTERVAL '10' SECOND = 10000000
            INTERVAL '10 minutes' = 600000000
            INTERVAL '1:30' MINUTE TO SECOND = 90000000
            INTERVAL '1 day 2 hours' = 93600000000
            INTERVAL '1 2:03' DAY TO MINUTE = 93780000000
            INTERVAL '1 2:03:04.5' DAY TO SECOND = 93784500000
            INTERVAL '2:30' HOUR TO MINUTE = 9000000000
            INTERVAL '-1 2:00' DAY TO MINUTE = -93600000000
            INTERVAL '1.5' HOUR = 5400000000
            INTERVAL 5 MINUTE = 300000000
            INTERVAL '1:02:03' = 3723000000
            INTERVAL '-1:00' = -3600000000
            INTERVAL '10' = 10000000
            INTERVAL '0.000001' = 1
            INTERVAL '1h 5m 3s 7ms' = 3903007000
            INTERVAL '@ 5 minutes ago' = -300000000
            INTERVAL 'P1DT2H3M4.5S' = 93784500000
            INTERVAL '2 weeks' = 1209600000000
            '90 seconds'::interval = 90000000
            CAST('1 hour' AS INTERVAL) = 3600000000
            -INTERVAL '1 second' = -1000000
            (INTERVAL '1' DAY) = 86400000000
            INTERVAL '3 s' MINUTE = 3000000"#]],
    );
}

#[test]
fn what_is_not_a_fixed_length_is_refused() {
    check_intervals(
        &[
            "INTERVAL '1 month'",
            "INTERVAL '1' YEAR",
            "INTERVAL '1-2' YEAR TO MONTH",
            "INTERVAL 'P1Y'",
            "INTERVAL 'soon'",
            "INTERVAL ''",
            "INTERVAL '1:75'",
            "INTERVAL '1:2:3' MINUTE TO SECOND",
            "INTERVAL '9999999999 days'",
            "INTERVAL '10 parsecs'",
            "INTERVAL '1.2.3 s'",
            "x + 1",
            "5",
        ],
        expect![[r#"
            INTERVAL '1 month': 0A000 interval "1 month" has no fixed length
            INTERVAL '1' YEAR: 0A000 interval "YEAR" has no fixed length
            INTERVAL '1-2' YEAR TO MONTH: 0A000 interval "YEAR" has no fixed length
            INTERVAL 'P1Y': 0A000 interval "P1Y" has no fixed length
            INTERVAL 'soon': 22007 invalid input syntax for type interval: "soon"
            INTERVAL '': 22007 invalid input syntax for type interval: ""
            INTERVAL '1:75': 22008 interval field value out of range: "1:75"
            INTERVAL '1:2:3' MINUTE TO SECOND: 22007 invalid input syntax for type interval: "1:2:3"
            INTERVAL '9999999999 days': 22008 interval out of range: "9999999999 days"
            INTERVAL '10 parsecs': 22007 invalid input syntax for type interval: "10 parsecs"
            INTERVAL '1.2.3 s': 22007 invalid input syntax for type interval: "1.2.3 s"
            x + 1: 42804 a constant interval is needed instead of x + 1
            5: 42804 a constant interval is needed instead of 5"#]],
    );
}

#[test]
fn bare_text_for_options() {
    assert_eq!(interval_text_us("500ms").unwrap(), 500_000);
    assert_eq!(interval_text_us("1s").unwrap(), 1_000_000);
    assert_eq!(interval_text_us(" 2 min ").unwrap(), 120_000_000);
}

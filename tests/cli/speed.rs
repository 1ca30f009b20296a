//! The comparison that `--check` of the benchmarks makes.

#[path = "../../benches/common/published.rs"]
mod published;

use published::{Figure, differences};

const TABLES: &str = "
| what | against | ratio (median) | |
|---|---|---|---|
| first `--apply` | curl, the same 9 requests | 0.742 | holds |
| first `--apply` | kubectl, one `get secret` | 0.260 | |
| binary, stripped | | 6.6 MiB | holds |

Text.

| namespaces | its requests | its writes |
|---|---|---|
| 10 | 12 | 0 |
| 100 | 13 | 0 |
";

/// The messages about one figure.
fn messages(row: &str, column: &'static str, measured: &str) -> Vec<String> {
    let (row, measured) = (row.to_owned(), measured.to_owned());
    let figure = Figure {
        row,
        column,
        measured,
    };
    let differences = differences(TABLES, &[figure]);
    differences.iter().map(ToString::to_string).collect()
}

#[test]
fn a_figure_that_is_published_makes_no_message() {
    let none: [String; 0] = [];
    assert_eq!(
        messages("binary, stripped", "ratio (median)", "6.6 MiB"),
        none
    );
    assert_eq!(
        messages(
            "first `--apply` | curl",
            "against",
            "curl, the same 9 requests"
        ),
        none
    );
    assert_eq!(messages("10 |", "its requests", "12"), none);
    assert_eq!(messages("100 |", "its requests", "13"), none);
}

#[test]
fn a_figure_that_differs_is_named_with_its_row_and_both_values() {
    assert_eq!(
        messages("binary, stripped", "ratio (median)", "7.0 MiB"),
        [
            r#"row "binary, stripped", column "ratio (median)": published "6.6 MiB", measured "7.0 MiB""#
        ]
    );
    assert_eq!(
        messages("100 |", "its writes", "1"),
        [r#"row "100 |", column "its writes": published "0", measured "1""#]
    );
    assert_eq!(
        messages(
            "first `--apply` | curl",
            "against",
            "curl, the same 8 requests"
        ),
        [
            "row \"first `--apply` | curl\", column \"against\": published \"curl, the same 9 \
             requests\", measured \"curl, the same 8 requests\""
        ]
    );
}

#[test]
fn a_row_or_a_column_that_is_not_there_is_a_difference() {
    for (row, column) in [
        ("1000 |", "its requests"),
        ("10 |", "its memory"),
        ("binary, stripped", "its requests"),
        ("namespaces |", "its requests"),
    ] {
        assert_eq!(
            messages(row, column, "0"),
            [format!(
                "row \"{row}\", column \"{column}\": not published, measured \"0\""
            )]
        );
    }
}

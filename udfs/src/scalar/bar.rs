//! A number as a bar of text, for charts inside of a result: `bar(wins, 0, 120, 30)`.
//!
//! The bar is `width · (x - min) / (max - min)` characters long, rounded down to an eighth of a character, with `x` moved into
//! [`min`, `max`] first. So `max` fills the width, and `min` gives the empty text. NULL where an argument is.
//!
//! Arguments are in ClickHouse's order, and the width is 80 when left out, as there. Cost: a row's width in characters, of
//! three bytes each.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_STRING;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::arguments::{Kind, Parameters, Rows};
use crate::error::FunnelError;

const NAME: &str = "bar";

/// ClickHouse's default.
const DEFAULT_WIDTH: i64 = 80;

/// ClickHouse's limit. Its least width is 1; here 0 draws nothing.
const MAX_WIDTH: i64 = 1000;

const PARAMETERS: Parameters = Parameters {
    required: 3,
    list: &[
        ("x", Kind::Number),
        ("min", Kind::Number),
        ("max", Kind::Number),
        ("width", Kind::Count),
    ],
};

/// Bar of block characters, as long as a number is large.
///
/// - `x`, `min`, `max`: Float64 or any number, in one unit; `min < max`
/// - `width`: integer, the characters of a full bar, 0 to 1000, 80 when left out
/// - returns Utf8, at most `width` characters; NULL where an argument is NULL
/// - errors: 22023 when `max <= min`, a number is NaN, `min` or `max` is infinite, or `width` is outside of 0 to 1000
/// - source: ClickHouse's `bar`, whose order of arguments this is
/// ```slt
/// query T
/// SELECT '|' || bar(5, 0, 8, 3) || '|'
/// ----
/// |█▉|
/// ```
pub fn bar_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Bar {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bar {
    signature: Signature,
}

impl ScalarUDFImpl for Bar {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let (x, min, max) = (rows.numbers(0)?, rows.numbers(1)?, rows.numbers(2)?);
        let widths = rows.optional_counts(3)?;
        let bars = rows.map(|row| {
            let width = widths.map_or(DEFAULT_WIDTH, |given| given.value(row));
            Ok(Some(draw(
                x.value(row),
                min.value(row),
                max.value(row),
                width,
            )?))
        })?;
        rows.finish(Arc::new(StringArray::from(bars)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn documentation() -> Documentation {
    Documentation::builder(
        DOC_SECTION_STRING,
        "A bar of block characters whose length is proportional to x - min, and equal to the width where x = max.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("x", "The number to draw; it is moved into the range from min to max.")
    .with_argument("min", "The number that an empty bar stands for.")
    .with_argument("max", "The number that a full bar stands for, larger than min.")
    .with_argument("width", "How many characters a full bar has: 0 to 1000, and 80 when left out.")
    .with_sql_example("```sql\nSELECT stage, reached, bar(reached, 0, 500, 30) FROM stages;\n```")
    .build()
}

/// Draws one bar, to an eighth of a character.
///
/// - errors: 22023, as for [`bar_udf`]
fn draw(x: f64, min: f64, max: f64, width: i64) -> Result<String, FunnelError> {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    /// So that a division's rounding, as in 0.29 · 100 = 28.999…96, doesn't cost an eighth.
    const ROUNDING: f64 = 1e-9;
    let characters = check_width(width)?;
    check_range(x, min, max)?;
    let fraction = (x.clamp(min, max) - min) / (max - min);
    // At most 8000, and not negative.
    let eighths = (fraction * (characters * 8) as f64 + ROUNDING).floor() as usize;
    Ok("█".repeat(eighths / 8) + EIGHTHS[eighths % 8])
}

fn check_width(width: i64) -> Result<usize, FunnelError> {
    if (0..=MAX_WIDTH).contains(&width) {
        // Lossless: it is at most 1000.
        return Ok(width as usize);
    }
    Err(FunnelError::InvalidArgument {
        message: format!("a bar can't be {width} characters wide"),
        hint: format!("Give a width from 0 to {MAX_WIDTH}."),
    })
}

fn check_range(x: f64, min: f64, max: f64) -> Result<(), FunnelError> {
    let message = if x.is_nan() {
        "a bar can't show NaN".to_owned()
    } else if !(max - min).is_finite() {
        format!("a bar can't go from {min} to {max}")
    } else if max <= min {
        format!("a bar's max {max} is not larger than its min {min}")
    } else {
        return Ok(());
    };
    Err(FunnelError::InvalidArgument {
        message,
        hint: "Write bar(x, min, max, width), with min < max.".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;

    use super::super::rate_ci::arguments::testing;
    use super::*;

    #[test]
    fn each_eighth_has_its_character() {
        let bars = (0..=8)
            .map(|x| draw(f64::from(x), 0.0, 8.0, 1).unwrap())
            .collect::<Vec<_>>();
        assert_eq!(bars, ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"]);
    }

    #[test]
    fn an_eighth_is_not_lost_by_rounding() {
        for percent in 0..=100 {
            let bar = draw(f64::from(percent) / 100.0, 0.0, 1.0, 100).unwrap();
            assert_eq!(bar, "█".repeat(percent as usize));
        }
    }

    #[test]
    fn bars_equal_clickhouses_documented_example() {
        // The page of ClickHouse's `bar`: hits by hour, as bar(hits, 0, 600000, 20).
        // DIFFERENCE: for 6 and 7 eighths ClickHouse draws ▋ and ▊, which are 5 and 6 wide; such hours are left out here.
        for (hits, bar) in [
            (180_563.0, "██████"),
            (68_543.0, "██▎"),
            (78_116.0, "██▌"),
            (170_678.0, "█████▋"),
            (391_053.0, "█████████████"),
            (493_667.0, "████████████████▍"),
            (528_460.0, "█████████████████▌"),
            (542_078.0, "██████████████████"),
        ] {
            assert_eq!(draw(hits, 0.0, 600_000.0, 20).unwrap(), bar, "{hits}");
        }
        assert_eq!(
            draw(509_641.0, 0.0, 600_000.0, 20).unwrap(),
            "████████████████▉"
        );
    }

    #[test]
    fn x_is_moved_into_the_range() {
        for (x, bar) in [
            (f64::NEG_INFINITY, ""),
            (-3.0, ""),
            (3.0, "██"),
            (f64::INFINITY, "██"),
        ] {
            assert_eq!(draw(x, -2.0, 2.0, 2).unwrap(), bar, "{x}");
        }
        assert_eq!(draw(0.0, -2.0, 2.0, 2).unwrap(), "█");
        assert_eq!(draw(1.0, 0.0, 1.0, 0).unwrap(), "");
    }

    proptest! {
        #[test]
        fn a_larger_number_has_a_bar_at_least_as_long(x in -10.0..10.0, more in 0.0..10.0, width in 0_i64..=1000) {
            let length = |x| draw(x, -5.0, 5.0, width).unwrap().chars().count();
            prop_assert!(length(x) <= length(x + more));
            prop_assert!(length(x + more) <= width as usize);
        }
    }

    fn context() -> SessionContext {
        let context = SessionContext::new();
        context.register_udf(bar_udf().as_ref().clone());
        context
    }

    #[test]
    fn literals_columns_and_nulls() {
        let check = |sql, expected: &[&str]| testing::check(&context(), sql, expected);
        check(
            "SELECT bar(2, 0, 4, 4), character_length(bar(1, 0, 1))",
            &["██ 80"],
        );
        check(
            "SELECT bar(x, 0, 10, 4) FROM (VALUES (0.0), (5.0), (6.25), (99.0), (NULL)) AS t(x)",
            &["", "██", "██▌", "████", "NULL"],
        );
        check(
            "SELECT bar(NULL, 0, 10, 4), bar(1, NULL, 10, 4), bar(1, 0, 10, NULL)",
            &["NULL NULL NULL"],
        );
        check(
            "SELECT bar(x, 0, x + 1, 8) FROM (VALUES (1), (3)) AS t(x) ORDER BY x",
            &["████", "██████"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let check_error = |sql, code, part| testing::check_error(&context(), sql, code, part);
        check_error(
            "SELECT bar(1, 5, 5, 10)",
            "22023",
            "a bar's max 5 is not larger than its min 5",
        );
        check_error("SELECT bar(1, 5, 4, 10)", "22023", "max 4 is not larger");
        check_error(
            "SELECT bar(1, 0, 5, 1001)",
            "22023",
            "can't be 1001 characters wide",
        );
        check_error(
            "SELECT bar(1, 0, 5, -1)",
            "22023",
            "HINT: Give a width from 0 to 1000.",
        );
        check_error(
            "SELECT bar('NaN'::double, 0, 5, 10)",
            "22023",
            "can't show NaN",
        );
        check_error(
            "SELECT bar(1, 0, 'Infinity'::double, 10)",
            "22023",
            "can't go from 0 to inf",
        );
        check_error(
            "SELECT bar('a', 0, 5, 10)",
            "42804",
            "HINT: Write bar(x, min, max [, width]).",
        );
    }
}

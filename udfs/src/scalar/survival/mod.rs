//! Functions of a life table: how long it takes, how many get there, and whether groups differ.
//!
//! `life_table(t, outcome)` gathers the rows of a group; these are functions of its result, so that one pass over the rows
//! answers many questions. The methods are in [`statistics`](crate::statistics).

pub mod figures;
pub mod incidence_at;
pub mod incidence_curve;
pub mod logrank;
pub mod survival_curve;
pub mod win_probabilities;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Float64Array, Int64Array, ListArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use crate::scalar::rate_ci::arguments::Rows;
use crate::scalar::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::statistics::life_table::Event;

/// What the pages say of a life table as an argument.
const LIFE_TABLE: &str = "A result of life_table().";

/// What the pages say of an event as an argument.
const EVENT: &str = "What is waited for: 'any' outcome (when left out), 'won', or 'lost'; the other outcome is then censored.";

/// What the pages say of a confidence as an argument.
const CONFIDENCE: &str =
    "How often the limits of a time hold the true share: a fraction, 0.95 when left out.";

/// Every function of a life table.
pub fn udfs() -> Vec<Arc<ScalarUDF>> {
    vec![
        incidence_at::incidence_at_udf(),
        incidence_curve::incidence_curve_udf(),
        figures::incidence_quantile_udf(),
        logrank::logrank_udf(),
        survival_curve::survival_curve_udf(),
        figures::survival_quantile_udf(),
        figures::survival_rmst_udf(),
        figures::survival_rmst_se_udf(),
        figures::win_probability_udf(),
        win_probabilities::win_probabilities_udf(),
    ]
}

/// The event of each row, by the argument at a position.
fn events(rows: &Rows, position: usize) -> Result<impl Fn(usize) -> Result<Event>> {
    let names = rows.optional_texts(position)?;
    Ok(move |row| match names {
        None => Ok(Event::default()),
        Some(names) => Ok(Event::parse(names.value(row))?),
    })
}

/// The confidence of each row, by the argument at a position.
fn confidences(rows: &Rows, position: usize) -> Result<impl Fn(usize) -> Result<Confidence>> {
    let given = rows.optional_numbers(position)?;
    Ok(move |row| {
        let confidence = given.map_or(DEFAULT_CONFIDENCE, |given| given.value(row));
        Ok(Confidence::new(confidence)?)
    })
}

/// The item of a list of structs of these fields.
fn item_field(fields: Fields) -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(fields), true))
}

/// Fields that may be NULL.
fn fields(parts: &[(&str, DataType)]) -> Fields {
    parts
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect()
}

/// A list for each row, its elements made of all rows' together; `None` is NULL.
fn lists<T, E: Array + 'static>(
    rows: Vec<Option<Vec<T>>>,
    item: FieldRef,
    elements: impl FnOnce(&[T]) -> Result<E>,
) -> Result<ArrayRef> {
    let nulls = rows.iter().map(Option::is_some).collect::<NullBuffer>();
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let all = rows.into_iter().flatten().flatten().collect::<Vec<_>>();
    let elements = Arc::new(elements(&all)?);
    Ok(Arc::new(ListArray::try_new(
        item,
        offsets,
        elements,
        Some(nulls),
    )?))
}

/// A column of numbers of some things.
fn numbers<T>(of_all: &[T], of: impl Fn(&T) -> Option<f64>) -> ArrayRef {
    Arc::new(of_all.iter().map(of).collect::<Float64Array>())
}

/// A column of counts of some things.
fn counts<T>(of_all: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(of_all.iter().map(of)))
}

#[cfg(test)]
mod testing {
    //! Running SQL over life tables in the tests of their functions.
    use datafusion::prelude::SessionContext;

    use crate::aggregate::life_table::life_table_udaf;
    use crate::scalar::rate_ci::arguments::testing;

    /// Twelve deals with ties of all outcomes; the statistics' own tests have the same.
    pub(super) const DEALS: &str = "(VALUES (1, 'won'), (1, 'open'), (2, 'lost'), (2, 'won'), (2, 'open'), (3, 'won'), \
        (3, 'won'), (5, 'lost'), (5, 'expired'), (8, 'passed'), (8, 'lost'), (13, 'open')) AS deals(t, outcome)";

    fn context() -> SessionContext {
        let context = SessionContext::new();
        context.register_udaf(life_table_udaf().as_ref().clone());
        for function in super::udfs() {
            context.register_udf(function.as_ref().clone());
        }
        context
    }

    /// Runs a statement, `TABLE` being the life table of the deals, and compares its rows.
    #[track_caller]
    pub(super) fn check(sql: &str, expected: &[&str]) {
        testing::check(&context(), &with_table(sql), expected);
    }

    /// Runs a statement that has to fail, and compares the SQLSTATE and a part of the message.
    #[track_caller]
    pub(super) fn check_error(sql: &str, code: &str, part: &str) {
        testing::check_error(&context(), &with_table(sql), code, part);
    }

    fn with_table(sql: &str) -> String {
        sql.replace(
            "TABLE",
            &format!("(SELECT life_table(t, outcome) FROM {DEALS})"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{check, check_error};
    use super::udfs;

    #[test]
    fn nobody_has_no_results() {
        for call in [
            "survival_curve(t)",
            "survival_quantile(t, 0.5)",
            "survival_rmst(t, 30)",
            "incidence_curve(t)",
            "incidence_at(t, [30])",
            "incidence_quantile(t, 0.5)",
            "win_probability(t, 30)",
            "logrank([t])['chi2']",
            "logrank([t])['dof']",
            "logrank([t])['p']",
            "logrank(NULL)",
        ] {
            let of_none = "SELECT life_table(1, 'won') AS t FROM (VALUES (1)) AS s(v) WHERE v > 1";
            check(&format!("SELECT {call} FROM ({of_none})"), &["NULL"]);
            check(
                &format!("SELECT {call} FROM ({of_none}) WHERE t IS NOT NULL"),
                &[],
            );
        }
    }

    #[test]
    fn a_table_may_be_written_by_hand_in_any_order_and_parts() {
        let table = "[{t: 5, won: 1, lost: 0, open: 0}, {t: 2, won: 1, lost: 1, open: 0}, {t: 5, won: 0, lost: 0, open: 1}]";
        check(
            &format!("SELECT survival_quantile({table}, 0.5), incidence_quantile({table}, 0.25)"),
            &["2.0 2.0"],
        );
        check(
            "SELECT survival_curve([]), incidence_quantile([], 0.5)",
            &["[] NULL"],
        );
    }

    #[test]
    fn what_is_no_life_table_is_an_error() {
        check_error(
            "SELECT incidence_curve([1, 2])",
            "42804",
            "incidence_curve() takes a result of life_table() as life_table, not List(Int64)",
        );
        check_error(
            "SELECT survival_quantile(1, 0.5)",
            "42804",
            "takes a result of life_table()",
        );
        check_error(
            "SELECT logrank(TABLE)",
            "42804",
            "takes a list of results of life_table() as life_tables",
        );
        check_error(
            "SELECT survival_curve([{t: 1, won: -1, lost: 0, open: 0}])",
            "22023",
            "count at 1 days is negative",
        );
        check_error(
            "SELECT survival_curve([{t: NULL, won: 1, lost: 0, open: 0}])",
            "22023",
            "an element of a life table is NULL",
        );
        check_error(
            "SELECT survival_curve([{t: 1, won: 9223372036854775807, lost: 1, open: 0}])",
            "22003",
            "more than 2^63 entities",
        );
    }

    #[test]
    fn each_function_is_documented_under_its_own_name() {
        for function in udfs() {
            let page = function
                .documentation()
                .map(|page| page.syntax_example.as_str());
            assert!(
                page.is_some_and(|syntax| syntax.starts_with(&format!("{}(", function.name())))
            );
        }
    }
}

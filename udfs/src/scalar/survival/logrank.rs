//! Does it go equally fast in all groups? The log-rank test of some life tables.
//!
//! At each time with events, those are expected in each group by its share of the entities at risk; `chi2` compares what was
//! observed over all times with that. An `event` is any outcome, or only `'won'` or `'lost'`; the other outcome is then
//! censored, so that the test is cause-specific. Ties: events come before the open ones of the same time.
//!
//! NULL where an argument is; a group that is NULL or had nobody at risk when an event happened is left out. Where fewer than
//! two groups remain, nothing happened, or nothing was left to chance, `chi2`, `dof` and `p` are NULL: no events is not
//! `p = 1`.
//!
//! Cost: a sort of all groups' times, their number by the square of the number of groups, and that number's cube; at most 1,000
//! groups.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Int64Array, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{events, fields, numbers};
use crate::aggregate::columns::{items_of, list};
use crate::aggregate::life_table::column::LifeTables;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::statistics::logrank::{LogRank, logrank};

const NAME: &str = "logrank";

const PARAMETERS: Parameters = Parameters {
    required: 1,
    list: &[("life_tables", Kind::LifeTables), ("event", Kind::Text)],
};

/// Log-rank test: do groups differ in how fast an event comes?
///
/// - `life_tables`: a list of results of `life_table(t, outcome)`, one for each group, in any order: `array_agg` makes it
/// - `event`: `'any'` (when left out), `'won'` or `'lost'`
/// - returns `Struct { chi2, dof, p }`: `chi2` Float64, `dof` Int64 (one fewer than the groups at risk), `p` Float64 in [0, 1];
///   all three NULL where there is nothing to compare
/// - errors: 22023 when `event` is another text or there are more than 1,000 groups
/// - source: N. Mantel, Cancer Chemotherapy Reports 50 (1966), 163–170; the example is of Freireich's trial, Blood 21 (1963),
///   699–716, published as 16.793; it equals lifelines 0.30.3, `statistics.logrank_test(t_a, t_b, e_a, e_b)`
/// ```slt
/// query RIR
/// SELECT round(test['chi2'], 3), test['dof'], round(100000 * test['p'], 4)
/// FROM (
///   SELECT logrank(array_agg(life)) AS test
///   FROM (
///     SELECT drug, life_table(week, outcome) AS life
///     FROM (
///       SELECT '6-MP' AS drug, unnest([6, 6, 6, 7, 10, 13, 16, 22, 23]) AS week, 'won' AS outcome
///       UNION ALL SELECT '6-MP', unnest([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]), 'open'
///       UNION ALL SELECT 'placebo', unnest([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]), 'won'
///     )
///     GROUP BY drug
///   )
/// )
/// ----
/// 16.793 1 4.1688
/// ```
pub fn logrank_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(LogRankFunction {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LogRankFunction {
    signature: Signature,
}

impl ScalarUDFImpl for LogRankFunction {
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
        Ok(DataType::Struct(test_fields()))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let groups = list(rows.required(0)?)?;
        let (tables, events) = (LifeTables::new(groups.values())?, events(&rows, 1)?);
        let tests = rows.map(|row| {
            let tables = items_of(groups, row).map(|group| tables.table(group));
            let tables = tables.collect::<Result<Vec<_>, _>>()?;
            Ok(Some(logrank(&tables, events(row)?)?))
        })?;
        rows.finish(column(&tests)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "Do groups differ in how fast an event comes? The log-rank test of a life table for each group, as a struct of chi2, \
         dof and p. All are NULL where there is nothing to compare: one group, or no events.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("life_tables", "A list of results of life_table(), one a group, in any order.")
    .with_argument("event", super::EVENT)
    .with_sql_example(
        "```sql\nSELECT logrank(array_agg(life), 'won')\nFROM (SELECT channel, life_table(days, outcome) AS life FROM deals GROUP BY channel);\n```",
    )
    .build()
}

fn test_fields() -> Fields {
    fields(&[
        ("chi2", DataType::Float64),
        ("dof", DataType::Int64),
        ("p", DataType::Float64),
    ])
}

/// The tests of each row: NULL without arguments, a struct of NULLs without a result.
fn column(tests: &[Option<Option<LogRank>>]) -> Result<ArrayRef> {
    let found = tests.iter().map(|test| test.flatten()).collect::<Vec<_>>();
    let dof = found.iter().map(|test| test.map(|test| test.dof));
    let columns = vec![
        numbers(&found, |test| test.map(|test| test.chi2)),
        Arc::new(dof.collect::<Int64Array>()) as ArrayRef,
        numbers(&found, |test| test.map(|test| test.p)),
    ];
    let nulls = tests.iter().map(Option::is_some).collect::<NullBuffer>();
    Ok(Arc::new(StructArray::try_new(
        test_fields(),
        columns,
        Some(nulls),
    )?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DEALS, check, check_error};

    /// Two groups of the deals with some of their own.
    const GROUPS: &str = "(SELECT g, life_table(t + g * outcome_no, outcome) AS life FROM \
        (SELECT t, outcome, CASE outcome WHEN 'won' THEN 1 ELSE 0 END AS outcome_no FROM DEALS), (VALUES (0), (4)) AS s(g) \
        GROUP BY g)";

    fn of_groups(call: &str) -> String {
        let groups = GROUPS.replace("DEALS", DEALS);
        format!(
            "SELECT round(r['chi2'], 6), r['dof'], round(r['p'], 6) FROM (SELECT {call} AS r FROM {groups})"
        )
    }

    #[test]
    fn groups_are_compared_by_the_event() {
        // lifelines 0.30.3: statistics.logrank_test, with the wins, and with wins and losses, as events.
        check(
            &of_groups("logrank(array_agg(life))"),
            &["0.36294 1 0.546878"],
        );
        check(
            &of_groups("logrank(array_agg(life), 'won')"),
            &["0.226783 1 0.63392"],
        );
    }

    #[test]
    fn groups_that_are_null_are_left_out() {
        check(
            &of_groups("logrank(array_append(array_agg(life), NULL))"),
            &["0.36294 1 0.546878"],
        );
        check(
            "SELECT logrank([TABLE]), logrank([TABLE, NULL])",
            &["{chi2: NULL, dof: NULL, p: NULL} {chi2: NULL, dof: NULL, p: NULL}"],
        );
        check(
            "SELECT logrank(NULL), logrank([]), logrank([TABLE], NULL)",
            &["NULL {chi2: NULL, dof: NULL, p: NULL} NULL"],
        );
    }

    #[test]
    fn no_events_are_not_equality() {
        let open = "[{t: 1, won: 0, lost: 2, open: 3}]";
        check(
            &format!(
                "SELECT logrank([{open}, {open}], 'won')['p'], logrank([{open}, {open}])['p']"
            ),
            &["NULL 1.0"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT logrank([TABLE], 'gone')",
            "22023",
            "event \"gone\" is not",
        );
        check_error(
            "SELECT logrank([1])",
            "42804",
            "takes a list of results of life_table()",
        );
        check_error(
            "SELECT logrank()",
            "42883",
            "HINT: Write logrank(life_tables [, event]).",
        );
    }
}

//! How many deals were won, lost or still open after how many days: what all survival analysis starts from.
//!
//! `life_table(t, outcome)` is a list with an element for each distinct time `t`, ascending: how many follow-ups ended there
//! as won, as lost, and still open. It is exact: no times are binned. The functions `survival_curve`, `survival_quantile`,
//! `survival_rmst`, `incidence_curve`, `incidence_at`, `incidence_quantile`, `win_probability`, `win_probabilities` and `logrank` read it.
//!
//! NULL time or outcome: the row is ignored. No rows that count: NULL. Ties: times that are equal as Float64 are one, 0.0 and
//! -0.0 too. The order of rows doesn't matter.
//!
//! Cost: a row is one insertion to a sorted map. State and result: 48 and 32 bytes a distinct time, in whole days mostly some
//! hundred times; times in fractions of a day are mostly all distinct.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_float64_array, as_string_array};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};

pub(crate) mod column;

use self::column::LifeTables;
use super::calls::refuse_distinct;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::statistics::life_table::{Counts, FollowUps, Outcome};

const NAME: &str = "life_table";

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[("t", Kind::Number), ("outcome", Kind::Text)],
};

/// How many follow-ups ended at each time, by outcome.
///
/// - `t`: Float64 days from the start to the outcome, or to the last look at what is open, `>= 0`; one row per entity
/// - `outcome`: `'won'` or `'passed'`; `'lost'`; `'open'` or `'expired'`
/// - returns `List<Struct { t, won, lost, open }>`: `t` Float64 days, ascending and distinct, the others Int64 entities; NULL
///   where no row has both a time and an outcome
/// - errors: 22023 when a time is negative or not finite, or an outcome is another text
/// ```slt
/// query IIII
/// SELECT r['t'], r['won'], r['lost'], r['open']
/// FROM (
///   SELECT unnest(life_table(t, outcome)) AS r
///   FROM (VALUES (2, 'won'), (5, 'open'), (2, 'lost'), (2, 'won'), (NULL, 'won'), (5, 'expired')) AS deals(t, outcome)
/// )
/// ----
/// 2 2 1 0
/// 5 0 0 2
/// ```
pub fn life_table_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(LifeTableFunction {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LifeTableFunction {
    signature: Signature,
}

impl AggregateUDFImpl for LifeTableFunction {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(column::data_type())
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, call.is_distinct)?;
        Ok(Box::new(LifeTableAccumulator::default()))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(call.name))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "How many follow-ups ended after each time, by outcome: a list of structs of t, won, lost and open, by ascending t. \
         The survival functions and logrank() read it. NULL where nobody was followed.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("t", "Days from the start to the outcome, or to the last look at what is open. One row an entity.")
    .with_argument("outcome", "'won' or 'passed', 'lost', 'open' or 'expired'.")
    .with_sql_example(
        "```sql\nSELECT owner, survival_quantile(life_table(days, outcome), 0.5) AS median_days FROM deals GROUP BY owner;\n```",
    )
    .build()
}

#[derive(Debug, Default)]
struct LifeTableAccumulator {
    follow_ups: FollowUps,
}

impl Accumulator for LifeTableAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        update(&mut self.follow_ups, values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.follow_ups.is_empty() {
            return ScalarValue::try_from(column::data_type());
        }
        column::scalar(self.follow_ups.table()?.rows())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.follow_ups.heap_size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        state(&self.follow_ups)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        merge(&mut self.follow_ups, states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        retract(&mut self.follow_ups, values)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// The fields of a state: one life table.
pub(crate) fn state_fields(name: &str) -> Vec<FieldRef> {
    let name = format_state_name(name, NAME);
    vec![Arc::new(Field::new(name, column::data_type(), true))]
}

/// The state of some follow-ups; an empty list for none.
pub(crate) fn state(follow_ups: &FollowUps) -> Result<Vec<ScalarValue>> {
    Ok(vec![column::scalar(
        &follow_ups.rows().collect::<Vec<_>>(),
    )?])
}

/// Adds rows of a time and an outcome; those without one of them are ignored.
pub(crate) fn update(follow_ups: &mut FollowUps, values: &[ArrayRef]) -> Result<()> {
    each_row(values, |t, outcome| {
        Ok(follow_ups.add(t, Counts::one(outcome))?)
    })
}

/// Adds states.
pub(crate) fn merge(follow_ups: &mut FollowUps, states: &[ArrayRef]) -> Result<()> {
    let [states] = take_function_args(NAME, states)?;
    let tables = LifeTables::new(states)?;
    for position in 0..states.len() {
        for row in tables.rows(position)? {
            follow_ups.add(row.t, row.ends)?;
        }
    }
    Ok(())
}

/// Takes rows out that were added before.
pub(crate) fn retract(follow_ups: &mut FollowUps, values: &[ArrayRef]) -> Result<()> {
    each_row(values, |t, outcome| {
        if follow_ups.retract(t, Counts::one(outcome))? {
            return Ok(());
        }
        internal_err!("a follow-up is to be retracted that wasn't added")
    })
}

/// Calls `take` with the time and the outcome of each row that has both.
fn each_row(values: &[ArrayRef], mut take: impl FnMut(f64, Outcome) -> Result<()>) -> Result<()> {
    let [times, outcomes, ..] = values else {
        return internal_err!("a follow-up is a time and an outcome");
    };
    let (times, outcomes) = (as_float64_array(times)?, as_string_array(outcomes)?);
    for (t, outcome) in times.iter().zip(outcomes) {
        if let (Some(t), Some(outcome)) = (t, outcome) {
            take(t, Outcome::parse(outcome)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::Arc;

    use datafusion::arrow::array::{Float64Array, StringArray};

    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    const DEALS: &str = "(VALUES (2, 'won'), (5, 'open'), (2, 'lost'), (2, 'passed'), (NULL, 'won'), (3, NULL), \
        (5, 'expired'), (0.5, 'lost')) AS deals(t, outcome)";

    #[track_caller]
    fn check_deals(sql: &str, expected: &[&str]) {
        check(&life_table_udaf(), &sql.replace("DEALS", DEALS), expected);
    }

    #[test]
    fn one_element_for_each_distinct_time() {
        check_deals(
            "SELECT unnest(life_table(t, outcome)) FROM DEALS",
            &[
                "{t: 0.5, won: 0, lost: 1, open: 0}",
                "{t: 2.0, won: 2, lost: 1, open: 0}",
                "{t: 5.0, won: 0, lost: 0, open: 2}",
            ],
        );
        check_deals(
            "SELECT life_table(t, 'won') FROM (VALUES (0.0), (-0.0)) AS s(t)",
            &["[{t: 0.0, won: 2, lost: 0, open: 0}]"],
        );
    }

    #[test]
    fn arguments_are_cast_and_can_be_named() {
        check_deals(
            "SELECT life_table(outcome => arrow_cast('won', 'Dictionary(Int8, Utf8)'), t => arrow_cast(3, 'UInt8'))",
            &["[{t: 3.0, won: 1, lost: 0, open: 0}]"],
        );
    }

    #[test]
    fn nobody_has_no_table() {
        check_deals(
            "SELECT life_table(t, outcome) FROM DEALS WHERE t > 99",
            &["NULL"],
        );
        check_deals("SELECT life_table(NULL, NULL) FROM DEALS", &["NULL"]);
        check_deals(
            "SELECT t, life_table(t, outcome) FROM DEALS WHERE t > 99 GROUP BY t",
            &[],
        );
    }

    #[test]
    fn groups_filters_and_moving_windows() {
        check_deals(
            "SELECT 渠道, life_table(t, 'won') FILTER (WHERE t < 9) FROM (VALUES ('搜索', 1), ('广告', 9)) AS s(渠道, t) \
             GROUP BY 渠道 ORDER BY 渠道",
            &["广告 NULL", "搜索 [{t: 1.0, won: 1, lost: 0, open: 0}]"],
        );
        check_deals(
            "SELECT life_table(t, 'won') OVER (ORDER BY t ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) \
             FROM (VALUES (1), (2), (3)) AS s(t)",
            &[
                "NULL",
                "[{t: 1.0, won: 1, lost: 0, open: 0}]",
                "[{t: 2.0, won: 1, lost: 0, open: 0}]",
            ],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql: &str, code, part| check_error(&life_table_udaf(), sql, code, part);
        fails(
            "SELECT life_table(-1, 'won')",
            "22023",
            "a follow-up can't last -1 days",
        );
        fails(
            "SELECT life_table('NaN'::double, 'won')",
            "22023",
            "can't last NaN days",
        );
        fails(
            "SELECT life_table(1, 'gone')",
            "22023",
            "outcome \"gone\" is not one of won, passed, lost, open and expired",
        );
        fails(
            "SELECT life_table(true, 'won')",
            "42804",
            "takes a number as t, not Boolean",
        );
        fails(
            "SELECT life_table(1)",
            "42883",
            "HINT: Write life_table(t, outcome).",
        );
        fails(
            "SELECT life_table(DISTINCT 1, 'won')",
            "42883",
            "doesn't take DISTINCT",
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        check_partitions(
            &[life_table_udaf()],
            "SELECT v % 3 AS g, life_table(v * 7 % 41, CASE v % 4 WHEN 0 THEN 'won' WHEN 1 THEN 'lost' ELSE 'open' END) \
             FROM generate_series(1, 20000) AS s(v) GROUP BY g ORDER BY g",
        );
        check_partitions(
            &[life_table_udaf()],
            "SELECT v, life_table(v, 'won') FROM generate_series(1, 2000) AS s(v) GROUP BY v ORDER BY v",
        );
    }

    #[test]
    fn memory_grows_with_the_distinct_times() {
        let mut accumulator = LifeTableAccumulator::default();
        let empty = accumulator.size();
        let rows = |times: Vec<f64>| -> [ArrayRef; 2] {
            let outcomes = vec!["won"; times.len()];
            [
                Arc::new(Float64Array::from(times)),
                Arc::new(StringArray::from(outcomes)),
            ]
        };
        accumulator.update_batch(&rows(vec![1.0; 1_000])).unwrap();
        assert_eq!(accumulator.size(), empty + 48);
        accumulator
            .update_batch(&rows((0..1_000).map(f64::from).collect()))
            .unwrap();
        assert_eq!(accumulator.size(), empty + 48_000);
    }
}

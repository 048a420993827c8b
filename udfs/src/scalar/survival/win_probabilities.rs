//! How likely are those who are still open to be won? `win_probability` at many ages, by one life table.
//!
//! `win_probabilities(life_table(t, outcome), ages)` has `win_probability(life_table(t, outcome), age)` for each of the ages: the
//! table is read once, and isn't copied to each of those who are asked about.
//!
//! NULL where an argument is; a NULL age is a NULL element.
//!
//! Cost: one pass over the distinct times, and a search for each age.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::common::cast::as_float64_array;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::lists;
use crate::aggregate::columns::list;
use crate::aggregate::life_table::column::LifeTables;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::statistics::aalen_johansen::Curve;

const NAME: &str = "win_probabilities";

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[("life_table", Kind::LifeTable), ("ages", Kind::Numbers)],
};

/// Chances that those who are still open at some ages are won, by the longest follow-up.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `ages`: list of days, `>= 0`; the result keeps its order
/// - returns `List<Float64>`, fractions; NULL where nobody is open after that age, and beyond the longest follow-up
/// - errors: 22023 when an age is negative or not finite
/// - source: as `win_probability`, whose example this is
/// ```slt
/// query IRT
/// SELECT array_length(chances), round(chances[2], 4), chances[3]::TEXT
/// FROM (
///   SELECT win_probabilities(life_table(t, outcome), [0, 1, 5]) AS chances
///   FROM (VALUES (1, 'won'), (2, 'lost'), (3, 'won'), (4, 'open')) AS deals(t, outcome)
/// )
/// ----
/// 3 0.3333 NULL
/// ```
pub fn win_probabilities_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(WinProbabilities {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WinProbabilities {
    signature: Signature,
}

impl ScalarUDFImpl for WinProbabilities {
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
        Ok(DataType::List(item_field()))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let tables = LifeTables::new(rows.required(0)?)?;
        let ages = list(rows.required(1)?)?;
        let found = rows.map(|row| {
            let curve = Curve::new(&tables.table(row)?);
            chances(&curve, &ages.value(row)).map(Some)
        })?;
        let chances = |all: &[Option<f64>]| Ok(all.iter().copied().collect::<Float64Array>());
        rows.finish(lists(found, item_field(), chances)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float64, true))
}

fn chances(curve: &Curve, ages: &dyn Array) -> Result<Vec<Option<f64>>> {
    let chance = |age: Option<f64>| match age {
        Some(age) => Ok(curve.win_probability(age)?),
        None => Ok(None),
    };
    as_float64_array(ages)?.iter().map(chance).collect()
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "The chances that entities which are still open at some ages are won by the longest follow-up, where losing competes \
         (Aalen–Johansen): win_probability for each age of a list.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("life_table", super::LIFE_TABLE)
    .with_argument("ages", "A list of ages in days, such as [30, 60, 90].")
    .with_sql_example(
        "```sql\nSELECT channel, win_probabilities(life_table(days, outcome), [30, 60, 90]) FROM deals GROUP BY channel;\n```",
    )
    .build()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_error};

    #[test]
    fn each_age_has_the_chance_that_it_has_alone() {
        check(
            "SELECT bool_and(chance IS NOT DISTINCT FROM win_probability(TABLE, age)), count(chance), count(*) \
             FROM (SELECT unnest(win_probabilities(TABLE, [20, 8, NULL, 2.5, 0])) AS chance, unnest([20, 8, NULL, 2.5, 0]) AS age)",
            &["true 3 5"],
        );
        check(
            "SELECT win_probabilities(TABLE, []), win_probabilities(TABLE, NULL), win_probabilities(NULL, [1])",
            &["[] NULL NULL"],
        );
        check_error(
            "SELECT win_probabilities(TABLE, [1, -1])",
            "22023",
            "-1 days is not an age",
        );
    }
}

//! Single figures of a life table: after how many days, how long on average, and what chance is left?
//!
//! - `survival_quantile(life_table, q)`: the time after which a share `q` has left, the median for 0.5: the smallest `t` with
//!   `S(t) <= 1 - q`, where `S` is as in [`survival_curve`](super::survival_curve)
//! - `survival_rmst(life_table, tau)`: the mean time, where what takes longer than `tau` counts as `tau`
//! - `survival_rmst_se(life_table, tau)`: the standard error of that mean
//! - `incidence_quantile(life_table, q)`: the time after which a share `q` of all is won, where losing competes: the smallest
//!   `t` with `F_won(t) >= q`, where `F` is as in [`incidence_curve`](super::incidence_curve)
//! - `win_probability(life_table, t)`: the chance that who is still open after `t` days is won by the longest follow-up `T`:
//!   `(F_won(T) - F_won(t)) / S(t)`
//!
//! NULL where an argument is, and where the follow-ups don't say: a share that is never reached, a mean beyond the longest
//! follow-up while some are open, a chance where nobody is open any more or was watched so long. No data is not zero.
//!
//! A share within 1e-9 of a quantile has reached it, as a half can be computed as 0.5000000000000001 (R's `survfit` has
//! 1.5e-8). The quantile of 0 is 0. DIFFERENCE: where a curve is flat at just the quantile, R takes the middle of the flat
//! part, these functions its beginning.
//!
//! Cost: one pass over the distinct times.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::Float64Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::events;
use crate::aggregate::life_table::column::LifeTables;
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::statistics::aalen_johansen::Curve;
use crate::statistics::kaplan_meier;
use crate::statistics::life_table::{Event, LifeTable};

/// Time after which a share of the entities had the event.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `q`: Float64 in [0, 1], the share; 0.5 for the median
/// - `event`: `'any'` (when left out), `'won'` or `'lost'`
/// - returns Float64 days; NULL where the share is never reached
/// - errors: 22023 when `q` is outside of [0, 1] or `event` another text
/// - source: E. L. Kaplan and P. Meier, JASA 53 (1958), 457–481; the example is of Freireich's trial, Blood 21 (1963), 699–716,
///   whose published medians are 23 and 8 weeks
/// ```slt
/// query TR
/// SELECT drug, survival_quantile(life_table(week, outcome), 0.5)
/// FROM (
///   SELECT '6-MP' AS drug, unnest([6, 6, 6, 7, 10, 13, 16, 22, 23]) AS week, 'won' AS outcome
///   UNION ALL SELECT '6-MP', unnest([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]), 'open'
///   UNION ALL SELECT 'placebo', unnest([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]), 'won'
/// )
/// GROUP BY drug ORDER BY drug
/// ----
/// 6-MP 23
/// placebo 8
/// ```
pub fn survival_quantile_udf() -> Arc<ScalarUDF> {
    Figure::SurvivalQuantile.udf()
}

/// Mean time until the event, up to a limit: the restricted mean survival time.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `tau`: Float64 days, `>= 0`: what takes longer counts as so long
/// - `event`: `'any'` (when left out), `'won'` or `'lost'`
/// - returns Float64 days; NULL where the follow-up ends before `tau` while some are open
/// - errors: 22023 when `tau` is negative or not finite, or `event` another text
/// - source: P. Royston and M. K. B. Parmar, BMC Medical Research Methodology 13 (2013), 152; the example equals lifelines
///   0.30.3, `utils.restricted_mean_survival_time(KaplanMeierFitter().fit(t, e), t=8)`
/// ```slt
/// query RR
/// SELECT round(survival_rmst(life, 8), 6), survival_rmst(life, 14)
/// FROM (
///   SELECT life_table(t, outcome) AS life
///   FROM (VALUES (1, 'won'), (1, 'open'), (2, 'lost'), (2, 'won'), (2, 'open'), (3, 'won'), (3, 'won'),
///     (5, 'lost'), (5, 'open'), (8, 'won'), (8, 'lost'), (13, 'open')) AS deals(t, outcome)
/// )
/// ----
/// 4.954762 NULL
/// ```
pub fn survival_rmst_udf() -> Arc<ScalarUDF> {
    Figure::RestrictedMean.udf()
}

/// Standard error of the mean time until the event, up to a limit.
///
/// - `life_table`, `tau`, `event`, errors: as for [`survival_rmst_udf`]
/// - returns Float64 days; NULL where the mean is
/// - source: J. P. Klein and M. L. Moeschberger, Survival Analysis (2003), section 4.5; the example by hand: where nobody is open
///   it is that of a plain mean, of min(t, 4) = 1, 2, 2, 4, 4 the root of 1.44 / 5
/// ```slt
/// query R
/// SELECT round(survival_rmst_se(life_table(t, 'won'), 4), 6) FROM (VALUES (1), (2), (2), (4), (9)) AS deals(t)
/// ----
/// 0.536656
/// ```
pub fn survival_rmst_se_udf() -> Arc<ScalarUDF> {
    Figure::RestrictedMeanError.udf()
}

/// Time after which a share of all entities is won, where losing competes.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `q`: Float64 in [0, 1], the share of all
/// - returns Float64 days; NULL where the share is never reached
/// - errors: 22023 when `q` is outside of [0, 1]
/// - source: O. Aalen and S. Johansen, Scandinavian Journal of Statistics 5 (1978), 141–150; the shares of the example, 0.175
///   after 2 days and 0.524 after 8, equal scikit-survival 0.28.0, `cumulative_incidence_competing_risks(event, time)`
/// ```slt
/// query RRR
/// SELECT incidence_quantile(life, 0.1), incidence_quantile(life, 0.5), incidence_quantile(life, 0.6)
/// FROM (
///   SELECT life_table(t, outcome) AS life
///   FROM (VALUES (1, 'won'), (1, 'open'), (2, 'lost'), (2, 'won'), (2, 'open'), (3, 'won'), (3, 'won'),
///     (5, 'lost'), (5, 'open'), (8, 'won'), (8, 'lost'), (13, 'open')) AS deals(t, outcome)
/// )
/// ----
/// 2 8 NULL
/// ```
pub fn incidence_quantile_udf() -> Arc<ScalarUDF> {
    Figure::IncidenceQuantile.udf()
}

/// Chance that who is still open at an age is won, by the longest follow-up.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `t`: Float64 days, `>= 0`: the age of an entity that is open after the events of that time
/// - returns Float64, a fraction; NULL where nobody is open after `t`, and beyond the longest follow-up
/// - errors: 22023 when `t` is negative or not finite
/// - source: the conditional probability of Aalen and Johansen's shares, Scandinavian Journal of Statistics 5 (1978), 141–150;
///   the example by hand: of the three that are open after day 1, one is won
/// ```slt
/// query RRR
/// SELECT win_probability(life, 0), round(win_probability(life, 1), 4), win_probability(life, 5)
/// FROM (
///   SELECT life_table(t, outcome) AS life
///   FROM (VALUES (1, 'won'), (2, 'lost'), (3, 'won'), (4, 'open')) AS deals(t, outcome)
/// )
/// ----
/// 0.5 0.3333 NULL
/// ```
pub fn win_probability_udf() -> Arc<ScalarUDF> {
    Figure::WinProbability.udf()
}

/// Which figure a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Figure {
    SurvivalQuantile,
    RestrictedMean,
    RestrictedMeanError,
    IncidenceQuantile,
    WinProbability,
}

impl Figure {
    fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(FigureFunction {
            figure: self,
            signature: self.parameters().signature(),
        }))
    }

    fn name(self) -> &'static str {
        match self {
            Figure::SurvivalQuantile => "survival_quantile",
            Figure::RestrictedMean => "survival_rmst",
            Figure::RestrictedMeanError => "survival_rmst_se",
            Figure::IncidenceQuantile => "incidence_quantile",
            Figure::WinProbability => "win_probability",
        }
    }

    fn parameters(self) -> Parameters {
        const TABLE: (&str, Kind) = ("life_table", Kind::LifeTable);
        let list: &'static [(&str, Kind)] = match self {
            Figure::SurvivalQuantile => &[TABLE, ("q", Kind::Number), ("event", Kind::Text)],
            Figure::RestrictedMean | Figure::RestrictedMeanError => {
                &[TABLE, ("tau", Kind::Number), ("event", Kind::Text)]
            }
            Figure::IncidenceQuantile => &[TABLE, ("q", Kind::Number)],
            Figure::WinProbability => &[TABLE, ("t", Kind::Number)],
        };
        Parameters { required: 2, list }
    }

    fn of(self, table: &LifeTable, number: f64, event: Event) -> Result<Option<f64>, FunnelError> {
        match self {
            Figure::SurvivalQuantile => kaplan_meier::quantile(table, number, event),
            Figure::RestrictedMean => kaplan_meier::restricted_mean(table, number, event),
            Figure::RestrictedMeanError => {
                kaplan_meier::restricted_mean_error(table, number, event)
            }
            Figure::IncidenceQuantile => Curve::new(table).quantile(number),
            Figure::WinProbability => Curve::new(table).win_probability(number),
        }
    }

    fn documentation(self) -> Documentation {
        let (description, meaning) = match self {
            Figure::SurvivalQuantile => (
                "The time in days after which a share of the entities had the event, the median for 0.5, where open entities \
                 count for as long as they were followed (Kaplan–Meier). NULL where the share is never reached.",
                "A share from 0 to 1.",
            ),
            Figure::RestrictedMean => (
                "The mean time in days until the event, where what takes longer than tau counts as tau (restricted mean \
                 survival time). NULL where the follow-up ends before tau while some are open.",
                "The longest time that counts, in days.",
            ),
            Figure::RestrictedMeanError => (
                "The standard error of the restricted mean survival time up to tau, in days (Greenwood). NULL where the mean is.",
                "The longest time that counts, in days.",
            ),
            Figure::IncidenceQuantile => (
                "The time in days after which a share of all entities is won, where losing competes (Aalen–Johansen). NULL \
                 where the share is never reached.",
                "A share of all entities, from 0 to 1.",
            ),
            Figure::WinProbability => (
                "The chance that an entity that is still open after t days is won by the longest follow-up, where losing \
                 competes (Aalen–Johansen). NULL beyond that, and where nobody is open any more.",
                "An age in days.",
            ),
        };
        self.page(description, meaning)
    }

    fn page(self, description: &str, meaning: &str) -> Documentation {
        let (name, parameters) = (self.name(), self.parameters());
        let meanings = ["", meaning, super::EVENT];
        let number = match self {
            Figure::SurvivalQuantile | Figure::IncidenceQuantile => "0.5",
            Figure::RestrictedMean | Figure::RestrictedMeanError | Figure::WinProbability => "90",
        };
        let mut page = Documentation::builder(STATISTICS, description, parameters.syntax(name))
            .with_argument("life_table", super::LIFE_TABLE);
        for ((argument, _), meaning) in parameters.list.iter().zip(meanings).skip(1) {
            page = page.with_argument(*argument, meaning);
        }
        page.with_sql_example(format!(
            "```sql\nSELECT channel, {name}(life_table(days, outcome), {number}) FROM deals GROUP BY channel;\n```"
        ))
        .build()
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FigureFunction {
    figure: Figure,
    signature: Signature,
}

impl ScalarUDFImpl for FigureFunction {
    fn name(&self) -> &str {
        self.figure.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.figure.parameters().coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        self.figure.parameters().check(self.name(), coerced)?;
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let tables = LifeTables::new(rows.required(0)?)?;
        let (given, events) = (rows.numbers(1)?, events(&rows, 2)?);
        let found = rows.map(|row| {
            let table = tables.table(row)?;
            Ok(self.figure.of(&table, given.value(row), events(row)?)?)
        })?;
        rows.finish(Arc::new(Float64Array::from(found)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGES: LazyLock<[Documentation; 5]> = LazyLock::new(|| {
            [
                Figure::SurvivalQuantile.documentation(),
                Figure::RestrictedMean.documentation(),
                Figure::RestrictedMeanError.documentation(),
                Figure::IncidenceQuantile.documentation(),
                Figure::WinProbability.documentation(),
            ]
        });
        let [quantile, mean, error, incidence, chance] = &*PAGES;
        Some(match self.figure {
            Figure::SurvivalQuantile => quantile,
            Figure::RestrictedMean => mean,
            Figure::RestrictedMeanError => error,
            Figure::IncidenceQuantile => incidence,
            Figure::WinProbability => chance,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_error};

    #[test]
    fn the_event_decides_what_is_waited_for() {
        // Shares of TABLE by scikit-survival 0.28.0: any 0.524 and 0.419 after 3 and 5 days, won 0.589 and 0.393 after 5 and 8.
        check(
            "SELECT survival_quantile(TABLE, 0.5), survival_quantile(TABLE, 0.5, 'won'), survival_quantile(TABLE, 0.5, 'lost'), \
             survival_quantile(TABLE, 0.9), survival_quantile(TABLE, 0)",
            &["5.0 8.0 8.0 NULL 0.0"],
        );
        // lifelines 0.30.3: utils.restricted_mean_survival_time(KaplanMeierFitter().fit(t, e), t=13)
        check(
            "SELECT round(survival_rmst(TABLE, 13, 'won'), 12), survival_rmst(TABLE, 13.5, 'won'), survival_rmst(TABLE, 0)",
            &["7.652380952381 NULL 0.0"],
        );
    }

    #[test]
    fn numbers_and_events_may_be_columns() {
        check(
            "SELECT q, e, survival_quantile(TABLE, q, e) \
             FROM (VALUES (0.1, 'any'), (0.1, 'lost'), (NULL, 'any'), (0.1, NULL)) AS s(q, e)",
            &[
                "0.1 any 2.0",
                "0.1 lost 2.0",
                "NULL any NULL",
                "0.1 NULL NULL",
            ],
        );
        check(
            "SELECT t, round(win_probability(TABLE, t), 4) FROM (VALUES (0), (2.5), (13), (14)) AS s(t)",
            &["0.0 0.5242", "2.5 0.4762", "13.0 0.0", "14.0 NULL"],
        );
    }

    #[test]
    fn nobody_left_has_no_chance_but_a_mean() {
        let table = "[{t: 1, won: 1, lost: 0, open: 0}, {t: 2, won: 0, lost: 1, open: 0}]";
        check(
            &format!(
                "SELECT win_probability({table}, 2), survival_rmst({table}, 99), survival_quantile({table}, 1)"
            ),
            &["NULL 1.5 2.0"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT survival_quantile(TABLE, 50)",
            "22023",
            "q 50 is not between 0 and 1",
        );
        check_error(
            "SELECT incidence_quantile(TABLE, -0.1)",
            "22023",
            "q -0.1 is not",
        );
        check_error(
            "SELECT survival_rmst(TABLE, -1)",
            "22023",
            "can't be restricted to -1 days",
        );
        check_error(
            "SELECT win_probability(TABLE, -1)",
            "22023",
            "-1 days is not an age",
        );
        check_error(
            "SELECT survival_quantile(TABLE, 0.5, 'x')",
            "22023",
            "event \"x\" is not",
        );
        check_error(
            "SELECT win_probability(TABLE, 'x')",
            "42804",
            "takes a number as t",
        );
        check_error(
            "SELECT survival_rmst(TABLE)",
            "42883",
            "HINT: Write survival_rmst(life_table, tau [, event]).",
        );
    }
}

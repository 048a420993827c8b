//! Which deals are won sooner? A regression of the time to win on numbers and labels, in which losing competes.
//!
//! Two models of the same rows. Cox's proportional hazards: in a deal with one unit more, the chance to be won today, if it
//! is still under way, is `hazard_ratio` times as high; above 1 the cycle is shorter. Weibull's accelerated failure time: its
//! cycle lasts `time_ratio` times as long. Both are cause-specific: a deal that is lost, and one that is still open, counts for
//! as long as it was under way. Ties are broken by Efron's way; the limits are Wald's, at 95 % on the log scale. See
//! `statistics/cox.rs` and `statistics/weibull.rs` for the formulas, and for what a time of 0 does.
//!
//! A label with the levels a, b, c is two terms of zeros and ones, `label = a` and `label = c`, against the level that has the
//! most rows (the first by name of several). A level without any event is not a reference, unless all are. The reference has
//! an element too, with ratios of 1 and the status `reference`.
//!
//! Left out, and counted: a row with a NULL time, outcome, number or label, or a number that is NaN or infinite, as `ln(0)`.
//! The order of rows and of labels doesn't matter, except that of collinear terms the first stay.
//!
//! Cost: a row is one insertion to a hash map; the result takes about 20 passes over the distinct rows, each with a product of
//! each two terms. State: 50 bytes and 8 a covariate for each distinct row. Numbers in bands make fewer distinct ones.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    UInt64Array,
};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float64Type, Int64Type, UInt64Type,
};
use datafusion::common::cast::{as_float64_array, as_int64_array, as_list_array, as_string_array};
use datafusion::common::utils::{SingleRowListArrayBuilder, take_function_args};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};
use datafusion::physical_plan::PhysicalExpr;

pub mod rows;

use self::rows::{Ends, Found, Rows};
use super::calls::refuse_distinct;
use super::journey::arguments::literal;
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::statistics::life_table::Outcome;

const NAME: &str = "cox_fit";

const PARAMETERS: Parameters = Parameters {
    required: 5,
    list: &[
        ("t", Kind::Number),
        ("outcome", Kind::Text),
        ("numbers", Kind::Numbers),
        ("labels", Kind::Texts),
        ("terms", Kind::Texts),
    ],
};

/// The position of `terms`.
const TERMS: usize = 4;

/// Which covariates shorten or lengthen the time to win, where losing competes and open ones are censored.
///
/// - `t`: Float64 days from the start to the outcome, or to the last look at what is open, `>= 0`; one row per entity
/// - `outcome`: `'won'` or `'passed'` is the event; `'lost'`, `'open'` and `'expired'` are censored
/// - `numbers`: list of Float64 covariates, as many in each row; `[]` for none
/// - `labels`: list of Utf8 covariates, as many in each row; `[]` for none
/// - `terms`: literal list of their names, first of the numbers, then of the labels
/// - returns `List<Struct { term, n, events, left_out, hazard_ratio, lo, hi, p, time_ratio, time_lo, time_hi, status }>`, in
///   the order of the terms, levels by name. `n` and `events` are Int64 rows that were used and those that were won: of a
///   number all, of a level its own; `left_out` Int64 rows that couldn't be used. The ratios and `p` (Wald's, of
///   `hazard_ratio` = 1) are Float64
/// - `status`: `ok`; `reference`; and where the ratios are NULL: `no_data` (no rows), `no_events`, `no_variation` (the same
///   value in all rows that last until the first event, or a combination of terms before it), `separated` (it tells without
///   exception who is won next, so no data could limit the ratio), `not_converged`. `time_ratio` alone is NULL where only the
///   Weibull model has no maximum
/// - errors: 22023 when a time is negative or not finite, an outcome is another text, `terms` is not a literal or not one name
///   for each covariate, a label has more than 50 levels or all have more than 100 terms
/// - source: D. R. Cox, JRSS B 34 (1972), 187–220; B. Efron, JASA 72 (1977), 557–565; the example has the data of E. Freireich
///   and others, Blood 21 (1963), 699–716, whose placebo group lifelines 0.30.3 gives the hazard ratio 4.8169 and the time
///   ratio 0.2816 (`CoxPHFitter`, `WeibullAFTFitter`)
/// ```slt
/// query TIIRRRRT
/// SELECT d['term'], d['n'], d['events'], round(d['hazard_ratio'], 4), round(d['lo'], 4), round(d['hi'], 4),
///   round(d['time_ratio'], 4), d['status']
/// FROM (
///   SELECT unnest(cox_fit(week, outcome, [], [drug], ['drug'])) AS d
///   FROM (
///     SELECT unnest([6, 6, 6, 7, 10, 13, 16, 22, 23]) AS week, 'won' AS outcome, '6-MP' AS drug
///     UNION ALL SELECT unnest([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]), 'open', '6-MP'
///     UNION ALL SELECT unnest([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]), 'won', 'placebo'
///   ) AS patients
/// )
/// ----
/// drug = 6-MP 21 9 1 NULL NULL 1 reference
/// drug = placebo 21 21 4.8169 2.1465 10.8093 0.2816 ok
/// ```
pub fn cox_fit_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(CoxFit {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CoxFit {
    signature: Signature,
}

impl AggregateUDFImpl for CoxFit {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::List(item_field()))
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, call.is_distinct)?;
        Ok(Box::new(CoxAccumulator {
            rows: Rows::default(),
            terms: literal_terms(call.exprs)?,
            key: Vec::new(),
        }))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str, data_type: DataType| -> FieldRef {
            let name = format_state_name(call.name, part);
            Arc::new(Field::new(name, data_type, true))
        };
        let list = |part: &str, item: DataType| {
            let item = Arc::new(Field::new_list_field(item, true));
            field(part, DataType::List(item))
        };
        Ok(vec![
            list("keys", DataType::UInt64),
            list("events", DataType::Int64),
            list("censored", DataType::Int64),
            list("names", DataType::Utf8),
            list("levels", DataType::Int64),
            field("numbers", DataType::Int64),
            field("left_out", DataType::Int64),
        ])
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
        "Which covariates shorten or lengthen the time to win, where losing competes and open entities are censored: Cox's \
         hazard ratios (Efron's ties) and Weibull's time ratios with limits at 95 %, a list of structs of term, n, events, \
         left_out, hazard_ratio, lo, hi, p, time_ratio, time_lo, time_hi and status. A hazard ratio above 1 is a shorter cycle.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("t", "Days from the start to the outcome, or to the last look at what is open. One row an entity.")
    .with_argument("outcome", "'won' or 'passed' is the event; 'lost', 'open' and 'expired' are censored.")
    .with_argument("numbers", "A list of numbers, such as [ln(amount), experience]; [] for none.")
    .with_argument("labels", "A list of texts, such as [channel]; [] for none. The most frequent level is the reference.")
    .with_argument("terms", "A literal list of names, first of the numbers, then of the labels.")
    .with_sql_example(
        "```sql\nSELECT unnest(cox_fit(days, outcome, [ln(amount), experience], [channel], ['ln(amount)', 'experience', 'channel'])) \
         FROM deals;\n```",
    )
    .build()
}

/// One element of the result.
fn item_fields() -> Fields {
    [
        ("term", DataType::Utf8),
        ("n", DataType::Int64),
        ("events", DataType::Int64),
        ("left_out", DataType::Int64),
        ("hazard_ratio", DataType::Float64),
        ("lo", DataType::Float64),
        ("hi", DataType::Float64),
        ("p", DataType::Float64),
        ("time_ratio", DataType::Float64),
        ("time_lo", DataType::Float64),
        ("time_hi", DataType::Float64),
        ("status", DataType::Utf8),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(item_fields()), true))
}

fn literal_terms(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Vec<String>> {
    let expr = exprs
        .get(TERMS)
        .ok_or_else(|| internal_datafusion_err!("terms of {NAME}() are missing after the check"))?;
    let is_null = || FunnelError::InvalidArgument {
        message: format!("a term of {NAME}() is NULL"),
        hint: "Write the names as ['ln(amount)', 'channel'].".to_owned(),
    };
    let ScalarValue::List(list) = literal(expr, NAME, "terms")? else {
        return internal_err!("terms of {NAME}() are not a list after the check");
    };
    if list.is_null(0) {
        return Err(is_null().into());
    }
    let names = list.value(0);
    as_string_array(&names)?
        .iter()
        .map(|name| Ok(name.ok_or_else(is_null)?.to_owned()))
        .collect()
}

#[derive(Debug)]
struct CoxAccumulator {
    rows: Rows,
    terms: Vec<String>,
    /// The key of the row at hand.
    key: Vec<u64>,
}

impl Accumulator for CoxAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let batch = Batch::new(values)?;
        (0..batch.times.len()).try_for_each(|row| self.update(&batch, row))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let items = Arc::new(items(&self.rows.fit(&self.terms)?)?);
        Ok(SingleRowListArrayBuilder::new(items)
            .with_field(&item_field())
            .build_list_scalar())
    }

    fn size(&self) -> usize {
        let terms = self.terms.iter().map(String::capacity).sum::<usize>();
        size_of_val(self)
            + self.rows.heap_size()
            + self.terms.capacity() * size_of::<String>()
            + terms
            + self.key.capacity() * size_of::<u64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column: ArrayRef| SingleRowListArrayBuilder::new(column).build_list_scalar();
        let counts = |of: fn(Ends) -> i64| -> ArrayRef {
            let counts = self.rows.iter().map(|(_, ends)| of(ends));
            Arc::new(counts.collect::<Int64Array>())
        };
        let keys = self.rows.iter().flat_map(|(key, _)| key.iter().copied());
        let keys = UInt64Array::from_iter_values(keys);
        let levels = self.rows.levels();
        let names = levels.iter().flatten().map(Some).collect::<StringArray>();
        let level_counts = levels.iter().map(|names| names.len() as i64);
        let level_counts = Int64Array::from_iter_values(level_counts);
        let numbers = self.rows.numbers().map(|numbers| numbers as i64);
        Ok(vec![
            list(Arc::new(keys)),
            list(counts(|ends| ends.events)),
            list(counts(|ends| ends.censored)),
            list(Arc::new(names)),
            list(Arc::new(level_counts)),
            ScalarValue::Int64(numbers),
            ScalarValue::Int64(Some(self.rows.left_out())),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = States::new(states)?;
        (0..states.left_out.len()).try_for_each(|row| self.merge(&states, row))
    }
}

impl CoxAccumulator {
    fn update(&mut self, batch: &Batch, row: usize) -> Result<()> {
        if batch.numbers.is_null(row) || batch.labels.is_null(row) {
            self.rows.leave_out(1);
            return Ok(());
        }
        let (numbers, labels) = (batch.numbers.value(row), batch.labels.value(row));
        let (numbers, labels) = (
            numbers.as_primitive::<Float64Type>(),
            labels.as_string::<i32>(),
        );
        self.rows
            .shape(self.terms.len(), numbers.len(), labels.len())?;
        let is_whole = batch.times.is_valid(row)
            && batch.outcomes.is_valid(row)
            && labels.null_count() == 0
            && numbers
                .iter()
                .all(|number| number.is_some_and(f64::is_finite));
        if !is_whole {
            self.rows.leave_out(1);
            return Ok(());
        }
        let is_event = Outcome::parse(batch.outcomes.value(row))? == Outcome::Won;
        self.key.clear();
        self.key.push(time_bits(batch.times.value(row))?);
        // Adding zero makes -0.0 and 0.0 one.
        let bits = numbers
            .values()
            .iter()
            .map(|number| (number + 0.0).to_bits());
        self.key.extend(bits);
        for (at, name) in labels.iter().flatten().enumerate() {
            let term = &self.terms[numbers.len() + at];
            self.key.push(self.rows.level(at, name, term)?);
        }
        self.rows.add(&self.key, Ends::one(is_event));
        Ok(())
    }

    /// Adds the state of one partial aggregate.
    fn merge(&mut self, states: &States, row: usize) -> Result<()> {
        self.rows.leave_out(states.left_out.value(row));
        if states.numbers.is_null(row) {
            return Ok(());
        }
        let numbers = states.numbers.value(row) as usize;
        let labels = self.terms.len().saturating_sub(numbers);
        self.rows.shape(self.terms.len(), numbers, labels)?;
        let ids = self.level_numbers(states, row, numbers)?;
        let [keys, events, censored] =
            [states.keys, states.events, states.censored].map(|list| list.value(row));
        let ends = events
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .zip(censored.as_primitive::<Int64Type>().values());
        let keys = keys.as_primitive::<UInt64Type>().values();
        for (key, (events, censored)) in keys.chunks_exact(1 + self.terms.len()).zip(ends) {
            self.key.clear();
            self.key.extend_from_slice(key);
            for (id, ids) in self.key[1 + numbers..].iter_mut().zip(&ids) {
                *id = ids[*id as usize];
            }
            let ends = Ends {
                events: *events,
                censored: *censored,
            };
            self.rows.add(&self.key, ends);
        }
        Ok(())
    }

    /// The numbers that the levels of a state have here.
    fn level_numbers(
        &mut self,
        states: &States,
        row: usize,
        numbers: usize,
    ) -> Result<Vec<Vec<u64>>> {
        let (names, counts) = (states.names.value(row), states.levels.value(row));
        let mut names = names.as_string::<i32>().iter().flatten();
        let counts = counts.as_primitive::<Int64Type>().values().iter();
        let mut ids = Vec::with_capacity(counts.len());
        for (label, count) in counts.enumerate() {
            let term = &self.terms[numbers + label];
            let of_label = names.by_ref().take(*count as usize);
            let of_label = of_label.map(|name| self.rows.level(label, name, term));
            ids.push(of_label.collect::<Result<Vec<_>, FunnelError>>()?);
        }
        Ok(ids)
    }
}

/// The bits of a time; `+ 0.0` makes -0.0 and 0.0 one.
fn time_bits(time: f64) -> Result<u64, FunnelError> {
    if time.is_finite() && time >= 0.0 {
        return Ok((time + 0.0).to_bits());
    }
    Err(FunnelError::InvalidArgument {
        message: format!("a follow-up can't last {time} days"),
        hint: "Give the days from the start to the outcome, or to the last look at what is open."
            .to_owned(),
    })
}

/// The columns of a batch.
struct Batch<'a> {
    times: &'a Float64Array,
    outcomes: &'a StringArray,
    numbers: &'a ListArray,
    labels: &'a ListArray,
}

impl Batch<'_> {
    fn new(values: &[ArrayRef]) -> Result<Batch<'_>> {
        let [times, outcomes, numbers, labels, ..] = values else {
            return internal_err!("{NAME}() takes a time, an outcome, numbers and labels");
        };
        Ok(Batch {
            times: as_float64_array(times)?,
            outcomes: as_string_array(outcomes)?,
            numbers: as_list_array(numbers)?,
            labels: as_list_array(labels)?,
        })
    }
}

/// The columns of states.
struct States<'a> {
    keys: &'a ListArray,
    events: &'a ListArray,
    censored: &'a ListArray,
    names: &'a ListArray,
    levels: &'a ListArray,
    numbers: &'a Int64Array,
    left_out: &'a Int64Array,
}

impl States<'_> {
    fn new(states: &[ArrayRef]) -> Result<States<'_>> {
        let [keys, events, censored, names, levels, numbers, left_out] =
            take_function_args(NAME, states)?;
        Ok(States {
            keys: as_list_array(keys)?,
            events: as_list_array(events)?,
            censored: as_list_array(censored)?,
            names: as_list_array(names)?,
            levels: as_list_array(levels)?,
            numbers: as_int64_array(numbers)?,
            left_out: as_int64_array(left_out)?,
        })
    }
}

fn items(found: &[Found]) -> Result<StructArray> {
    let counts = |of: fn(&Found) -> i64| -> ArrayRef {
        Arc::new(found.iter().map(of).collect::<Int64Array>())
    };
    let numbers = |of: fn(&Found) -> Option<f64>| -> ArrayRef {
        Arc::new(found.iter().map(of).collect::<Float64Array>())
    };
    let texts = |of: fn(&Found) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(found.iter().map(of)))
    };
    let columns = vec![
        texts(|found| &found.term),
        counts(|found| found.n),
        counts(|found| found.events),
        counts(|found| found.left_out),
        numbers(|found| found.hazard.ratio),
        numbers(|found| found.hazard.lo),
        numbers(|found| found.hazard.hi),
        numbers(|found| found.p),
        numbers(|found| found.time.ratio),
        numbers(|found| found.time.lo),
        numbers(|found| found.time.hi),
        texts(|found| found.status),
    ];
    // An empty list of terms has no rows, but the columns are there.
    Ok(StructArray::try_new(item_fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    const DEALS: &str = "(VALUES (6, 'won', 20, 'web'), (4, 'lost', 27, 'web'), (7, 'won', 15, 'partner'), (5, 'open', 8, 'web'), \
        (2, 'passed', 13, 'partner'), (1, 'expired', 7, '展会'), (1, 'lost', 21, 'web'), (3, 'won', 12, '展会'), (9, 'won', 77, 'web'), \
        (2, 'won', 11, '展会'), (7, 'open', 33, 'partner'), (5, 'won', 22, 'web')) AS deals(t, outcome, size, channel)";

    #[track_caller]
    fn check_deals(sql: &str, expected: &[&str]) {
        check(&cox_fit_udaf(), &sql.replace("DEALS", DEALS), expected);
    }

    #[track_caller]
    fn check_fault(sql: &str, code: &str, part: &str) {
        check_error(&cox_fit_udaf(), &sql.replace("DEALS", DEALS), code, part);
    }

    fn elements(call: &str) -> String {
        format!(
            "SELECT i['term'], i['n'], i['events'], i['left_out'], round(i['hazard_ratio'], 4), round(i['lo'], 4), \
             round(i['hi'], 4), round(i['p'], 4), round(i['time_ratio'], 4), round(i['time_lo'], 4), round(i['time_hi'], 4), \
             i['status'] FROM (SELECT unnest({call}) AS i FROM DEALS)"
        )
    }

    #[test]
    fn one_element_for_each_number_and_each_level() {
        // lifelines 0.30.3, CoxPHFitter and WeibullAFTFitter of size, partner and 展会: the columns exp(coef), its limits
        // and p.
        check_deals(
            &elements("cox_fit(t, outcome, [size], [channel], ['size', '渠道'])"),
            &[
                "size 12 7 0 0.9275 0.8212 1.0476 0.2258 1.0076 0.9994 1.0158 ok",
                "渠道 = partner 3 2 0 0.6563 0.0541 7.9622 0.7408 1.1433 0.7746 1.6874 ok",
                "渠道 = web 6 3 0 1.0 NULL NULL NULL 1.0 NULL NULL reference",
                "渠道 = 展会 3 2 0 5.0064 0.3925 63.8626 0.215 0.4733 0.31 0.7226 ok",
            ],
        );
    }

    #[test]
    fn arguments_are_cast_and_can_be_named() {
        check_deals(
            "SELECT i['term'], round(i['hazard_ratio'], 4) FROM (SELECT unnest(cox_fit(labels => \
             [arrow_cast(channel, 'Dictionary(Int8, Utf8)')], terms => ['size', 'c'], numbers => \
             arrow_cast([size], 'LargeList(Decimal128(9, 2))'), t => arrow_cast(t, 'Int8'), outcome => \
             arrow_cast(outcome, 'Utf8View'))) AS i FROM DEALS)",
            &[
                "size 0.9275",
                "c = partner 0.6563",
                "c = web 1.0",
                "c = 展会 5.0064",
            ],
        );
    }

    #[test]
    fn rows_that_lack_something_are_left_out_and_counted() {
        check(
            &cox_fit_udaf(),
            "SELECT i['n'], i['events'], i['left_out'], i['status'] FROM (SELECT unnest(cox_fit(t, outcome, [ln(a), b], [c], \
             ['a', 'b', 'c'])) AS i FROM (VALUES (1, 'won', 1.0, 1.0, 'x'), (2, 'won', 3.0, 1.0, 'x'), (3, 'won', 2.0, 1.0, 'x'), \
             (NULL, 'won', 1.0, 1.0, 'x'), (1, NULL, 1.0, 1.0, 'x'), (1, 'won', NULL, 1.0, 'x'), (1, 'won', 1.0, 1.0, NULL), \
             (1, 'won', 0.0, 1.0, 'x'), (1, 'won', 1.0, arrow_cast('NaN', 'Float64'), 'x')) AS d(t, outcome, a, b, c))",
            &["3 3 6 ok", "3 3 6 no_variation", "3 3 6 no_variation"],
        );
        check_deals(
            "SELECT i['term'], i['left_out'], i['status'] FROM \
             (SELECT unnest(cox_fit(t, outcome, NULL, [channel], ['a', 'channel'])) AS i FROM DEALS)",
            &["a 12 no_data", "channel 12 no_data"],
        );
    }

    #[test]
    fn without_rows_events_or_terms() {
        let nothing = "0 0 0 NULL NULL NULL NULL NULL NULL NULL no_data";
        check_deals(
            &elements(
                "cox_fit(t, outcome, [size], [channel], ['size', 'channel']) FILTER (WHERE t > 99)",
            ),
            &[&format!("size {nothing}"), &format!("channel {nothing}")],
        );
        check_deals(
            "SELECT i['term'], i['n'], i['hazard_ratio'], i['status'] FROM (SELECT unnest(cox_fit(t, 'open', [size], [channel], \
             ['size', 'channel'])) AS i FROM DEALS)",
            &[
                "size 12 NULL no_events",
                "channel = partner 3 NULL no_events",
                "channel = web 6 NULL no_events",
                "channel = 展会 3 NULL no_events",
            ],
        );
        check_deals("SELECT cox_fit(t, outcome, [], [], []) FROM DEALS", &["[]"]);
        check_deals(
            "SELECT t, cox_fit(t, outcome, [size], [], ['size']) FROM DEALS WHERE t > 99 GROUP BY t",
            &[],
        );
    }

    #[test]
    fn a_level_without_events_is_separated_rather_than_the_reference() {
        check_deals(
            "SELECT i['term'], i['n'], i['events'], round(i['hazard_ratio'], 4), i['time_ratio'] IS NULL, i['status'] FROM (SELECT \
             unnest(cox_fit(t, CASE channel WHEN 'web' THEN 'lost' ELSE outcome END, [], [channel], ['c'])) AS i FROM DEALS)",
            &[
                "c = partner 3 2 1.0 false reference",
                "c = web 6 0 NULL true separated",
                // lifelines 0.30.3, CoxPHFitter without the rows of web.
                "c = 展会 3 2 3.4279 false ok",
            ],
        );
    }

    #[test]
    fn groups_filters_and_partitions() {
        check_partitions(
            &[cox_fit_udaf()],
            "SELECT v % 3 AS g, cox_fit(v * 7 % 41, CASE v % 4 WHEN 0 THEN 'won' WHEN 1 THEN 'lost' ELSE 'open' END, \
             [v % 11, v % 13 * 0.5], ['l' || (v % 5), CASE WHEN v % 2 = 0 THEN '甲' ELSE '乙' END], ['a', 'b', 'c', 'd']) \
             FILTER (WHERE v % 17 > 2) AS i FROM generate_series(1, 20000) AS s(v) GROUP BY g ORDER BY g",
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_fault(
            "SELECT cox_fit(-t, outcome, [size], [], ['size']) FROM DEALS",
            "22023",
            "can't last -6 days",
        );
        check_fault(
            "SELECT cox_fit(t, 'gone', [size], [], ['size']) FROM DEALS",
            "22023",
            "outcome \"gone\" is not one of",
        );
        check_fault(
            "SELECT cox_fit(t, outcome, [size], [channel], ['size']) FROM DEALS",
            "22023",
            "cox_fit() has 1 terms for 1 numbers and 1 labels HINT: Name each number",
        );
        check_fault(
            "SELECT cox_fit(t, outcome, CASE WHEN t > 4 THEN [size] ELSE [size, t] END, CASE WHEN t > 4 THEN [channel] ELSE [] END, \
             ['size', 'c']) FROM DEALS",
            "22023",
            "cox_fit() has 2 terms for 2 numbers and 0 labels",
        );
        check_fault(
            "SELECT cox_fit(t, outcome, [size], [], [channel]) FROM DEALS",
            "22023",
            "terms of cox_fit() is not a literal",
        );
        check_fault(
            "SELECT cox_fit(t, outcome, [size], [], [NULL]) FROM DEALS",
            "22023",
            "a term of cox_fit() is NULL",
        );
        check_fault(
            "SELECT cox_fit(t, outcome, size, [], ['size']) FROM DEALS",
            "42804",
            "takes a list of numbers as numbers",
        );
        check_fault(
            "SELECT cox_fit(t, outcome, [], [size], ['size']) FROM DEALS",
            "42804",
            "takes a list of texts as labels",
        );
        check_fault(
            "SELECT cox_fit(t, outcome, [size], []) FROM DEALS",
            "42883",
            "HINT: Write cox_fit(t, outcome, numbers, labels, terms).",
        );
        check_fault(
            "SELECT cox_fit(DISTINCT t, outcome, [size], [], ['size']) FROM DEALS",
            "42883",
            "doesn't take DISTINCT",
        );
    }

    #[test]
    fn identifiers_are_no_labels() {
        let of = |levels: usize, labels: &str, terms: &str| {
            format!(
                "SELECT array_length(cox_fit(v % 9, 'won', [], {labels}, {terms})) FROM (SELECT v, (v % {levels})::text AS a, \
                 ((v / 7) % {levels})::text AS b, ((v / 11) % {levels})::text AS c FROM generate_series(1, 2000) AS s(v))"
            )
        };
        check_deals(&of(50, "[a]", "['a']"), &["50"]);
        check_fault(
            &of(51, "[a]", "['owner']"),
            "22023",
            "label \"owner\" has more than 50 levels HINT: Group",
        );
        check_fault(
            &of(50, "[a, b, c]", "['a', 'b', 'c']"),
            "22023",
            "make 147 terms, more than 100",
        );
    }
}

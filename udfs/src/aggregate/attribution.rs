//! Which channels brought the conversions? Journeys as paths of channels in; a channel's credit by each model out.
//!
//! `attribution(path, days, conversions, value, nulls, models)` reads rows of a path (the channels that touched a journey, in
//! order), how many such journeys converted and how many didn't, and gives each model's split. A conversion is split within
//! its path, so that the credits of a model sum to the conversions; a journey without a touch is the channel `(none)`'s.
//! See `statistics/attribution.rs` for the models, and `statistics/attribution/markov.rs` for the chain and how it is solved.
//!
//! NULL path: no touches. NULL channel in it: `(null)`. NULL value: not known. NULL conversions or nulls: 0. No rows: an empty
//! list. The order of rows doesn't matter: sums are over paths in their order, except that of values of equal paths.
//!
//! Cost: a row is one insertion to a hash map; state: 60 bytes and 4 a touch for each distinct path, so that a million rows
//! of a few thousand paths are small.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, StringArray,
    StructArray, UInt32Array,
};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float64Type, Int64Type, UInt32Type,
};
use datafusion::common::cast::{as_boolean_array, as_float64_array, as_int64_array};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};
use datafusion::physical_plan::PhysicalExpr;

use super::calls::refuse_distinct;
use super::columns::{items_of, list, primitive};
use super::journey::arguments::literal;
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::statistics::attribution::Model;
use crate::statistics::attribution::journeys::{Credit, Decayed, Ends, Journeys};

const NAME: &str = "attribution";

const PARAMETERS: Parameters = Parameters {
    required: 6,
    list: &[
        ("path", Kind::Texts),
        ("days", Kind::Numbers),
        ("conversions", Kind::Count),
        ("value", Kind::Number),
        ("nulls", Kind::Count),
        ("models", Kind::Texts),
        ("order", Kind::Count),
        ("half_life", Kind::Number),
    ],
};

const MODELS: usize = 5;
const ORDER: usize = 6;
const HALF_LIFE: usize = 7;

/// Days after which a touch counts half, when the call doesn't say.
pub(crate) const DEFAULT_HALF_LIFE: f64 = 7.0;
/// The longest memory of a Markov model.
pub(crate) const HIGHEST_ORDER: i64 = 10;

/// The credit of each channel for the conversions of journeys, by each of some models.
///
/// - `path`: list of Utf8 channels in order; NULL or `[]` for a journey without a touch
/// - `days`: list of Float64, for each touch how many days it was before the end; NULL where the times aren't known (only
///   `time_decay` reads them)
/// - `conversions`, `nulls`: Int64 journeys with this path that converted, and that didn't, `>= 0`
/// - `value`: Float64, what the conversions were worth in all; NULL where it isn't known
/// - `models`: literal list of `first`, `last`, `linear`, `position`, `time_decay`, `markov`, `shapley`
/// - `order`: literal Int64, how many touches the Markov model remembers, 1 to 10; 1 when left out
/// - `half_life`: literal Float64 days, 7 when left out
/// - returns `List<Struct { model, channel, journeys, touches, converted, conversions, credit, amount, removal_effect }>` in
///   the order of the models, then by channel, `(none)` last: `journeys`, `converted` and `touches` are Int64 counts of those
///   with the channel, `conversions` Int64 all of them, `credit` and `amount` Float64 what the channel gets of the conversions
///   and of their value (NULL where no value is known), `removal_effect` Float64 the share of conversions of touched journeys
///   that are lost without it (`markov`; NULL where nothing converted)
/// - errors: 22023 when a count is negative, a model is unknown, `days` are fewer than the touches, or `time_decay` is asked
///   for where a path has none
/// - source: E. Anderl, I. Becker, F. von Wangenheim, J. Schumann, IJRM 33 (2016), 457–474; the example is the one that is
///   used to explain it, with credits 0.2, 0.4 and 0.4
/// ```slt
/// query TRR
/// SELECT c['channel'], round(c['credit'], 4), round(c['removal_effect'], 4)
/// FROM (
///   SELECT unnest(attribution(path, NULL, won, NULL, lost, ['markov'])) AS c
///   FROM (VALUES (['C1', 'C2', 'C3'], 1, 0), (['C1'], 0, 1), (['C2', 'C3'], 0, 1)) AS paths(path, won, lost)
/// )
/// ----
/// C1 0.2 0.5
/// C2 0.4 1
/// C3 0.4 1
/// ```
pub fn attribution_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Attribution {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Attribution {
    signature: Signature,
}

impl AggregateUDFImpl for Attribution {
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
        Ok(Box::new(Credits {
            journeys: Journeys::default(),
            settings: Settings::of(call.exprs)?,
            path: Vec::new(),
        }))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: DataType| -> FieldRef {
            let item = Arc::new(Field::new_list_field(item, true));
            let name = format_state_name(call.name, part);
            Arc::new(Field::new(name, DataType::List(item), true))
        };
        Ok(vec![
            list("channels", DataType::Utf8),
            list("decayed", DataType::Float64),
            list("decayed_values", DataType::Float64),
            list("lengths", DataType::UInt32),
            list("paths", DataType::UInt32),
            list("conversions", DataType::Int64),
            list("nulls", DataType::Int64),
            list("values", DataType::Float64),
            Arc::new(Field::new(
                format_state_name(call.name, "is_untimed"),
                DataType::Boolean,
                true,
            )),
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
        "The credit of each channel for the conversions of journeys, by each of some models: a list of structs of model, channel, \
         journeys, touches, converted, conversions, credit, amount and removal_effect. The credits of a model sum to the \
         conversions.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("path", "The channels that touched a journey, in order; NULL or an empty list for none.")
    .with_argument("days", "How many days before the end each touch was; NULL where it isn't known. Only time_decay reads it.")
    .with_argument("conversions", "How many journeys with this path converted.")
    .with_argument("value", "What these conversions were worth in all; NULL where it isn't known.")
    .with_argument("nulls", "How many journeys with this path didn't convert.")
    .with_argument(
        "models",
        "A literal list of 'first', 'last', 'linear', 'position', 'time_decay', 'markov' and 'shapley'.",
    )
    .with_argument("order", "How many touches the Markov model remembers, 1 to 10; 1 when left out.")
    .with_argument("half_life", "Days after which a touch counts half in time_decay; 7 when left out.")
    .with_sql_example(
        "```sql\nSELECT unnest(attribution(path, NULL, conversions, value, nulls, ['last', 'markov'])) FROM paths;\n```",
    )
    .build()
}

/// One element of the result.
fn item_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        let fields = [
            ("model", DataType::Utf8),
            ("channel", DataType::Utf8),
            ("journeys", DataType::Int64),
            ("touches", DataType::Int64),
            ("converted", DataType::Int64),
            ("conversions", DataType::Int64),
            ("credit", DataType::Float64),
            ("amount", DataType::Float64),
            ("removal_effect", DataType::Float64),
        ];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        Fields::from_iter(fields)
    });
    FIELDS.clone()
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(item_fields()), true))
}

/// The arguments that are the same for all rows.
#[derive(Debug)]
struct Settings {
    models: Vec<Model>,
    order: usize,
    half_life: f64,
}

impl Settings {
    fn of(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let optional = |at: usize, name: &str| match exprs.get(at) {
            Some(expr) => literal(expr, NAME, name).map(Some),
            None => Ok(None),
        };
        let invalid = |name: &str, hint: &str| FunnelError::InvalidArgument {
            message: format!("argument {name} of {NAME}() can't be that"),
            hint: hint.to_owned(),
        };
        let models = optional(MODELS, "models")?;
        let Some(ScalarValue::List(models)) = models else {
            return internal_err!("models of {NAME}() are not a list after the check");
        };
        let names = models.values().as_string::<i32>();
        let models = names.iter().flatten().map(Model::parse);
        let models = models.collect::<Result<Vec<_>, _>>()?;
        let order = match optional(ORDER, "order")? {
            None => 1,
            Some(ScalarValue::Int64(Some(order))) if (1..=HIGHEST_ORDER).contains(&order) => order,
            Some(_) => return Err(invalid("order", "Write a number from 1 to 10.").into()),
        };
        let half_life = match optional(HALF_LIFE, "half_life")? {
            None => DEFAULT_HALF_LIFE,
            Some(ScalarValue::Float64(Some(days))) if days.is_finite() && days > 0.0 => days,
            Some(_) => return Err(invalid("half_life", "Write a positive number of days.").into()),
        };
        Ok(Self {
            models,
            order: order as usize,
            half_life,
        })
    }
}

#[derive(Debug)]
struct Credits {
    journeys: Journeys,
    settings: Settings,
    /// The path of the row at hand.
    path: Vec<u32>,
}

impl Accumulator for Credits {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [paths, days, conversions, value, nulls, ..] = values else {
            return internal_err!("{NAME}() takes paths and how they ended");
        };
        let (paths, days) = (list(paths)?, list(days)?);
        let channels = paths.values().as_string::<i32>();
        let all_days = as_float64_array(days.values())?;
        let (conversions, nulls) = (as_int64_array(conversions)?, as_int64_array(nulls)?);
        let value = as_float64_array(value)?;
        for row in 0..paths.len() {
            let ends = Ends {
                conversions: count(conversions, row)?,
                nulls: count(nulls, row)?,
                value: value.is_valid(row).then(|| value.value(row)),
            };
            if ends.conversions + ends.nulls == 0 {
                continue;
            }
            if ends.value.is_some_and(|value| !value.is_finite()) {
                return Err(FunnelError::InvalidArgument {
                    message: "the value of conversions is not finite".to_owned(),
                    hint: "Leave such rows out, or give NULL.".to_owned(),
                }
                .into());
            }
            // A value without conversions is none of theirs.
            let ends = Ends {
                value: ends.value.filter(|_| ends.conversions > 0),
                ..ends
            };
            self.path.clear();
            for item in items_of(paths, row) {
                let channel = match channels.is_valid(item) {
                    true => channels.value(item),
                    false => "(null)",
                };
                self.path.push(self.journeys.number(channel));
            }
            let days = self.days(days, all_days, row)?;
            self.journeys
                .decay(&self.path, days, ends, self.settings.half_life);
            self.journeys.add(&self.path, ends);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let credits = self
            .journeys
            .credits(&self.settings.models, self.settings.order)?;
        Ok(SingleRowListArrayBuilder::new(Arc::new(items(&credits)?))
            .with_field(&item_field())
            .build_list_scalar())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.journeys.heap_size() + self.path.capacity() * size_of::<u32>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column: ArrayRef| SingleRowListArrayBuilder::new(column).build_list_scalar();
        let (names, decayed, is_untimed) = self.journeys.channels();
        let decayed_by = |of: fn(&Decayed) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(decayed.iter().map(of)))
        };
        let paths = || self.journeys.paths();
        let counts = |of: fn(&Ends) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                paths().map(|(_, ends)| of(ends)),
            ))
        };
        let lengths = paths().map(|(path, _)| path.len() as u32);
        let items = paths().flat_map(|(path, _)| path.iter().copied());
        let values: Float64Array = paths().map(|(_, ends)| ends.value).collect();
        Ok(vec![
            list(Arc::new(StringArray::from_iter_values(names))),
            list(decayed_by(|decayed| decayed.conversions)),
            list(decayed_by(|decayed| decayed.value)),
            list(Arc::new(UInt32Array::from_iter_values(lengths))),
            list(Arc::new(UInt32Array::from_iter_values(items))),
            list(counts(|ends| ends.conversions)),
            list(counts(|ends| ends.nulls)),
            list(Arc::new(values)),
            ScalarValue::Boolean(Some(is_untimed)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [
            names,
            decayed,
            decayed_values,
            lengths,
            paths,
            conversions,
            nulls,
            values,
            untimed,
        ] = states
        else {
            return internal_err!("a state of {NAME}() has other columns");
        };
        let untimed: &BooleanArray = as_boolean_array(untimed)?;
        for row in 0..untimed.len() {
            if untimed.value(row) {
                self.journeys.set_untimed();
            }
            let names = list(names)?.value(row);
            let numbers: Vec<u32> = names
                .as_string::<i32>()
                .iter()
                .map(|name| self.journeys.number(name.unwrap_or_default()))
                .collect();
            let decayed = list(decayed)?.value(row);
            let decayed_values = list(decayed_values)?.value(row);
            let parts = primitive::<Float64Type>(&decayed)?.values().iter();
            let parts = parts.zip(primitive::<Float64Type>(&decayed_values)?.values());
            for (number, (conversions, value)) in numbers.iter().zip(parts) {
                let part = Decayed {
                    conversions: *conversions,
                    value: *value,
                };
                self.journeys.add_decayed(*number, part);
            }
            let (lengths, items) = (list(lengths)?.value(row), list(paths)?.value(row));
            let (conversions, nulls) = (list(conversions)?.value(row), list(nulls)?.value(row));
            let values = list(values)?.value(row);
            let values = primitive::<Float64Type>(&values)?;
            let conversions = primitive::<Int64Type>(&conversions)?;
            let nulls = primitive::<Int64Type>(&nulls)?;
            let mut items = primitive::<UInt32Type>(&items)?.values().iter();
            let lengths = primitive::<UInt32Type>(&lengths)?;
            for (path, length) in lengths.values().iter().enumerate() {
                self.path.clear();
                let of_path = items.by_ref().take(*length as usize);
                self.path
                    .extend(of_path.map(|number| numbers[*number as usize]));
                let ends = Ends {
                    conversions: conversions.value(path),
                    nulls: nulls.value(path),
                    value: values.is_valid(path).then(|| values.value(path)),
                };
                self.journeys.add(&self.path, ends);
            }
        }
        Ok(())
    }
}

impl Credits {
    /// The days of a row's touches.
    fn days<'a>(
        &self,
        days: &ListArray,
        all: &'a Float64Array,
        row: usize,
    ) -> Result<Option<&'a [f64]>, FunnelError> {
        if days.is_null(row) {
            return Ok(None);
        }
        let items = items_of(days, row);
        let known = items.clone().all(|item| all.is_valid(item));
        if items.len() != self.path.len() || !known {
            return Err(FunnelError::InvalidArgument {
                message: format!(
                    "{NAME}() has {} touches and {} times of them",
                    self.path.len(),
                    items.len()
                ),
                hint: "Give one number of days for each touch.".to_owned(),
            });
        }
        Ok(Some(&all.values()[items]))
    }
}

/// A count that isn't negative; 0 for NULL.
fn count(counts: &Int64Array, row: usize) -> Result<i64, FunnelError> {
    match counts.is_valid(row) {
        false => Ok(0),
        true if counts.value(row) >= 0 => Ok(counts.value(row)),
        true => Err(FunnelError::InvalidArgument {
            message: format!("there can't be {} journeys", counts.value(row)),
            hint: "Conversions and nulls are counts from 0.".to_owned(),
        }),
    }
}

fn items(credits: &[Credit]) -> Result<StructArray> {
    let counts = |of: fn(&Credit) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(credits.iter().map(of)))
    };
    let models = credits.iter().map(|credit| credit.model.name());
    let channels = credits.iter().map(|credit| credit.channel.as_str());
    let given = credits.iter().map(|credit| credit.credit);
    let amounts: Float64Array = credits.iter().map(|credit| credit.amount).collect();
    let effects: Float64Array = credits.iter().map(|credit| credit.removal_effect).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(models)),
        Arc::new(StringArray::from_iter_values(channels)),
        counts(|credit| credit.journeys),
        counts(|credit| credit.touches),
        counts(|credit| credit.converted),
        counts(|credit| credit.conversions),
        Arc::new(Float64Array::from_iter_values(given)),
        Arc::new(amounts),
        Arc::new(effects),
    ];
    StructArray::try_new(item_fields(), columns, None)
        .map_err(|error| internal_datafusion_err!("credits of {NAME}() don't fit: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    #[track_caller]
    fn credits(rows: &str, models: &str, expected: &[&str]) {
        let sql = format!(
            "SELECT c['model'], c['channel'], c['journeys'], c['touches'], c['converted'], round(c['credit'], 6), round(c['amount'], 4), \
               round(c['removal_effect'], 6) \
             FROM (SELECT unnest(attribution(path, days, won, value, lost, {models})) AS c \
                   FROM (VALUES {rows}) AS paths(path, days, won, value, lost))"
        );
        check(&attribution_udaf(), &sql, expected);
    }

    #[test]
    fn credits_of_several_models_sum_to_the_conversions() {
        credits(
            "(['b', 'a'], [3.0, 0.0], 2, 10.0, 1), (['a', 'b', 'a'], [14.0, 7.0, 0.0], 1, 4.0, 0), ([], [], 1, 1.0, 2), \
             (NULL, NULL, 0, NULL, 1), (['广告'], [0.0], 0, 7.0, 1)",
            "['last', 'shapley', 'time_decay']",
            &[
                "last a 4 5 3 3.0 14.0 NULL",
                "last b 4 4 3 0.0 0.0 NULL",
                "last 广告 1 1 0 0.0 0.0 NULL",
                "last (none) 4 0 1 1.0 1.0 NULL",
                "shapley a 4 5 3 1.5 7.0 NULL",
                "shapley b 4 4 3 1.5 7.0 NULL",
                "shapley 广告 1 1 0 0.0 0.0 NULL",
                "shapley (none) 4 0 1 1.0 1.0 NULL",
                // Of two with weights 2^(-3/7) and 1, and once 5/7.
                "time_decay a 4 5 3 1.861735 8.5944 NULL",
                "time_decay b 4 4 3 1.138265 5.4056 NULL",
                "time_decay 广告 1 1 0 0.0 0.0 NULL",
                "time_decay (none) 4 0 1 1.0 1.0 NULL",
            ],
        );
    }

    #[test]
    fn without_conversions_there_is_no_credit_and_no_effect() {
        credits(
            "(['a'], NULL, 0, NULL, 3), (['b', 'a'], NULL, 0, NULL, 1)",
            "['markov', 'first']",
            &[
                "markov a 4 4 0 0.0 NULL NULL",
                "markov b 1 1 0 0.0 NULL NULL",
                "first a 4 4 0 0.0 NULL NULL",
                "first b 1 1 0 0.0 NULL NULL",
            ],
        );
        check(
            &attribution_udaf(),
            "SELECT attribution(['a'], NULL, 1, NULL, 0, ['last']) WHERE false",
            &["[]"],
        );
    }

    #[test]
    fn a_null_channel_has_a_name() {
        credits(
            "(['a', NULL], NULL, 1, NULL, 0)",
            "['last']",
            &[
                "last (null) 1 1 1 1.0 NULL NULL",
                "last a 1 1 1 0.0 NULL NULL",
            ],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql: &str, part| check_error(&attribution_udaf(), sql, "22023", part);
        fails(
            "SELECT attribution(['a'], NULL, -1, NULL, 0, ['last'])",
            "there can't be -1 journeys",
        );
        fails(
            "SELECT attribution(['a'], NULL, 1, NULL, 0, ['u_shape'])",
            "there is no attribution model \"u_shape\"",
        );
        fails(
            "SELECT attribution(['a'], NULL, 1, NULL, 0, ['time_decay'])",
            "time_decay needs the times",
        );
        fails(
            "SELECT attribution(['a'], [1.0, 2.0], 1, NULL, 0, ['last'])",
            "has 1 touches and 2 times of them",
        );
        fails(
            "SELECT attribution(['a'], NULL, 1, NULL, 0, ['markov'], 0)",
            "argument order",
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        check_partitions(
            &[attribution_udaf()],
            "SELECT g, c['model'], c['channel'], c['journeys'], round(c['credit'], 9), round(c['amount'], 9), round(c['removal_effect'], 9) FROM (
               SELECT v % 2 AS g, unnest(attribution(
                 ['c' || (v % 5), 'c' || (v * 7 % 4), 'c' || (v % 3)], [v % 9 + 8.0, v % 8 * 1.0, 0.0], CASE WHEN v % 4 = 0 THEN 1 ELSE 0 END,
                 v % 13, CASE WHEN v % 4 = 0 THEN 0 ELSE 1 END, ['markov', 'time_decay', 'linear', 'position'], 2, 3.0)) AS c
               FROM generate_series(1, 5000) AS s(v) GROUP BY v % 2
             ) ORDER BY 1, 2, 3",
        );
    }
}

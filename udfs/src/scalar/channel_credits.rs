//! What each channel of one journey's path gets of its credit: `channel_credits(path, days, 'linear')`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::Result;
use datafusion::common::cast::{as_float64_array, as_string_array};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::aggregate::attribution::DEFAULT_HALF_LIFE;
use crate::aggregate::columns::{items_of, list};
use crate::error::FunnelError;
use crate::statistics::attribution::journeys::NONE;
use crate::statistics::attribution::{Model, weights};

const NAME: &str = "channel_credits";

const PARAMETERS: Parameters = Parameters {
    required: 3,
    list: &[
        ("path", Kind::Texts),
        ("days", Kind::Numbers),
        ("model", Kind::Text),
        ("half_life", Kind::Number),
    ],
};

/// What each distinct channel of a path gets of the journey's credit, which is 1.
///
/// - `path`: list of Utf8 channels in order; NULL or `[]` for a journey without a touch, whose credit is that of `(none)`
/// - `days`: list of Float64, for each touch how many days it was before the end; NULL where no time decay is asked for
/// - `model`: `first`, `last`, `linear`, `position`, `time_decay` or `shapley`
/// - `half_life`: Float64 days, 7 when left out
/// - returns `List<Struct { channel, credit, touches }>`, in the order of each channel's first touch; never NULL
/// - errors: 22023 for another model, `markov` included: it credits all journeys together
/// ```slt
/// query TRI
/// SELECT c['channel'], c['credit'], c['touches']
/// FROM (SELECT unnest(channel_credits(['ad', 'mail', 'ad'], NULL, 'position')) AS c)
/// ----
/// ad 0.8 2
/// mail 0.2 1
/// ```
pub fn channel_credits_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ChannelCredits {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ChannelCredits {
    signature: Signature,
}

impl ScalarUDFImpl for ChannelCredits {
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
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        Ok(ColumnarValue::Array(credits(&columns)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                STATISTICS,
                "What each distinct channel of a path gets of the journey's credit, which is 1: a list of structs of channel, credit and touches.",
                PARAMETERS.syntax(NAME),
            )
            .with_argument("path", "The channels that touched a journey, in order; NULL or an empty list for none: then the channel is '(none)'.")
            .with_argument("days", "How many days before the end each touch was; NULL where no time decay is asked for.")
            .with_argument("model", "'first', 'last', 'linear', 'position', 'time_decay' or 'shapley'.")
            .with_argument("half_life", "Days after which a touch counts half in time_decay; 7 when left out.")
            .with_sql_example("```sql\nSELECT lead_id, unnest(channel_credits(path, days, 'linear')) FROM paths;\n```")
            .build()
        });
        Some(&PAGE)
    }
}

fn item_fields() -> Fields {
    [
        ("channel", DataType::Utf8),
        ("credit", DataType::Float64),
        ("touches", DataType::Int64),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(item_fields()), true))
}

/// The elements of all rows.
#[derive(Default)]
struct Found<'a> {
    channels: Vec<&'a str>,
    credits: Vec<f64>,
    touches: Vec<i64>,
}

fn credits(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (paths, days) = (list(&columns[0])?, list(&columns[1])?);
    let channels = paths.values().as_string::<i32>();
    let all_days = as_float64_array(days.values())?;
    let models = as_string_array(&columns[2])?;
    let half_lives = columns
        .get(3)
        .map(|column| as_float64_array(column))
        .transpose()?;
    let mut found = Found::default();
    let mut lengths = Vec::with_capacity(paths.len());
    for row in 0..paths.len() {
        let model = model(models, row)?;
        let half_life = half_lives.map_or(DEFAULT_HALF_LIFE, |given| given.value(row));
        if !(half_life.is_finite() && half_life > 0.0) {
            return Err(invalid("the half-life is no positive number of days"));
        }
        let before = found.channels.len();
        let names: Vec<&str> = items_of(paths, row)
            .map(|item| match channels.is_valid(item) {
                true => channels.value(item),
                false => "(null)",
            })
            .collect();
        let days = &all_days.values()[items_of(days, row)];
        if model == Model::TimeDecay && days.len() != names.len() {
            return Err(invalid("time_decay needs the days of each touch"));
        }
        add(&mut found, &names, days, model, half_life);
        lengths.push(found.channels.len() - before);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(found.channels)),
        Arc::new(Float64Array::from(found.credits)),
        Arc::new(Int64Array::from(found.touches)),
    ];
    let items = Arc::new(StructArray::try_new(item_fields(), columns, None)?);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(
        item_field(),
        offsets,
        items,
        None,
    )?))
}

fn add<'a>(found: &mut Found<'a>, path: &[&'a str], days: &[f64], model: Model, half_life: f64) {
    if path.is_empty() {
        found.channels.push(NONE);
        found.credits.push(1.0);
        found.touches.push(0);
        return;
    }
    let first = found.channels.len();
    // Paths are short: looking a channel up in those before is the fastest.
    let numbers: Vec<u32> = path
        .iter()
        .map(|channel| {
            let known = found.channels[first..]
                .iter()
                .position(|known| known == channel);
            known.unwrap_or_else(|| {
                found.channels.push(channel);
                found.credits.push(0.0);
                found.touches.push(0);
                found.channels.len() - first - 1
            }) as u32
        })
        .collect();
    for (number, weight) in numbers
        .iter()
        .zip(weights(model, &numbers, days, half_life))
    {
        found.credits[first + *number as usize] += weight;
        found.touches[first + *number as usize] += 1;
    }
}

fn model(models: &StringArray, row: usize) -> Result<Model> {
    if models.is_null(row) {
        return Err(invalid("the model is NULL"));
    }
    match Model::parse(models.value(row))? {
        Model::Markov => Err(invalid(
            "markov credits all journeys together, not one by one",
        )),
        model => Ok(model),
    }
}

fn invalid(message: &str) -> datafusion::error::DataFusionError {
    FunnelError::InvalidArgument {
        message: message.to_owned(),
        hint:
            "Write channel_credits(path, days, 'linear'), or use attribution() for Markov models."
                .to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::scalar::rate_ci::arguments::testing::{check, check_error};

    fn context() -> SessionContext {
        let context = SessionContext::new();
        context.register_udf(channel_credits_udf().as_ref().clone());
        context
    }

    #[test]
    fn each_distinct_channel_of_each_row() {
        check(
            &context(),
            "SELECT channel_credits(path, days, model) FROM (VALUES
               (['a', 'b', 'a'], [9.0, 7.0, 0.0], 'last'), (NULL, NULL, 'first'), (['a', NULL], [7.0, 0.0], 'time_decay'), ([], [], 'time_decay'))
               AS s(path, days, model)",
            &[
                "[{channel: a, credit: 1.0, touches: 2}, {channel: b, credit: 0.0, touches: 1}]",
                "[{channel: (none), credit: 1.0, touches: 0}]",
                "[{channel: a, credit: 0.3333333333333333, touches: 1}, {channel: (null), credit: 0.6666666666666666, touches: 1}]",
                "[{channel: (none), credit: 1.0, touches: 0}]",
            ],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql, part| check_error(&context(), sql, "22023", part);
        fails(
            "SELECT channel_credits(['a'], NULL, 'markov')",
            "all journeys together",
        );
        fails(
            "SELECT channel_credits(['a', 'b'], NULL, 'time_decay')",
            "days of each touch",
        );
        fails(
            "SELECT channel_credits(['a'], NULL, 'last', -1)",
            "half-life",
        );
        fails(
            "SELECT channel_credits(['a'], NULL, NULL)",
            "the model is NULL",
        );
    }
}

//! ClickHouse's conversions, `toDateTime(x)`, `toUInt32(x)` and the like, which event queries of other engines carry.
//!
//! What they mean is said in `instant`, `number` and `words`; [`crate::spelling`] rewrites those helpers that are plain
//! SQL under another name.
//! Names are registered in small letters, as an unquoted name is read, and in ClickHouse's spelling for quoted ones.

mod instant;
mod number;
mod words;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_OTHER;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};

use crate::UTC;
use crate::error::FunnelError;

/// Every conversion, in the order of the documentation.
pub fn udfs() -> Vec<Arc<ScalarUDF>> {
    CONVERSIONS
        .iter()
        .map(|conversion| Arc::new(ScalarUDF::from(ClickHouse::new(conversion))))
        .collect()
}

/// The conversions' names and what they return, as Postgres calls it.
pub fn results() -> impl Iterator<Item = (&'static str, &'static str)> {
    CONVERSIONS
        .iter()
        .map(|conversion| (conversion.name, conversion.to.postgres_type()))
}

/// One function.
#[derive(Debug, Clone, Copy)]
struct Conversion {
    name: &'static str,
    /// ClickHouse's spelling.
    camel: &'static str,
    /// The names of its arguments; those from `required` on may be left out.
    arguments: &'static [&'static str],
    required: usize,
    to: Target,
    description: &'static str,
}

/// What a conversion makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// An integer within a range; the type is the smallest of Postgres' that holds it.
    Integer {
        least: i64,
        most: i64,
    },
    Float32,
    Float64,
    Text,
    /// An instant of any number of digits behind the second; a number counts `per_second`.
    Instant {
        per_second: i64,
    },
    /// An instant cut to the second.
    Second,
    Date,
    /// How many of a unit since 1970.
    Epoch {
        per_second: i64,
    },
    /// The year and month as a number, and the day too.
    Digits {
        with_day: bool,
    },
}

impl Target {
    fn data_type(self) -> DataType {
        match self {
            Target::Integer { least, most } => integer_type(least, most),
            Target::Float32 => DataType::Float32,
            Target::Float64 => DataType::Float64,
            Target::Text => DataType::Utf8,
            Target::Instant { .. } | Target::Second => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
            }
            Target::Date => DataType::Date32,
            Target::Epoch { .. } => DataType::Int64,
            Target::Digits { .. } => DataType::Int32,
        }
    }

    /// Whether converting that type is the same as casting it, in a session of that zone.
    fn is_cast_of(self, from: &DataType, session: &str) -> bool {
        let is_utc = |zone: &str| ["UTC", "+00", UTC].contains(&zone);
        match (self, from) {
            (Target::Date, DataType::Date32 | DataType::Timestamp(_, None)) => true,
            (Target::Date, DataType::Timestamp(_, Some(zone))) => is_utc(zone) && is_utc(session),
            (Target::Float64, from) => from.is_integer(),
            (Target::Integer { least, most }, from) => match number::range_of(from) {
                Some(range) => least <= *range.start() && *range.end() <= most,
                None => false,
            },
            _ => false,
        }
    }

    fn postgres_type(self) -> &'static str {
        match self.data_type() {
            DataType::Int16 => "smallint",
            DataType::Int32 => "integer",
            DataType::Int64 => "bigint",
            DataType::Float32 => "real",
            DataType::Float64 => "double precision",
            DataType::Date32 => "date",
            DataType::Timestamp(..) => "timestamp with time zone",
            _ => "text",
        }
    }
}

fn integer_type(least: i64, most: i64) -> DataType {
    let holds = |low: i64, high: i64| low <= least && most <= high;
    if holds(i16::MIN.into(), i16::MAX.into()) {
        DataType::Int16
    } else if holds(i32::MIN.into(), i32::MAX.into()) {
        DataType::Int32
    } else {
        DataType::Int64
    }
}

const fn integer(least: i64, most: i64) -> Target {
    Target::Integer { least, most }
}

const fn conversion(
    name: &'static str,
    camel: &'static str,
    to: Target,
    description: &'static str,
) -> Conversion {
    Conversion {
        name,
        camel,
        arguments: &["x"],
        required: 1,
        to,
        description,
    }
}

const fn zoned(conversion: Conversion) -> Conversion {
    Conversion {
        arguments: &["x", "zone"],
        ..conversion
    }
}

const SECOND: i64 = 1;
const MILLISECOND: i64 = 1_000;
const MICROSECOND: i64 = 1_000_000;

#[rustfmt::skip]
const CONVERSIONS: [Conversion; 23] = [
    zoned(conversion("todatetime", "toDateTime", Target::Second, "The instant of a text, time or number of seconds, cut to the second.")),
    Conversion {
        arguments: &["x", "scale", "zone"],
        required: 2,
        ..conversion("todatetime64", "toDateTime64", Target::Instant { per_second: SECOND }, "The instant of a text, time or number of seconds, cut to scale digits of a second.")
    },
    conversion("fromunixtimestamp", "fromUnixTimestamp", Target::Second, "The instant of a number of seconds since 1970."),
    conversion("fromunixtimestamp64milli", "fromUnixTimestamp64Milli", Target::Instant { per_second: MILLISECOND }, "The instant of a number of milliseconds since 1970."),
    conversion("fromunixtimestamp64micro", "fromUnixTimestamp64Micro", Target::Instant { per_second: MICROSECOND }, "The instant of a number of microseconds since 1970."),
    zoned(conversion("todate", "toDate", Target::Date, "The date of a text, time or number: of days up to 65535, else of seconds.")),
    zoned(conversion("tounixtimestamp", "toUnixTimestamp", Target::Epoch { per_second: SECOND }, "The seconds from 1970 to a time.")),
    conversion("unix_timestamp", "unix_timestamp", Target::Epoch { per_second: SECOND }, "The seconds from 1970 to a time."),
    conversion("tounixtimestamp64milli", "toUnixTimestamp64Milli", Target::Epoch { per_second: MILLISECOND }, "The milliseconds from 1970 to a time."),
    conversion("tounixtimestamp64micro", "toUnixTimestamp64Micro", Target::Epoch { per_second: MICROSECOND }, "The microseconds from 1970 to a time."),
    conversion("toyyyymm", "toYYYYMM", Target::Digits { with_day: false }, "The year and month as a number: 202603."),
    conversion("toyyyymmdd", "toYYYYMMDD", Target::Digits { with_day: true }, "The date as a number: 20260304."),
    conversion("touint8", "toUInt8", integer(0, u8::MAX as i64), "The integer of a number, text or time, 0 to 255."),
    conversion("touint16", "toUInt16", integer(0, u16::MAX as i64), "The integer of a number, text or time, 0 to 65535."),
    conversion("touint32", "toUInt32", integer(0, u32::MAX as i64), "The integer of a number, text or time, 0 to 4294967295."),
    conversion("touint64", "toUInt64", integer(0, i64::MAX), "The integer of a number, text or time, 0 to 9223372036854775807."),
    conversion("toint8", "toInt8", integer(i8::MIN as i64, i8::MAX as i64), "The integer of a number, text or time, -128 to 127."),
    conversion("toint16", "toInt16", integer(i16::MIN as i64, i16::MAX as i64), "The integer of a number, text or time, within 16 bits."),
    conversion("toint32", "toInt32", integer(i32::MIN as i64, i32::MAX as i64), "The integer of a number, text or time, within 32 bits."),
    conversion("toint64", "toInt64", integer(i64::MIN, i64::MAX), "The integer of a number, text or time, within 64 bits."),
    conversion("tofloat32", "toFloat32", Target::Float32, "The number of a text, number or time, in single precision."),
    conversion("tofloat64", "toFloat64", Target::Float64, "The number of a text, number or time, in double precision."),
    zoned(conversion("tostring", "toString", Target::Text, "A value as text, a time in that zone or the session's.")),
];

#[derive(Debug)]
struct ClickHouse {
    conversion: &'static Conversion,
    aliases: Vec<String>,
    signature: Signature,
    page: Documentation,
}

impl PartialEq for ClickHouse {
    fn eq(&self, other: &Self) -> bool {
        self.conversion.name == other.conversion.name
    }
}

impl Eq for ClickHouse {}

impl Hash for ClickHouse {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.conversion.name.hash(state);
    }
}

impl ClickHouse {
    fn new(conversion: &'static Conversion) -> Self {
        let Conversion { name, camel, .. } = conversion;
        let aliases = (name != camel).then(|| (*camel).to_owned());
        Self {
            conversion,
            aliases: aliases.into_iter().collect(),
            // The session's zone decides what a text means.
            signature: Signature::user_defined(Volatility::Stable),
            page: documentation(conversion),
        }
    }

    fn check_count(&self, given: usize) -> Result<(), FunnelError> {
        let Conversion {
            arguments,
            required,
            camel,
            ..
        } = self.conversion;
        if (*required..=arguments.len()).contains(&given) {
            return Ok(());
        }
        Err(FunnelError::WrongCall {
            message: format!("{camel}() can't be called with {given} arguments"),
            hint: format!("Write {}.", syntax(self.conversion, camel)),
        })
    }

    fn check_types(&self, given: &[DataType]) -> Result<(), FunnelError> {
        let names = self.conversion.arguments.iter();
        let wrong = names.zip(given).find(|(name, data_type)| match **name {
            "zone" => !(data_type.is_string() || data_type.is_null()),
            "scale" => !(data_type.is_integer() || data_type.is_null()),
            _ => !self.accepts(data_type),
        });
        let Some((name, data_type)) = wrong else {
            return Ok(());
        };
        let camel = self.conversion.camel;
        Err(FunnelError::WrongType {
            message: format!("{camel}() can't take {data_type} as {name}"),
            hint: match *name {
                "zone" => "Give the name of a time zone as text.".to_owned(),
                "scale" => "Give the number of digits, 0 to 6.".to_owned(),
                _ => "Give a number, text, timestamp or date.".to_owned(),
            },
        })
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        data_type.is_null()
            || data_type.is_numeric()
            || data_type.is_string()
            || matches!(
                data_type,
                DataType::Timestamp(..) | DataType::Date32 | DataType::Boolean
            )
    }
}

impl ScalarUDFImpl for ClickHouse {
    fn name(&self) -> &str {
        self.conversion.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Never fails: the check of the return type says what is wrong, with its SQLSTATE.
    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.iter().map(plain).collect())
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        self.check_count(coerced.len())?;
        self.check_types(coerced)?;
        Ok(self.conversion.to.data_type())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = call.args.first() else {
            return Err(internal_datafusion_err!("a conversion without an argument"));
        };
        let session = call.config_options.execution.time_zone.as_deref();
        let settings = Settings {
            zone: self
                .zone(&call)?
                .unwrap_or_else(|| session.unwrap_or(UTC).to_owned()),
            scale: self.scale(&call)?,
        };
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let rows = if is_scalar { 1 } else { call.number_rows };
        let converted = convert(&value.to_array(rows)?, self.conversion, &settings)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?),
            false => ColumnarValue::Array(converted),
        })
    }

    /// A conversion that is a cast becomes one: files can be skipped by it.
    fn simplify(
        &self,
        mut arguments: Vec<Expr>,
        context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        let [value] = arguments.as_slice() else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let zone = context.config_options().execution.time_zone.as_deref();
        let from = context.get_data_type(value)?;
        if !self.conversion.to.is_cast_of(&from, zone.unwrap_or(UTC)) {
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        let to = self.conversion.to.data_type();
        let value = arguments.swap_remove(0);
        Ok(ExprSimplifyResult::Simplified(cast(value, to)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.page)
    }
}

/// What a call says beside its value.
struct Settings {
    /// The zone of texts and times that have none.
    zone: String,
    /// Digits behind the second.
    scale: u32,
}

impl ClickHouse {
    /// An argument that has to be the same for every row; nothing where it is left out or NULL.
    fn constant(
        &self,
        call: &ScalarFunctionArgs,
        name: &str,
    ) -> Result<Option<ScalarValue>, FunnelError> {
        let place = self.conversion.arguments.iter().position(|n| *n == name);
        match place.and_then(|at| call.args.get(at)) {
            None => Ok(None),
            Some(ColumnarValue::Scalar(value)) => Ok((!value.is_null()).then(|| value.clone())),
            Some(ColumnarValue::Array(_)) => Err(FunnelError::InvalidArgument {
                message: format!("{}() needs a constant {name}", self.conversion.camel),
                hint: format!("Write the {name} as a literal."),
            }),
        }
    }

    /// The zone that the call names.
    fn zone(&self, call: &ScalarFunctionArgs) -> Result<Option<String>, FunnelError> {
        let zone = self.constant(call, "zone")?;
        let Some(zone) = zone.and_then(|zone| zone.try_as_str().flatten().map(str::to_owned))
        else {
            return Ok(None);
        };
        match zone.parse::<Tz>() {
            Ok(_) => Ok(Some(zone)),
            Err(_) => Err(FunnelError::InvalidArgument {
                message: format!("time zone \"{zone}\" does not exist"),
                hint: "Write a zone as 'Asia/Shanghai' or '+08:00'.".to_owned(),
            }),
        }
    }

    /// The digits behind the second; 6 for a function that doesn't cut.
    fn scale(&self, call: &ScalarFunctionArgs) -> Result<u32> {
        const MOST: i64 = 6;
        let Some(scale) = self.constant(call, "scale")? else {
            return Ok(6);
        };
        match scale.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(scale @ 0..=MOST)) => Ok(scale.unsigned_abs() as u32),
            other => Err(FunnelError::InvalidArgument {
                message: format!("{}() has no scale {other}", self.conversion.camel),
                hint: "Give a number of digits from 0 to 6.".to_owned(),
            }
            .into()),
        }
    }
}

/// The few types that the conversions see: one of texts, one of dates.
fn plain(given: &DataType) -> DataType {
    match given {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Date64 => DataType::Date32,
        DataType::Dictionary(_, value) => plain(value),
        DataType::Float16 => DataType::Float32,
        other => other.clone(),
    }
}

/// Converts each value; NULL stays NULL.
fn convert(values: &ArrayRef, conversion: &Conversion, settings: &Settings) -> Result<ArrayRef> {
    let to = conversion.to;
    let name = conversion.camel;
    if values.data_type().is_null() {
        return Ok(datafusion::arrow::array::new_null_array(
            &to.data_type(),
            values.len(),
        ));
    }
    match to {
        Target::Integer { least, most } => number::integers(values, least..=most, name),
        Target::Float32 | Target::Float64 => number::floats(values, &to.data_type()),
        Target::Text => words::texts(values, settings),
        Target::Second => instant::cut(&instant::instants(values, SECOND, settings, name)?, 0),
        Target::Instant { per_second } => instant::cut(
            &instant::instants(values, per_second, settings, name)?,
            settings.scale,
        ),
        Target::Epoch { per_second } => instant::epochs(
            &instant::instants(values, SECOND, settings, name)?,
            per_second,
        ),
        Target::Date => instant::dates(values, settings, name),
        Target::Digits { with_day } => {
            instant::digits(&instant::dates(values, settings, name)?, with_day)
        }
    }
}

/// `name(x, scale [, zone])`.
fn syntax(conversion: &Conversion, name: &str) -> String {
    let (required, optional) = conversion.arguments.split_at(conversion.required);
    let optional: String = optional.iter().map(|name| format!(" [, {name}]")).collect();
    format!("{name}({}{optional})", required.join(", "))
}

fn documentation(conversion: &Conversion) -> Documentation {
    let builder = Documentation::builder(
        DOC_SECTION_OTHER,
        conversion.description,
        syntax(conversion, conversion.name),
    );
    let about = |name: &str| match name {
        "x" => "The value to convert.",
        "scale" => "How many digits behind the second stay: 0 to 6.",
        _ => "The zone of texts and of times without one; the session's when left out.",
    };
    conversion
        .arguments
        .iter()
        .fold(builder, |page, name| page.with_argument(*name, about(name)))
        .build()
}

#[cfg(test)]
mod tests;

//! Casts as Postgres makes them: `x::text`, `'12.7'::int`, `'leads'::regclass`, `'{1,2}'::int[]`.
//!
//! A cast to the type `t` is the function `cast_as_t`, to an array of it `cast_as__t`. Where DataFusion's own cast
//! means the same, the function is simplified to that one, so that filters reach a scan as before.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, GenericListArray,
    IntervalMonthDayNanoArray, PrimitiveArray, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::function::{Result, fault};
use super::names_of_objects::{Names, NoNames};
use super::style::Locale;
use super::types::{self, PgType, Storage};
use super::{datetime, json, text};
use crate::error::Fault;

/// A cast to one type.
#[derive(Debug, Clone)]
pub struct CastAs {
    name: String,
    kind: &'static PgType,
    array: bool,
    signature: Signature,
    names: Arc<dyn Names>,
}

/// The cast to `timestamptz`.
pub fn to_instant() -> ScalarUDF {
    let names: Arc<dyn Names> = Arc::new(NoNames);
    cast_as(&types::INSTANT, false, &names)
}

/// The casts to all types.
pub fn all(names: &Arc<dyn Names>) -> Vec<ScalarUDF> {
    types::TYPES
        .iter()
        .flat_map(|kind| [cast_as(kind, false, names), cast_as(kind, true, names)])
        .collect()
}

/// The cast to a type, or to the array of it.
fn cast_as(kind: &'static PgType, array: bool, names: &Arc<dyn Names>) -> ScalarUDF {
    let name = match array {
        true => format!("cast_as__{}", kind.name),
        false => format!("cast_as_{}", kind.name),
    };
    let signature = Signature::variadic_any(Volatility::Stable);
    ScalarUDF::from(CastAs {
        name,
        kind,
        array,
        signature,
        names: Arc::clone(names),
    })
}

// There is one cast of a name.
impl PartialEq for CastAs {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for CastAs {}

impl Hash for CastAs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CastAs {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(format!(
            "the type of {} depends on its fields",
            self.name
        )))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(source) = arguments.arg_fields.first() else {
            return fault(Fault::Semantic, "a cast needs a value");
        };
        let modifiers: Vec<i64> = arguments
            .scalar_arguments
            .iter()
            .skip(1)
            .filter_map(|value| integer(value.as_ref()?))
            .collect();
        let literal = arguments.scalar_arguments.first().copied().flatten();
        self.check(source, literal)?;
        Ok(Arc::new(
            self.target(source, literal, &modifiers)
                .with_name(&self.name),
        ))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Some(value), Some(source)) = (arguments.args.first(), arguments.arg_fields.first())
        else {
            return fault(Fault::Semantic, "a cast needs a value");
        };
        let scalar = matches!(value, ColumnarValue::Scalar(_));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let zone = types::session_zone(&arguments.config_options);
        let values = types::in_zone(&value.to_array(rows)?, zone)?;
        let seen = self.names.seen_by(&arguments.config_options);
        let context = Context {
            names: seen.as_ref().unwrap_or(&self.names).as_ref(),
            locale: &Locale::of_session(&arguments.config_options),
        };
        let result = match self.array {
            true => context.array(&values, source, &arguments.return_field, self.kind)?,
            false => context.value(&values, source, &arguments.return_field, self.kind)?,
        };
        match scalar && result.len() == 1 {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }

    fn simplify(
        &self,
        mut arguments: Vec<Expr>,
        info: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        let original = ExprSimplifyResult::Original;
        let Some(value) = arguments.first() else {
            return Ok(original(arguments));
        };
        let source = value.to_field(info.schema().as_ref())?.1;
        let modifiers: Vec<i64> = arguments
            .iter()
            .skip(1)
            .filter_map(literal_integer)
            .collect();
        let literal = match value {
            Expr::Literal(literal, _) => Some(literal),
            _ => None,
        };
        let target = self.target(&source, literal, &modifiers);
        let zone = types::session_zone(info.config_options());
        if let Some(literal) = literal
            && is_temporal(target.data_type())
            && target.metadata().is_empty()
            && source.metadata().is_empty()
        {
            // A scan can be told of a moment, and can't of a call. What can't be read is an error when it is run.
            let context = Context {
                names: &NoNames,
                locale: &Locale::of_session(info.config_options()),
            };
            let values = types::in_zone(&literal.to_array()?, zone)?;
            let read = context.value(&values, &source, &target, self.kind);
            return Ok(match read {
                Ok(read) => {
                    let moment = ScalarValue::try_from_array(&read, 0)?;
                    let moment = moment.cast_to(target.data_type())?;
                    ExprSimplifyResult::Simplified(Expr::Literal(moment, None))
                }
                Err(_) => original(arguments),
            });
        }
        let unmarked = source.metadata().is_empty() && target.metadata().is_empty();
        let (from, to) = (source.data_type(), target.data_type());
        // Between an instant and a local time lies the session's zone.
        let moves = is_temporal(from) && is_temporal(to) && is_instant(from) != is_instant(to);
        if !unmarked || self.array || !means_the_same(from, to) || moves && zone != types::UTC {
            return Ok(original(arguments));
        }
        let value = arguments.swap_remove(0);
        Ok(ExprSimplifyResult::Simplified(
            match source.data_type() == target.data_type() {
                true => value,
                false => Expr::Cast(Cast::new(Box::new(value), target.data_type().clone())),
            },
        ))
    }
}

/// Reads the texts that another database wrote as values of a column's type: as a cast would, and a text as it is.
///
/// # Errors
/// The cast's, for a text that isn't of the type.
pub fn of_texts(texts: &StringArray, target: &Field) -> Result<ArrayRef> {
    let name = types::type_of(target);
    let context = Context {
        names: &NoNames,
        locale: &Locale::default(),
    };
    if let Some(element) = name.strip_prefix('_').and_then(types::by_name) {
        let source = Field::new("", DataType::Utf8, true);
        let values: ArrayRef = Arc::new(texts.clone());
        return context.array(&values, &source, target, element);
    }
    match types::by_name(&name) {
        Some(kind) => context.read(texts, target, kind),
        None => Ok(cast(texts, target.data_type())?),
    }
}

fn is_temporal(kind: &DataType) -> bool {
    matches!(kind, DataType::Date32 | DataType::Timestamp(..))
}

fn is_instant(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(_, Some(_)))
}

/// Whether DataFusion's cast between these types gives Postgres' value; between instants and local times in UTC.
fn means_the_same(from: &DataType, to: &DataType) -> bool {
    use DataType as A;
    let is_text = |kind: &DataType| matches!(kind, A::Utf8 | A::LargeUtf8 | A::Utf8View);
    let is_wider = to.primitive_width() >= from.primitive_width();
    from == to
        || (is_text(from) && is_text(to))
        || (from.is_integer() && (to.is_integer() && is_wider || to.is_floating()))
        || (is_temporal(from) && is_temporal(to))
        || (from.is_floating() && to.is_floating() && is_wider)
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(value) => *value,
        ScalarValue::Int32(value) => value.map(i64::from),
        _ => None,
    }
}

fn literal_integer(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(value, _) => integer(value),
        _ => None,
    }
}

/// The types of numbers, times and bytes, between which there are only some casts.
const PLAIN: [&str; 13] = [
    "bool",
    "bytea",
    "date",
    "float4",
    "float8",
    "int2",
    "int4",
    "int8",
    "interval",
    "numeric",
    "time",
    "timestamp",
    "timestamptz",
];

/// Whether values of one of these types can be cast to another. What else there is, is looked at when it is cast.
fn there_is(from: &str, to: &str) -> bool {
    let is_number = |kind: &str| {
        matches!(
            kind,
            "int2" | "int4" | "int8" | "float4" | "float8" | "numeric"
        )
    };
    let is_whole = |kind: &str| matches!(kind, "int2" | "int4" | "int8");
    match (from, to) {
        (from, to) if !PLAIN.contains(&from) || !PLAIN.contains(&to) => true,
        (from, to) if from == to || is_number(from) && is_number(to) => true,
        ("bool", kind) | (kind, "bool") => is_whole(kind),
        ("date", to) => matches!(to, "timestamp" | "timestamptz"),
        ("timestamp" | "timestamptz", to) => {
            matches!(to, "date" | "time" | "timestamp" | "timestamptz")
        }
        ("time", "interval") | ("interval", "time") => true,
        _ => false,
    }
}

impl CastAs {
    /// Refuses casts that there aren't.
    fn check(&self, source: &Field, literal: Option<&ScalarValue>) -> Result<()> {
        let kind = types::type_of(source);
        let from = match literal {
            // A number of the statement that fits is an integer.
            Some(ScalarValue::Int64(Some(number))) if i32::try_from(*number).is_ok() => "int4",
            _ => kind.as_str(),
        };
        let to = self.kind.name;
        let exists = match (from.strip_prefix('_'), self.array) {
            (Some(from), true) => there_is(from, to),
            (None, false) => there_is(from, to),
            (Some(from), false) => !PLAIN.contains(&from) || !PLAIN.contains(&to),
            (None, true) => !PLAIN.contains(&from),
        };
        if exists || source.data_type().is_null() {
            return Ok(());
        }
        let to = match self.array {
            true => format!("_{to}"),
            false => to.to_owned(),
        };
        let [from, to] = [from, to.as_str()].map(|kind| types::sql_name(kind, -1));
        fault(
            Fault::CannotCoerce,
            format!("cannot cast type {from} to {to}"),
        )
    }

    /// The field of the result.
    fn target(&self, source: &Field, literal: Option<&ScalarValue>, modifiers: &[i64]) -> Field {
        if self.array {
            let written = literal.and_then(|literal| literal.try_as_str().flatten());
            let dimensions = match written {
                Some(text) => written_dimensions(text),
                None => dimensions_of(source.data_type()),
            };
            let element = self.kind.storage.arrow();
            let list =
                (1..dimensions).fold(types::list_of(element), |list, _| types::list_of(list));
            let field = Field::new("", list, true);
            return types::marked(field, &format!("_{}", self.kind.name));
        }
        if self.kind.storage == Storage::Numeric {
            return numeric_field(source, literal, modifiers);
        }
        let field = types::field("", self.kind.name);
        match (self.kind.name, modifiers) {
            ("varchar" | "bpchar", [length, ..]) => {
                let mut metadata = field.metadata().clone();
                metadata.insert(types::MODIFIER_KEY.to_owned(), (length + 4).to_string());
                field.with_metadata(metadata)
            }
            _ => field,
        }
    }
}

/// How many arrays a type has in each other; none for what is no array.
pub fn dimensions_of(kind: &DataType) -> usize {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            1 + dimensions_of(item.data_type())
        }
        _ => 0,
    }
}

/// How many dimensions the text of an array has: `{{1,2},{3,4}}` has two.
fn written_dimensions(text: &str) -> usize {
    let opening = text.chars().filter(|c| !c.is_whitespace());
    opening.take_while(|c| *c == '{').count()
}

/// `numeric(p,s)` as it says; `numeric` with the digits that its source has.
fn numeric_field(source: &Field, literal: Option<&ScalarValue>, modifiers: &[i64]) -> Field {
    if let [precision, scale] = modifiers
        && let (Ok(precision), Ok(scale)) = (u8::try_from(*precision), i8::try_from(*scale))
    {
        return Field::new(
            "",
            DataType::Decimal128(precision.clamp(1, 38), scale),
            true,
        );
    }
    let free = || {
        types::marked_always(
            Field::new("", DataType::Decimal128(38, 10), true),
            "numeric",
        )
    };
    match source.data_type() {
        DataType::Decimal128(_, scale) => {
            let field = Field::new("", DataType::Decimal128(38, *scale), true);
            field.with_metadata(source.metadata().clone())
        }
        kind if kind.is_integer() => Field::new("", DataType::Decimal128(38, 0), true),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            let written = literal.and_then(|literal| literal.try_as_str().flatten());
            match written.map(|text| {
                text.split_once('.')
                    .map_or(0, |(_, part)| part.trim().len())
            }) {
                Some(digits)
                    if digits <= 30 && !written.unwrap_or_default().contains(['e', 'E']) =>
                {
                    Field::new(
                        "",
                        DataType::Decimal128(38, i8::try_from(digits).unwrap_or(10)),
                        true,
                    )
                }
                _ => free(),
            }
        }
        _ => free(),
    }
}

/// A text as a value of the type of that name, as `'12'::integer` reads it.
///
/// # Errors
/// As [`from_texts`].
pub fn of_literal(text: &str, kind: &str, locale: &Locale) -> Result<ScalarValue> {
    let target = match kind {
        "numeric" => {
            let written = ScalarValue::from(text);
            numeric_field(&Field::new("", DataType::Utf8, true), Some(&written), &[])
        }
        kind => types::field("", kind),
    };
    let read = from_texts(&StringArray::from(vec![text]), &target, locale)?;
    ScalarValue::try_from_array(&read, 0)
}

/// Texts as values of a column's type, as `'12'::integer` reads them.
///
/// # Errors
/// 22P02 and its kin for a text that is no value of the type; 0A000 for a type that has no texts.
pub fn from_texts(texts: &StringArray, target: &Field, locale: &Locale) -> Result<ArrayRef> {
    let values: ArrayRef = Arc::new(texts.clone());
    let source = Field::new("", DataType::Utf8, true);
    from_values(&values, &source, target, locale)
}

/// Values of one type as those of another, as a cast makes them.
///
/// # Errors
/// The cast's; 0A000 for a type that has no texts.
pub fn from_values(
    values: &ArrayRef,
    source: &Field,
    target: &Field,
    locale: &Locale,
) -> Result<ArrayRef> {
    let names = super::function::no_names();
    let context = Context {
        names: names.as_ref(),
        locale,
    };
    let kind = types::type_of(target);
    let read = match types::by_name(&kind) {
        Some(kind) => context.value(values, source, target, kind)?,
        None => match kind.strip_prefix('_').and_then(types::by_name) {
            Some(element) => context.array(values, source, target, element)?,
            None => {
                return Err(DataFusionError::NotImplemented(format!(
                    "type {kind} can't be read from text"
                )));
            }
        },
    };
    if let (DataType::Decimal128(precision, _), Some(numbers)) = (
        target.data_type(),
        read.as_primitive_opt::<Decimal128Type>(),
    ) {
        check_precision(numbers, *precision)?;
    }
    Ok(read)
}

/// Refuses numbers of more digits than a numeric has.
fn check_precision(numbers: &Decimal128Array, precision: u8) -> Result<()> {
    match numbers.validate_decimal_precision(precision) {
        Ok(()) => Ok(()),
        Err(_) => fault(Fault::OutOfRange, "numeric field overflow"),
    }
}

fn numerics(numbers: Vec<Option<i128>>, precision: u8, scale: i8) -> Result<Decimal128Array> {
    let numbers = Decimal128Array::from(numbers).with_precision_and_scale(precision, scale)?;
    check_precision(&numbers, precision)?;
    Ok(numbers)
}

/// Floats as numerics, by the digits that are sure of them: 15 of a double, 6 of a real, as Postgres has it, so that `1.255` is
/// rounded up.
fn of_floats(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = target else {
        return fault(Fault::Internal, "a numeric is no decimal");
    };
    let behind_first = match values.data_type() {
        DataType::Float64 => 14,
        _ => 5,
    };
    let doubles = cast(values, &DataType::Float64)?;
    let read = |number: f64| {
        let text = format!("{number:.behind_first$e}");
        match decimal(&text, *scale) {
            Some(number) => Ok(number),
            None => fault(Fault::OutOfRange, "numeric field overflow"),
        }
    };
    let numbers = doubles.as_primitive::<Float64Type>().iter();
    let numbers = numbers.map(|number| number.map(read).transpose());
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(numerics(numbers, *precision, *scale)?))
}

/// What a cast needs beside its values.
struct Context<'a> {
    names: &'a dyn Names,
    locale: &'a Locale,
}

impl Context<'_> {
    fn value(
        &self,
        values: &ArrayRef,
        source: &Field,
        target: &Field,
        kind: &PgType,
    ) -> Result<ArrayRef> {
        let is_text = matches!(
            values.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
        );
        if kind.storage == Storage::Text {
            return self.text(values, source, target, kind);
        }
        if is_text {
            let texts = cast(values, &DataType::Utf8)?;
            return self.read(texts.as_string::<i32>(), target, kind);
        }
        let from = values.data_type();
        match kind.storage {
            Storage::Bool if from.is_integer() => {
                let numbers = cast(values, &DataType::Int64)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                Ok(Arc::new(
                    numbers
                        .iter()
                        .map(|n| n.map(|n| n != 0))
                        .collect::<BooleanArray>(),
                ))
            }
            Storage::Int2 => whole::<Int16Type>(values, "smallint"),
            Storage::Int4 => whole::<Int32Type>(
                values,
                if kind.name == "int4" {
                    "integer"
                } else {
                    kind.name
                },
            ),
            Storage::Int8 => whole::<Int64Type>(values, "bigint"),
            Storage::Numeric if from.is_floating() => of_floats(values, target.data_type()),
            Storage::Timestamp | Storage::Instant if is_temporal(from) => {
                self.moments(values, target.data_type())
            }
            Storage::Interval if matches!(from, DataType::Time64(_)) => {
                let times = cast(values, &DataType::Time64(TimeUnit::Microsecond))?;
                let times = times.as_primitive::<Time64MicrosecondType>().iter();
                let length = |us: i64| IntervalMonthDayNano::new(0, 0, us * 1000);
                let lengths = times.map(|time| time.map(length));
                Ok(Arc::new(lengths.collect::<IntervalMonthDayNanoArray>()))
            }
            _ => {
                let moved = self.moved(values, target.data_type())?;
                let read = checked_cast(&moved, target.data_type(), kind)?;
                if let DataType::Decimal128(precision, _) = target.data_type() {
                    check_precision(read.as_primitive(), *precision)?;
                }
                Ok(read)
            }
        }
    }

    /// Days and moments as moments. To Arrow, infinity would be out of range.
    fn moments(&self, values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
        let moments = match values.data_type() {
            DataType::Date32 => {
                let zone = match is_instant(target) {
                    true => self.locale.zone.as_str(),
                    false => types::UTC,
                };
                datetime::midnights(values.as_primitive::<Date32Type>(), zone)?
            }
            _ => {
                let moved = self.moved(values, target)?;
                let zone = is_instant(moved.data_type()).then(|| types::UTC.into());
                let kind = DataType::Timestamp(TimeUnit::Microsecond, zone);
                let moments = cast(&moved, &kind)?;
                moments.as_primitive::<TimestampMicrosecondType>().clone()
            }
        };
        let zone = is_instant(target).then(|| types::UTC.into());
        Ok(Arc::new(moments.with_timezone_opt::<Arc<str>>(zone)))
    }

    /// Instants as local times of the session where they are to be such, and local times as instants.
    fn moved(&self, values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
        let from = values.data_type();
        let to_local = is_instant(from)
            && matches!(
                target,
                DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(_, None)
            );
        let to_instant = is_temporal(from) && !is_instant(from) && is_instant(target);
        if self.locale.zone == types::UTC || !(to_local || to_instant) {
            return Ok(Arc::clone(values));
        }
        let zone = to_local.then(|| types::UTC.into());
        let moments = cast(values, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
        let moments = moments.as_primitive::<TimestampMicrosecondType>();
        let moved = |us: i64| match us {
            // Infinity is everywhere the same.
            i64::MIN | i64::MAX => Ok(us),
            us if to_local => datetime::local_us(us, &self.locale.zone),
            us => datetime::utc_us(us, &self.locale.zone),
        };
        let moved = moments.iter().map(|us| us.map(moved).transpose());
        let moved = moved.collect::<Result<TimestampMicrosecondArray>>()?;
        Ok(match to_local {
            true => Arc::new(moved),
            false => Arc::new(moved.with_timezone(types::UTC)),
        })
    }

    /// The texts of values, as the types that are kept as texts want them.
    fn text(
        &self,
        values: &ArrayRef,
        source: &Field,
        target: &Field,
        kind: &PgType,
    ) -> Result<ArrayRef> {
        let mut texts = text::texts(values, source, self.names, self.locale.style)?;
        if *values.data_type() == DataType::Boolean {
            let word = |text: &str| if text == "t" { "true" } else { "false" };
            texts = texts.iter().map(|text| text.map(word)).collect();
        }
        let length = target
            .metadata()
            .get(types::MODIFIER_KEY)
            .and_then(|n| n.parse::<usize>().ok());
        let read = |text: &str| -> Result<String> {
            Ok(match kind.name {
                "varchar" | "bpchar" => match length {
                    Some(length) => text.chars().take(length.saturating_sub(4)).collect(),
                    None => text.to_owned(),
                },
                "name" => text.chars().take(63).collect(),
                "char" => text.chars().take(1).collect(),
                "uuid" => uuid(text)?,
                "inet" => inet(text)?,
                "json" => json::checked(text)?,
                "jsonb" => json::normal(text)?,
                "money" => money(text)?,
                _ => text.to_owned(),
            })
        };
        let plain = matches!(kind.name, "text") || texts.is_empty();
        if plain {
            return Ok(Arc::new(texts));
        }
        let converted = texts.iter().map(|text| text.map(read).transpose());
        Ok(Arc::new(converted.collect::<Result<StringArray>>()?))
    }

    /// Reads texts as values of a type.
    fn read(&self, texts: &StringArray, target: &Field, kind: &PgType) -> Result<ArrayRef> {
        Ok(match kind.storage {
            Storage::Bool => {
                let read = |text: &str| match boolean(text) {
                    Some(value) => Ok(value),
                    None => invalid("boolean", text),
                };
                Arc::new(each(texts, read)?.into_iter().collect::<BooleanArray>())
            }
            Storage::Int2 => numbers::<Int16Type>(texts, "smallint")?,
            Storage::Int4 if kind.name.starts_with("reg") => {
                let read = |text: &str| self.object(kind.name, text);
                Arc::new(PrimitiveArray::<Int32Type>::from(each(texts, read)?))
            }
            Storage::Int4 => numbers::<Int32Type>(
                texts,
                if kind.name == "int4" {
                    "integer"
                } else {
                    kind.name
                },
            )?,
            Storage::Int8 => numbers::<Int64Type>(texts, "bigint")?,
            Storage::Float4 | Storage::Float8 => {
                let name = if kind.storage == Storage::Float4 {
                    "real"
                } else {
                    "double precision"
                };
                let single = kind.storage == Storage::Float4;
                let read = |text: &str| match float(text) {
                    None => invalid(name, text),
                    Some(number) if !fits(text, number, single) => fault(
                        Fault::OutOfRange,
                        format!("\"{}\" is out of range for type {name}", text.trim()),
                    ),
                    Some(number) => Ok(number),
                };
                let array: ArrayRef =
                    Arc::new(PrimitiveArray::<Float64Type>::from(each(texts, read)?));
                cast(&array, target.data_type())?
            }
            Storage::Numeric => {
                let DataType::Decimal128(precision, scale) = target.data_type() else {
                    return fault(Fault::Internal, "a numeric is no decimal");
                };
                let read =
                    |text: &str| decimal(text, *scale).map_or_else(|| invalid("numeric", text), Ok);
                Arc::new(numerics(each(texts, read)?, *precision, *scale)?)
            }
            Storage::Bytes => {
                let read = |text: &str| bytes(text).map_or_else(|| no_bytes(text), Ok);
                let read = each(texts, read)?;
                Arc::new(
                    read.iter()
                        .map(Option::as_deref)
                        .collect::<datafusion::arrow::array::BinaryArray>(),
                )
            }
            Storage::Date => datetime::dates(texts, self.locale)?,
            Storage::Time => datetime::times(texts, self.locale)?,
            Storage::Timestamp => datetime::timestamps(texts, self.locale)?,
            Storage::Instant => datetime::instants(texts, self.locale)?,
            Storage::Interval => datetime::intervals(texts, self.locale.style)?,
            Storage::Int2Vector | Storage::OidVector => {
                let words = |text: &str| {
                    Ok(text
                        .split_whitespace()
                        .map(|word| Some(word.to_owned()))
                        .collect())
                };
                list(each(texts, words)?, |words| {
                    Ok(cast(&(Arc::new(words) as ArrayRef), &element_of(target))?)
                })?
            }
            Storage::Text => Arc::new(texts.clone()),
        })
    }

    fn array(
        &self,
        values: &ArrayRef,
        source: &Field,
        target: &Field,
        kind: &PgType,
    ) -> Result<ArrayRef> {
        let element = types::field("", kind.name);
        match values.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                if dimensions_of(target.data_type()) > 1 =>
            {
                let texts = cast(values, &DataType::Utf8)?;
                self.array_of_arrays(texts.as_string::<i32>(), target, kind)
            }
            DataType::List(item) if matches!(item.data_type(), DataType::List(_)) => {
                let lists = values.as_list::<i32>();
                let marked = types::marked(item.as_ref().clone(), &types::type_of(source));
                with_items(lists, self.array(lists.values(), &marked, target, kind)?)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let texts = cast(values, &DataType::Utf8)?;
                let read = |text: &str| match array_elements(text) {
                    Some(elements) => Ok(elements),
                    None => malformed_array(text),
                };
                let rows = each(texts.as_string::<i32>(), read)?;
                let text_field = Field::new("", DataType::Utf8, true);
                list(rows, |texts| {
                    self.value(&(Arc::new(texts) as ArrayRef), &text_field, &element, kind)
                })
            }
            DataType::List(item) => {
                let marked = match types::type_of(source).strip_prefix('_') {
                    Some(inner) if source.metadata().contains_key(types::TYPE_KEY) => {
                        types::marked(item.as_ref().clone(), inner)
                    }
                    _ if types::type_of(source) == "oidvector" => {
                        types::marked(item.as_ref().clone(), "oid")
                    }
                    _ => item.as_ref().clone(),
                };
                let lists = values.as_list::<i32>();
                with_items(lists, self.value(lists.values(), &marked, &element, kind)?)
            }
            _ => Ok(cast(values, target.data_type())?),
        }
    }

    /// Reads `{{1,2},{3,4}}`, whose parts are arrays of the same length.
    fn array_of_arrays(
        &self,
        texts: &StringArray,
        target: &Field,
        kind: &PgType,
    ) -> Result<ArrayRef> {
        let rows = each(texts, |text| match array_parts(text) {
            Some(parts) => Ok(parts),
            None => malformed_array(text),
        })?;
        let parts: StringArray = rows.iter().flatten().flatten().map(Some).collect();
        let item = Field::new("", element_of(target), true);
        let source = Field::new("", DataType::Utf8, true);
        let inner = self.array(&(Arc::new(parts) as ArrayRef), &source, &item, kind)?;
        let lists = inner.as_list::<i32>();
        let mut start = 0;
        for (row, parts) in rows.iter().enumerate() {
            let end = start + parts.as_ref().map_or(0, Vec::len);
            let mut lengths = (start..end).map(|at| lists.value_length(at));
            let first = lengths.next().unwrap_or(1);
            if first == 0 || lengths.any(|length| length != first) {
                return malformed_array(texts.value(row));
            }
            start = end;
        }
        let lengths = rows.iter().map(|parts| parts.as_ref().map_or(0, Vec::len));
        let item = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
        Ok(Arc::new(GenericListArray::<i32>::try_new(
            item,
            OffsetBuffer::from_lengths(lengths),
            Arc::clone(&inner),
            Some(rows.iter().map(Option::is_some).collect()),
        )?))
    }

    /// The OID of an object that is named, or given by its OID.
    fn object(&self, kind: &str, text: &str) -> Result<i32> {
        let text = text.trim();
        if text == "-" {
            return Ok(0);
        }
        if let Ok(oid) = text.parse::<u32>() {
            return Ok(oid.cast_signed());
        }
        match self.names.oid(kind, text) {
            Some(oid) => Ok(oid),
            None => match kind {
                "regclass" => fault(
                    Fault::UndefinedTable,
                    format!("relation \"{text}\" does not exist"),
                ),
                "regtype" => fault(
                    Fault::UndefinedObject,
                    format!("type \"{text}\" does not exist"),
                ),
                "regnamespace" => fault(
                    Fault::UndefinedSchema,
                    format!("schema \"{text}\" does not exist"),
                ),
                "regrole" => fault(
                    Fault::UndefinedObject,
                    format!("role \"{text}\" does not exist"),
                ),
                "regproc" | "regprocedure" => fault(
                    Fault::UndefinedFunction,
                    format!("function \"{text}\" does not exist"),
                ),
                _ => fault(Fault::UndefinedObject, format!("\"{text}\" does not exist")),
            },
        }
    }
}

fn element_of(list: &Field) -> DataType {
    match list.data_type() {
        DataType::List(item) => item.data_type().clone(),
        other => other.clone(),
    }
}

/// Lists of texts, with their elements read by `read`.
fn list(
    rows: Vec<Option<Vec<Option<String>>>>,
    read: impl Fn(StringArray) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = rows.iter().map(Option::is_some).collect();
    let texts: StringArray = rows.into_iter().flatten().flatten().collect();
    let values = read(texts)?;
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        item,
        offsets,
        values,
        Some(nulls),
    )?))
}

fn each<T>(texts: &StringArray, read: impl Fn(&str) -> Result<T>) -> Result<Vec<Option<T>>> {
    texts
        .iter()
        .map(|text| text.map(&read).transpose())
        .collect()
}

/// The error about a text that isn't what it is cast to.
pub fn invalid<T>(kind: &str, text: &str) -> Result<T> {
    fault(
        Fault::InvalidText,
        format!("invalid input syntax for type {kind}: \"{text}\""),
    )
}

fn numbers<T: ArrowPrimitiveType>(texts: &StringArray, name: &str) -> Result<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let read = |text: &str| {
        let Ok(number) = text.trim().parse::<i128>() else {
            return invalid(name, text);
        };
        let out = || {
            fault(
                Fault::OutOfRange,
                format!("value \"{text}\" is out of range for type {name}"),
            )
        };
        // An OID above the middle is a negative Int32.
        if name == "oid"
            && let Ok(oid) = u32::try_from(number)
        {
            return T::Native::try_from(i128::from(oid.cast_signed())).or_else(|_| out());
        }
        T::Native::try_from(number).or_else(|_| out())
    };
    Ok(Arc::new(
        each(texts, read)?
            .into_iter()
            .collect::<PrimitiveArray<T>>(),
    ))
}

/// Numbers as whole ones: halves of a float go to the even neighbour, those of a numeric away from zero.
fn whole<T: ArrowPrimitiveType>(values: &ArrayRef, name: &str) -> Result<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let fit = |number: Option<i128>| {
        number
            .map(|number| {
                T::Native::try_from(number)
                    .or_else(|_| fault(Fault::OutOfRange, format!("{name} out of range")))
            })
            .transpose()
    };
    let fitted: Result<PrimitiveArray<T>> = match values.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let numbers = cast(values, &DataType::Float64)?;
            numbers
                .as_primitive::<Float64Type>()
                .iter()
                .map(|number| match number {
                    Some(number) if !number.is_finite() || number.abs() > 1e20 => {
                        fault(Fault::OutOfRange, format!("{name} out of range"))
                    }
                    #[allow(clippy::cast_possible_truncation, reason = "it is finite and small")]
                    number => fit(number.map(|number| number.round_ties_even() as i128)),
                })
                .collect()
        }
        DataType::Decimal128(_, scale) => {
            let unit = 10_i128.pow(u32::try_from(*scale).unwrap_or(0));
            let rounded = |number: i128| (number + number.signum() * (unit / 2)) / unit;
            values
                .as_primitive::<Decimal128Type>()
                .iter()
                .map(|number| fit(number.map(rounded)))
                .collect()
        }
        DataType::Boolean => values
            .as_boolean()
            .iter()
            .map(|value| fit(value.map(i128::from)))
            .collect(),
        kind if kind.is_integer() => {
            let numbers = cast(values, &DataType::Int64)?;
            numbers
                .as_primitive::<Int64Type>()
                .iter()
                .map(|number| fit(number.map(i128::from)))
                .collect()
        }
        other => {
            return fault(
                Fault::CannotCoerce,
                format!(
                    "cannot cast type {} to {name}",
                    types::sql_name(&types::natural(other).unwrap_or_default(), -1)
                ),
            );
        }
    };
    Ok(Arc::new(fitted?))
}

fn checked_cast(values: &ArrayRef, target: &DataType, kind: &PgType) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    match cast_with_options(values, target, &options) {
        Ok(array) => Ok(array),
        Err(_) if values.data_type().is_numeric() => fault(
            Fault::OutOfRange,
            format!("{} out of range", types::sql_name(kind.name, -1)),
        ),
        Err(_) => {
            let from = types::natural(values.data_type()).unwrap_or_default();
            let message = format!(
                "cannot cast type {} to {}",
                types::sql_name(&from, -1),
                types::sql_name(kind.name, -1)
            );
            fault(Fault::CannotCoerce, message)
        }
    }
}

/// As Postgres reads a boolean: any beginning of a word that says which.
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || text == "on" || text == "1" {
        return Some(true);
    }
    let off = begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0";
    off.then_some(false)
}

fn float(text: &str) -> Option<f64> {
    match text.trim().to_lowercase().as_str() {
        "infinity" | "+infinity" | "inf" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        "" => None,
        text => text.parse().ok(),
    }
}

/// Whether a text's number is neither too large for its type nor so small that it would be read as 0.
fn fits(text: &str, number: f64, single: bool) -> bool {
    #[allow(clippy::cast_possible_truncation, reason = "that is the question")]
    let number = if single {
        f64::from(number as f32)
    } else {
        number
    };
    // What isn't a digit before the exponent is a sign, a point, or the word of a special value.
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    match number {
        0.0 => !mantissa.contains(|digit: char| ('1'..='9').contains(&digit)),
        number => number.is_finite() || !mantissa.contains(|digit: char| digit.is_ascii_digit()),
    }
}

/// A decimal number with `scale` digits behind the point, rounded half away from zero.
pub fn decimal(text: &str, scale: i8) -> Option<i128> {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let shift = i32::from(scale) + exponent - i32::try_from(part.len()).ok()?;
    let number: i128 = all.parse().ok()?;
    let scaled = match u32::try_from(shift) {
        Ok(shift) => number.checked_mul(10_i128.checked_pow(shift)?)?,
        Err(_) => match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(unit) => (number + unit / 2) / unit,
            None => 0,
        },
    };
    Some(if negative { -scaled } else { scaled })
}

/// The bytes that a text stands for: `\x` and hexadecimal digits, or letters with escapes.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = digits
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        return match digits.len() % 2 {
            0 => digits.chunks(2).map(pair).collect(),
            _ => None,
        };
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next()? {
            b'\\' => bytes.push(b'\\'),
            first => {
                let digits = [first, rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()?);
            }
        }
    }
    Some(bytes)
}

/// The error about a text that stands for no bytes.
fn no_bytes<T>(text: &str) -> Result<T> {
    let Some(digits) = text.strip_prefix("\\x") else {
        return invalid("bytea", text);
    };
    let mut digits = digits.chars().filter(|digit| !digit.is_ascii_whitespace());
    match digits.find(|digit| !digit.is_ascii_hexdigit()) {
        Some(digit) => fault(
            Fault::InvalidArgument,
            format!("invalid hexadecimal digit: \"{digit}\""),
        ),
        None => fault(
            Fault::InvalidArgument,
            "invalid hexadecimal data: odd number of digits",
        ),
    }
}

fn uuid(text: &str) -> Result<String> {
    let digits: String = text
        .trim()
        .trim_matches(['{', '}'])
        .chars()
        .filter(|c| *c != '-')
        .collect::<String>()
        .to_lowercase();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return invalid("uuid", text);
    }
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    ))
}

/// `10.0.0.1`, `10.0.0.0/8`, `::1`; the bits of a whole address aren't written.
fn inet(text: &str) -> Result<String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return invalid("inet", text);
    };
    let all = if address.is_ipv4() { 32 } else { 128 };
    match bits.map(str::parse::<u8>) {
        None => Ok(address.to_string()),
        Some(Ok(bits)) if bits == all => Ok(address.to_string()),
        Some(Ok(bits)) if bits < all => Ok(format!("{address}/{bits}")),
        Some(_) => invalid("inet", text),
    }
}

/// `$1,234.50`
fn money(text: &str) -> Result<String> {
    let plain: String = text
        .trim()
        .chars()
        .filter(|c| !matches!(c, '$' | ','))
        .collect();
    let Some(cents) = decimal(&plain, 2) else {
        return invalid("money", text);
    };
    let sign = if cents < 0 { "-" } else { "" };
    let whole = (cents.unsigned_abs() / 100).to_string();
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    Ok(format!(
        "{sign}${grouped}.{:02}",
        cents.unsigned_abs() % 100
    ))
}

/// The same lists with other items in the places of theirs.
fn with_items(lists: &GenericListArray<i32>, items: ArrayRef) -> Result<ArrayRef> {
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
    Ok(Arc::new(GenericListArray::try_new(
        item, offsets, items, nulls,
    )?))
}

fn malformed_array<T>(text: &str) -> Result<T> {
    fault(
        Fault::InvalidText,
        format!("malformed array literal: \"{text}\""),
    )
}

/// The arrays in `{{1,2},{3,4}}` as they are written; nothing where it has something else.
fn array_parts(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for character in inner.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut()?.push(character);
    }
    let is_array = |part: &String| {
        let part = part.trim();
        part.starts_with('{') && part.ends_with('}')
    };
    (depth == 0 && parts.iter().all(is_array)).then_some(parts)
}

/// The elements of `{a,"b c",NULL}`; nothing where it is none.
pub fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    let mut characters = inner.chars().peekable();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    loop {
        let mut element = String::new();
        let mut quoted = false;
        while characters.peek().is_some_and(|c| c.is_whitespace()) {
            characters.next();
        }
        if characters.peek() == Some(&'"') {
            quoted = true;
            characters.next();
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => element.push(characters.next()?),
                    other => element.push(other),
                }
            }
            while characters.peek().is_some_and(|c| c.is_whitespace()) {
                characters.next();
            }
        } else {
            while let Some(c) = characters.peek().filter(|c| **c != ',') {
                match c {
                    '{' | '}' | '"' => return None,
                    '\\' => {
                        characters.next();
                        element.push(characters.next()?);
                        continue;
                    }
                    other => element.push(*other),
                }
                characters.next();
            }
            element.truncate(element.trim_end().len());
        }
        match quoted {
            true => elements.push(Some(element)),
            false if element.is_empty() => return None,
            false => elements.push((!element.eq_ignore_ascii_case("null")).then_some(element)),
        }
        match characters.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_are_read_as_postgres_reads_them() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(array_elements("{}"), Some(vec![]));
        assert_eq!(
            array_elements("{a,\"b,\\\"c\", NULL ,\"NULL\"}"),
            Some(vec![some("a"), some("b,\"c"), None, some("NULL")])
        );
        for malformed in ["a", "{a,}", "{a", "{\"a}"] {
            assert_eq!(array_elements(malformed), None, "{malformed}");
        }
    }

    /// Expected: PostgreSQL 15.18, `text::numeric(38, s)`.
    #[test]
    fn decimals_are_rounded_away_from_zero() {
        for (text, scale, expected) in [
            ("1.5", 0, Some(2)),
            ("-1.5", 0, Some(-2)),
            ("1e3", 2, Some(100_000)),
            (".5", 1, Some(5)),
            ("12.7x", 1, None),
            ("", 0, None),
        ] {
            assert_eq!(decimal(text, scale), expected, "{text}");
        }
    }

    #[test]
    fn arrays_of_arrays_are_read() {
        let parts = |text| array_parts(text).map(|parts| parts.join(" "));
        assert_eq!(parts("{{1,2},{3,4}}").as_deref(), Some("{1,2} {3,4}"));
        let quoted = r#"{{a,"},{"},{b,c}}"#;
        assert_eq!(parts(quoted).as_deref(), Some(r#"{a,"},{"} {b,c}"#));
        for text in ["{{1,2},3}", "{{1,2},{3,4}", "{}", "1"] {
            assert_eq!(parts(text), None, "{text}");
        }
        assert_eq!(written_dimensions(" { {1}}"), 2);
    }

    #[test]
    fn a_beginning_of_a_word_is_a_boolean() {
        for (text, expected) in [
            ("t", Some(true)),
            ("OFF", Some(false)),
            ("o", None),
            ("y", Some(true)),
            ("2", None),
        ] {
            assert_eq!(boolean(text), expected, "{text}");
        }
    }
}

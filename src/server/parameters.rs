//! Parameters of a prepared statement: their types, and their values as a client sends them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use arrow_pg::datatypes::into_pg_type;
use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::common::{ParamValues, ScalarValue};
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::results::FieldFormat;
use pgwire::api::stmt::StoredStatement;
use pgwire::messages::extendedquery::Bind;
use postgres_types::Kind;
use uuid::Uuid;

use super::failure::Failure;
use super::texts;
use crate::engine::{numeric_text, parameter_field};
use crate::postgres::encoding::{Encoding, UTF8};
use crate::postgres::types;

/// A parameter's type on both sides.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// As the client knows it: what it declared, or what was inferred.
    pub wire: Type,
    /// What the statement takes, where that is known better than the wire type says.
    engine: Option<DataType>,
}

impl Parameter {
    /// The parameter that the client declared as `declared` and the statement takes as `inferred`.
    pub fn new(declared: Option<&Type>, inferred: &Field) -> Self {
        let engine = inferred.data_type();
        match declared {
            Some(wire) if engine_type(wire).is_some() => Self {
                wire: wire.clone(),
                engine: Some(engine.clone()),
            },
            Some(wire) => Self {
                wire: wire.clone(),
                engine: None,
            },
            None => Self {
                wire: types::wire_type(inferred)
                    .filter(is_readable)
                    .or_else(|| into_pg_type(engine).ok())
                    .unwrap_or(Type::TEXT),
                engine: Some(engine.clone()),
            },
        }
    }

    /// Reads a value, whose texts are in the client's encoding; `number` is the parameter's, from 1.
    ///
    /// # Errors
    /// 22P02 and 22P03 for a value that isn't of the type, 22021 and 22P05 for bytes that are no text.
    pub fn read(
        &self,
        number: usize,
        value: Option<Bytes>,
        binary: bool,
        encoding: &Encoding,
    ) -> Result<ScalarValue, Failure> {
        let Some(value) = value else {
            let null = self
                .engine
                .as_ref()
                .and_then(|engine| ScalarValue::try_from(engine).ok());
            return Ok(null.unwrap_or(ScalarValue::Null));
        };
        let format = if binary {
            FieldFormat::Binary
        } else {
            FieldFormat::Text
        };
        let read = match texts::is_text(&self.wire, format) {
            true => texts::decode(encoding, &value)?,
            false if texts::is_text_list(&self.wire) => texts::decode_list(encoding, &value)?,
            false => Cow::Borrowed(value.as_ref()),
        };
        let value = match read {
            Cow::Borrowed(_) => value,
            Cow::Owned(read) => Bytes::from(read),
        };
        let invalid = || match binary {
            true => Failure::ParameterBytes(number),
            false => Failure::ParameterText {
                expected: name(&self.wire),
                text: String::from_utf8_lossy(&value).into_owned(),
            },
        };
        if let (true, Kind::Array(element)) = (binary, self.wire.kind())
            && !LISTS.contains(element)
        {
            return self.read_list(number, element, &value).ok_or_else(invalid);
        }
        let (value, binary) = match binary && is_read_as_text(&self.wire) {
            true => {
                let text = text_of(&self.wire, &value).ok_or_else(invalid)?;
                (Bytes::from(text.into_owned()), false)
            }
            false => (value.clone(), binary),
        };
        // arrow-pg reads a portal's parameters; this one has a single parameter, so that a fault is its own.
        let format = vec![i16::from(binary)];
        let bind = Bind::new(None, None, format, vec![Some(value)], Vec::new());
        let wire = self.readable(binary).clone();
        let declared = StoredStatement::new(String::new(), (), vec![Some(wire)]);
        let portal = Portal::try_new(&bind, Arc::new(declared)).map_err(|_| invalid())?;
        // A numeric has as many digits as were sent, whatever those beside it have.
        let engine = self.engine.as_ref();
        let engine = engine.filter(|engine| !engine.is_decimal());
        let values = deserialize_parameters_with_server_types(&portal, &[engine], &[])
            .map_err(|_| invalid())?;
        match values {
            ParamValues::List(values) => values
                .into_iter()
                .next()
                .map(|value| value.value)
                .ok_or_else(invalid),
            ParamValues::Map(_) => Err(invalid()),
        }
    }

    /// An array in binary, each element by itself; nothing where one isn't of its type.
    fn read_list(&self, number: usize, element: &Type, value: &[u8]) -> Option<ScalarValue> {
        let item = match &self.engine {
            Some(DataType::List(item)) => item.data_type().clone(),
            _ => engine_type(element).unwrap_or(DataType::Utf8),
        };
        let reader = Self::new(Some(element), &parameter_field(item.clone()));
        let values = texts::elements(value)?.into_iter().map(|value| {
            let value = value.map(Bytes::copy_from_slice);
            let value = reader.read(number, value, true, UTF8).ok()?;
            value.cast_to(&item).ok()
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        let list = ScalarValue::new_list(&values, &item, true);
        Some(ScalarValue::List(list))
    }

    /// A type that arrow-pg has no reader for is read as text, which is how such values are kept.
    fn readable(&self, binary: bool) -> &Type {
        let textual = matches!(
            self.wire,
            Type::UUID | Type::JSON | Type::JSONB | Type::NAME | Type::BPCHAR | Type::UNKNOWN
        );
        match self.wire.kind() {
            // Their bytes are those of integers.
            _ if self.wire == Type::OID_ARRAY => &Type::INT4_ARRAY,
            _ if self.wire == Type::OID => &Type::INT4,
            _ if textual && !binary => &Type::TEXT,
            _ => &self.wire,
        }
    }
}

/// The types whose arrays arrow-pg reads in binary.
const LISTS: [Type; 12] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::TEXT,
    Type::VARCHAR,
    Type::INTERVAL,
    Type::NUMERIC,
    Type::NAME,
];

/// Whether a value in binary is read from its text: arrow-pg takes a numeric without digits behind the point for none, and reads
/// no binary of the others.
fn is_read_as_text(kind: &Type) -> bool {
    matches!(*kind, Type::NUMERIC | Type::UUID | Type::JSON | Type::JSONB)
}

/// The text of such a value; nothing for bytes that aren't of the type.
fn text_of<'a>(kind: &Type, value: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    match *kind {
        Type::NUMERIC => Some(Cow::Owned(numeric_text(value)?.into_bytes())),
        Type::UUID => {
            let uuid = Uuid::from_slice(value).ok()?;
            Some(Cow::Owned(uuid.to_string().into_bytes()))
        }
        // The version of the format comes first.
        Type::JSONB => match value.split_first()? {
            (1, text) => Some(Cow::Borrowed(text)),
            _ => None,
        },
        _ => Some(Cow::Borrowed(value)),
    }
}

/// The type with the OID that a client declared; none for 0 and for `unknown`, which leave it to us.
pub fn declared(oid: u32) -> Option<Type> {
    Type::from_oid(oid).filter(|declared| *declared != Type::UNKNOWN)
}

/// Whether values of a type can be read; clients send those of others as texts.
fn is_readable(wire: &Type) -> bool {
    match wire.kind() {
        Kind::Array(element) => is_readable(element),
        _ => engine_type(wire).is_some() || is_read_as_text(wire) || *wire == Type::OID,
    }
}

/// The engine's type for a declared one, where there is exactly one.
pub fn engine_type(declared: &Type) -> Option<DataType> {
    Some(match *declared {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UUID => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Nanosecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        // A numeric has no precision of its own; the statement says which it needs.
        _ => return None,
    })
}

/// The type's name as error messages have it.
fn name(wire: &Type) -> String {
    match *wire {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        ref other => other.name(),
    }
    .to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(parameter: &Parameter, text: &'static str) -> Result<ScalarValue, Failure> {
        parameter.read(1, Some(Bytes::from_static(text.as_bytes())), false, UTF8)
    }

    #[test]
    fn text_is_read_as_the_type_that_was_inferred() {
        let count = Parameter::new(None, &parameter_field(DataType::Int64));
        assert_eq!(text(&count, "42").unwrap(), ScalarValue::Int64(Some(42)));
        let failure = text(&count, "four").unwrap_err();
        assert_eq!(failure.code(), "22P02");
        assert_eq!(
            failure.to_string(),
            "invalid input syntax for type bigint: \"four\""
        );
        assert_eq!(
            count.read(1, None, false, UTF8).unwrap(),
            ScalarValue::Int64(None)
        );
    }

    #[test]
    fn a_declared_type_is_honoured() {
        let declared = declared(Type::INT2.oid());
        let parameter = Parameter::new(declared.as_ref(), &parameter_field(DataType::Int16));
        let value = parameter
            .read(1, Some(Bytes::from_static(&[0, 7])), true, UTF8)
            .unwrap();
        assert_eq!(value, ScalarValue::Int16(Some(7)));
        let failure = parameter
            .read(1, Some(Bytes::from_static(&[7])), true, UTF8)
            .unwrap_err();
        assert_eq!(failure.code(), "22P03");
    }

    #[test]
    fn a_number_without_precision_is_read_as_it_is() {
        let parameter = Parameter::new(Some(&Type::NUMERIC), &parameter_field(DataType::Utf8));
        assert_eq!(
            text(&parameter, "12.50").unwrap(),
            ScalarValue::Decimal128(Some(1250), 4, 2)
        );
        let beside = parameter_field(DataType::Decimal128(10, 0));
        assert_eq!(
            text(&Parameter::new(None, &beside), "1.255").unwrap(),
            ScalarValue::Decimal128(Some(1255), 4, 3)
        );
    }

    #[test]
    fn text_like_types_are_text() {
        for wire in [Type::UUID, Type::JSON, Type::VARCHAR, Type::NAME] {
            let parameter = Parameter::new(Some(&wire), &parameter_field(DataType::Utf8));
            assert_eq!(
                text(&parameter, "漏斗").unwrap(),
                ScalarValue::from("漏斗"),
                "{wire}"
            );
        }
    }
}

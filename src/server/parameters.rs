//! Parameters of a prepared statement: their types, and their values as a client sends them.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

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
use crate::engine::{UNSCALED, numeric_text, parameter_field};
use crate::error::Error;
use crate::postgres::encoding::{Encoding, UTF8};
use crate::postgres::style::Locale;
use crate::postgres::{casts, types};

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

    /// Reads a value, whose texts are in the client's encoding and time zone; `number` is the parameter's, from 1.
    ///
    /// # Errors
    /// 22P02, 22P03 and their kin for a value that isn't of the type, 22021 and 22P05 for bytes that are no text.
    pub fn read(
        &self,
        number: usize,
        value: Option<Bytes>,
        binary: bool,
        client: Client<'_>,
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
            true => texts::decode(client.encoding, &value)?,
            false if texts::is_text_list(&self.wire) => {
                texts::decode_list(client.encoding, &value)?
            }
            false => Cow::Borrowed(value.as_ref()),
        };
        let invalid = || Failure::ParameterBytes(number);
        if !binary {
            return self.read_text(&read, client.locale);
        }
        let value = match read {
            Cow::Borrowed(_) => value,
            Cow::Owned(read) => Bytes::from(read),
        };
        if let Kind::Array(element) = self.wire.kind()
            && !LISTS.contains(element)
        {
            return self.read_list(number, element, &value).ok_or_else(invalid);
        }
        if is_read_as_text(&self.wire) {
            let text = text_of(&self.wire, &value).ok_or_else(invalid)?;
            return self.read_text(&text, client.locale).map_err(|_| invalid());
        }
        // arrow-pg reads a portal's parameters; this one has a single parameter, so that a fault is its own.
        let bind = Bind::new(None, None, vec![1], vec![Some(value)], Vec::new());
        let declared = StoredStatement::new(String::new(), (), vec![Some(self.readable())]);
        let portal = Portal::try_new(&bind, Arc::new(declared)).map_err(|_| invalid())?;
        let values =
            deserialize_parameters_with_server_types(&portal, &[self.engine.as_ref()], &[])
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

    /// A text, as a literal is read that is cast to the type.
    fn read_text(&self, text: &[u8], locale: &Locale) -> Result<ScalarValue, Failure> {
        let text = String::from_utf8_lossy(text);
        let kind = match self.wire {
            Type::UNKNOWN => "text",
            ref wire => wire.name(),
        };
        let read = casts::of_literal(&text, kind, locale).and_then(|read| match &self.engine {
            // A numeric has as many digits as were sent, whatever those beside it have; where it is assigned, it is rounded.
            Some(engine) if !read.data_type().is_decimal() => read.cast_to(engine),
            _ => Ok(read),
        });
        Ok(read.map_err(|error| Error::from_engine(&error, ""))?)
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
            let value = reader.read(number, value, true, Client::unsaid()).ok()?;
            value.cast_to(&item).ok()
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        let list = ScalarValue::new_list(&values, &item, true);
        Some(ScalarValue::List(list))
    }

    /// The type whose bytes are the same and that arrow-pg reads.
    fn readable(&self) -> Type {
        match self.wire {
            Type::OID_ARRAY => Type::INT4_ARRAY,
            Type::OID => Type::INT4,
            ref wire => wire.clone(),
        }
    }
}

/// What a client's values are read with.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The encoding of its texts.
    pub encoding: &'static Encoding,
    /// The session's time zone and formats.
    pub locale: &'a Locale,
}

impl Client<'_> {
    /// For values that depend on neither.
    fn unsaid() -> Client<'static> {
        static LOCALE: LazyLock<Locale> = LazyLock::new(Locale::default);
        Client {
            encoding: UTF8,
            locale: &LOCALE,
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
        Type::NUMERIC => UNSCALED,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(parameter: &Parameter, text: &'static str) -> Result<ScalarValue, Failure> {
        let value = Bytes::from_static(text.as_bytes());
        parameter.read(1, Some(value), false, Client::unsaid())
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
            count.read(1, None, false, Client::unsaid()).unwrap(),
            ScalarValue::Int64(None)
        );
    }

    /// Expected: PostgreSQL 15.18.
    #[test]
    fn a_moment_is_read_as_a_literal_is() {
        let of = |wire: Type| {
            let engine = parameter_field(engine_type(&wire).unwrap());
            Parameter::new(Some(&wire), &engine)
        };
        let parameter = of(Type::TIMESTAMP);
        let midnight = ScalarValue::TimestampMicrosecond(Some(1_767_225_600_000_000), None);
        for written in ["2026-01-01", "2026-01-01 00:00", "2026-01-01T00:00:00.000Z"] {
            assert_eq!(text(&parameter, written).unwrap(), midnight, "{written}");
        }
        let failure = text(&parameter, "2026-13-01").unwrap_err();
        assert_eq!(failure.code(), "22008");
        let instant = of(Type::TIMESTAMPTZ);
        let shanghai = Client {
            encoding: UTF8,
            locale: &Locale {
                zone: "Asia/Shanghai".to_owned(),
                ..Locale::default()
            },
        };
        let read = instant.read(
            1,
            Some(Bytes::from_static(b"2026-01-01 08:00")),
            false,
            shanghai,
        );
        let midnight = 1_767_225_600_000_000;
        assert_eq!(
            read.unwrap(),
            ScalarValue::TimestampMicrosecond(Some(midnight), Some("UTC".into()))
        );
    }

    #[test]
    fn a_declared_type_is_honoured() {
        let declared = declared(Type::INT2.oid());
        let parameter = Parameter::new(declared.as_ref(), &parameter_field(DataType::Int16));
        let value = parameter
            .read(1, Some(Bytes::from_static(&[0, 7])), true, Client::unsaid())
            .unwrap();
        assert_eq!(value, ScalarValue::Int16(Some(7)));
        let failure = parameter
            .read(1, Some(Bytes::from_static(&[7])), true, Client::unsaid())
            .unwrap_err();
        assert_eq!(failure.code(), "22P03");
    }

    #[test]
    fn a_number_without_precision_is_read_as_it_is() {
        let parameter = Parameter::new(Some(&Type::NUMERIC), &parameter_field(DataType::Utf8));
        assert_eq!(
            text(&parameter, "12.50").unwrap(),
            ScalarValue::Decimal128(Some(1250), 38, 2)
        );
        let beside = parameter_field(DataType::Decimal128(10, 0));
        assert_eq!(
            text(&Parameter::new(None, &beside), "1.255").unwrap(),
            ScalarValue::Decimal128(Some(1255), 38, 3)
        );
    }

    #[test]
    fn text_like_types_are_text() {
        for wire in [Type::TEXT, Type::BPCHAR, Type::VARCHAR, Type::NAME] {
            let parameter = Parameter::new(Some(&wire), &parameter_field(DataType::Utf8));
            assert_eq!(
                text(&parameter, "漏斗").unwrap(),
                ScalarValue::from("漏斗"),
                "{wire}"
            );
        }
    }
}

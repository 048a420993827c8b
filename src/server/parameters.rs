//! Parameters of a prepared statement: their types, and their values as a client sends them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use arrow_pg::datatypes::into_pg_type;
use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{ParamValues, ScalarValue};
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::results::FieldFormat;
use pgwire::api::stmt::StoredStatement;
use pgwire::messages::extendedquery::Bind;

use super::failure::Failure;
use super::texts;
use crate::engine::numeric_text;
use crate::postgres::encoding::Encoding;
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
    pub fn new(declared: Option<&Type>, inferred: &DataType) -> Self {
        match declared {
            Some(wire) if engine_type(wire).is_some() => Self {
                wire: wire.clone(),
                engine: Some(inferred.clone()),
            },
            Some(wire) => Self {
                wire: wire.clone(),
                engine: None,
            },
            None => Self {
                wire: match inferred {
                    DataType::List(_) => types::natural(inferred)
                        .and_then(|kind| Type::from_oid(types::oid(&kind)))
                        .unwrap_or(Type::TEXT),
                    _ => into_pg_type(inferred).unwrap_or(Type::TEXT),
                },
                engine: Some(inferred.clone()),
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
        // arrow-pg takes a numeric without digits behind the point for none.
        let (value, binary) = match binary && self.wire == Type::NUMERIC {
            true => {
                let text = numeric_text(&value).ok_or_else(invalid)?;
                (Bytes::from(text), false)
            }
            false => (value.clone(), binary),
        };
        // arrow-pg reads a portal's parameters; this one has a single parameter, so that a fault is its own.
        let format = vec![i16::from(binary)];
        let bind = Bind::new(None, None, format, vec![Some(value)], Vec::new());
        let wire = self.readable(binary).clone();
        let declared = StoredStatement::new(String::new(), (), vec![Some(wire)]);
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

    /// A type that arrow-pg has no reader for is read as text, which is how such values are kept.
    fn readable(&self, binary: bool) -> &Type {
        let textual = matches!(
            self.wire,
            Type::UUID | Type::JSON | Type::JSONB | Type::NAME | Type::BPCHAR | Type::UNKNOWN
        );
        if self.wire == Type::OID_ARRAY {
            // Their bytes are those of integers.
            &Type::INT4_ARRAY
        } else if textual && !binary {
            &Type::TEXT
        } else {
            &self.wire
        }
    }
}

/// The type with the OID that a client declared; none for 0 and for `unknown`, which leave it to us.
pub fn declared(oid: u32) -> Option<Type> {
    Type::from_oid(oid).filter(|declared| *declared != Type::UNKNOWN)
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
    use crate::postgres::encoding::UTF8;

    fn text(parameter: &Parameter, text: &'static str) -> Result<ScalarValue, Failure> {
        parameter.read(1, Some(Bytes::from_static(text.as_bytes())), false, UTF8)
    }

    #[test]
    fn text_is_read_as_the_type_that_was_inferred() {
        let count = Parameter::new(None, &DataType::Int64);
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
        let parameter = Parameter::new(declared.as_ref(), &DataType::Int16);
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
        let parameter = Parameter::new(Some(&Type::NUMERIC), &DataType::Utf8);
        assert_eq!(
            text(&parameter, "12.50").unwrap(),
            ScalarValue::Decimal128(Some(1250), 4, 2)
        );
    }

    #[test]
    fn text_like_types_are_text() {
        for wire in [Type::UUID, Type::JSON, Type::VARCHAR, Type::NAME] {
            let parameter = Parameter::new(Some(&wire), &DataType::Utf8);
            assert_eq!(
                text(&parameter, "漏斗").unwrap(),
                ScalarValue::from("漏斗"),
                "{wire}"
            );
        }
    }
}

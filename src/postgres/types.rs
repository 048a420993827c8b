//! Postgres' types over Arrow's: which one a column is, where its Arrow type doesn't say so.
//!
//! An `oid` is kept as an Int32 and a `name` as a text. What a column is beyond its Arrow type stands in the
//! metadata of its field, under [`TYPE_KEY`], which the plans of DataFusion carry from a relation to the client.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, ObjectName,
    TimezoneInfo,
};
use datafusion_funnel::definition::text::folded;
use pgwire::api::Type;

/// The key of a field's metadata that names its Postgres type: `name`, `oid`, `_regtype`.
pub const TYPE_KEY: &str = "pg.type";
/// The key of a field's metadata that has the type's modifier, such as the length of a `varchar`.
pub const MODIFIER_KEY: &str = "pg.typmod";
/// The type of a numeric that was computed by dividing: it is written with as many digits as Postgres gives it.
pub const QUOTIENT: &str = "quotient";

/// A type of Postgres.
#[derive(Debug, PartialEq, Eq)]
pub struct PgType {
    /// Its name in `pg_type`.
    pub name: &'static str,
    /// Its OID.
    pub oid: u32,
    /// The OID of its array type.
    pub array_oid: u32,
    /// How its values are kept.
    pub storage: Storage,
}

/// How the values of a type are kept in Arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Boolean.
    Bool,
    /// Int16.
    Int2,
    /// Int32.
    Int4,
    /// Int64.
    Int8,
    /// Float32.
    Float4,
    /// Float64.
    Float8,
    /// Decimal128 of 38 digits, 10 of them behind the point.
    Numeric,
    /// Utf8.
    Text,
    /// Binary.
    Bytes,
    /// Date32.
    Date,
    /// Time64 in microseconds.
    Time,
    /// Timestamp in microseconds, without a zone.
    Timestamp,
    /// Timestamp in microseconds, UTC.
    Instant,
    /// Interval of months, days and nanoseconds.
    Interval,
    /// List of Int16: `int2vector`.
    Int2Vector,
    /// List of Int32: `oidvector`.
    OidVector,
}

impl Storage {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            Storage::Bool => DataType::Boolean,
            Storage::Int2 => DataType::Int16,
            Storage::Int4 => DataType::Int32,
            Storage::Int8 => DataType::Int64,
            Storage::Float4 => DataType::Float32,
            Storage::Float8 => DataType::Float64,
            Storage::Numeric => DataType::Decimal128(38, 10),
            Storage::Text => DataType::Utf8,
            Storage::Bytes => DataType::Binary,
            Storage::Date => DataType::Date32,
            Storage::Time => DataType::Time64(TimeUnit::Microsecond),
            Storage::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Storage::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Storage::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Storage::Int2Vector => DataType::new_list(DataType::Int16, true),
            Storage::OidVector => DataType::new_list(DataType::Int32, true),
        }
    }
}

const fn ty(name: &'static str, oid: u32, array_oid: u32, storage: Storage) -> PgType {
    PgType {
        name,
        oid,
        array_oid,
        storage,
    }
}

/// `timestamptz`
pub const INSTANT: PgType = ty("timestamptz", 1184, 1185, Storage::Instant);

/// The types that a value can have here. OIDs as in `pg_type` of PostgreSQL 15.
#[rustfmt::skip]
pub const TYPES: &[PgType] = &[
    ty("bool", 16, 1000, Storage::Bool), ty("bytea", 17, 1001, Storage::Bytes), ty("char", 18, 1002, Storage::Text),
    ty("name", 19, 1003, Storage::Text), ty("int8", 20, 1016, Storage::Int8), ty("int2", 21, 1005, Storage::Int2),
    ty("int2vector", 22, 1006, Storage::Int2Vector), ty("int4", 23, 1007, Storage::Int4),
    ty("regproc", 24, 1008, Storage::Int4), ty("text", 25, 1009, Storage::Text), ty("oid", 26, 1028, Storage::Int4),
    ty("tid", 27, 1010, Storage::Text), ty("xid", 28, 1011, Storage::Int4), ty("cid", 29, 1012, Storage::Int4),
    ty("oidvector", 30, 1013, Storage::OidVector), ty("json", 114, 199, Storage::Text),
    ty("xml", 142, 143, Storage::Text), ty("pg_node_tree", 194, 0, Storage::Text),
    ty("point", 600, 1017, Storage::Text), ty("float4", 700, 1021, Storage::Float4),
    ty("float8", 701, 1022, Storage::Float8), ty("unknown", 705, 0, Storage::Text),
    ty("money", 790, 791, Storage::Text), ty("macaddr", 829, 1040, Storage::Text),
    ty("inet", 869, 1041, Storage::Text), ty("cidr", 650, 651, Storage::Text),
    ty("aclitem", 1033, 1034, Storage::Text), ty("bpchar", 1042, 1014, Storage::Text),
    ty("varchar", 1043, 1015, Storage::Text), ty("date", 1082, 1182, Storage::Date),
    ty("time", 1083, 1183, Storage::Time), ty("timestamp", 1114, 1115, Storage::Timestamp),
    INSTANT, ty("interval", 1186, 1187, Storage::Interval),
    ty("timetz", 1266, 1270, Storage::Time), ty("bit", 1560, 1561, Storage::Text),
    ty("varbit", 1562, 1563, Storage::Text), ty("numeric", 1700, 1231, Storage::Numeric),
    ty("refcursor", 1790, 2201, Storage::Text), ty("regprocedure", 2202, 2207, Storage::Int4),
    ty("regoper", 2203, 2208, Storage::Int4), ty("regoperator", 2204, 2209, Storage::Int4),
    ty("regclass", 2205, 2210, Storage::Int4), ty("regtype", 2206, 2211, Storage::Int4),
    ty("record", 2249, 2287, Storage::Text), ty("cstring", 2275, 1263, Storage::Text),
    ty("anyarray", 2277, 0, Storage::Text), ty("void", 2278, 0, Storage::Text),
    ty("uuid", 2950, 2951, Storage::Text), ty("pg_lsn", 3220, 3221, Storage::Text),
    ty("pg_ndistinct", 3361, 0, Storage::Text), ty("pg_dependencies", 3402, 0, Storage::Text),
    ty("tsvector", 3614, 3643, Storage::Text), ty("tsquery", 3615, 3645, Storage::Text),
    ty("regconfig", 3734, 3735, Storage::Int4), ty("regdictionary", 3769, 3770, Storage::Int4),
    ty("jsonb", 3802, 3807, Storage::Text), ty("int4range", 3904, 3905, Storage::Text),
    ty("int8range", 3926, 3927, Storage::Text), ty("regnamespace", 4089, 4090, Storage::Int4),
    ty("regrole", 4096, 4097, Storage::Int4), ty("regcollation", 4191, 4192, Storage::Int4),
    ty("pg_mcv_list", 5017, 0, Storage::Text), ty("xid8", 5069, 271, Storage::Int8),
];

/// The type of that name in `pg_type`.
pub fn by_name(name: &str) -> Option<&'static PgType> {
    TYPES.iter().find(|kind| kind.name == name)
}

/// The Arrow type of `name`, which is a type's, or an array's with a `_` before its element's.
pub fn arrow_type(name: &str) -> Option<DataType> {
    if let Some(kind) = by_name(name) {
        return Some(kind.storage.arrow());
    }
    let element = by_name(name.strip_prefix('_')?)?;
    Some(DataType::new_list(element.storage.arrow(), true))
}

/// A column of the type `kind`; one that is unknown here is a text.
pub fn field(name: &str, kind: &str) -> Field {
    let arrow = arrow_type(kind).unwrap_or(DataType::Utf8);
    marked(Field::new(name, arrow, true), kind)
}

/// The field with its Postgres type noted, where its Arrow type says another.
pub fn marked(field: Field, kind: &str) -> Field {
    let plain = natural(field.data_type()).as_deref() == Some(kind);
    let mut metadata = field.metadata().clone();
    metadata.remove(MODIFIER_KEY);
    match plain {
        true => metadata.remove(TYPE_KEY),
        false => metadata.insert(TYPE_KEY.to_owned(), kind.to_owned()),
    };
    field.with_metadata(metadata)
}

/// The field with its Postgres type noted, even where its Arrow type says the same: a `numeric` without a scale.
pub fn marked_always(field: Field, kind: &str) -> Field {
    field.with_metadata(metadata(kind))
}

/// The metadata that notes a type.
pub fn metadata(kind: &str) -> HashMap<String, String> {
    HashMap::from([(TYPE_KEY.to_owned(), kind.to_owned())])
}

/// The name of a column's type: `text`, `oid`, `_name`.
pub fn type_of(field: &Field) -> String {
    match field.metadata().get(TYPE_KEY) {
        Some(kind) if kind == QUOTIENT => "numeric".to_owned(),
        Some(kind) => kind.clone(),
        None => natural(field.data_type()).unwrap_or_else(|| "text".to_owned()),
    }
}

/// The Postgres type that an Arrow type stands for, where nothing else is said.
pub fn natural(arrow: &DataType) -> Option<String> {
    use DataType as A;
    let name = match arrow {
        A::Null => "text",
        A::Boolean => "bool",
        A::Int8 | A::Int16 | A::UInt8 => "int2",
        A::Int32 | A::UInt16 => "int4",
        A::Int64 | A::UInt32 | A::UInt64 => "int8",
        A::Decimal32(..) | A::Decimal64(..) | A::Decimal128(..) | A::Decimal256(..) => "numeric",
        A::Float16 | A::Float32 => "float4",
        A::Float64 => "float8",
        A::Utf8 | A::LargeUtf8 | A::Utf8View => "text",
        A::Binary | A::LargeBinary | A::BinaryView | A::FixedSizeBinary(_) => "bytea",
        A::Date32 | A::Date64 => "date",
        A::Time32(_) | A::Time64(_) => "time",
        A::Timestamp(_, None) => "timestamp",
        A::Timestamp(_, Some(_)) => "timestamptz",
        A::Interval(_) | A::Duration(_) => "interval",
        A::List(item) | A::LargeList(item) | A::FixedSizeList(item, _) => {
            return Some(format!("_{}", type_of(item).trim_start_matches('_')));
        }
        A::Dictionary(_, values) => return natural(values),
        A::Struct(_) => "record",
        _ => return None,
    };
    Some(name.to_owned())
}

/// The OID of the type of that name; 0, which is no type, for one that isn't known.
pub fn oid(name: &str) -> u32 {
    if let Some(kind) = by_name(name) {
        return kind.oid;
    }
    name.strip_prefix('_')
        .and_then(by_name)
        .map_or(0, |kind| kind.array_oid)
}

/// The name of the type of that OID.
pub fn name_of(oid: u32) -> Option<String> {
    TYPES.iter().find_map(|kind| match oid {
        0 => None,
        oid if oid == kind.oid => Some(kind.name.to_owned()),
        oid if oid == kind.array_oid => Some(format!("_{}", kind.name)),
        _ => None,
    })
}

/// The type that a client is told; nothing for one that Postgres doesn't have.
pub fn wire_type(field: &Field) -> Option<Type> {
    Type::from_oid(oid(&type_of(field)))
}

/// What a type is called in SQL: `bigint`, `character varying(20)`, `text[]`.
pub fn sql_name(name: &str, modifier: i32) -> String {
    if let Some(element) = name.strip_prefix('_') {
        return format!("{}[]", sql_name(element, modifier));
    }
    let length = match modifier {
        modifier if modifier >= 4 => format!("({})", modifier - 4),
        _ => String::new(),
    };
    let digits = match modifier {
        modifier if modifier >= 0 => format!("({modifier})"),
        _ => String::new(),
    };
    match name {
        "bool" => "boolean".to_owned(),
        "int2" => "smallint".to_owned(),
        "int4" => "integer".to_owned(),
        "int8" => "bigint".to_owned(),
        "float4" => "real".to_owned(),
        "float8" => "double precision".to_owned(),
        "char" => "\"char\"".to_owned(),
        "bpchar" => format!("character{length}"),
        "varchar" => format!("character varying{length}"),
        "timestamp" => format!("timestamp{digits} without time zone"),
        "timestamptz" => format!("timestamp{digits} with time zone"),
        "time" => format!("time{digits} without time zone"),
        "timetz" => format!("time{digits} with time zone"),
        "varbit" => "bit varying".to_owned(),
        "numeric" if modifier >= 4 => {
            format!(
                "numeric({},{})",
                (modifier - 4) >> 16,
                (modifier - 4) & 0xffff
            )
        }
        other => other.to_owned(),
    }
}

/// The modifier of a column's type; -1 for none.
pub fn modifier(field: &Field) -> i32 {
    if let Some(modifier) = field.metadata().get(MODIFIER_KEY) {
        return modifier.parse().unwrap_or(-1);
    }
    match field.data_type() {
        _ if field.metadata().contains_key(TYPE_KEY) => -1,
        // The widest number is what an unbounded `numeric` is kept as.
        DataType::Decimal128(38, _) => -1,
        DataType::Decimal128(precision, scale) => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0xffff)) + 4
        }
        _ => -1,
    }
}

/// Whether values of a type have a time of day, whose seconds have so many digits as its modifier says.
pub fn is_of_time(name: &str) -> bool {
    matches!(name, "timestamp" | "timestamptz" | "time" | "timetz")
}

/// A field of times with the digits of a second that its type says: `timestamp(3)`. All six are what it has by itself.
pub fn precise(field: Field, written: &SqlType) -> Field {
    let Some((name, modifiers)) = of_sql(written) else {
        return field;
    };
    match modifiers.first() {
        Some(digits) if is_of_time(&name) && *digits < 6 => {
            let mut metadata = field.metadata().clone();
            metadata.insert(MODIFIER_KEY.to_owned(), digits.to_string());
            field.with_metadata(metadata)
        }
        _ => field,
    }
}

/// The name of a type as SQL writes it, and its modifiers: `varchar` and 20.
pub fn of_sql(written: &SqlType) -> Option<(String, Vec<i64>)> {
    use SqlType as S;
    let length = |length: &Option<CharacterLength>| match length {
        Some(CharacterLength::IntegerLength { length, .. }) => {
            vec![i64::try_from(*length).unwrap_or(i64::MAX)]
        }
        _ => Vec::new(),
    };
    let numeric = |info: &ExactNumberInfo| match info {
        ExactNumberInfo::None => Vec::new(),
        ExactNumberInfo::Precision(precision) => {
            vec![i64::try_from(*precision).unwrap_or(i64::MAX), 0]
        }
        ExactNumberInfo::PrecisionAndScale(precision, scale) => {
            vec![i64::try_from(*precision).unwrap_or(i64::MAX), *scale]
        }
    };
    let (name, modifiers) = match written {
        S::Bool | S::Boolean => ("bool", vec![]),
        S::SmallInt(_) | S::Int2(_) => ("int2", vec![]),
        S::Int(_) | S::Int4(_) | S::Integer(_) => ("int4", vec![]),
        S::BigInt(_) | S::Int8(_) => ("int8", vec![]),
        S::Real | S::Float4 => ("float4", vec![]),
        S::Float(ExactNumberInfo::Precision(1..=24)) => ("float4", vec![]),
        S::Float(_) | S::Float8 | S::DoublePrecision | S::Double(_) => ("float8", vec![]),
        S::Numeric(info) | S::Decimal(info) | S::Dec(info) => ("numeric", numeric(info)),
        S::Text | S::String(None) => ("text", vec![]),
        S::Varchar(n) | S::CharacterVarying(n) | S::CharVarying(n) => ("varchar", length(n)),
        S::Character(n) | S::Char(n) => match length(n).as_slice() {
            [] => ("bpchar", vec![1]),
            given => ("bpchar", given.to_vec()),
        },
        S::Bytea => ("bytea", vec![]),
        S::Uuid => ("uuid", vec![]),
        S::JSON => ("json", vec![]),
        S::JSONB => ("jsonb", vec![]),
        S::Date => ("date", vec![]),
        S::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            let digits = precision.iter().filter_map(|p| i64::try_from(*p).ok());
            ("time", digits.collect())
        }
        S::Time(..) => ("timetz", vec![]),
        S::Timestamp(precision, zone) => {
            let name = match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => "timestamp",
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => "timestamptz",
            };
            (
                name,
                precision
                    .iter()
                    .filter_map(|p| i64::try_from(*p).ok())
                    .collect(),
            )
        }
        S::Interval { .. } => ("interval", vec![]),
        S::Regclass => ("regclass", vec![]),
        S::TsVector => ("tsvector", vec![]),
        S::TsQuery => ("tsquery", vec![]),
        S::Bit(_) => ("bit", vec![]),
        S::BitVarying(_) | S::VarBit(_) => ("varbit", vec![]),
        S::Array(ArrayElemTypeDef::SquareBracket(element, _))
        | S::Array(ArrayElemTypeDef::AngleBracket(element)) => {
            let (name, modifiers) = of_sql(element)?;
            return Some((format!("_{}", name.trim_start_matches('_')), modifiers));
        }
        S::Custom(name, modifiers) => {
            if let Some(base) = standard_domain(name) {
                return Some((base.to_owned(), Vec::new()));
            }
            let last = name.0.last()?.as_ident()?;
            let name = match last.quote_style {
                Some(_) => last.value.clone(),
                None => last.value.to_lowercase(),
            };
            let known = by_name(alias(&name)).or_else(|| by_name(name.strip_prefix('_')?))?;
            let modifiers = modifiers
                .iter()
                .filter_map(|text| text.trim().parse().ok())
                .collect();
            return Some(match name.starts_with('_') {
                true => (name, modifiers),
                false => (known.name.to_owned(), modifiers),
            });
        }
        _ => return None,
    };
    Some((name.to_owned(), modifiers))
}

/// What a domain of `information_schema` is made of.
fn standard_domain(name: &ObjectName) -> Option<&'static str> {
    let [.., schema, domain] = name.0.as_slice() else {
        return None;
    };
    if folded(schema.as_ident()?) != "information_schema" {
        return None;
    }
    match folded(domain.as_ident()?).as_str() {
        "cardinal_number" => Some("int4"),
        "character_data" | "yes_or_no" => Some("varchar"),
        "sql_identifier" => Some("name"),
        "time_stamp" => Some("timestamptz"),
        _ => None,
    }
}

/// Other words for a type, where sqlparser doesn't know them as one.
pub fn alias(name: &str) -> &str {
    match name {
        "boolean" => "bool",
        "smallint" => "int2",
        "integer" | "int" | "serial" | "serial4" => "int4",
        "bigint" | "bigserial" | "serial8" => "int8",
        "real" => "float4",
        "double precision" | "float" => "float8",
        "decimal" | "dec" => "numeric",
        "character varying" => "varchar",
        "character" => "bpchar",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        "bit varying" => "varbit",
        other => other,
    }
}

/// The list of an array type's elements.
pub fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// The zone that instants are kept in.
pub const UTC: &str = "UTC";

/// The time zone of the session that asks.
pub fn session_zone(options: &ConfigOptions) -> &str {
    options.execution.time_zone.as_deref().unwrap_or(UTC)
}

/// Values with their instants in a zone: the instants stay the same, and their texts are local.
///
/// # Errors
/// None of its own.
pub fn in_zone(values: &ArrayRef, zone: &str) -> Result<ArrayRef, DataFusionError> {
    // Most sessions are in the zone that instants are kept in, and most values are none.
    if zone == UTC {
        return Ok(Arc::clone(values));
    }
    match zoned(values.data_type(), zone) {
        Some(kind) => Ok(cast(values, &kind)?),
        None => Ok(Arc::clone(values)),
    }
}

/// A type with its instants in a zone; nothing where it has none.
pub fn zoned(kind: &DataType, zone: &str) -> Option<DataType> {
    match kind {
        DataType::Timestamp(unit, Some(_)) => Some(DataType::Timestamp(*unit, Some(zone.into()))),
        DataType::List(item) => {
            let kind = zoned(item.data_type(), zone)?;
            Some(DataType::List(Arc::new(
                item.as_ref().clone().with_data_type(kind),
            )))
        }
        DataType::Struct(fields) => {
            let mut any = false;
            let fields = fields.iter().map(|field| {
                let Some(kind) = zoned(field.data_type(), zone) else {
                    return Arc::clone(field);
                };
                any = true;
                Arc::new(field.as_ref().clone().with_data_type(kind))
            });
            let fields = fields.collect();
            any.then_some(DataType::Struct(fields))
        }
        _ => None,
    }
}

/// Plans the types that DataFusion doesn't have: `uuid`, `jsonb`, `varchar(20)`, `regclass`.
#[derive(Debug)]
pub struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, written: &SqlType) -> datafusion::error::Result<Option<FieldRef>> {
        let Some((name, modifiers)) = of_sql(written) else {
            return Ok(None);
        };
        let known = matches!(
            name.as_str(),
            "bool"
                | "int2"
                | "int4"
                | "int8"
                | "float4"
                | "float8"
                | "text"
                | "date"
                | "timestamp"
                | "timestamptz"
                | "time"
                | "interval"
                | "bytea"
                | "numeric"
        );
        // Written with their schema, DataFusion doesn't know its own types.
        let plain = !matches!(written, SqlType::Custom(..));
        // To DataFusion the digits of a second are a unit; all six are what moments have by themselves.
        let is_precise = is_of_time(&name) && modifiers.first().is_some_and(|digits| *digits < 6);
        if !is_precise
            && ((name.starts_with('_')
                && arrow_type(&name).as_ref().and_then(natural) == Some(name.clone()))
                || (known && plain)
                || (name == "varchar" && modifiers.is_empty() && plain))
        {
            return Ok(None);
        }
        let mut field = field("", &name);
        if let (Some(length), "varchar" | "bpchar") = (modifiers.first(), name.as_str()) {
            let mut metadata = field.metadata().clone();
            metadata.insert(MODIFIER_KEY.to_owned(), (length + 4).to_string());
            field = field.with_metadata(metadata);
        }
        Ok(Some(Arc::new(precise(field, written))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_name_and_one_oid() {
        for kind in TYPES {
            assert_eq!(name_of(kind.oid).as_deref(), Some(kind.name));
            let field = field("x", kind.name);
            assert_eq!(type_of(&field), kind.name);
            if kind.array_oid != 0 {
                let array = format!("_{}", kind.name);
                assert_eq!(oid(&array), kind.array_oid);
                assert_eq!(name_of(kind.array_oid), Some(array));
            }
        }
    }

    /// Expected: PostgreSQL 15.18, `format_type`.
    #[test]
    fn types_are_called_as_in_sql() {
        assert_eq!(sql_name("varchar", 324), "character varying(320)");
        assert_eq!(sql_name("numeric", 1_179_654), "numeric(18,2)");
        assert_eq!(sql_name("_text", -1), "text[]");
        assert_eq!(sql_name("timestamptz", -1), "timestamp with time zone");
        assert_eq!(sql_name("timestamp", 3), "timestamp(3) without time zone");
    }
}

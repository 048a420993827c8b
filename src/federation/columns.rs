//! What a column of another database is here: its type, how it is asked for, and what may be asked about it there.

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::settings::Wrapper;
use crate::error::{Error, Fault, Result};
use crate::postgres::types;

/// The type there of a column that was declared while the server couldn't be asked.
pub const REMOTE_TYPE_UNKNOWN: &str = "unknown";

/// A column as the other database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteColumn {
    /// Its name.
    pub name: String,
    /// Its type there, as that database writes it.
    pub remote_type: String,
    /// It is never NULL.
    pub not_null: bool,
}

/// A column of a foreign table.
#[derive(Debug, Clone)]
pub struct ForeignColumn {
    /// What it is here.
    pub field: Field,
    /// What it is called there.
    pub remote_name: String,
    /// Its type there.
    pub remote_type: String,
    /// What a condition on it may be there.
    pub class: Class,
}

/// What a column's values mean on both sides: conditions are sent only where that is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Whole and decimal numbers, and `double precision`.
    Number,
    /// `real`: the same number is another one as `double precision`.
    Real,
    /// Truth.
    Bool,
    /// A date.
    Date,
    /// A date and time without a zone.
    Timestamp,
    /// An instant.
    Instant,
    /// A text that is the same where its characters are.
    Text,
    /// A UUID, which is a text here.
    Uuid,
    /// Anything that is read as a text: the text is compared.
    AsText,
    /// What can only be asked whether it is NULL.
    Opaque,
}

impl ForeignColumn {
    /// A column here of the type `local`, over one of another database.
    ///
    /// # Errors
    /// 42704 for a type that there isn't here.
    pub fn new(wrapper: Wrapper, name: &str, local: &str, remote: &RemoteColumn) -> Result<Self> {
        let field = field(name, local, !remote.not_null)?;
        let natural = local_type(wrapper, &remote.remote_type);
        let same = |a: &str, b: &Field| types::type_of(b) == a;
        let class = match natural.and_then(|natural| self::field("", &natural, true).ok()) {
            Some(natural) if same(&types::type_of(&natural), &field) => {
                class(wrapper, &remote.remote_type, &field)
            }
            // Another type was declared: only what is read is known.
            _ if wrapper == Wrapper::Postgres && types::type_of(&field) == "text" => Class::AsText,
            _ => Class::Opaque,
        };
        Ok(Self {
            field,
            remote_name: remote.name.clone(),
            remote_type: remote.remote_type.clone(),
            class,
        })
    }

    /// Its name as the other database quotes it.
    pub fn quoted(&self, wrapper: Wrapper) -> String {
        quoted(wrapper, &self.remote_name)
    }

    /// What is selected to read it as a text that the types here know.
    pub fn read(&self, wrapper: Wrapper) -> String {
        let name = self.quoted(wrapper);
        let kind = self.remote_type.to_lowercase();
        match wrapper {
            Wrapper::Postgres => match self.class {
                Class::AsText => format!("{name}::text"),
                _ if kind.starts_with("character(") || kind == "character" => {
                    format!("{name}::text")
                }
                _ => name,
            },
            Wrapper::MySql => match self.field.data_type() {
                DataType::Binary => format!("CONCAT(CHAR(92 USING utf8mb4), 'x', HEX({name}))"),
                // A FLOAT would be written with six digits.
                DataType::Float32 => format!("CAST({name} AS DOUBLE)"),
                DataType::Boolean => format!("({name} <> 0)"),
                _ if kind.starts_with("bit") => format!("({name} + 0)"),
                _ => name,
            },
            Wrapper::Sqlite => name,
        }
    }
}

/// A name as the other database quotes it.
pub fn quoted(wrapper: Wrapper, name: &str) -> String {
    match wrapper {
        // To SQLite a name in double quotes that it doesn't know is a text.
        Wrapper::MySql | Wrapper::Sqlite => format!("`{}`", name.replace('`', "``")),
        Wrapper::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// A text as the other database quotes it; nothing for one that it might read otherwise.
pub fn literal(wrapper: Wrapper, text: &str) -> Option<String> {
    // MySQL reads a backslash as the beginning of another character, unless it is told not to.
    let odd = text.contains('\0') || (wrapper == Wrapper::MySql && text.contains('\\'));
    (!odd).then(|| format!("'{}'", text.replace('\'', "''")))
}

/// The field of a column whose type is written as SQL.
///
/// # Errors
/// 42704 for a type that there isn't.
pub fn field(name: &str, written: &str, nullable: bool) -> Result<Field> {
    let unknown = || Error::Query {
        fault: Fault::UndefinedObject,
        message: format!("type \"{written}\" does not exist"),
        position: None,
    };
    let parsed = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(written)
        .and_then(|mut parser| parser.parse_data_type())
        .map_err(|_| unknown())?;
    let (kind, modifiers) = types::of_sql(&parsed).ok_or_else(unknown)?;
    if types::arrow_type(&kind).is_none() {
        return Err(unknown());
    }
    let mut field = types::field(name, &kind).with_nullable(nullable);
    match (kind.as_str(), modifiers.as_slice()) {
        ("numeric", [precision, rest @ ..]) => {
            let scale = rest.first().copied().unwrap_or(0).clamp(0, 38);
            let precision = u8::try_from((*precision).clamp(1, 38)).unwrap_or(38);
            let decimal = DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(0));
            field = Field::new(name, decimal, nullable);
        }
        ("numeric", []) => field = types::marked_always(field, "numeric"),
        ("varchar" | "bpchar", [length, ..]) => {
            let mut metadata = field.metadata().clone();
            metadata.insert(types::MODIFIER_KEY.to_owned(), (length + 4).to_string());
            field = field.with_metadata(metadata);
        }
        _ => {}
    }
    Ok(field)
}

/// The type here of a column of that type there, as SQL; nothing where it isn't known.
pub fn local_type(wrapper: Wrapper, remote: &str) -> Option<String> {
    let lower = remote.trim().to_lowercase();
    let (base, modifiers) = match lower.split_once('(') {
        Some((base, rest)) => (
            base.trim(),
            rest.split(')').next().unwrap_or_default().trim(),
        ),
        None => (lower.as_str(), ""),
    };
    let numeric = |modifiers: &str| {
        let mut parts = modifiers.split(',').map(|part| part.trim().parse::<i64>());
        match (parts.next(), parts.next()) {
            // More digits than there are here.
            (Some(Ok(precision)), Some(Ok(scale))) if precision > 38 || scale < 0 => {
                format!("numeric(38,{})", scale.clamp(0, 38))
            }
            (Some(Ok(precision)), Some(Ok(scale))) => format!("numeric({precision},{scale})"),
            (Some(Ok(precision)), None) => format!("numeric({},0)", precision.min(38)),
            _ => "numeric".to_owned(),
        }
    };
    let varchar = |modifiers: &str| match modifiers.parse::<u32>() {
        Ok(length) => format!("character varying({length})"),
        Err(_) => "text".to_owned(),
    };
    match wrapper {
        Wrapper::Postgres => {
            if remote == REMOTE_TYPE_UNKNOWN {
                return None;
            }
            let known = match base {
                "numeric" if !lower.ends_with("[]") => return Some(numeric(modifiers)),
                // What it is like without its trailing blanks.
                "character" if !lower.ends_with("[]") => return Some(varchar(modifiers)),
                "time with time zone" | "money" => None,
                _ => field("", &lower, true).ok(),
            };
            Some(match known {
                Some(_) => lower,
                None => "text".to_owned(),
            })
        }
        Wrapper::MySql => {
            let unsigned = lower.contains("unsigned");
            Some(match base.split(' ').next().unwrap_or(base) {
                "tinyint" if modifiers == "1" => "boolean".to_owned(),
                "boolean" | "bool" => "boolean".to_owned(),
                "tinyint" | "year" => "smallint".to_owned(),
                "smallint" if !unsigned => "smallint".to_owned(),
                "smallint" | "mediumint" => "integer".to_owned(),
                "int" | "integer" if !unsigned => "integer".to_owned(),
                "int" | "integer" => "bigint".to_owned(),
                "bigint" if !unsigned => "bigint".to_owned(),
                "bigint" => "numeric(20,0)".to_owned(),
                "bit" => "bigint".to_owned(),
                "decimal" | "numeric" => numeric(modifiers),
                "float" => "real".to_owned(),
                "double" | "real" => "double precision".to_owned(),
                "date" => "date".to_owned(),
                "datetime" => "timestamp".to_owned(),
                "timestamp" => "timestamptz".to_owned(),
                "varchar" => varchar(modifiers),
                "json" => "json".to_owned(),
                "uuid" => "uuid".to_owned(),
                "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                    "bytea".to_owned()
                }
                "geometry" | "point" | "linestring" | "polygon" | "multipoint"
                | "multilinestring" | "multipolygon" | "geometrycollection" => "bytea".to_owned(),
                REMOTE_TYPE_UNKNOWN => return None,
                _ => "text".to_owned(),
            })
        }
        // By the words of the declared type, as SQLite itself decides.
        Wrapper::Sqlite => {
            let has = |word: &str| base.contains(word);
            Some(if base == REMOTE_TYPE_UNKNOWN {
                return None;
            } else if has("bool") {
                "boolean".to_owned()
            } else if has("int") {
                "bigint".to_owned()
            } else if has("datetime") || has("timestamp") {
                "timestamp".to_owned()
            } else if base == "date" {
                "date".to_owned()
            } else if has("char") || has("clob") || has("text") || base.is_empty() {
                "text".to_owned()
            } else if has("blob") {
                "bytea".to_owned()
            } else if has("real") || has("floa") || has("doub") {
                "double precision".to_owned()
            } else if has("dec") || has("num") {
                numeric(modifiers)
            } else {
                "text".to_owned()
            })
        }
    }
}

/// What may be asked about a column whose type here is the one that its type there stands for.
fn class(wrapper: Wrapper, remote: &str, field: &Field) -> Class {
    let lower = remote.to_lowercase();
    let class = match field.data_type() {
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float64 => Class::Number,
        DataType::Decimal128(..) => Class::Number,
        DataType::Float32 => Class::Real,
        DataType::Boolean => Class::Bool,
        DataType::Date32 => Class::Date,
        DataType::Timestamp(_, None) => Class::Timestamp,
        DataType::Timestamp(_, Some(_)) => Class::Instant,
        DataType::Utf8 => Class::Text,
        _ => Class::Opaque,
    };
    match (wrapper, class) {
        (Wrapper::Postgres, Class::Text) => match lower.split('(').next().unwrap_or_default() {
            "text" | "character varying" | "name" => Class::Text,
            "uuid" => Class::Uuid,
            // Its text isn't what it is cast to.
            "inet" => Class::Opaque,
            _ => Class::AsText,
        },
        (Wrapper::Postgres, class) => class,
        // What is 0 or 1 there may be 2 as well.
        (Wrapper::MySql | Wrapper::Sqlite, Class::Bool | Class::Real) => Class::Opaque,
        (Wrapper::MySql, Class::Text) => match lower.split('(').next().unwrap_or_default() {
            "varchar" | "char" | "text" | "tinytext" | "mediumtext" | "longtext" | "enum" => {
                Class::Text
            }
            _ => Class::Opaque,
        },
        (Wrapper::MySql, Class::Number) if lower.starts_with("bit") => Class::Opaque,
        // Dates are texts or numbers there, as whoever wrote them liked; decimals are binary fractions.
        (Wrapper::Sqlite, Class::Date | Class::Timestamp | Class::Instant) => Class::Opaque,
        (Wrapper::Sqlite, Class::Number)
            if matches!(field.data_type(), DataType::Decimal128(..)) =>
        {
            Class::Opaque
        }
        (_, class) => class,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn types_of_other_databases_are_types_here() {
        let local = |wrapper, remote| local_type(wrapper, remote).unwrap();
        for (remote, expected) in [
            ("character varying(20)", "character varying(20)"),
            ("timestamp with time zone", "timestamp with time zone"),
            ("numeric(10,2)", "numeric(10,2)"),
            ("numeric", "numeric"),
            ("numeric(60,10)", "numeric(38,10)"),
            ("integer[]", "integer[]"),
            ("uuid", "uuid"),
            ("jsonb", "jsonb"),
            ("crm.mood", "text"),
            ("character(3)", "character varying(3)"),
            ("inet", "inet"),
            ("money", "text"),
        ] {
            assert_eq!(local(Wrapper::Postgres, remote), expected, "{remote}");
        }
        for (remote, expected) in [
            ("tinyint(1)", "boolean"),
            ("int(10) unsigned", "bigint"),
            ("bigint(20) unsigned", "numeric(20,0)"),
            ("decimal(12,2)", "numeric(12,2)"),
            ("datetime(6)", "timestamp"),
            ("enum('a','b')", "text"),
            ("varchar(10)", "character varying(10)"),
            ("longblob", "bytea"),
        ] {
            assert_eq!(local(Wrapper::MySql, remote), expected, "{remote}");
        }
        for (remote, expected) in [
            ("INTEGER", "bigint"),
            ("VARCHAR(10)", "text"),
            ("DATETIME", "timestamp"),
            ("DECIMAL(10,2)", "numeric(10,2)"),
            ("", "text"),
        ] {
            assert_eq!(local(Wrapper::Sqlite, remote), expected, "{remote}");
        }
    }

    #[test]
    fn names_and_texts_are_quoted_for_who_reads_them() {
        assert_eq!(quoted(Wrapper::Postgres, "a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted(Wrapper::MySql, "a`b"), "`a``b`");
        assert_eq!(literal(Wrapper::Postgres, "it's \\").unwrap(), "'it''s \\'");
        assert_eq!(literal(Wrapper::MySql, "\\' OR 1=1 -- "), None);
    }
}

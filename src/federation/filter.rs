//! Conditions that the other database can answer, in its words.
//!
//! Only what is listed here is sent; the rest is done here, on the rows that come. What is sent either means the same there
//! (`exact`), or lets through at least the rows that it lets through here: a text that MySQL compares without regard to
//! case. Then it is done here once more.

use chrono::DateTime;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Like, Operator};

use super::columns::{Class, ForeignColumn, literal};
use super::settings::Wrapper;
use crate::postgres::text::decimal_text;

/// A condition in the words of the other database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its text.
    pub sql: String,
    /// It lets the same rows through as here; more, otherwise.
    pub exact: bool,
}

/// How conditions on a table's columns are written.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// What reads them.
    pub wrapper: Wrapper,
    /// The columns.
    pub columns: &'a [ForeignColumn],
}

/// A side of a comparison.
struct Side<'a> {
    column: &'a ForeignColumn,
    /// The type that it is compared as.
    kind: DataType,
}

impl Writer<'_> {
    /// The condition, where it can be sent.
    pub fn condition(&self, expression: &Expr) -> Option<Condition> {
        match expression {
            Expr::Alias(alias) => self.condition(&alias.expr),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And | Operator::Or => self.joined(left, *op, right),
                op => self.comparison(left, *op, right),
            },
            Expr::Not(inner) => {
                let inner = self.condition(inner)?;
                // The opposite of more rows would be fewer.
                inner.exact.then(|| exact(format!("NOT ({})", inner.sql)))
            }
            Expr::IsNull(inner) => self.null(inner, "IS NULL"),
            Expr::IsNotNull(inner) => self.null(inner, "IS NOT NULL"),
            Expr::Column(_) => {
                let column = self.column(expression)?;
                (column.class == Class::Bool).then(|| exact(column.quoted(self.wrapper)))
            }
            Expr::Between(Between {
                expr,
                negated: false,
                low,
                high,
            }) => {
                let low = self.comparison(expr, Operator::GtEq, low)?;
                let high = self.comparison(expr, Operator::LtEq, high)?;
                Some(Condition {
                    sql: format!("({} AND {})", low.sql, high.sql),
                    exact: low.exact && high.exact,
                })
            }
            Expr::InList(list) => {
                let op = if list.negated {
                    Operator::NotEq
                } else {
                    Operator::Eq
                };
                let side = self.side(&list.expr)?;
                let values = list.list.iter().map(|value| self.value(&side, value));
                let values = values.collect::<Option<Vec<_>>>()?;
                let meaning = self.meaning(&side, op, &list.list)?;
                let verb = if list.negated { "NOT IN" } else { "IN" };
                Some(Condition {
                    sql: format!("{} {verb} ({})", meaning.sql, values.join(", ")),
                    exact: meaning.exact,
                })
            }
            Expr::Like(like) => self.like(like),
            _ => None,
        }
    }

    fn joined(&self, left: &Expr, op: Operator, right: &Expr) -> Option<Condition> {
        let (left, right) = (self.condition(left)?, self.condition(right)?);
        Some(Condition {
            sql: format!("({} {op} {})", left.sql, right.sql),
            exact: left.exact && right.exact,
        })
    }

    fn null(&self, inner: &Expr, test: &str) -> Option<Condition> {
        let column = self.column(inner)?;
        // A day 0 of MySQL's is NULL here.
        let is_date = matches!(
            column.class,
            Class::Date | Class::Timestamp | Class::Instant
        );
        let differs = self.wrapper == Wrapper::MySql && is_date;
        (!differs).then(|| exact(format!("{} {test}", column.quoted(self.wrapper))))
    }

    fn column(&self, expression: &Expr) -> Option<&ForeignColumn> {
        let Expr::Column(column) = expression else {
            return None;
        };
        let mut columns = self.columns.iter();
        columns.find(|known| *known.field.name() == column.name)
    }

    /// A column, or a cast of one that changes nothing about its value.
    fn side(&self, expression: &Expr) -> Option<Side<'_>> {
        match expression {
            Expr::Column(_) => {
                let column = self.column(expression)?;
                let kind = column.field.data_type().clone();
                Some(Side { column, kind })
            }
            Expr::Cast(cast) => {
                let inner = self.side(&cast.expr)?;
                let to = cast.field.data_type();
                widens(&inner.kind, to).then(|| Side {
                    column: inner.column,
                    kind: to.clone(),
                })
            }
            _ => None,
        }
    }

    fn comparison(&self, left: &Expr, op: Operator, right: &Expr) -> Option<Condition> {
        let (side, op, value) = match self.side(left) {
            Some(side) => (side, op, right),
            None => (self.side(right)?, op.swap()?, left),
        };
        let sign = match op {
            Operator::Eq => "=",
            Operator::NotEq => "<>",
            Operator::Lt => "<",
            Operator::LtEq => "<=",
            Operator::Gt => ">",
            Operator::GtEq => ">=",
            _ => return None,
        };
        if let Some(other) = self.side(value) {
            return self.of_columns(&side, sign, &other);
        }
        let written = self.value(&side, value)?;
        let meaning = self.meaning(&side, op, std::slice::from_ref(value))?;
        Some(Condition {
            sql: format!("{} {sign} {written}", meaning.sql),
            exact: meaning.exact,
        })
    }

    /// Two columns of the same numbers or times.
    fn of_columns(&self, left: &Side, sign: &str, right: &Side) -> Option<Condition> {
        let alike = left.column.class == right.column.class;
        let plain = match left.column.class {
            Class::Number => true,
            Class::Date | Class::Timestamp | Class::Instant => self.wrapper == Wrapper::Postgres,
            _ => false,
        };
        let (left, right) = (left.column, right.column);
        (alike && plain).then(|| {
            let (left, right) = (left.quoted(self.wrapper), right.quoted(self.wrapper));
            exact(format!("{left} {sign} {right}"))
        })
    }

    /// What of a column is compared so that it means the same, and whether it does.
    fn meaning(&self, side: &Side, op: Operator, values: &[Expr]) -> Option<Condition> {
        let name = side.column.quoted(self.wrapper);
        let equality = matches!(op, Operator::Eq | Operator::NotEq);
        Some(match (self.wrapper, side.column.class) {
            (_, Class::Bool | Class::Opaque) => return None,
            // A real is compared as the other side's double precision.
            (Wrapper::Postgres, Class::Real) if side.kind == DataType::Float64 => {
                exact(format!("{name}::double precision"))
            }
            (Wrapper::Postgres, Class::Number)
                if side.kind == DataType::Float64
                    && *side.column.field.data_type() != DataType::Float64 =>
            {
                exact(format!("{name}::double precision"))
            }
            (Wrapper::Postgres, Class::Uuid) if equality => {
                let is_uuid = |value: &Expr| text_of(value).is_some_and(is_uuid);
                let is_plain =
                    |value: &Expr| text_of(value).is_some_and(|text| text.to_lowercase() == text);
                if !values.iter().all(is_uuid) {
                    return None;
                }
                let exact = values.iter().all(is_plain);
                // More rows than none are fewer than all.
                if !exact && op == Operator::NotEq {
                    return None;
                }
                Condition { sql: name, exact }
            }
            (Wrapper::Postgres, Class::Uuid) => return None,
            (Wrapper::Postgres, Class::AsText) if equality => exact(format!("{name}::text")),
            // Texts are in the order of their bytes here.
            (Wrapper::Postgres, Class::AsText) => exact(format!("{name}::text COLLATE \"C\"")),
            (Wrapper::Postgres, Class::Text) if !equality => exact(format!("{name} COLLATE \"C\"")),
            (Wrapper::Sqlite, Class::Text) => exact(format!("{name} COLLATE BINARY")),
            // Its collations take some different texts for the same, and order them in their own ways.
            (Wrapper::MySql, Class::Text) if op == Operator::Eq => more(name),
            (Wrapper::MySql, Class::Text) => return None,
            // A day 0 is NULL here.
            (Wrapper::MySql, Class::Date | Class::Timestamp | Class::Instant) => more(name),
            // What a decimal is as a double precision isn't the same everywhere.
            (Wrapper::MySql | Wrapper::Sqlite, Class::Number)
                if side.kind == DataType::Float64
                    && *side.column.field.data_type() != DataType::Float64 =>
            {
                return None;
            }
            _ => exact(name),
        })
    }

    fn like(&self, like: &Like) -> Option<Condition> {
        if like.escape_char.is_some() || like.case_insensitive {
            return None;
        }
        let column = self.column(&like.expr)?;
        let pattern = text_of(&like.pattern)?;
        // What a backslash escapes isn't the same everywhere.
        if pattern.contains('\\') {
            return None;
        }
        let verb = if like.negated { "NOT LIKE" } else { "LIKE" };
        let pattern = literal(self.wrapper, pattern)?;
        let name = column.quoted(self.wrapper);
        match (self.wrapper, column.class) {
            (Wrapper::Postgres, Class::Text) => Some(exact(format!("{name} {verb} {pattern}"))),
            (Wrapper::Postgres, Class::AsText | Class::Uuid) => {
                Some(exact(format!("{name}::text {verb} {pattern}")))
            }
            // They find both cases of a letter.
            (Wrapper::MySql | Wrapper::Sqlite, Class::Text) if !like.negated => {
                Some(more(format!("{name} {verb} {pattern}")))
            }
            _ => None,
        }
    }

    /// A value that a column is compared with.
    fn value(&self, side: &Side, value: &Expr) -> Option<String> {
        let Expr::Literal(value, _) = value else {
            return None;
        };
        if value.is_null() || value.data_type() != side.kind {
            return None;
        }
        let postgres = self.wrapper == Wrapper::Postgres;
        match value {
            ScalarValue::Int8(Some(n)) => Some(n.to_string()),
            ScalarValue::Int16(Some(n)) => Some(n.to_string()),
            ScalarValue::Int32(Some(n)) => Some(n.to_string()),
            ScalarValue::Int64(Some(n)) => Some(n.to_string()),
            ScalarValue::Decimal128(Some(n), _, scale) => {
                let scale = u32::try_from(*scale).ok()?;
                Some(decimal_text(*n, scale, scale))
            }
            ScalarValue::Float64(Some(n)) if n.is_finite() => Some(match self.wrapper {
                Wrapper::Postgres => format!("'{n:?}'::double precision"),
                Wrapper::MySql | Wrapper::Sqlite => format!("{n:e}"),
            }),
            ScalarValue::Float32(Some(n)) if n.is_finite() && postgres => {
                Some(format!("'{n:?}'::real"))
            }
            ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text))
            | ScalarValue::Utf8View(Some(text)) => match side.column.class {
                Class::Text | Class::Uuid | Class::AsText => literal(self.wrapper, text),
                _ => None,
            },
            ScalarValue::Date32(Some(days)) => {
                let moment = DateTime::from_timestamp(i64::from(*days) * 86_400, 0)?;
                in_years(&moment).then(|| format!("DATE '{}'", moment.format("%Y-%m-%d")))
            }
            ScalarValue::TimestampSecond(Some(n), _)
            | ScalarValue::TimestampMillisecond(Some(n), _)
            | ScalarValue::TimestampMicrosecond(Some(n), _)
            | ScalarValue::TimestampNanosecond(Some(n), _) => {
                let DataType::Timestamp(unit, zone) = &side.kind else {
                    return None;
                };
                let microseconds = match unit {
                    TimeUnit::Second => n.checked_mul(1_000_000)?,
                    TimeUnit::Millisecond => n.checked_mul(1000)?,
                    TimeUnit::Microsecond => *n,
                    TimeUnit::Nanosecond if n % 1000 == 0 => n / 1000,
                    TimeUnit::Nanosecond => return None,
                };
                let moment = DateTime::from_timestamp_micros(microseconds)?;
                let text = moment.format("%Y-%m-%d %H:%M:%S%.6f");
                let text = match (postgres, zone) {
                    (true, Some(_)) => format!("TIMESTAMPTZ '{text}+00'"),
                    // The session there is in UTC.
                    _ => format!("TIMESTAMP '{text}'"),
                };
                in_years(&moment).then_some(text)
            }
            _ => None,
        }
    }
}

fn exact(sql: String) -> Condition {
    Condition { sql, exact: true }
}

fn more(sql: String) -> Condition {
    Condition { sql, exact: false }
}

/// The years that every database writes alike.
fn in_years(moment: &DateTime<chrono::Utc>) -> bool {
    use chrono::Datelike;
    (1..=9999).contains(&moment.year())
}

fn text_of(value: &Expr) -> Option<&str> {
    match value {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

fn is_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    let mut bytes = text.bytes().enumerate();
    text.len() == 36
        && bytes.all(|(at, byte)| match dashes.contains(&at) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

/// Whether every value is the same one as the other type.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as A;
    match (from, to) {
        (a, b) if a == b => true,
        (A::Int16, A::Int32 | A::Int64) | (A::Int32, A::Int64) => true,
        (A::Int16 | A::Int32, A::Float64) | (A::Float32, A::Float64) => true,
        (A::Decimal128(..), A::Float64) => true,
        (A::Int16 | A::Int32 | A::Int64, A::Decimal128(precision, scale)) => {
            let digits = match from {
                A::Int16 => 5,
                A::Int32 => 10,
                _ => 19,
            };
            i16::from(*precision) - i16::from(*scale) >= digits
        }
        (A::Decimal128(p, s), A::Decimal128(to_p, to_s)) => {
            to_s >= s && i16::from(*to_p) - i16::from(*to_s) >= i16::from(*p) - i16::from(*s)
        }
        (A::Timestamp(_, a), A::Timestamp(_, b)) => a.is_some() == b.is_some(),
        (A::Utf8, A::Utf8View | A::LargeUtf8) => true,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::logical_expr::{col, in_list, lit, not};

    use super::super::columns::RemoteColumn;
    use super::*;

    fn columns(wrapper: Wrapper, types: &[(&str, &str)]) -> Vec<ForeignColumn> {
        let column = |(name, remote_type): &(&str, &str)| {
            let remote = RemoteColumn {
                name: (*name).to_owned(),
                remote_type: (*remote_type).to_owned(),
                not_null: false,
            };
            let local = super::super::columns::local_type(wrapper, remote_type).unwrap();
            ForeignColumn::new(wrapper, name, &local, &remote).unwrap()
        };
        types.iter().map(column).collect()
    }

    fn sent(wrapper: Wrapper, types: &[(&str, &str)], expression: &Expr) -> Option<(String, bool)> {
        let columns = columns(wrapper, types);
        let writer = Writer {
            wrapper,
            columns: &columns,
        };
        let condition = writer.condition(expression)?;
        Some((condition.sql, condition.exact))
    }

    #[test]
    fn postgres_is_asked_in_its_own_words() {
        let types = [
            ("n", "integer"),
            ("额", "numeric(10,2)"),
            ("t", "text"),
            ("u", "uuid"),
            ("e", "crm.mood"),
            ("at", "timestamp with time zone"),
            ("ok", "boolean"),
        ];
        let check = |expression: Expr, expected: Option<&str>| {
            let found = sent(Wrapper::Postgres, &types, &expression);
            let expected = expected.map(|sql| (sql.to_owned(), true));
            assert_eq!(found, expected, "{expression}");
        };
        check(col("n").gt(lit(5_i32)), Some("\"n\" > 5"));
        check(lit(5_i32).gt(col("n")), Some("\"n\" < 5"));
        // Of another type: only a value of the column's own is known to mean the same.
        check(col("n").gt(lit(5_i64)), None);
        check(
            col("额").eq(Expr::Literal(
                ScalarValue::Decimal128(Some(1250), 10, 2),
                None,
            )),
            Some("\"额\" = 12.50"),
        );
        check(col("t").eq(lit("it's")), Some("\"t\" = 'it''s'"));
        check(col("t").lt(lit("b")), Some("\"t\" COLLATE \"C\" < 'b'"));
        check(col("t").like(lit("a%")), Some("\"t\" LIKE 'a%'"));
        check(col("t").like(lit("a\\%")), None);
        check(col("t").ilike(lit("a%")), None);
        check(
            in_list(col("t"), vec![lit("a"), lit("b")], true),
            Some("\"t\" NOT IN ('a', 'b')"),
        );
        check(col("e").eq(lit("glad")), Some("\"e\"::text = 'glad'"));
        check(
            col("u").eq(lit("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
            Some("\"u\" = '6f9619ff-8b86-d011-b42d-00c04fc964ff'"),
        );
        check(col("u").eq(lit("no uuid")), None);
        check(
            not(col("ok")).or(col("n").is_null()),
            Some("(NOT (\"ok\") OR \"n\" IS NULL)"),
        );
        let instant =
            ScalarValue::TimestampMicrosecond(Some(1_700_000_000_000_001), Some("UTC".into()));
        check(
            col("at").gt_eq(Expr::Literal(instant, None)),
            Some("\"at\" >= TIMESTAMPTZ '2023-11-14 22:13:20.000001+00'"),
        );
        check(col("n").gt(lit(ScalarValue::Int32(None))), None);
        check(col("n").gt(col("n") + lit(1_i32)), None);
    }

    #[test]
    fn mysql_compares_texts_without_regard_to_case_so_they_are_compared_again() {
        let types = [("t", "varchar(20)"), ("n", "int(11)"), ("d", "date")];
        let found = |expression| sent(Wrapper::MySql, &types, &expression);
        let more = |sql: &str| Some((sql.to_owned(), false));
        assert_eq!(found(col("t").eq(lit("a"))), more("`t` = 'a'"));
        assert_eq!(found(col("t").not_eq(lit("a"))), None);
        assert_eq!(found(not(col("t").eq(lit("a")))), None);
        assert_eq!(found(col("t").lt(lit("a"))), None);
        assert_eq!(found(col("t").eq(lit("\\' OR 1=1 -- "))), None);
        assert_eq!(found(col("d").is_null()), None);
        assert_eq!(
            found(col("n").eq(lit(1_i32))),
            Some(("`n` = 1".to_owned(), true))
        );
    }
}

//! Attribution with no funnel: over any query of touches, or of paths.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, TableFactor};

use super::{Models, NAME};
use crate::definition::text::{identifier, literal, written};
use crate::error::{FunnelError, Kind};
use crate::table::arguments::Arguments;

/// The arguments that name columns of a query.
const COLUMNS: [&str; 6] = [
    "channel",
    "converted",
    "path",
    "conversions",
    "nulls",
    "separator",
];

/// What a funnel has and a query hasn't.
const OF_FUNNELS: [&str; 10] = [
    "since", "until", "as_of", "where", "counting", "stage", "stages", "to_stage", "age", "window",
];

/// Refuses the arguments of a query for a funnel.
///
/// # Errors
/// 42883.
pub fn refuse(arguments: &mut Arguments) -> Result<()> {
    match COLUMNS
        .into_iter()
        .find(|name| arguments.take(name).is_some())
    {
        None => Ok(()),
        Some(name) => Err(FunnelError::WrongCall {
            message: format!("{name} is a column of a query, and this is a funnel"),
            hint: format!(
                "Write a query in place of the funnel's name: {NAME}((SELECT …), entity => …)."
            ),
        }
        .into()),
    }
}

/// The query that a call over a query stands for.
///
/// # Errors
/// 42883 for an argument that is missing or doesn't fit, 42703 for an unknown column, 42804 for one of the wrong type.
pub fn query(arguments: &mut Arguments) -> Result<String> {
    if let Some(name) = OF_FUNNELS
        .into_iter()
        .find(|name| arguments.take(name).is_some())
    {
        return Err(FunnelError::WrongCall {
            message: format!("{name} is about a funnel, and this is a query"),
            hint: "Say it in the query, by WHERE.".to_owned(),
        }
        .into());
    }
    let models = Models::take(arguments)?;
    let source = Source::take(arguments)?;
    match arguments.peek("path") {
        Some(_) => over_paths(arguments, &models, &source),
        None => over_touches(arguments, &models, &source),
    }
}

/// The query and its columns.
struct Source {
    sql: String,
    columns: Vec<(String, DataType)>,
}

impl Source {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let first = arguments.only_positional()?;
        let SqlExpr::Subquery(query) = first else {
            return Err(arguments.invalid("the query", &first.to_string(), "(SELECT …)"));
        };
        let sql = written(&query);
        let relation = TableFactor::Derived {
            lateral: false,
            subquery: query,
            alias: None,
            sample: None,
        };
        let plan = arguments.context().plan(relation)?;
        let schema: &DFSchema = plan.schema();
        let columns = schema.fields().iter();
        Ok(Self {
            sql,
            columns: columns
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect(),
        })
    }

    /// The column that an argument names, quoted, with its type; nothing where the argument isn't given.
    fn optional(
        &self,
        arguments: &mut Arguments,
        name: &str,
    ) -> Result<Option<(String, &DataType)>> {
        let Some(column) = arguments.take_text(name)? else {
            return Ok(None);
        };
        match self.columns.iter().find(|(known, _)| *known == column) {
            Some((column, data_type)) => Ok(Some((identifier(column), data_type))),
            None => Err(FunnelError::Unknown {
                kind: Kind::Column,
                name: column,
                place: " in the query".to_owned(),
                existing: self.columns.iter().map(|(name, _)| name.clone()).collect(),
            }
            .into()),
        }
    }

    fn required(
        &self,
        arguments: &mut Arguments,
        name: &str,
        example: &str,
    ) -> Result<(String, &DataType)> {
        self.optional(arguments, name)?.ok_or_else(|| {
            FunnelError::WrongCall {
                message: format!("{NAME}() over a query needs {name}"),
                hint: format!("Write {example}."),
            }
            .into()
        })
    }

    /// SQL of a number.
    fn number(&self, arguments: &mut Arguments, name: &str) -> Result<Option<String>> {
        match self.optional(arguments, name)? {
            None => Ok(None),
            Some((column, found)) if found.is_numeric() || found.is_null() => {
                Ok(Some(format!("CAST({column} AS double precision)")))
            }
            Some((column, found)) => Err(wrong_type(name, &column, found, "a number")),
        }
    }

    /// SQL of a count.
    fn count(&self, arguments: &mut Arguments, name: &str) -> Result<Option<String>> {
        match self.optional(arguments, name)? {
            None => Ok(None),
            Some((column, found)) if found.is_integer() || found.is_null() => {
                Ok(Some(format!("CAST({column} AS bigint)")))
            }
            Some((column, found)) => Err(wrong_type(name, &column, found, "a whole number")),
        }
    }
}

fn wrong_type(
    name: &str,
    column: &str,
    found: &DataType,
    wanted: &str,
) -> datafusion::error::DataFusionError {
    FunnelError::WrongType {
        message: format!("{name} must be {wanted}, but {column} is of type {found}"),
        hint: "Cast it in the query.".to_owned(),
    }
    .into()
}

const NO_KEY: &str = "CAST(NULL AS text)";

fn over_touches(arguments: &mut Arguments, models: &Models, source: &Source) -> Result<String> {
    let example = "entity => 'user_id', time => 'at', channel => 'source', converted => 'bought'";
    let (entity, _) = source.required(arguments, "entity", example)?;
    let (time, time_type) = source.required(arguments, "time", example)?;
    if !time_type.is_temporal() {
        return Err(wrong_type("time", &time, time_type, "a date or timestamp"));
    }
    let (channel, _) = source.required(arguments, "channel", example)?;
    let (converted, converted_type) = source.required(arguments, "converted", example)?;
    let value = source.number(arguments, "value")?;
    for name in ["conversions", "nulls", "separator"] {
        if arguments.take(name).is_some() {
            return Err(FunnelError::WrongCall {
                message: format!("{name} is about paths, and this query has touches"),
                hint: "Write path => the column of the paths.".to_owned(),
            }
            .into());
        }
    }
    let instant = |column: &str| format!("CAST(CAST({column} AS timestamptz(6)) AS bigint)");
    // The first success counts, and the touches up to it.
    let (won, end) = match converted_type {
        DataType::Boolean | DataType::Null => {
            (format!("coalesce(bool_or({converted}), false)"), None)
        }
        found if found.is_numeric() => (format!("coalesce(bool_or({converted} > 0), false)"), None),
        found if found.is_temporal() => (
            format!("count({converted}) > 0"),
            Some(format!("min({})", instant(&converted))),
        ),
        found => {
            let wanted = "a condition, a number or the time of the success";
            return Err(wrong_type("converted", &converted, found, wanted));
        }
    };
    // Where nobody knows when it was, the success came with the last touch.
    let last = format!("max({})", instant(&time));
    let end = match end {
        Some(end) => format!("coalesce({end}, {last})"),
        None => last,
    };
    let value = match value {
        Some(value) => format!("max({value})"),
        None => "CAST(NULL AS double precision)".to_owned(),
    };
    let before = format!(
        "WITH touches AS (\n  {}\n),\nentities AS (\n  SELECT {entity} AS __entity, {won} AS __won, {end} AS __end_us, {value} AS __value\n  \
         FROM touches\n  WHERE {entity} IS NOT NULL\n  GROUP BY {entity}\n),\npaths AS (\n  {}\n)\n",
        source.sql,
        models.touching.paths(&format!(
            "(
      SELECT e.__entity, coalesce(CAST(t.{channel} AS text), '(null)') AS __channel, {at} AS __at, e.__won, e.__end_us
      FROM entities AS e JOIN touches AS t ON t.{entity} = e.__entity AND {at} <= e.__end_us
    )",
            at = instant(&format!("t.{time}")),
        )),
    );
    let gathered = format!(
        "    SELECT {} AS credits, false AS is_open\n    FROM entities AS e LEFT JOIN paths AS p ON p.__entity = e.__entity",
        models.credits(
            "p.path",
            "p.days",
            "CASE WHEN e.__won THEN 1 ELSE 0 END",
            "e.__value",
            "CASE WHEN e.__won THEN 0 ELSE 1 END"
        ),
    );
    Ok(models.query(&before, &gathered, NO_KEY))
}

/// SQL of the channels of a path. Blanks around one are no part of its name; a path of nothing but blanks has none.
fn channels_of(path: &str, separator: &str) -> String {
    let escaped = separator.chars().flat_map(|letter| {
        // Those that mean something in a pattern; `\>` would mean another thing than `>`.
        let escape = r"\.+*?()|[]{}^$#&-~".contains(letter).then_some('\\');
        escape.into_iter().chain([letter])
    });
    let pattern = format!(r"\s*{}\s*", escaped.collect::<String>());
    // A `$` in what is put in would stand for a group.
    let put_in = literal(&separator.replace('$', "$$"));
    format!(
        "string_to_array(regexp_replace(nullif(trim({path}), ''), {}, {put_in}, 'g'), {})",
        literal(&pattern),
        literal(separator)
    )
}

fn over_paths(arguments: &mut Arguments, models: &Models, source: &Source) -> Result<String> {
    let example = "path => 'path', conversions => 'total_conversions', nulls => 'total_null'";
    let (path, path_type) = source.required(arguments, "path", example)?;
    if !(path_type.is_string() || path_type.is_null()) {
        return Err(wrong_type(
            "path",
            &path,
            path_type,
            "a text such as 'a > b'",
        ));
    }
    let conversions =
        source
            .count(arguments, "conversions")?
            .ok_or_else(|| FunnelError::WrongCall {
                message: format!("{NAME}() over paths needs conversions"),
                hint: format!("Write {example}."),
            })?;
    let value = source.number(arguments, "value")?;
    let nulls = source.count(arguments, "nulls")?;
    let separator = arguments
        .take_text("separator")?
        .unwrap_or_else(|| ">".to_owned());
    if separator.trim().is_empty() {
        return Err(arguments.invalid(
            "separator",
            &format!("\"{separator}\""),
            "a text such as '>'",
        ));
    }
    for name in ["entity", "time", "channel", "converted"] {
        if arguments.take(name).is_some() {
            return Err(FunnelError::WrongCall {
                message: format!("{name} is about touches, and this query has paths"),
                hint: format!("Write {example}."),
            }
            .into());
        }
    }
    let gathered = format!(
        "    SELECT {} AS credits, false AS is_open\n    FROM (\n  {}\n) AS paths",
        models.credits(
            &channels_of(&path, separator.trim()),
            "NULL",
            &conversions,
            value.as_deref().unwrap_or("NULL"),
            nulls.as_deref().unwrap_or("0"),
        ),
        source.sql,
    );
    Ok(models.query("", &gathered, NO_KEY))
}

//! What two periods are compared by: the journeys of a funnel, or the counts of any query.

use datafusion::error::Result;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Value};

use super::arguments::Arguments;
use super::call::Call;
use super::compared::Compared;
use super::conversion::Conversion;
use super::funnel_trend::Calendar;
use crate::definition::text::{identifier, literal, written};
use crate::error::FunnelError;
use crate::statistics::root_cause::Measure;

/// The journeys of two periods.
pub struct Changed {
    /// The call.
    pub call: Call,
    /// What a success is.
    pub conversion: Conversion,
    /// The periods.
    pub compared: Compared,
    calendar: Calendar,
}

impl Changed {
    /// The named arguments beside those of [`call::arguments`](super::call::arguments).
    pub const ARGUMENTS: [&'static str; 5] = ["to_stage", "age", "current", "base", "calendar"];

    /// [`Changed::ARGUMENTS`] as they are listed in catalogs.
    pub const SIGNATURE: &'static str = "current text, base text DEFAULT 'previous', stage text DEFAULT NULL, \
         to_stage text DEFAULT NULL, age double precision DEFAULT NULL, calendar text DEFAULT 'entry'";

    /// Takes them, and the call.
    ///
    /// # Errors
    /// As [`Compared::take`] and [`Conversion::take`].
    pub fn take(arguments: &mut Arguments, function: &str) -> Result<Self> {
        let compared = Compared::take(arguments, function)?;
        let calendar = Calendar::take(arguments)?;
        let (conversion, mut call) = Conversion::take(arguments)?;
        if calendar == Calendar::Stage {
            call.take_any_start();
        }
        Ok(Self {
            call,
            conversion,
            compared,
            calendar,
        })
    }

    /// SQL of the journeys of both periods, with `__period`.
    pub fn rows(&self) -> String {
        let instant = self.calendar.column();
        let mut columns = vec![
            "*".to_owned(),
            format!("{} AS __period", self.compared.period_of(instant)),
        ];
        columns.extend(self.conversion.ages(&self.call, instant));
        let mut conditions = vec![self.compared.either(instant)];
        if self.calendar == Calendar::Stage {
            for (name, comparison) in [("since", ">="), ("until", "<")] {
                let bound = self.call.instant(name);
                conditions.extend(bound.map(|bound| format!("{instant} {comparison} {bound}")));
            }
        }
        format!(
            "(\n  SELECT {}\n  FROM {}\n  WHERE {}\n) AS compared",
            columns.join(",\n         "),
            self.conversion.entered(&self.call),
            conditions.join(" AND "),
        )
    }

    /// The arguments of a drill key that say all this.
    pub fn key(&self) -> Vec<(&'static str, String)> {
        let mut key = self.conversion.key(&self.call);
        key.extend(self.compared.key());
        key.push(("calendar", self.calendar.name().to_owned()));
        key
    }

    /// The conditions of the successes and of all, over [`Changed::rows`].
    pub fn conditions(&self, measure: Measure) -> (String, String) {
        match measure {
            Measure::Volume => ("false".to_owned(), "true".to_owned()),
            Measure::Rate | Measure::Amount => (self.conversion.k(), self.conversion.n()),
        }
    }

    /// The numbers of a row's journeys, and the conditions of those that each counts.
    pub fn counts(&self, measure: Measure) -> Vec<(&'static str, String)> {
        let (k, n) = self.conditions(measure);
        vec![
            ("current_n", format!("__period = 'current' AND {n}")),
            ("current_k", format!("__period = 'current' AND {k}")),
            ("base_n", format!("__period = 'base' AND {n}")),
            ("base_k", format!("__period = 'base' AND {k}")),
        ]
    }

    /// SQL that holds where the current period isn't over.
    pub fn is_cut(&self) -> String {
        format!(
            "{} < greatest({}, {})",
            self.call.as_of(),
            self.compared.current.until(),
            self.compared.base.until()
        )
    }
}

/// The counts of any query.
pub struct Plain {
    query: String,
    period: String,
    k: String,
    n: String,
    value: Option<String>,
    current: String,
    base: String,
}

impl Plain {
    /// The named arguments.
    pub const ARGUMENTS: [&'static str; 3] = ["period", "k", "n"];

    /// Takes them where the first argument is a query and `period` is given, and with it `current`, `base` and `value`.
    ///
    /// # Errors
    /// 42883 without `current` or `base`.
    pub fn take(arguments: &mut Arguments, function: &str) -> Result<Option<Self>> {
        if !arguments.is_over_query() || arguments.peek("period").is_none() {
            return Ok(None);
        }
        let SqlExpr::Subquery(query) = arguments.only_positional()? else {
            return Ok(None);
        };
        let mut column = |name: &str, default: &str| -> Result<String> {
            let given = arguments.take_text(name)?;
            Ok(identifier(given.as_deref().unwrap_or(default)))
        };
        let (period, k, n) = (
            column("period", "period")?,
            column("k", "k")?,
            column("n", "n")?,
        );
        let value = arguments
            .take_text("value")?
            .map(|value| identifier(&value));
        let (current, base) = (
            arguments.take_text("current")?,
            arguments.take_text("base")?,
        );
        let (Some(current), Some(base)) = (current, base) else {
            return Err(FunnelError::WrongCall {
                message: format!("{function}() over a query needs current and base"),
                hint: "Write the values of the period's column: current => '2026-03', base => '2026-02'."
                    .to_owned(),
            }
            .into());
        };
        Ok(Some(Self {
            query: written(&query),
            period,
            k,
            n,
            value,
            current,
            base,
        }))
    }

    fn in_period(&self, period: &str) -> String {
        let value = match period {
            "base" => &self.base,
            _ => &self.current,
        };
        format!("CAST({} AS text) = {}", self.period, literal(value))
    }
}

/// Either.
pub enum Source {
    /// Journeys.
    Funnel(Changed),
    /// Counts.
    Query(Plain),
}

impl Source {
    /// Takes whichever it is.
    ///
    /// # Errors
    /// As [`Plain::take`] and [`Changed::take`].
    pub fn take(arguments: &mut Arguments, function: &str) -> Result<Self> {
        if let Some(plain) = Plain::take(arguments, function)? {
            return Ok(Self::Query(plain));
        }
        for name in Plain::ARGUMENTS {
            if arguments.take(name).is_some() {
                return Err(FunnelError::WrongCall {
                    message: format!("{name} is for {function}() over a query of counts"),
                    hint: "Write ((SELECT …), period => …, k => …, n => …), or leave it out."
                        .to_owned(),
                }
                .into());
            }
        }
        Ok(Self::Funnel(Changed::take(arguments, function)?))
    }

    /// SQL of the rows that are counted.
    pub fn rows(&self) -> String {
        match self {
            Self::Funnel(changed) => changed.rows(),
            Self::Query(plain) => format!(
                "(\n  SELECT * FROM ({}) AS given\n  WHERE {} OR {}\n) AS compared",
                plain.query,
                plain.in_period("base"),
                plain.in_period("current")
            ),
        }
    }

    /// Aggregates over [`Source::rows`]: `base_k`, `base_n`, `current_k`, `current_n`, amounts where they are measured, and `waiting`, how many
    /// haven't had their whole time.
    pub fn aggregates(&self, measure: Measure) -> Result<Vec<String>> {
        let mut columns = Vec::new();
        match self {
            Self::Funnel(changed) => {
                let counts = changed.counts(measure);
                columns.extend(counts.iter().map(|(name, condition)| {
                    format!("count(*) FILTER (WHERE {condition}) AS {name}")
                }));
                if measure == Measure::Amount {
                    let (k, _) = changed.conditions(measure);
                    columns.extend(amounts("value", |period| {
                        format!("__period = '{period}' AND {k}")
                    }));
                }
                let waiting = match measure {
                    Measure::Volume => "false".to_owned(),
                    _ => changed.conversion.waiting(&changed.call),
                };
                columns.push(format!("count(*) FILTER (WHERE {waiting}) AS waiting"));
            }
            Self::Query(plain) => {
                for period in ["current", "base"] {
                    let sum = |column: &str, name: &str| {
                        format!(
                            "coalesce(sum(CAST({column} AS bigint)) FILTER (WHERE {}), 0) AS {period}_{name}",
                            plain.in_period(period)
                        )
                    };
                    columns.push(match measure {
                        Measure::Amount => format!(
                            "count(*) FILTER (WHERE {}) AS {period}_n",
                            plain.in_period(period)
                        ),
                        _ => sum(&plain.n, "n"),
                    });
                    columns.push(match measure {
                        Measure::Rate => sum(&plain.k, "k"),
                        _ => format!("CAST(0 AS bigint) AS {period}_k"),
                    });
                }
                if measure == Measure::Amount {
                    let Some(value) = &plain.value else {
                        return Err(FunnelError::WrongCall {
                            message: "an amount over a query needs value".to_owned(),
                            hint: "Write value => 'amount', the column of what each row is worth."
                                .to_owned(),
                        }
                        .into());
                    };
                    columns.extend(amounts(value, |period| plain.in_period(period)));
                }
                columns.push("CAST(0 AS bigint) AS waiting".to_owned());
            }
        }
        Ok(columns)
    }

    /// SQL that holds where a period isn't over.
    pub fn is_cut(&self) -> String {
        match self {
            Self::Funnel(changed) => changed.is_cut(),
            Self::Query(_) => "false".to_owned(),
        }
    }
}

fn amounts(value: &str, condition: impl Fn(&str) -> String) -> Vec<String> {
    let value = format!("CAST({value} AS double precision)");
    ["base", "current"]
        .iter()
        .flat_map(|period| {
            let condition = condition(period);
            [
                format!("coalesce(sum({value}) FILTER (WHERE {condition}), 0) AS {period}_amount"),
                format!("coalesce(sum({value} * {value}) FILTER (WHERE {condition}), 0) AS {period}_squares"),
            ]
        })
        .collect()
}

/// Whether an argument is a number as it is written.
pub fn is_number(value: Option<&SqlExpr>) -> bool {
    matches!(value, Some(SqlExpr::Value(inner)) if matches!(inner.value, Value::Number(..)))
}

/// What a cell has, as a struct for the functions on cells.
pub fn cell_struct(names: &[&str]) -> String {
    let pairs: Vec<String> = names
        .iter()
        .map(|name| format!("'{name}', {name}"))
        .collect();
    format!("named_struct({})", pairs.join(", "))
}

//! What a [life table](crate::aggregate::life_table) says: the share that still waits, when a half has left, who wins by when.
//!
//! | function | returns |
//! |---|---|
//! | `survival_curve(life_table [, event [, confidence]])` | Kaplan and Meier's estimate: a list of structs of `t`, `at_risk`, `events`, `censored`, `survival`, `se`, `lo`, `hi`, one for each distinct time |
//! | `survival_quantile(life_table, q [, event])` | the time by which the share `q` has had the event; NULL where it never is |
//! | `survival_rmst(life_table, tau [, event])` | the mean time until the event, up to `tau`; NULL where the follow-up ends before it while some still wait |
//! | `incidence_curve(life_table [, confidence])` | Aalen and Johansen's estimate: a list of structs of `t`, `at_risk`, `won`, `lost`, `open`, `open_survival`, `cif_won`, `cif_won_lo`, `cif_won_hi`, `cif_lost`, `cif_lost_lo`, `cif_lost_hi` |
//! | `incidence_quantile(life_table, q)` | the time by which the share `q` of all has won; NULL where it never is |
//! | `win_probability(life_table, t)` | the chance that who is open at `t` wins by the longest follow-up; NULL where nobody was followed so long |
//! | `logrank(life_tables [, event])` | the log-rank test of several life tables in a list: a struct of `chi2`, `dof`, `p`, NULL where there is nothing to compare |
//!
//! `event` is `'any'` (won or lost, where it isn't given), `'won'` or `'lost'`; the other one is then censored. A share that is off by 1e-9 has reached
//! a quantile. Events come before censorings of the same time. Limits are by the log(−log) transformation; where a share is 0, there are none, and
//! where it is 1 for want of an event, both are 1. NULL where an argument is. Errors: 22023 for an event that there isn't, a share outside of
//! [0, 1], a negative `tau`; 42804 for what is no life table; 42883 for a number of arguments.
//!
//! Sources: Kaplan and Meier, JASA 53 (1958); Greenwood 1926; Royston and Parmar, BMC Medical Research Methodology 13 (2013); Aalen and Johansen,
//! Scandinavian Journal of Statistics 5 (1978); Mantel, Cancer Chemotherapy Reports 50 (1966).
//!
//! Cost: one pass over the distinct times; of `logrank`, by the square of the number of groups.
//!
//! ```slt
//! query IIR
//! SELECT p['t']::bigint, p['at_risk'], round(p['survival'], 4) FROM (
//!   SELECT unnest(survival_curve(life_table(t, outcome))) AS p
//!   FROM (VALUES (1, 'won'), (2, 'open'), (3, 'lost'), (3, 'won')) AS deals(t, outcome))
//! ----
//! 1 4 0.75
//! 2 3 0.75
//! 3 2 0
//! ```

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StructArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::Result;
use datafusion::common::cast::{as_list_array, as_string_array};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::aggregate::life_table::column::{LifeTables, data_type as life_table_type};
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::STATISTICS;
use crate::scalar::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::statistics::aalen_johansen::Curve;
use crate::statistics::kaplan_meier;
use crate::statistics::life_table::{Event, LifeTable};
use crate::statistics::logrank::{LogRank, logrank};

/// Every function of this page.
pub fn survival_udfs() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS
        .iter()
        .map(|function| {
            Arc::new(ScalarUDF::from(Survival {
                function: *function,
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

/// A function over life tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Function {
    SurvivalCurve,
    SurvivalQuantile,
    SurvivalRmst,
    IncidenceCurve,
    IncidenceQuantile,
    WinProbability,
    Logrank,
}

const FUNCTIONS: [Function; 7] = [
    Function::SurvivalCurve,
    Function::SurvivalQuantile,
    Function::SurvivalRmst,
    Function::IncidenceCurve,
    Function::IncidenceQuantile,
    Function::WinProbability,
    Function::Logrank,
];

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Table,
    Tables,
    Number(&'static str),
    Event,
    Confidence,
}

impl Argument {
    fn name(self) -> &'static str {
        match self {
            Argument::Table => "life_table",
            Argument::Tables => "life_tables",
            Argument::Number(name) => name,
            Argument::Event => "event",
            Argument::Confidence => "confidence",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Argument::Table => life_table_type(),
            Argument::Tables => DataType::new_list(life_table_type(), true),
            Argument::Number(_) | Argument::Confidence => DataType::Float64,
            Argument::Event => DataType::Utf8,
        }
    }

    fn sql(self) -> String {
        let data_type = match self {
            Argument::Table | Argument::Tables => "record[]",
            Argument::Number(_) | Argument::Confidence => "double precision",
            Argument::Event => "text",
        };
        format!("{} {data_type}", self.name())
    }

    fn accepts(self, found: &DataType) -> bool {
        match self {
            Argument::Table | Argument::Tables => {
                *found == DataType::Null || found.equals_datatype(&self.data_type())
            }
            Argument::Number(_) | Argument::Confidence => {
                found.is_numeric() || *found == DataType::Null
            }
            Argument::Event => found.is_string() || *found == DataType::Null,
        }
    }
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::SurvivalCurve => "survival_curve",
            Function::SurvivalQuantile => "survival_quantile",
            Function::SurvivalRmst => "survival_rmst",
            Function::IncidenceCurve => "incidence_curve",
            Function::IncidenceQuantile => "incidence_quantile",
            Function::WinProbability => "win_probability",
            Function::Logrank => "logrank",
        }
    }

    /// The arguments, and how many of them are needed.
    fn arguments(self) -> (&'static [Argument], usize) {
        match self {
            Function::SurvivalCurve => {
                (&[Argument::Table, Argument::Event, Argument::Confidence], 1)
            }
            Function::SurvivalQuantile => (
                &[Argument::Table, Argument::Number("q"), Argument::Event],
                2,
            ),
            Function::SurvivalRmst => (
                &[Argument::Table, Argument::Number("tau"), Argument::Event],
                2,
            ),
            Function::IncidenceCurve => (&[Argument::Table, Argument::Confidence], 1),
            Function::IncidenceQuantile => (&[Argument::Table, Argument::Number("q")], 2),
            Function::WinProbability => (&[Argument::Table, Argument::Number("t")], 2),
            Function::Logrank => (&[Argument::Tables, Argument::Event], 1),
        }
    }

    fn return_type(self) -> DataType {
        match self {
            Function::SurvivalCurve => DataType::List(item(curve_fields())),
            Function::IncidenceCurve => DataType::List(item(incidence_fields())),
            Function::Logrank => DataType::Struct(logrank_fields()),
            _ => DataType::Float64,
        }
    }

    fn syntax(self) -> String {
        let (arguments, required) = self.arguments();
        let arguments: Vec<String> = arguments
            .iter()
            .enumerate()
            .map(|(at, argument)| match at < required {
                true => argument.sql(),
                false => format!("{} DEFAULT NULL", argument.sql()),
            })
            .collect();
        format!("{}({})", self.name(), arguments.join(", "))
    }

    fn text(self) -> &'static str {
        match self {
            Function::SurvivalCurve => {
                "The share that still waits after each time of a life table (Kaplan-Meier)."
            }
            Function::SurvivalQuantile => {
                "The time by which a share has had the event; NULL where it never is."
            }
            Function::SurvivalRmst => "The mean time until the event, up to tau.",
            Function::IncidenceCurve => {
                "The shares that were won and lost by each time of a life table (Aalen-Johansen)."
            }
            Function::IncidenceQuantile => {
                "The time by which a share of all has won; NULL where it never is."
            }
            Function::WinProbability => {
                "The chance that who is open at a time wins by the longest follow-up."
            }
            Function::Logrank => {
                "Whether several groups have the event equally fast (log-rank test)."
            }
        }
    }
}

fn fields(names: &[(&'static str, DataType)]) -> Fields {
    names
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect()
}

fn item(fields: Fields) -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(fields), true))
}

fn curve_fields() -> Fields {
    use DataType::{Float64, Int64};
    fields(&[
        ("t", Float64),
        ("at_risk", Int64),
        ("events", Int64),
        ("censored", Int64),
        ("survival", Float64),
        ("se", Float64),
        ("lo", Float64),
        ("hi", Float64),
    ])
}

fn incidence_fields() -> Fields {
    use DataType::{Float64, Int64};
    fields(&[
        ("t", Float64),
        ("at_risk", Int64),
        ("won", Int64),
        ("lost", Int64),
        ("open", Int64),
        ("open_survival", Float64),
        ("cif_won", Float64),
        ("cif_won_lo", Float64),
        ("cif_won_hi", Float64),
        ("cif_lost", Float64),
        ("cif_lost_lo", Float64),
        ("cif_lost_hi", Float64),
    ])
}

fn logrank_fields() -> Fields {
    use DataType::{Float64, Int64};
    fields(&[("chi2", Float64), ("dof", Int64), ("p", Float64)])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Survival {
    function: Function,
    signature: Signature,
}

impl ScalarUDFImpl for Survival {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    // The check is here because DataFusion makes plain text of an error of `coerce_types`.
    fn return_type(&self, found: &[DataType]) -> Result<DataType> {
        let (arguments, required) = self.function.arguments();
        let name = self.function.name();
        let hint = format!("Write {}.", self.function.syntax());
        if !(required..=arguments.len()).contains(&found.len()) {
            let message = format!("{name}() can't be called with {} arguments", found.len());
            return Err(FunnelError::WrongCall { message, hint }.into());
        }
        for (argument, found) in arguments.iter().zip(found) {
            if !argument.accepts(found) {
                let message = format!("{} of {name}() can't be of type {found}", argument.name());
                return Err(FunnelError::WrongType { message, hint }.into());
            }
        }
        Ok(self.function.return_type())
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let (arguments, _) = self.function.arguments();
        let coerced = found
            .iter()
            .enumerate()
            .map(|(at, found)| match arguments.get(at) {
                Some(argument) if argument.accepts(found) => argument.data_type(),
                _ => found.clone(),
            });
        Ok(coerced.collect())
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGES: LazyLock<Vec<Documentation>> = LazyLock::new(|| {
            let page = |function: &Function| {
                Documentation::builder(STATISTICS, function.text(), function.syntax()).build()
            };
            FUNCTIONS.iter().map(page).collect()
        });
        let at = FUNCTIONS
            .iter()
            .position(|function| *function == self.function)?;
        PAGES.get(at)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = call
            .args
            .iter()
            .map(|argument| argument.to_array(call.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let rows = Rows {
            columns: &columns,
            arguments: self.function.arguments().0,
            count: call.number_rows,
        };
        Ok(ColumnarValue::Array(match self.function {
            Function::SurvivalCurve => rows.survival_curve()?,
            Function::IncidenceCurve => rows.incidence_curve()?,
            Function::Logrank => rows.logrank()?,
            Function::SurvivalQuantile => {
                rows.numbers(|table, q, event| Ok(kaplan_meier::quantile(table, q, event)?))?
            }
            Function::SurvivalRmst => rows.numbers(|table, tau, event| {
                Ok(kaplan_meier::restricted_mean(table, tau, event)?)
            })?,
            Function::IncidenceQuantile => {
                rows.numbers(|table, q, _| Ok(Curve::new(table).quantile(q)?))?
            }
            Function::WinProbability => {
                rows.numbers(|table, t, _| Ok(Curve::new(table).win_probability(t)))?
            }
        }))
    }
}

/// The arguments of a batch.
struct Rows<'a> {
    columns: &'a [ArrayRef],
    arguments: &'static [Argument],
    count: usize,
}

impl Rows<'_> {
    fn column(&self, argument: Argument) -> Option<&ArrayRef> {
        let at = self.arguments.iter().position(|other| *other == argument)?;
        self.columns.get(at)
    }

    /// The event of a row: any where it isn't given; nothing where it is NULL.
    fn event(&self, row: usize) -> Result<Option<Event>> {
        let Some(column) = self.column(Argument::Event) else {
            return Ok(Some(Event::Any));
        };
        let column = as_string_array(column)?;
        match column.is_valid(row) {
            true => Ok(Some(Event::parse(column.value(row))?)),
            false => Ok(None),
        }
    }

    fn confidence(&self, row: usize) -> Result<Option<Confidence>> {
        let Some(column) = self.column(Argument::Confidence) else {
            return Ok(Some(Confidence::new(DEFAULT_CONFIDENCE)?));
        };
        let column = column.as_primitive::<Float64Type>();
        match column.is_valid(row) {
            true => Ok(Some(Confidence::new(column.value(row))?)),
            false => Ok(None),
        }
    }

    /// A number of each row's life table, second argument and event; NULL where one of them is.
    fn numbers(
        &self,
        number: impl Fn(&LifeTable, f64, Event) -> Result<Option<f64>>,
    ) -> Result<ArrayRef> {
        let given = self.columns[1].as_primitive::<Float64Type>();
        let mut found = Vec::with_capacity(self.count);
        for row in 0..self.count {
            let table = read(&self.columns[0], row)?;
            found.push(match (table, self.event(row)?) {
                (Some(table), Some(event)) if given.is_valid(row) => {
                    number(&table, given.value(row), event)?
                }
                _ => None,
            });
        }
        Ok(Arc::new(found.into_iter().collect::<Float64Array>()))
    }

    fn survival_curve(&self) -> Result<ArrayRef> {
        let mut lists = Lists::default();
        let mut points = Vec::new();
        for row in 0..self.count {
            let table = read(&self.columns[0], row)?;
            let found = match (table, self.event(row)?, self.confidence(row)?) {
                (Some(table), Some(event), Some(confidence)) => {
                    Some(kaplan_meier::curve(&table, event, confidence))
                }
                _ => None,
            };
            lists.push(found.as_ref().map(Vec::len));
            points.extend(found.into_iter().flatten());
        }
        let columns = vec![
            floats(points.iter().map(|point| Some(point.t))),
            integers(points.iter().map(|point| point.at_risk)),
            integers(points.iter().map(|point| point.events)),
            integers(points.iter().map(|point| point.censored)),
            floats(points.iter().map(|point| Some(point.survival))),
            floats(points.iter().map(|point| point.se)),
            floats(points.iter().map(|point| point.lo)),
            floats(points.iter().map(|point| point.hi)),
        ];
        lists.finish(curve_fields(), columns)
    }

    fn incidence_curve(&self) -> Result<ArrayRef> {
        let mut lists = Lists::default();
        let mut points = Vec::new();
        for row in 0..self.count {
            let found = match (read(&self.columns[0], row)?, self.confidence(row)?) {
                (Some(table), Some(confidence)) => Some(Curve::new(&table).points(confidence)),
                _ => None,
            };
            lists.push(found.as_ref().map(Vec::len));
            points.extend(found.into_iter().flatten());
        }
        let columns = vec![
            floats(points.iter().map(|point| Some(point.t))),
            integers(points.iter().map(|point| point.at_risk)),
            integers(points.iter().map(|point| point.ends.won)),
            integers(points.iter().map(|point| point.ends.lost)),
            integers(points.iter().map(|point| point.ends.open)),
            floats(points.iter().map(|point| Some(point.open_survival))),
            floats(points.iter().map(|point| Some(point.won.estimate))),
            floats(points.iter().map(|point| point.won.lo)),
            floats(points.iter().map(|point| point.won.hi)),
            floats(points.iter().map(|point| Some(point.lost.estimate))),
            floats(points.iter().map(|point| point.lost.lo)),
            floats(points.iter().map(|point| point.lost.hi)),
        ];
        lists.finish(incidence_fields(), columns)
    }

    fn logrank(&self) -> Result<ArrayRef> {
        let groups = as_list_array(&self.columns[0])?;
        let mut tests: Vec<Option<LogRank>> = Vec::with_capacity(self.count);
        for row in 0..self.count {
            tests.push(match self.event(row)? {
                Some(event) if groups.is_valid(row) => {
                    let tables = groups.value(row);
                    let tables = (0..tables.len())
                        .filter_map(|at| read(&tables, at).transpose())
                        .collect::<Result<Vec<_>>>()?;
                    logrank(&tables, event)?
                }
                _ => None,
            });
        }
        let columns = vec![
            floats(tests.iter().map(|test| test.map(|test| test.chi2))),
            Arc::new(
                tests
                    .iter()
                    .map(|test| test.map(|test| test.dof))
                    .collect::<Int64Array>(),
            ),
            floats(tests.iter().map(|test| test.map(|test| test.p))),
        ];
        let nulls = tests.iter().map(Option::is_some).collect::<NullBuffer>();
        let tests = StructArray::try_new(logrank_fields(), columns, Some(nulls))?;
        Ok(Arc::new(tests))
    }
}

/// The life table of a row; nothing where it is NULL.
fn read(tables: &ArrayRef, row: usize) -> Result<Option<LifeTable>> {
    match tables.is_valid(row) {
        true => Ok(Some(LifeTables::new(tables)?.table(row)?)),
        false => Ok(None),
    }
}

/// The lengths of a column's lists; none for a NULL.
#[derive(Default)]
struct Lists {
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Lists {
    fn push(&mut self, length: Option<usize>) {
        self.lengths.push(length.unwrap_or(0));
        self.valid.push(length.is_some());
    }

    fn finish(self, fields: Fields, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
        let points = StructArray::try_new(fields.clone(), columns, None)?;
        Ok(Arc::new(ListArray::try_new(
            item(fields),
            OffsetBuffer::from_lengths(self.lengths),
            Arc::new(points),
            Some(NullBuffer::from(self.valid)),
        )?))
    }
}

fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

fn integers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<Int64Array>())
}

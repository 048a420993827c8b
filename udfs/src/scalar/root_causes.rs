//! `root_causes(cells, dims, measure, method, teep, tep, k)`: the elements of dimensions that account for a change, from counts of them.
//!
//! The methods are in [`root_cause`](crate::statistics::root_cause). A cell is a struct of `dimension` (the position of the element's dimension from
//! 1; 0 for a combination of one element of each), `elements` (a list of the element's name, or of one of each dimension), and of either period
//! `base_k`, `base_n`, `base_amount`, `base_squares`, `current_k`, …: successes, all, what the successes are worth and the sum of the squares.
//! `adtributor` needs elements of each dimension, the other methods combinations. [`root_cause`](crate::table::root_cause) calls it. Cost: a
//! sort of the cells; `riskloc` and `recursive` a pass over the combinations for each set of dimensions.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, ListBuilder, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::common::cast::{as_float64_array, as_int64_array, as_list_array, as_string_array};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use serde_json::json;

use super::cells::{
    Cells, Integers, Numbers, check, coerce, count_column, list_type, number_column, struct_lists,
    text_column, texts_of,
};
use super::rate_ci::arguments::STATISTICS;
use crate::error::FunnelError;
use crate::statistics::root_cause::{
    Cell, Judged, Measure, Name, Options, Report, Search, Side, root_causes,
};

const NAME: &str = "root_causes";
const SYNTAX: &str = "root_causes(cells, dims, measure, method, teep, tep, k)";

/// Between the elements of a combination.
const BETWEEN: &str = " · ";

/// Where a change lies: elements of dimensions, ranked.
///
/// - `cells`: list of structs as above; a field that isn't there is 0
/// - `dims`: list of the dimensions' names
/// - `measure`: `'rate'` (k of n), `'volume'` (n) or `'amount'`
/// - `method`: `'adtributor'`, `'recursive'` or `'riskloc'`
/// - `teep`, `tep`: the explanatory power that an element, and a set of them, must exceed; `k`: the most causes
/// - returns `List<Struct { rank, dimension, elements, selection, base_k, base_n, base, current_k, current_n, current, explanatory_power,
///   surprise, contribution, lo, hi, p, q, change, change_lo, change_hi, total_base, total_current, status }>`. There is always a row: where
///   there is no cause, `rank` is NULL and `status` says why: `no_data`, `within_chance` (the change itself), `no_concentration` (it is spread)
/// - errors: 22023 for another word, or counts that can't be
/// - source: R. Bhagwan and others, NSDI 2014; M. Kalander, arXiv 2205.10004; the example is by hand
/// ```slt
/// query ITTRRT
/// SELECT c['rank'], c['dimension'], c['elements'], c['explanatory_power'], round(c['contribution'], 3), c['status']
/// FROM (SELECT unnest(root_causes([
///   named_struct('dimension', 1, 'elements', ['north'], 'base_k', 500, 'base_n', 1000, 'current_k', 500, 'current_n', 1000),
///   named_struct('dimension', 1, 'elements', ['south'], 'base_k', 500, 'base_n', 1000, 'current_k', 200, 'current_n', 1000)],
///   ['region'], 'rate', 'adtributor', 0.1, 0.67, 3)) AS c)
/// ----
/// 1 region {south} 1 -0.15 ok
/// ```
pub fn root_causes_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(RootCauses {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RootCauses {
    signature: Signature,
}

impl ScalarUDFImpl for RootCauses {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let others = [
            list_type(DataType::Utf8),
            DataType::Utf8,
            DataType::Utf8,
            DataType::Float64,
            DataType::Float64,
            DataType::Int64,
        ];
        Ok(coerce(given, &others))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        check(NAME, SYNTAX, coerced, 6, &["dimension", "elements"])?;
        Ok(list_type(DataType::Struct(fields())))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        let cells = Cells::new(&columns[0])?;
        let reader = Reader::new(&cells)?;
        let dims = as_list_array(&columns[1])?;
        let (measures, methods) = (as_string_array(&columns[2])?, as_string_array(&columns[3])?);
        let (teep, tep) = (
            as_float64_array(&columns[4])?,
            as_float64_array(&columns[5])?,
        );
        let most = as_int64_array(&columns[6])?;
        let (mut items, mut lengths) = (Vec::new(), Vec::new());
        for row in 0..columns[0].len() {
            let options = Options {
                measure: measure(measures.value(row))?,
                search: search(methods.value(row))?,
                teep: teep.value(row),
                tep: tep.value(row),
                k: usize::try_from(most.value(row)).unwrap_or(0),
            };
            let report = root_causes(reader.cells(cells.of(row)), &options)?;
            let names = match dims.is_valid(row) {
                true => dims
                    .value(row)
                    .as_string::<i32>()
                    .iter()
                    .flatten()
                    .map(str::to_owned)
                    .collect(),
                false => Vec::new(),
            };
            let before = items.len();
            items.extend(rows(&report, &names, options.measure));
            lengths.push(items.len() - before);
        }
        Ok(ColumnarValue::Array(struct_lists(
            fields(),
            result(&items),
            lengths,
        )?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                STATISTICS,
                "Where a change lies: the elements of dimensions that account for it, ranked, as a list of structs with explanatory power, surprise, \
                 contribution and its interval. root_cause() calls it.",
                SYNTAX,
            )
            .with_argument("cells", "A list of structs of dimension, elements, base_k, base_n, current_k, current_n and the like.")
            .with_argument("dims", "The names of the dimensions.")
            .with_argument("measure", "'rate', 'volume' or 'amount'.")
            .with_argument("method", "'adtributor', 'recursive' or 'riskloc'.")
            .with_argument("teep", "The explanatory power that an element must exceed.")
            .with_argument("tep", "The explanatory power that a dimension's elements must exceed together.")
            .with_argument("k", "The most causes.")
            .build()
        });
        Some(&PAGE)
    }
}

fn named<T: Copy>(what: &str, name: &str, choices: &[(&str, T)]) -> Result<T, FunnelError> {
    let found = choices.iter().find(|(choice, _)| *choice == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<String> = choices
            .iter()
            .map(|(choice, _)| format!("'{choice}'"))
            .collect();
        FunnelError::InvalidArgument {
            message: format!("\"{name}\" is no {what} of {NAME}()"),
            hint: format!("Use {}.", words.join(" or ")),
        }
    })
}

fn measure(name: &str) -> Result<Measure, FunnelError> {
    let choices = [
        ("rate", Measure::Rate),
        ("volume", Measure::Volume),
        ("amount", Measure::Amount),
    ];
    named("measure", name, &choices)
}

fn search(name: &str) -> Result<Search, FunnelError> {
    let choices = [
        ("adtributor", Search::Adtributor),
        ("recursive", Search::Recursive),
        ("riskloc", Search::RiskLoc),
    ];
    named("method", name, &choices)
}

/// The fields of the cells.
struct Reader {
    dimensions: Integers,
    elements: Option<ListArray>,
    sides: [[Numbers; 4]; 2],
}

impl Reader {
    fn new(cells: &Cells) -> Result<Self> {
        let side = |period: &str| -> Result<[Numbers; 4]> {
            let number = |name: &str| cells.numbers(&format!("{period}_{name}"));
            Ok([
                number("k")?,
                number("n")?,
                number("amount")?,
                number("squares")?,
            ])
        };
        Ok(Self {
            dimensions: cells.integers("dimension")?,
            elements: cells.text_lists("elements")?,
            sides: [side("base")?, side("current")?],
        })
    }

    fn cells(&self, of: std::ops::Range<usize>) -> Vec<Cell> {
        of.map(|cell| Cell {
            dimension: usize::try_from(self.dimensions.value(cell) - 1).ok(),
            values: texts_of(self.elements.as_ref(), cell),
            sides: [0, 1].map(|period| {
                let [k, n, amount, squares] = &self.sides[period];
                Side {
                    k: k.value(cell),
                    n: n.value(cell),
                    amount: amount.value(cell),
                    squares: squares.value(cell),
                }
            }),
        })
        .collect()
    }
}

/// One row of the result.
struct Item {
    rank: Option<i64>,
    dimension: Option<String>,
    elements: Vec<Name>,
    selection: Option<String>,
    sides: [Side; 2],
    judged: Option<Judged>,
    measure: Measure,
    change: [Option<f64>; 3],
    totals: [Option<f64>; 2],
    status: &'static str,
}

fn rows(report: &Report, dims: &[String], measure: Measure) -> Vec<Item> {
    let change = report.change;
    let item = |status: &'static str| Item {
        rank: None,
        dimension: None,
        elements: Vec::new(),
        selection: None,
        sides: report.sides,
        judged: None,
        measure,
        change: [
            change.map(|change| change.value),
            change.map(|change| change.limits.0),
            change.map(|change| change.limits.1),
        ],
        totals: report
            .sides
            .map(|side| side.value(measure).filter(|_| change.is_some())),
        status,
    };
    if report.causes.is_empty() {
        return vec![item(match (change, report.is_beyond_chance) {
            (None, _) => "no_data",
            (Some(_), false) => "within_chance",
            (Some(_), true) => "no_concentration",
        })];
    }
    let of_cause = |(at, judged): (usize, &Judged)| {
        let cause = &judged.cause;
        let names: Vec<&str> = cause
            .dimensions
            .iter()
            .map(|at| dims.get(*at).map_or("", String::as_str))
            .collect();
        Item {
            rank: Some(at as i64 + 1),
            dimension: Some(names.join(BETWEEN)),
            elements: cause
                .elements
                .iter()
                .map(|element| element_text(element))
                .collect(),
            selection: Some(json!({"dims": names, "elements": cause.elements}).to_string()),
            sides: cause.sides,
            judged: Some(judged.clone()),
            ..item("ok")
        }
    };
    report.causes.iter().enumerate().map(of_cause).collect()
}

/// A single element as it is, NULL too; a combination in one text.
fn element_text(element: &[Name]) -> Name {
    match element {
        [only] => only.clone(),
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|name| name.as_deref().unwrap_or("(null)"))
                .collect();
            Some(names.join(BETWEEN))
        }
    }
}

fn fields() -> Fields {
    [
        ("rank", DataType::Int64),
        ("dimension", DataType::Utf8),
        ("elements", list_type(DataType::Utf8)),
        ("selection", DataType::Utf8),
        ("base_k", DataType::Int64),
        ("base_n", DataType::Int64),
        ("base", DataType::Float64),
        ("current_k", DataType::Int64),
        ("current_n", DataType::Int64),
        ("current", DataType::Float64),
        ("explanatory_power", DataType::Float64),
        ("surprise", DataType::Float64),
        ("contribution", DataType::Float64),
        ("lo", DataType::Float64),
        ("hi", DataType::Float64),
        ("p", DataType::Float64),
        ("q", DataType::Float64),
        ("change", DataType::Float64),
        ("change_lo", DataType::Float64),
        ("change_hi", DataType::Float64),
        ("total_base", DataType::Float64),
        ("total_current", DataType::Float64),
        ("status", DataType::Utf8),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

fn result(items: &[Item]) -> Vec<ArrayRef> {
    let mut elements = ListBuilder::new(StringBuilder::new());
    for item in items {
        item.elements
            .iter()
            .for_each(|name| elements.values().append_option(name.as_deref()));
        elements.append(item.rank.is_some());
    }
    let ranks = items.iter().map(|item| item.rank).collect::<Int64Array>();
    let judged = |of: fn(&Judged) -> Option<f64>| {
        number_column(items, |item| item.judged.as_ref().and_then(of))
    };
    let k = |at: usize| {
        count_column(items, move |item| {
            (item.measure != Measure::Volume).then_some(item.sides[at].k)
        })
    };
    let n = |at: usize| count_column(items, move |item| Some(item.sides[at].n));
    let value = |at: usize| number_column(items, move |item| item.sides[at].value(item.measure));
    vec![
        Arc::new(ranks),
        text_column(items, |item| item.dimension.as_deref()),
        Arc::new(elements.finish()),
        text_column(items, |item| item.selection.as_deref()),
        k(0),
        n(0),
        value(0),
        k(1),
        n(1),
        value(1),
        judged(|judged| Some(judged.cause.explanatory_power)),
        judged(|judged| Some(judged.cause.surprise)),
        judged(|judged| Some(judged.contribution.value)),
        judged(|judged| Some(judged.contribution.limits.0)),
        judged(|judged| Some(judged.contribution.limits.1)),
        judged(|judged| judged.p),
        judged(|judged| judged.q),
        number_column(items, |item| item.change[0]),
        number_column(items, |item| item.change[1]),
        number_column(items, |item| item.change[2]),
        number_column(items, |item| item.totals[0]),
        number_column(items, |item| item.totals[1]),
        text_column(items, |item| Some(item.status)),
    ]
}

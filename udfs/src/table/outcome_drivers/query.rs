//! The four counts of each value, what is estimated from them, and the same over any query.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, TableFactor};

use super::super::arguments::Arguments;
use super::super::call;
use super::super::language::Language;
use super::super::sql::lines;
use super::super::wording::verdict_column;
use super::{Drivers, NAME, verdict};
use crate::definition::resolve::parse_expression;
use crate::definition::text::{identifier, literal, written};
use crate::error::FunnelError;

impl Drivers {
    /// The query that a call over a funnel stands for.
    pub(super) fn query(&self) -> String {
        let population = self.population();
        let mut counted = vec![
            "__factor AS factor".to_owned(),
            "__value AS value".to_owned(),
        ];
        counted.extend(population.counted());
        counted.push("sum(value) FILTER (WHERE NOT __won) AS lost_amount".to_owned());
        let exposed = format!(
            "SELECT\n{}\nFROM {}\nWHERE __value IS NOT NULL\nGROUP BY __factor, __value",
            lines(&counted),
            population.rows
        );
        let all = format!(
            "WITH exposed AS (\n{exposed}\n),\ntotals AS (\n  {}\n)",
            self.totals()
        );
        compared(&all, &self.drill_key(), self.tags, self.language)
    }
}

/// The query over `exposed` (each value's counts) and `totals` (each factor's); `has_tags` where the factor `tag` is that of loss tags.
fn compared(with: &str, drill_key: &str, has_tags: bool, language: Language) -> String {
    let counted = "CASE WHEN hidden_reason IS NULL THEN p END";
    let known = |value: &str| format!("CASE WHEN status = 'ok' THEN {value} END");
    let product = ["with_n", "without_n", "wins", "losses"]
        .map(|count| format!("CAST({count} AS double precision)"))
        .join(" * ");
    let decision = verdict::DECISION;
    let result = [
        "factor".to_owned(),
        "value".to_owned(),
        "with_win".to_owned(),
        "with_loss".to_owned(),
        "without_win".to_owned(),
        "without_loss".to_owned(),
        "odds['odds_ratio'] AS odds_ratio".to_owned(),
        "odds['lo'] AS lo".to_owned(),
        "odds['hi'] AS hi".to_owned(),
        "phi".to_owned(),
        "p".to_owned(),
        "q".to_owned(),
        "lost_amount".to_owned(),
        "skewed".to_owned(),
        "hidden_reason".to_owned(),
        "'haldane' AS method".to_owned(),
        "status".to_owned(),
        "decision".to_owned(),
        verdict_column(&verdict::verdict(language)),
        format!("{drill_key} AS drill_key"),
    ];
    format!(
        "{with},\n\
         tables AS (\n  SELECT e.factor, e.value, e.with_win, e.with_loss, t.wins - e.with_win AS without_win, t.losses - e.with_loss AS without_loss,\n         \
         e.with_win + e.with_loss AS with_n, t.wins + t.losses - e.with_win - e.with_loss AS without_n, t.wins, t.losses, e.lost_amount,\n         \
         CASE WHEN t.wins = 0 OR t.losses = 0 THEN 'no_events'\n              \
         {no_control}WHEN t.wins + t.losses = e.with_win + e.with_loss THEN 'no_variation' ELSE 'ok' END AS status\n  \
         FROM exposed AS e JOIN totals AS t ON t.factor = e.factor\n),\n\
         tested AS (\n  SELECT *, {odds} AS odds, {p} AS p, {phi} AS phi,\n         \
         greatest(wins, losses) > 10 * least(wins, losses) AS skewed,\n         \
         CASE status WHEN 'no_events' THEN 'one_outcome' WHEN 'no_control' THEN 'after_the_loss' WHEN 'no_variation' THEN 'everybody'\n              \
         ELSE CASE WHEN with_n < least(25.0, 0.02 * (wins + losses)) THEN 'too_few' END END AS hidden_reason\n  FROM tables\n),\n\
         adjusted AS (\n  SELECT *, p_adjust({counted}, 'bh') OVER () AS q FROM tested\n),\n\
         judged AS (\n  SELECT *, {decision} AS decision FROM adjusted\n)\n\
         SELECT\n{result}\nFROM judged\nORDER BY hidden_reason IS NOT NULL, p NULLS LAST, factor, value",
        no_control = match has_tags {
            true => {
                "WHEN e.factor = 'tag' THEN 'no_control' "
            }
            false => "",
        },
        odds = known("odds_ratio_ci(with_win, with_n, without_win, without_n, 0.95, 'haldane')"),
        p = known("fisher_p(with_win, with_n, without_win, without_n)"),
        phi = known(&format!(
            "(CAST(with_win AS double precision) * without_loss - CAST(with_loss AS double precision) * without_win) / sqrt({product})"
        )),
        result = lines(&result),
    )
}

/// The query that a call over any query stands for.
pub(super) fn over_query(arguments: &mut Arguments) -> Result<String> {
    let wrong_call = |message: String| FunnelError::WrongCall {
        message,
        hint:
            "Write outcome_drivers((SELECT …), outcome => 'won', factors => ['channel', 'region'])."
                .to_owned(),
    };
    let language = Language::take(arguments)?;
    let outcome = arguments.take_expressions("outcome")?;
    let factors = arguments.take_expressions("factors")?;
    let amount = arguments.take_expressions("amount")?;
    for name in call::arguments(&["at_stage", "landmark"]) {
        if arguments.take(name).is_some() {
            let message = format!("{name} of {NAME}() is about a funnel, and this is a query");
            return Err(wrong_call(message).into());
        }
    }
    let first = arguments.only_positional()?;
    let SqlExpr::Subquery(rows) = &first else {
        return Err(arguments.invalid("the rows", &first.to_string(), "a query in parentheses"));
    };
    let plan = arguments.context().plan(TableFactor::Derived {
        lateral: false,
        subquery: rows.clone(),
        alias: None,
        sample: None,
    })?;
    let schema = plan.schema();
    let [outcome] = outcome.as_slice() else {
        return Err(wrong_call(format!("{NAME}() over a query needs outcome")).into());
    };
    arguments.look_at("outcome");
    let (outcome, found) = typed(arguments, schema, outcome)?;
    if found != DataType::Boolean {
        return Err(FunnelError::WrongType {
            message: format!("the outcome must be a condition, but {outcome} is of type {found}"),
            hint: "Write a condition: outcome => 'status = ''won'''.".to_owned(),
        }
        .into());
    }
    let amount = match amount.as_slice() {
        [] => None,
        [amount, ..] => {
            arguments.look_at("amount");
            Some(typed(arguments, schema, amount)?.0)
        }
    };
    arguments.look_at("factors");
    let factors: Vec<(String, String)> = match factors.is_empty() {
        false => factors
            .iter()
            .map(|factor| Ok((factor.clone(), typed(arguments, schema, factor)?.0)))
            .collect::<Result<_>>()?,
        true => schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), identifier(field.name())))
            .filter(|(_, column)| *column != outcome && Some(column) != amount.as_ref())
            .collect(),
    };
    if factors.is_empty() {
        return Err(wrong_call(format!("{NAME}() has no factors to compare")).into());
    }
    let values: Vec<String> = factors
        .iter()
        .map(|(name, value)| {
            format!(
                "named_struct('factor', {}, 'value', CAST({value} AS text))",
                literal(name)
            )
        })
        .collect();
    let amount = match amount {
        Some(amount) => format!("CAST({amount} AS double precision)"),
        None => "CAST(NULL AS double precision)".to_owned(),
    };
    let with = format!(
        "WITH exposed AS (\n  SELECT __each['factor'] AS factor, __each['value'] AS value, count(*) FILTER (WHERE __won) AS with_win,\n         \
         count(*) FILTER (WHERE NOT __won) AS with_loss, sum(__amount) FILTER (WHERE NOT __won) AS lost_amount\n  \
         FROM (\n    SELECT __won, __amount, unnest(__all) AS __each FROM (\n      \
         SELECT {outcome} AS __won, {amount} AS __amount, make_array({}) AS __all FROM ({}) AS given\n    ) AS listed\n    \
         WHERE __won IS NOT NULL\n  ) AS compared\n  WHERE __each['value'] IS NOT NULL\n  GROUP BY __each['factor'], __each['value']\n),\n\
         totals AS (\n  SELECT factor, sum(with_win) AS wins, sum(with_loss) AS losses FROM exposed GROUP BY factor\n)",
        values.join(", "),
        written(rows),
    );
    Ok(compared(&with, "CAST(NULL AS text)", false, language))
}

/// The SQL of a column's name or of an expression over the columns, and its type.
fn typed(arguments: &mut Arguments, schema: &DFSchema, text: &str) -> Result<(String, DataType)> {
    if let Some(field) = schema.fields().iter().find(|field| field.name() == text) {
        return Ok((identifier(text), field.data_type().clone()));
    }
    let expression = parse_expression(text)?;
    let planned = arguments.context().sql_to_expr(expression, schema)?;
    Ok((format!("({text})"), planned.get_type(schema)?))
}

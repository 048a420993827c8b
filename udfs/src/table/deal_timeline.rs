//! `deal_timeline('funnel', entity)`: everything that happened to one entity: moves, follow-ups, touches, orders.
//!
//! # Columns
//! - `at` timestamptz: when
//! - `kind` text: `stage`, `lost`, `followup`, `touch`, `order`
//! - `what` text: the stage, the loss's reason, the kind of follow-up, the touch's channel; NULL where the source doesn't say
//! - `actor` text: who did it
//! - `detail` text: of a follow-up its depth and tags, of an order its amount, of a touch its cost
//! - `days` double precision: days of 24 hours since the row before; NULL for the first
//!
//! Ordered by `at`; at the same moment in the order of the kinds above.
//!
//! # Arguments
//! the funnel and the entity's key (the funnel can be left out where there is only one); `as_of` (now).
//!
//! Of an entity that there isn't, no row. Cost: a scan of the funnel's source and of each of the others.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;

use super::TableFunction;
use super::arguments::{Arguments, Text};
use super::call::instant;
use super::sql;
use crate::definition::related::RelatedKind;
use crate::definition::resolve::ResolvedFunnel;
use crate::definition::text::{identifier, literal, written};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "deal_timeline",
    arguments: || vec!["as_of"],
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "deal_timeline".to_owned(),
        kind: FunctionKind::Table,
        arguments: "funnel text, entity \"any\", as_of timestamp with time zone DEFAULT now()"
            .to_owned(),
        result: "SETOF record".to_owned(),
        description: "Everything that happened to one entity: moves, follow-ups, touches, orders."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let as_of = match arguments.take("as_of") {
        Some(value) => instant(&value),
        None => "CAST(now() AS timestamptz(6))".to_owned(),
    };
    let (name, entity) = names(arguments)?;
    let funnel = arguments.lookup().funnel(&name)?;
    sql::plan(arguments, &[], &query(&funnel, &as_of, &written(&entity)))
}

/// The funnel's name and the entity.
fn names(arguments: &mut Arguments) -> Result<(String, SqlExpr)> {
    if arguments.positional_count() == 1
        && let [only] = arguments.lookup().funnels().as_slice()
    {
        let only = only.clone();
        return Ok((only, arguments.only_positional()?));
    }
    let [funnel, entity] = arguments.positional("the funnel and the entity", "'sales', 42")?;
    match arguments.text("the funnel", &funnel)? {
        Some(name) => Ok((Text::into_string(name), entity)),
        None => Err(FunnelError::WrongCall {
            message: "deal_timeline() needs a funnel".to_owned(),
            hint: "Write deal_timeline('sales', 42).".to_owned(),
        }
        .into()),
    }
}

fn query(funnel: &ResolvedFunnel, as_of: &str, entity: &str) -> String {
    let name = literal(&funnel.definition.name);
    let mut parts = vec![format!(
        "SELECT at AS happened_at, CASE WHEN lost THEN 2 ELSE 1 END AS kind_no, CASE WHEN lost THEN 'lost' ELSE 'stage' END AS kind_name, \
         CASE WHEN lost THEN reason ELSE stage END AS what, actor, CAST(NULL AS text) AS detail\n  \
         FROM stage_moves({name}, as_of => {as_of}) WHERE {} = {entity}",
        identifier(&funnel.entity_name)
    )];
    let source = |kind: RelatedKind, columns: String| {
        let word = kind.keyword().to_lowercase();
        format!(
            "SELECT {columns}\n  FROM funnel_source({name}, '{word}', as_of => {as_of}) WHERE entity = {entity}"
        )
    };
    let has = |kind: RelatedKind, column: &str| match funnel.related(kind) {
        Some(Ok(rows)) => rows.columns.iter().any(|(name, _)| name == column),
        _ => false,
    };
    let text = |kind: RelatedKind, column: &str, value: &str| match has(kind, column) {
        true => value.to_owned(),
        false => "CAST(NULL AS text)".to_owned(),
    };
    let kind = RelatedKind::Followups;
    if has(kind, "entity") {
        let depth = text(
            kind,
            "depth",
            r"'depth ' || regexp_replace(CAST(depth AS text), '\.0$', '')",
        );
        let tags = text(kind, "tags", "tags");
        parts.push(source(
            kind,
            format!(
                "at, 3, 'followup', {}, {}, nullif(concat_ws(', ', {depth}, {tags}), '')",
                text(kind, "kind", "kind"),
                text(kind, "owner", "owner")
            ),
        ));
    }
    let kind = RelatedKind::Touches;
    if has(kind, "entity") {
        let cost = text(
            kind,
            "cost",
            r"'cost ' || regexp_replace(CAST(cost AS text), '\.0$', '')",
        );
        parts.push(source(
            kind,
            format!("at, 4, 'touch', channel, NULL, {cost}"),
        ));
    }
    if has(RelatedKind::Orders, "entity") {
        parts.push(source(
            RelatedKind::Orders,
            "at, 5, 'order', NULL, NULL, 'amount ' || regexp_replace(CAST(amount AS text), '\\.0$', '')".to_owned(),
        ));
    }
    format!(
        "SELECT happened_at AS at, kind_name AS kind, what, actor, detail,
  (CAST(happened_at AS bigint) - lag(CAST(happened_at AS bigint)) OVER (ORDER BY happened_at, kind_no, what)) / 86400000000.0 AS days
FROM (
  {}
) AS happened
ORDER BY happened_at, kind_no, what",
        parts.join("\n  UNION ALL\n  ")
    )
}

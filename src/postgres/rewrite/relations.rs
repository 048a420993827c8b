//! What stands behind FROM: names without a schema, and functions that return rows.

use datafusion::sql::sqlparser::ast::{
    DataType as SqlType, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableSampleKind, TableSampleMethod, TableWithJoins, Value,
};
use datafusion_funnel::definition::text::folded;
use std::collections::{HashMap, HashSet};

use super::{Scope, last_name, literals, syntax};
use crate::postgres::rows;

/// Gives a relation that is named without a schema its schema, where that isn't the default one.
pub fn qualify(relation: &mut ObjectName, own: &HashSet<String>, scope: &dyn Scope) {
    if relation.0.len() != 1 {
        return;
    }
    let name = last_name(relation);
    if own.contains(&name) {
        return;
    }
    if let Some(schema) = scope.schema_of(&name) {
        let schema = Ident::with_quote('"', schema);
        relation.0.insert(0, ObjectNamePart::Identifier(schema));
    }
}

/// A relation with a schema, or one that is given its schema, is known by its own name alone: `columns.*` of
/// `information_schema.columns`.
pub fn name(factor: &mut TableFactor, own: &HashSet<String>, scope: &dyn Scope) {
    if let TableFactor::Table {
        name,
        alias: alias @ None,
        args: None,
        ..
    } = factor
    {
        qualify(name, own, scope);
        if name.0.len() > 1 {
            *alias = Some(named(&last_name(name)));
        }
    }
}

/// `public.deals.*` as `deals.*`, for so the relation is known.
pub fn wildcards(select: &mut Select, aliases: &HashMap<String, String>) {
    for item in &mut select.projection {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) =
            item
            && name.0.len() > 1
            && aliases.contains_key(&last_name(name))
        {
            name.0.drain(..name.0.len() - 1);
        }
    }
}

/// Functions whose rows a view of the catalogs shows, and the view.
const BEHIND_VIEWS: [(&str, &str); 8] = [
    ("pg_show_all_settings", "pg_settings"),
    ("pg_timezone_names", "pg_timezone_names"),
    ("pg_lock_status", "pg_locks"),
    ("pg_cursor", "pg_cursors"),
    ("pg_prepared_statement", "pg_prepared_statements"),
    ("pg_prepared_xact", "pg_prepared_xacts"),
    ("pg_available_extensions", "pg_available_extensions"),
    (
        "pg_available_extension_versions",
        "pg_available_extension_versions",
    ),
];

/// A function that returns rows as a query that unnests the list of them.
pub fn rewrite(factor: &mut TableFactor, scope: &dyn Scope) {
    match factor {
        TableFactor::Table {
            sample: Some(_),
            args: None,
            ..
        } => take_sample(factor),
        TableFactor::Table {
            name,
            args: Some(arguments),
            ..
        } => {
            let function = last_name(name);
            if scope.reads_its_arguments(&function) {
                return;
            }
            unqualify(name);
            let view = BEHIND_VIEWS.iter().find(|(behind, _)| *behind == function);
            if let Some((_, view)) = view {
                *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(*view)]);
                if let TableFactor::Table { args, alias, .. } = factor {
                    *args = None;
                    alias.get_or_insert_with(|| named(&function));
                }
                return;
            }
            let arguments = arguments.args.clone();
            if let Some(derived) = function_rows(&function, &arguments, factor, scope) {
                *factor = derived;
            }
        }
        TableFactor::Function { name, args, .. } => {
            let function = last_name(name);
            unqualify(name);
            let arguments = args.clone();
            if let Some(derived) = function_rows(&function, &arguments, factor, scope) {
                *factor = derived;
            }
        }
        TableFactor::UNNEST { array_exprs, .. } => {
            let lists = array_exprs.clone();
            if let Some(derived) = unnested("unnest", lists, factor) {
                *factor = derived;
            }
        }
        _ => {}
    }
}

/// `pg_catalog.f` as `f`.
pub fn unqualify(name: &mut ObjectName) {
    if name.0.len() > 1 {
        let schema = name.0[name.0.len() - 2]
            .as_ident()
            .map(folded)
            .unwrap_or_default();
        if schema == "pg_catalog" || schema == "information_schema" {
            name.0 = name.0.split_off(name.0.len() - 1);
        }
    }
}

fn function_rows(
    function: &str,
    arguments: &[FunctionArg],
    factor: &TableFactor,
    scope: &dyn Scope,
) -> Option<TableFactor> {
    if alias_of(factor).is_some_and(|alias| alias.name.value == SERIES) {
        return None;
    }
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument else {
            return None;
        };
        values.push(value.clone());
    }
    if function == "unnest" {
        return unnested(function, values, factor);
    }
    if function == "generate_series" && values.iter().all(is_number) && !has_ordinality(factor) {
        return named_series(factor);
    }
    if rows::RECORDS.iter().any(|(name, _)| *name == function) {
        return records(function, values, factor);
    }
    if let Some(list) = rows::documents_of(function) {
        return fields(list, values, alias_of(factor)?);
    }
    if rows::is_list_function(function) {
        let list = syntax::call(&rows::list_name(function), values);
        return unnested(rows::column_name(function), vec![list], factor);
    }
    if scope.is_table_function(function) {
        return None;
    }
    // A function that returns one value is a relation of one row.
    let query = syntax::select(vec![(syntax::call(function, values), function)])?;
    let alias = alias_of(factor).cloned();
    let alias = column_named(alias, function);
    Some(derived(query, Some(alias)))
}

/// What a series is called inside of the query that stands for it, which is visited in its turn.
const SERIES: &str = "series\u{1f}";

/// DataFusion calls the column of its own series `value` and counts in bigints; in Postgres the column is called as the
/// series is, and small numbers are integers.
fn named_series(factor: &TableFactor) -> Option<TableFactor> {
    let mut series = factor.clone();
    let TableFactor::Table {
        alias,
        args: Some(arguments),
        ..
    } = &mut series
    else {
        return None;
    };
    let small = |argument: &FunctionArg| argument.to_string().parse::<i32>().is_ok();
    let kind = if arguments.args.iter().all(small) {
        "INT4"
    } else {
        "INT8"
    };
    let outer = column_named(alias.take(), "generate_series");
    *alias = Some(TableAlias {
        columns: vec![TableAliasColumnDef::from_name("value")],
        ..named(SERIES)
    });
    let mut query = syntax::parsed(&format!("SELECT CAST(value AS {kind}) AS value"))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![TableWithJoins {
            relation: series,
            joins: Vec::new(),
        }];
    }
    Some(TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(outer),
        sample: None,
    })
}

/// `unnest(a, b) WITH ORDINALITY AS t(x, y, n)`
fn unnested(function: &str, mut lists: Vec<Expr>, factor: &TableFactor) -> Option<TableFactor> {
    lists.iter_mut().for_each(literals::give);
    let count = lists.len();
    let ordinal = has_ordinality(factor)
        .then(|| syntax::call("unnest", vec![syntax::call("pg_ordinals", lists.clone())]));
    let columns: Vec<String> = (1..=count)
        .map(|at| {
            if count == 1 {
                function.to_owned()
            } else {
                format!("unnest{at}")
            }
        })
        .collect();
    let mut items: Vec<(Expr, &str)> = lists
        .into_iter()
        .zip(&columns)
        .map(|(list, name)| (rows::element(list), name.as_str()))
        .collect();
    if let Some(ordinal) = ordinal {
        items.push((ordinal, "ordinality"));
    }
    let query = syntax::select(items)?;
    let alias = match (alias_of(factor).cloned(), count) {
        (alias, 1) => {
            let mut alias = column_named(alias, function);
            if has_ordinality(factor) && alias.columns.len() == 1 {
                alias
                    .columns
                    .push(TableAliasColumnDef::from_name("ordinality"));
            }
            Some(alias)
        }
        (alias, _) => alias,
    };
    Some(derived(query, alias))
}

/// `_pg_expandarray(a) AS t`, whose rows have columns of their own.
fn records(function: &str, values: Vec<Expr>, factor: &TableFactor) -> Option<TableFactor> {
    let (_, columns) = rows::RECORDS.iter().find(|(name, _)| *name == function)?;
    let list = syntax::call(&rows::list_name(function), values);
    let inner = syntax::select(vec![(syntax::call("unnest", vec![list]), "r")])?;
    // A document's value is a document.
    let document = match function {
        "json_each" => Some("cast_as_json"),
        "jsonb_each" => Some("cast_as_jsonb"),
        _ => None,
    };
    let field = |column: &&str| match document {
        Some(cast) if *column == "value" => format!("{cast}(r['value']) AS \"value\""),
        _ => format!("r['{column}'] AS \"{column}\""),
    };
    let fields: Vec<String> = columns.iter().map(field).collect();
    let query = syntax::over(&format!("SELECT {}", fields.join(", ")), inner, named("s"))?;
    let alias = alias_of(factor).cloned().unwrap_or_else(|| named(function));
    Some(derived(query, Some(alias)))
}

/// `jsonb_to_recordset(document) AS t(a int, b text)`: the fields of a document's objects, read as the types that the
/// alias gives them.
fn fields(list: &str, values: Vec<Expr>, alias: &TableAlias) -> Option<TableFactor> {
    let field = |column: &TableAliasColumnDef| {
        let kind = column.data_type.as_ref()?;
        let key = folded(&column.name).replace('\'', "''");
        let (symbol, kind) = (if is_document(kind) { "->" } else { "->>" }, kind);
        let name = &column.name;
        Some(format!("CAST(r {symbol} '{key}' AS {kind}) AS {name}"))
    };
    let fields: Vec<String> = alias.columns.iter().map(field).collect::<Option<_>>()?;
    let inner = syntax::select(vec![(syntax::call(list, values), "r")])?;
    let query = syntax::over(&format!("SELECT {}", fields.join(", ")), inner, named("s"))?;
    Some(derived(
        query,
        Some(TableAlias {
            columns: Vec::new(),
            ..alias.clone()
        }),
    ))
}

fn is_document(kind: &SqlType) -> bool {
    matches!(kind, SqlType::JSON | SqlType::JSONB)
}

fn derived(query: Query, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived {
        lateral: true,
        subquery: Box::new(query),
        alias,
        sample: None,
    }
}

fn named(name: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: Ident::with_quote('"', name),
        columns: Vec::new(),
        at: None,
    }
}

/// The alias, which names the column too where it doesn't say otherwise.
fn column_named(alias: Option<TableAlias>, function: &str) -> TableAlias {
    let mut alias = alias.unwrap_or_else(|| named(function));
    for column in &mut alias.columns {
        column.data_type = None;
    }
    if alias.columns.is_empty() {
        let column = TableAliasColumnDef {
            name: alias.name.clone(),
            data_type: None,
        };
        alias.columns.push(column);
    }
    alias
}

fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

fn has_ordinality(factor: &TableFactor) -> bool {
    matches!(
        factor,
        TableFactor::Table {
            with_ordinality: true,
            ..
        } | TableFactor::Function {
            with_ordinality: true,
            ..
        } | TableFactor::UNNEST {
            with_ordinality: true,
            ..
        }
    )
}

/// Whether an expression is a whole number as it is written, or a parameter: DataFusion's series takes nothing else of ours.
fn is_number(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => !digits.contains(['.', 'e', 'E']),
            value => matches!(value, Value::Placeholder(_)),
        },
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_number(expr),
        _ => false,
    }
}

/// `TABLESAMPLE BERNOULLI (10)` as a condition on chance.
fn take_sample(factor: &mut TableFactor) {
    let TableFactor::Table {
        sample,
        alias,
        name,
        ..
    } = factor
    else {
        return;
    };
    let Some(TableSampleKind::BeforeTableAlias(taken) | TableSampleKind::AfterTableAlias(taken)) =
        sample.take()
    else {
        return;
    };
    let Some(quantity) = &taken.quantity else {
        return;
    };
    let method = taken.name.as_ref();
    if !matches!(
        method,
        None | Some(TableSampleMethod::Bernoulli | TableSampleMethod::System)
    ) {
        return;
    }
    let alias = alias.take().unwrap_or_else(|| named(&last_name(name)));
    let condition = format!("SELECT * WHERE random() * 100 < {}", quantity.value);
    let Some(mut query) = syntax::parsed(&condition) else {
        return;
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![TableWithJoins {
            relation: factor.clone(),
            joins: Vec::new(),
        }];
        select.projection = vec![SelectItem::Wildcard(Default::default())];
    }
    *factor = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(alias),
        sample: None,
    };
}

//! Tables as they were: `table_at('deals', version => 3)` and `table_at('deals', at => '2026-01-05')`.

use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor, Visit,
    VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_funnel::definition::text::folded;

use super::change::unsupported;
use super::literals::read_texts;
use super::local::Local;
use super::target::{Target, parts};
use crate::engine::parameters;
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Result, syntax_error};
use crate::postgres::types;
use crate::sql::TABLE_AT;
use crate::tables::{DurableTable, Version};

/// A call of `table_at`.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    table: String,
    moment: Option<(Moment, Expr)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    Version,
    At,
}

fn call_of(factor: &TableFactor) -> Option<Result<Call>> {
    let TableFactor::Table {
        name,
        args: Some(arguments),
        ..
    } = factor
    else {
        return None;
    };
    if parts(name).last().map(String::as_str) != Some(TABLE_AT) {
        return None;
    }
    let mut call = Call {
        table: String::new(),
        moment: None,
    };
    for argument in &arguments.args {
        let (name, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (String::new(), value),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                ..
            }
            | FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                ..
            } => (folded(name), value),
            _ => return Some(Err(usage())),
        };
        match (name.as_str(), value) {
            ("" | "table", Expr::Value(value)) if call.table.is_empty() => {
                call.table = value.value.clone().into_string().unwrap_or_default();
            }
            ("version", value) => call.moment = Some((Moment::Version, value.clone())),
            ("at", value) => call.moment = Some((Moment::At, value.clone())),
            _ => return Some(Err(usage())),
        }
    }
    match call.table.is_empty() || call.moment.is_none() {
        true => Some(Err(usage())),
        false => Some(Ok(call)),
    }
}

fn usage() -> Error {
    ChangeFault::Other("42883")
        .error("table_at takes a table, and a version or an instant")
        .hint("Write table_at('deals', version => 3) or table_at('deals', at => '2026-01-05').")
        .into()
}

struct Find(Vec<Result<Call>>);

impl Visitor for Find {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.0.extend(call_of(factor));
        ControlFlow::Continue(())
    }
}

struct Replace<'a>(&'a [(Call, ObjectName)]);

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let Some(Ok(call)) = call_of(factor) else {
            return ControlFlow::Continue(());
        };
        let found = self.0.iter().find(|(known, _)| *known == call);
        if let (
            Some((_, relation)),
            TableFactor::Table {
                name, alias, args, ..
            },
        ) = (found, factor)
        {
            *name = relation.clone();
            *args = None;
            let own = || TableAlias {
                explicit: true,
                name: Ident::with_quote('"', TABLE_AT),
                columns: Vec::new(),
                at: None,
            };
            alias.get_or_insert_with(own);
        }
        ControlFlow::Continue(())
    }
}

impl Session {
    /// Puts the tables that a statement wants as they were among those that only it sees.
    pub(in crate::engine) async fn travel(
        &self,
        statement: &mut ast::Statement,
        values: Option<&[ScalarValue]>,
        local: &mut Local,
    ) -> Result<()> {
        let mut find = Find(Vec::new());
        let _ = Visit::visit(&*statement, &mut find);
        if find.0.is_empty() {
            return Ok(());
        }
        let mut found = Vec::with_capacity(find.0.len());
        for (number, call) in find.0.into_iter().enumerate() {
            let call = call?;
            let target = self.target(&written_name(&call.table)?)?;
            let target = target.ok_or_else(|| {
                unsupported(&format!(
                    "a version of \"{}\", which isn't kept,",
                    call.table
                ))
            })?;
            let version = self.version_at(&target, &call, values).await?;
            let rows = DurableTable::new(self.engine.tables(), &target.table)
                .at(version)
                .with_views();
            let name = format!("at {number}");
            let relation = local.add(&name, Arc::new(target.guarded.over(Arc::new(rows))))?;
            found.push((call, relation));
        }
        let _ = VisitMut::visit(statement, &mut Replace(&found));
        Ok(())
    }

    async fn version_at(
        &self,
        target: &Target,
        call: &Call,
        values: Option<&[ScalarValue]>,
    ) -> Result<Arc<Version>> {
        let current = self.engine.tables().current(&target.table);
        let Some((moment, value)) = &call.moment else {
            return Ok(current);
        };
        let Some(text) = text_of(value, values) else {
            // Its parameter has no value yet: the columns are the same.
            return Ok(current);
        };
        match moment {
            Moment::Version => {
                let number: Option<u64> = text.trim().parse().ok();
                match number {
                    Some(number) if number == current.number => Ok(current),
                    Some(number) if number < current.number => {
                        let loaded = target.table.load(Some(number)).await;
                        loaded
                            .map(Arc::new)
                            .map_err(|_| gone(target, &text, &current))
                    }
                    _ => Err(gone(target, &text, &current)),
                }
            }
            Moment::At => {
                let field = types::field("at", "timestamptz");
                let texts = StringArray::from(vec![text]);
                let read = read_texts(&texts, &field, &self.locale())?;
                let at = read.as_primitive::<TimestampMicrosecondType>();
                let at = at.is_valid(0).then(|| at.value(0));
                let at = at.and_then(DateTime::<Utc>::from_timestamp_micros);
                let at = at.ok_or_else(usage)?;
                Ok(Arc::new(target.table.load_at(at).await?))
            }
        }
    }
}

fn gone(target: &Target, version: &str, current: &Version) -> Error {
    ChangeFault::Other("22023")
        .error(format!(
            "version {version} of table \"{}\" does not exist",
            target.name()
        ))
        .hint(format!("The newest version is {}.", current.number))
        .into()
}

/// A literal's text, or a parameter's.
fn text_of(value: &Expr, values: Option<&[ScalarValue]>) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => {
                let at = parameters::number(name)?;
                let value = values?.get(at.checked_sub(1)?)?;
                Some(value.to_string())
            }
            ast::Value::Number(digits, _) => Some(digits.clone()),
            value => value.clone().into_string(),
        },
        Expr::TypedString(typed) => typed.value.value.clone().into_string(),
        Expr::Cast { expr, .. } => text_of(expr, values),
        _ => None,
    }
}

/// A name as SQL writes it.
fn written_name(text: &str) -> Result<ObjectName> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_object_name(false));
    parsed.map_err(|error| syntax_error(&error, text))
}

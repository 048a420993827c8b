//! Planning a statement: its funnels are resolved first, then DataFusion plans it with them at hand.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, Statement, TableAlias,
    TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut, visit_relations,
};
use datafusion_funnel::definition::change::{KeptChange, unknown_change};
use datafusion_funnel::definition::metric::{MetricDefinition, unknown_metric};
use datafusion_funnel::definition::resolve::ResolvedFunnel;
use datafusion_funnel::definition::text::{folded, written_in_lines};
use datafusion_funnel::error::{FunnelError, Kind};
use datafusion_funnel::table::{
    FunnelLookup, FunnelPlanner, engine_query, funnel_drill, journeys_relation,
};

use super::outcome::Notice;
use super::parameters;
use super::plans::KeptPlan;
use super::session::lock;
use crate::catalog::Catalog;
use crate::error::Error;
use crate::postgres::{names, recursion};

/// A plan, and what the user should know beside its rows.
pub struct Planned {
    /// The plan.
    pub plan: LogicalPlan,
    /// The notices.
    pub notices: Vec<Notice>,
    /// The plan with the values of its parameters, where it is one that is kept.
    pub kept: Option<Arc<KeptPlan>>,
}

impl Planned {
    /// A plan that is for this once.
    pub fn once(plan: LogicalPlan, notices: Vec<Notice>) -> Self {
        Self {
            plan,
            notices,
            kept: None,
        }
    }
}

impl From<Arc<KeptPlan>> for Planned {
    fn from(kept: Arc<KeptPlan>) -> Self {
        Self {
            plan: kept.plan.clone(),
            notices: kept.notices.clone(),
            kept: Some(kept),
        }
    }
}

/// Plans `statement` with the funnels that it names. `parameters` is `None` while they aren't bound.
pub async fn plan(
    mut state: SessionState,
    catalog: &Catalog,
    role: &str,
    mut statement: EngineStatement,
    parameters: Option<&[ScalarValue]>,
) -> Result<Planned, DataFusionError> {
    let scope = Arc::new(StatementScope::new(&state, catalog, role, &statement, parameters).await);
    state.register_relation_planner(Arc::new(FunnelPlanner::new(Arc::clone(&scope) as _)))?;
    let plan = match state.statement_to_plan(statement.clone()).await {
        // Perhaps a column only has the name of one that `*` has.
        Err(error) => {
            let set_apart = match inner_mut(&mut statement) {
                Some(Statement::Query(query)) => names::set_beside_wildcards(query),
                _ => false,
            };
            if !set_apart {
                return Err(error);
            }
            let plan = state.statement_to_plan(statement.clone()).await;
            plan.map_err(|_| error)?
        }
        Ok(plan) => plan,
    };
    let lacking = recursion::lacking(&plan)?;
    let is_widened = !lacking.is_empty()
        && inner_mut(&mut statement).is_some_and(|inner| recursion::widen(inner, &lacking));
    let plan = match is_widened {
        true => state.statement_to_plan(statement).await?,
        false => plan,
    };
    let notices = std::mem::take(&mut *lock(&scope.notices));
    Ok(Planned::once(plan, notices))
}

/// The text of `statement` with the query that each table function stands for in the place of its call.
/// What that query calls itself stays as it is.
pub async fn expand(
    mut state: SessionState,
    catalog: &Catalog,
    role: &str,
    mut statement: EngineStatement,
) -> Result<String, DataFusionError> {
    let scope = Arc::new(StatementScope::new(&state, catalog, role, &statement, None).await);
    state.register_relation_planner(Arc::new(FunnelPlanner::new(Arc::clone(&scope) as _)))?;
    state.statement_to_plan(statement.clone()).await?;
    let expansions = lock(&scope.expansions);
    let Some(statement) = inner_mut(&mut statement) else {
        return Ok(statement.to_string());
    };
    let mut expanded = Expanded {
        expansions: expansions.as_slice(),
        put: Vec::new(),
    };
    let _ = statement.visit(&mut expanded);
    let mut text = written_in_lines(statement);
    for (at, query) in expanded.put.into_iter().enumerate() {
        let place = placeholder(at);
        let line = text.lines().find(|line| line.contains(&place));
        let indent = line.map_or("", |line| &line[..line.len() - line.trim_start().len()]);
        let query = written_in_lines(query).replace('\n', &format!("\n{indent}  "));
        let call = format!("{}((\n{indent}  {query}\n{indent}))", engine_query::NAME);
        text = text.replace(&place, &call);
    }
    Ok(text)
}

/// What stands for a query until the rest is written in lines: an argument would be written in one.
fn placeholder(at: usize) -> String {
    format!("__expansion_{at}__")
}

/// Puts queries in the place of calls.
struct Expanded<'a> {
    expansions: &'a [(TableFactor, Box<Query>)],
    /// Those that were put, by the numbers of their placeholders.
    put: Vec<&'a Query>,
}

impl VisitorMut for Expanded<'_> {
    type Break = ();

    // After its parts: a call inside of a query in the place of a call stays a call.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let found = self.expansions.iter().find(|(call, _)| call == factor);
        if let (Some((_, query)), TableFactor::Table { name, alias, .. }) = (found, &*factor) {
            let name = name.0.last().and_then(|part| part.as_ident());
            let own = name.map(|name| TableAlias {
                explicit: true,
                name: name.clone(),
                columns: Vec::new(),
                at: None,
            });
            let alias = alias.clone().or(own);
            let place = Ident::new(placeholder(self.put.len()));
            if let TableFactor::Table {
                name,
                alias: given,
                args,
                ..
            } = factor
            {
                *name = ObjectName::from(vec![place]);
                *given = alias;
                *args = None;
                self.put.push(query);
            }
        }
        ControlFlow::Continue(())
    }
}

/// What one statement's table functions may ask for.
#[derive(Debug)]
struct StatementScope {
    funnels: HashMap<String, Result<Arc<ResolvedFunnel>, Arc<DataFusionError>>>,
    existing: Vec<String>,
    metrics: HashMap<String, Arc<MetricDefinition>>,
    own_metrics: Vec<Arc<MetricDefinition>>,
    changes: Vec<Arc<KeptChange>>,
    parameters: Option<Vec<ScalarValue>>,
    /// The calls of table functions that were planned, and what they stand for.
    expansions: Mutex<Vec<(TableFactor, Box<Query>)>>,
    /// What they had to say.
    notices: Mutex<Vec<Notice>>,
}

impl StatementScope {
    async fn new(
        state: &SessionState,
        catalog: &Catalog,
        role: &str,
        statement: &EngineStatement,
        parameters: Option<&[ScalarValue]>,
    ) -> Self {
        let mut names = referenced_names(statement, parameters);
        let existing = catalog.funnel_names_for(role);
        let metrics: HashMap<_, _> = names
            .iter()
            .flat_map(|name| catalog.metrics().named(name))
            .filter(|(_, metric)| existing.contains(&metric.funnel))
            .collect();
        names.extend(metrics.values().map(|metric| metric.funnel.clone()));
        let mut changes = catalog.changes().all();
        // Those of funnels that are gone are there for whoever sees everything.
        if !catalog.roles().is_superuser(role) {
            changes.retain(|change| existing.contains(&change.definition.funnel));
        }
        let named = changes.iter().map(|change| &change.definition);
        let named: Vec<String> = named
            .filter(|change| names.contains(&change.name))
            .map(|change| change.funnel.clone())
            .collect();
        names.extend(named);
        // A built-in metric is of the only funnel, where there is one.
        if let [only] = existing.as_slice() {
            names.push(only.clone());
        }
        names.sort();
        names.dedup();
        let mut funnels = HashMap::new();
        for name in names {
            if !existing.contains(&name) {
                if let Err(denied @ Error::Denied { .. }) = catalog.check_funnel(role, &name) {
                    let denied = DataFusionError::External(Box::new(denied));
                    funnels.insert(name, Err(Arc::new(denied)));
                }
                continue;
            }
            let resolved = catalog.resolve(state, &name).await;
            funnels.insert(name, resolved.map_err(Arc::new));
        }
        let mut own_metrics = catalog.metrics().newest();
        own_metrics.retain(|metric| existing.contains(&metric.funnel));
        Self {
            funnels,
            existing,
            metrics,
            own_metrics,
            changes,
            parameters: parameters.map(<[ScalarValue]>::to_vec),
            expansions: Mutex::default(),
            notices: Mutex::default(),
        }
    }
}

impl FunnelLookup for StatementScope {
    fn funnel(&self, name: &str) -> Result<Arc<ResolvedFunnel>, DataFusionError> {
        match self.funnels.get(name) {
            Some(Ok(funnel)) => Ok(Arc::clone(funnel)),
            Some(Err(error)) => Err(DataFusionError::Shared(Arc::clone(error))),
            None => Err(FunnelError::Unknown {
                kind: Kind::Funnel,
                name: name.to_owned(),
                place: String::new(),
                existing: self.existing.clone(),
            }
            .into()),
        }
    }

    fn parameter(&self, index: usize) -> Option<ScalarValue> {
        self.parameters
            .as_ref()?
            .get(index.checked_sub(1)?)
            .cloned()
    }

    fn funnels(&self) -> Vec<String> {
        self.existing.clone()
    }

    fn metrics(&self) -> Vec<Arc<MetricDefinition>> {
        self.own_metrics.clone()
    }

    fn metric(&self, name: &str) -> Result<Arc<MetricDefinition>, DataFusionError> {
        match self.metrics.get(name) {
            Some(metric) => Ok(Arc::clone(metric)),
            None => {
                let own: Vec<String> = self
                    .own_metrics
                    .iter()
                    .map(|metric| metric.name.clone())
                    .collect();
                Err(unknown_metric(name, &own).into())
            }
        }
    }

    fn changes(&self) -> Vec<Arc<KeptChange>> {
        self.changes.clone()
    }

    fn change(&self, name: &str) -> Result<Arc<KeptChange>, DataFusionError> {
        let mut changes = self.changes.iter();
        match changes.find(|change| change.definition.name == name) {
            Some(change) => Ok(Arc::clone(change)),
            None => {
                let changes = self.changes.iter();
                let existing: Vec<String> = changes.map(|c| c.definition.name.clone()).collect();
                Err(unknown_change(name, &existing).into())
            }
        }
    }

    fn expanded(&self, call: &TableFactor, query: &Query) {
        lock(&self.expansions).push((call.clone(), Box::new(query.clone())));
    }

    fn notice(&self, message: &str, hint: &str) {
        let notice = Notice::hinted(message.to_owned(), hint.to_owned());
        let mut notices = lock(&self.notices);
        // A function that is planned twice says the same.
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }
}

/// The texts that may name funnels, metrics and changes: the first argument of a table function, its `funnel`, or
/// `journeys.name`.
fn referenced_names(
    statement: &EngineStatement,
    parameters: Option<&[ScalarValue]>,
) -> Vec<String> {
    let Some(statement) = inner(statement) else {
        return Vec::new();
    };
    let mut visitor = FunnelNames {
        parameters,
        names: Vec::new(),
    };
    let _ = statement.visit(&mut visitor);
    let mut names = visitor.names;
    let _ = visit_relations(statement, |relation: &ObjectName| {
        names.extend(journeys_relation(relation));
        ControlFlow::<()>::Continue(())
    });
    names.sort();
    names.dedup();
    names
}

/// The statement that sqlparser knows, inside an `EXPLAIN` too.
pub fn inner(statement: &EngineStatement) -> Option<&Statement> {
    match statement {
        EngineStatement::Statement(statement) => Some(statement),
        EngineStatement::Explain(explain) => inner(&explain.statement),
        _ => None,
    }
}

/// The same, to be changed.
pub fn inner_mut(statement: &mut EngineStatement) -> Option<&mut Statement> {
    match statement {
        EngineStatement::Statement(statement) => Some(statement),
        EngineStatement::Explain(explain) => inner_mut(&mut explain.statement),
        _ => None,
    }
}

struct FunnelNames<'a> {
    parameters: Option<&'a [ScalarValue]>,
    names: Vec<String>,
}

impl Visitor for FunnelNames<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            args: Some(arguments),
            ..
        } = factor
        {
            for argument in &arguments.args {
                let text = match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => self.text(value),
                    FunctionArg::Named {
                        name,
                        arg: FunctionArgExpr::Expr(value),
                        ..
                    }
                    | FunctionArg::ExprNamed {
                        name: Expr::Identifier(name),
                        arg: FunctionArgExpr::Expr(value),
                        ..
                    } if folded(name) == "funnel" => self.text(value),
                    _ => None,
                };
                self.names.extend(
                    text.as_deref()
                        .map(funnel_drill::names_of)
                        .unwrap_or_default(),
                );
                self.names.extend(text);
            }
        }
        ControlFlow::Continue(())
    }
}

impl FunnelNames<'_> {
    fn text(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) => {
                    let index = parameters::number(name)?;
                    match self.parameters?.get(index.checked_sub(1)?)? {
                        ScalarValue::Utf8(text)
                        | ScalarValue::LargeUtf8(text)
                        | ScalarValue::Utf8View(text) => text.clone(),
                        _ => None,
                    }
                }
                value => value.clone().into_string(),
            },
            Expr::Identifier(ident) => Some(folded(ident)),
            Expr::Cast { expr, .. } => self.text(expr),
            _ => None,
        }
    }
}

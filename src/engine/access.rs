//! Statements about who may see what, and what a session may do at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlanBuilder, cast};
use datafusion::sql::sqlparser::ast::{self, ObjectName, Visit, Visitor};
use datafusion_funnel::definition::text::identifier;
use datafusion_funnel::error::{FunnelError, Kind};
use datafusion_funnel::table::JOURNEYS_SCHEMA;

use super::DEFAULT_SCHEMA;
use super::outcome::{Notice, Outcome};
use super::session::Session;
use crate::catalog::access::{Mask, Object, PUBLIC, Policy, Privilege};
use crate::catalog::{FUNNEL_SCHEMA, TEMPORARY, is_system_schema, plan_expression, unguarded};
use crate::error::{Error, Fault, Result};
use crate::sql::{AccessStatement, Annotation, Commented, GrantedOn, Grantee, StatementKind};

impl Session {
    /// Refuses what only a superuser may: everything that changes what others see.
    ///
    /// # Errors
    /// 42501.
    pub(super) fn check_allowed(&self, kind: &StatementKind) -> Result<()> {
        let what = match kind {
            StatementKind::CreateFunnel(_) => "create a funnel",
            StatementKind::DropFunnel { .. } => "drop a funnel",
            StatementKind::CommentOnFunnel { .. } | StatementKind::CommentOnChange { .. } => {
                "comment on this object"
            }
            StatementKind::CreateMetric(_) => "create a metric",
            StatementKind::DropMetric { .. } => "drop a metric",
            StatementKind::CreateChange(_) => "create a change",
            StatementKind::DropChange { .. } => "drop a change",
            // A review is kept, with the numbers that its reviewer saw.
            StatementKind::ReviewChange(_) => "review a change",
            StatementKind::Annotate(annotation) if self.is_of_own(annotation) => return Ok(()),
            StatementKind::Annotate(_) => "change a relation that isn't yours",
            StatementKind::Sequence(_) => "create, change or drop a sequence",
            StatementKind::Access(_) => "decide about privileges, policies and masks",
            // Each of them decides about itself, or about what it reads and writes.
            StatementKind::Role(_)
            | StatementKind::Foreign(_)
            | StatementKind::Materialized(_)
            | StatementKind::Index(_)
            | StatementKind::Engine(_)
            | StatementKind::Execute { .. }
            | StatementKind::Prepare { .. }
            | StatementKind::Explain { .. }
            | StatementKind::ShowSql(_)
            | StatementKind::ShowFunnels
            | StatementKind::ShowCreateFunnel(_)
            | StatementKind::ShowCreateMetric(_)
            | StatementKind::ShowCreateChange(_)
            | StatementKind::ShowChanges
            | StatementKind::CreateTemporary(_)
            | StatementKind::Copy(_)
            | StatementKind::Declare { .. } => return Ok(()),
            // The session's own.
            StatementKind::Set { .. }
            | StatementKind::SetModes { .. }
            | StatementKind::ResetAll
            | StatementKind::Show(_)
            | StatementKind::ShowAll
            | StatementKind::Begin(_)
            | StatementKind::Savepoint(_)
            | StatementKind::Release(_)
            | StatementKind::RollbackTo(_)
            | StatementKind::Listen(_)
            | StatementKind::Unlisten(_)
            | StatementKind::Notify { .. }
            | StatementKind::Fetch { .. }
            | StatementKind::CloseCursor(_)
            | StatementKind::Nothing(_)
            | StatementKind::DiscardTemporary
            | StatementKind::DiscardSequences
            | StatementKind::Maintain(_)
            | StatementKind::Commit { .. }
            | StatementKind::Rollback { .. }
            | StatementKind::Deallocate(_)
            | StatementKind::DiscardAll => return Ok(()),
        };
        self.check_superuser_to(what)
    }

    /// Whether what is said is about one of the session's own tables.
    pub(super) fn is_of_own(&self, annotation: &Annotation) -> bool {
        let parts = match annotation {
            Annotation::Comment { about, .. } => match about {
                Commented::Relation(parts) => parts.as_slice(),
                Commented::Column(parts) => match parts.split_last() {
                    Some((_, relation)) => relation,
                    None => return false,
                },
                Commented::Schema(_) | Commented::Other => return false,
            },
            Annotation::Rename { relation, .. }
            | Annotation::Move { relation, .. }
            | Annotation::Key { relation, .. }
            | Annotation::Reference { relation, .. } => relation.as_slice(),
        };
        match parts {
            [name] => {
                let schema = self.schema_of_relation(name);
                schema.as_deref() == Some(self.identity.temporary_schema())
            }
            [.., schema, _] => schema == self.identity.temporary_schema(),
            [] => false,
        }
    }

    /// Refuses a deed of a superuser's to everybody else.
    ///
    /// # Errors
    /// 42501.
    pub(super) fn check_superuser_to(&self, what: &str) -> Result<()> {
        match self.is_superuser() {
            true => Ok(()),
            false => Err(Error::Denied {
                message: format!("permission denied to {what}"),
                hint: "Superusers make and change what everybody sees; temporary tables are yours."
                    .to_owned(),
            }),
        }
    }

    /// Refuses a statement that calls a function which was taken from the role.
    ///
    /// # Errors
    /// 42501.
    pub(super) fn check_functions(&self, statement: &ast::Statement) -> Result<()> {
        let access = self.engine.catalog.access();
        let guarded: BTreeSet<String> = access
            .kept()
            .into_iter()
            .filter_map(|kept| match &kept.object {
                Object::Function(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        if guarded.is_empty() || self.is_superuser() {
            return Ok(());
        }
        let mut called = Called::default();
        let _ = statement.visit(&mut called);
        for name in called.0 {
            let name = self.function_named(&name).unwrap_or(name);
            let object = Object::Function(name);
            let entry = access.known(&object);
            let roles = self.engine.catalog.roles();
            if !entry.allows(roles, &self.current_user(), Privilege::Execute) {
                return Err(object.denied());
            }
        }
        Ok(())
    }

    /// What a function is called, whatever name of it is used; nothing where there is none.
    fn function_named(&self, name: &str) -> Option<String> {
        if datafusion_funnel::table::is_function(name) {
            return Some(name.to_owned());
        }
        let state = self.context.state();
        let scalar = state.scalar_functions().get(name);
        let scalar = scalar.map(|function| function.name().to_owned());
        let aggregate = state.aggregate_functions().get(name);
        let aggregate = aggregate.map(|function| function.name().to_owned());
        let window = state.window_functions().get(name);
        let window = window.map(|function| function.name().to_owned());
        let table = state.table_functions().get(name);
        let table = table.map(|function| function.name().to_owned());
        scalar.or(aggregate).or(window).or(table)
    }

    pub(super) fn run_access(&self, statement: &AccessStatement) -> Result<Outcome> {
        match statement {
            AccessStatement::Grant {
                gives,
                privileges,
                on,
                roles,
            } => self.grant(*gives, privileges, on, roles),
            AccessStatement::RowSecurity { relation, enabled } => {
                let (object, _) = self.table_to_restrict(relation)?;
                let access = self.engine.catalog.access();
                access.change(&object, |kept, _| {
                    kept.row_security = *enabled;
                    Ok(())
                })?;
                Ok(Outcome::done("ALTER TABLE"))
            }
            AccessStatement::CreatePolicy {
                name,
                relation,
                restrictive,
                select_only,
                roles,
                using,
            } => {
                let (object, table) = self.table_to_restrict(relation)?;
                self.check_condition(&table, using)?;
                let policy = Policy {
                    roles: self.grantees(roles)?,
                    using: using.clone(),
                    restrictive: *restrictive,
                    select_only: *select_only,
                };
                let access = self.engine.catalog.access();
                let is_on = access.change(&object, |kept, _| {
                    if kept.policies.contains_key(name) {
                        return Err(duplicate("policy", name, &object));
                    }
                    kept.policies.insert(name.clone(), policy);
                    Ok(kept.row_security)
                })?;
                let done = Outcome::done("CREATE POLICY");
                Ok(match is_on {
                    true => done,
                    false => done.with(vec![not_enabled(&object)]),
                })
            }
            AccessStatement::CreateMask {
                name,
                relation,
                column,
                roles,
                using,
            } => {
                let (object, table) = self.table_to_restrict(relation)?;
                self.check_mask(&table, &object, column, using)?;
                let mask = Mask {
                    roles: self.grantees(roles)?,
                    column: column.clone(),
                    using: using.clone(),
                };
                let access = self.engine.catalog.access();
                access.change(&object, |kept, _| {
                    if kept.masks.contains_key(name) {
                        return Err(duplicate("mask", name, &object));
                    }
                    kept.masks.insert(name.clone(), mask);
                    Ok(())
                })?;
                Ok(Outcome::done("CREATE MASK"))
            }
            AccessStatement::AlterRule {
                mask,
                name,
                relation,
                rename,
                roles,
                using,
            } => {
                let (object, table) = self.table_to_restrict(relation)?;
                let roles = roles.as_deref().map(|roles| self.grantees(roles));
                let change = RuleChange {
                    rename: rename.as_deref(),
                    roles: roles.transpose()?,
                    using: using.as_deref(),
                };
                match mask {
                    true => self.alter_mask(&object, &table, name, &change)?,
                    false => self.alter_policy(&object, &table, name, &change)?,
                }
                Ok(Outcome::done(match mask {
                    true => "ALTER MASK",
                    false => "ALTER POLICY",
                }))
            }
            AccessStatement::Drop {
                mask,
                name,
                relation,
                if_exists,
            } => self.drop_rule(*mask, name, relation, *if_exists),
            AccessStatement::DropOwned(roles) => {
                let roles = self.grantees(roles)?;
                self.drop_owned(&roles)?;
                Ok(Outcome::done("DROP OWNED"))
            }
        }
    }

    fn grant(
        &self,
        gives: bool,
        privileges: &[(String, Vec<String>)],
        on: &GrantedOn,
        roles: &[Grantee],
    ) -> Result<Outcome> {
        let roles = self.grantees(roles)?;
        let objects = self.granted_objects(on)?;
        let access = self.engine.catalog.access();
        // All of it is looked at before any of it is done.
        let mut changes = Vec::new();
        for object in &objects {
            for (privilege, columns) in self.privileges_on(object, privileges)? {
                self.check_columns(object, &columns)?;
                changes.push((object, privilege, columns));
            }
        }
        for (object, privilege, columns) in changes {
            access.change(object, |kept, defaults| {
                let grants = kept.grants.get_or_insert_with(|| defaults.clone());
                for role in &roles {
                    match gives {
                        true => grants.give(role, privilege, &columns),
                        false => grants.take(role, privilege, &columns),
                    }
                }
                if *grants == *defaults {
                    kept.grants = None;
                }
                Ok(())
            })?;
        }
        Ok(Outcome::done(if gives { "GRANT" } else { "REVOKE" }))
    }

    /// The privileges that a statement names on an object.
    fn privileges_on(
        &self,
        object: &Object,
        named: &[(String, Vec<String>)],
    ) -> Result<Vec<(Privilege, Vec<String>)>> {
        match object {
            Object::Relation { schema, name } if self.is_sequence(schema, name) => {
                if named.iter().any(|(_, columns)| !columns.is_empty()) {
                    return Err(Error::WrongObject {
                        message: "a sequence has no columns to grant".to_owned(),
                        hint: "Name tables or views behind privileges on columns.".to_owned(),
                    });
                }
                privileges_of("sequence", &Privilege::OF_SEQUENCES, named)
            }
            object => privileges_of(object.kind(), object.privileges(), named),
        }
    }

    fn is_sequence(&self, schema: &str, name: &str) -> bool {
        let sequences = self.engine.tables().sequences();
        sequences.named(schema, name).is_some()
    }

    /// The names of roles that there are, and of everybody.
    fn grantees(&self, roles: &[Grantee]) -> Result<BTreeSet<String>> {
        let known = self.engine.catalog.roles();
        roles
            .iter()
            .map(|role| match role {
                Grantee::Public => Ok(PUBLIC.to_owned()),
                Grantee::Role(role) => Ok(known.get(&self.named(role))?.name.clone()),
            })
            .collect()
    }

    fn granted_objects(&self, on: &GrantedOn) -> Result<Vec<Object>> {
        let catalog = &self.engine.catalog;
        match on {
            GrantedOn::Tables(tables) => tables
                .iter()
                .map(|parts| {
                    let (schema, _, name) = self.relation(parts)?;
                    object_in(&schema, &name)
                })
                .collect(),
            GrantedOn::TablesIn(schemas) => {
                let mut objects = Vec::new();
                for schema in schemas {
                    let provider = self.schema(schema)?;
                    let mut names = provider.table_names();
                    names.sort();
                    for name in names {
                        if !self.is_sequence(schema, &name) {
                            objects.push(object_in(schema, &name)?);
                        }
                    }
                }
                Ok(objects)
            }
            GrantedOn::Sequences(sequences) => sequences
                .iter()
                .map(|parts| {
                    let definition = self.sequence(parts)?.definition();
                    Ok(Object::relation(&definition.schema, &definition.name))
                })
                .collect(),
            GrantedOn::SequencesIn(schemas) => {
                for schema in schemas {
                    self.schema(schema)?;
                }
                let all = self.engine.tables().sequences().all();
                let all = all.into_iter().map(|sequence| sequence.definition());
                Ok(all
                    .filter(|definition| schemas.contains(&definition.schema))
                    .map(|definition| Object::relation(&definition.schema, &definition.name))
                    .collect())
            }
            GrantedOn::Schemas(schemas) => schemas
                .iter()
                .map(|schema| {
                    self.schema(schema)?;
                    let own = is_system_schema(schema) || schema.starts_with(TEMPORARY);
                    match own {
                        true => Err(everybodys(schema)),
                        false => Ok(Object::Schema(schema.clone())),
                    }
                })
                .collect(),
            GrantedOn::Servers(servers) => servers
                .iter()
                .map(|server| {
                    catalog.servers().get(server)?;
                    Ok(Object::Server(server.clone()))
                })
                .collect(),
            GrantedOn::Functions(functions) => functions
                .iter()
                .map(|name| match self.function_named(name) {
                    Some(name) => Ok(Object::Function(name)),
                    None => Err(self.explain_error(Error::from(FunnelError::Unknown {
                        kind: Kind::Function,
                        name: name.clone(),
                        place: String::new(),
                        existing: Vec::new(),
                    }))),
                })
                .collect(),
            GrantedOn::Funnels(funnels) => funnels
                .iter()
                .map(|name| {
                    let known = catalog.funnel_names();
                    match known.contains(name) {
                        true => Ok(Object::Funnel(name.clone())),
                        false => Err(Error::from(FunnelError::Unknown {
                            kind: Kind::Funnel,
                            name: name.clone(),
                            place: String::new(),
                            existing: known,
                        })),
                    }
                })
                .collect(),
            GrantedOn::AllFunnels => Ok(catalog
                .funnel_names()
                .into_iter()
                .map(Object::Funnel)
                .collect()),
        }
    }

    fn check_columns(&self, object: &Object, columns: &[String]) -> Result<()> {
        match object {
            Object::Relation { schema, name } => {
                let parts = [schema.clone(), name.clone()];
                columns
                    .iter()
                    .try_for_each(|column| self.check_column(&parts, column))
            }
            _ if columns.is_empty() => Ok(()),
            other => Err(Error::WrongObject {
                message: format!("a {} has no columns to grant", other.kind()),
                hint: "Name tables or views behind privileges on columns.".to_owned(),
            }),
        }
    }

    /// The table of a policy or mask.
    fn table_to_restrict(&self, parts: &[String]) -> Result<(Object, Arc<dyn TableProvider>)> {
        let (schema, name, table) = self.table_of(parts)?;
        let engines = [FUNNEL_SCHEMA, JOURNEYS_SCHEMA].contains(&schema.as_str());
        let base = table.table_type() == TableType::Base;
        match base && !engines && !is_system_schema(&schema) && !schema.starts_with(TEMPORARY) {
            true => Ok((Object::relation(&schema, &name), unguarded(table))),
            false => Err(Error::WrongObject {
                message: format!("\"{name}\" is not a table with rows of its own"),
                hint: "Policies and masks are of tables; they hold under every view and funnel over them."
                    .to_owned(),
            }),
        }
    }

    /// A condition as it is planned when somebody reads the table.
    fn check_condition(&self, table: &Arc<dyn TableProvider>, using: &str) -> Result<()> {
        let (expression, kind) = self.checked(&table.schema(), using)?;
        if kind != DataType::Boolean {
            return Err(mismatch(format!(
                "argument of USING must be type boolean, not type {kind}"
            )));
        }
        self.try_out(table, |plan| plan.filter(expression))
    }

    fn check_mask(
        &self,
        table: &Arc<dyn TableProvider>,
        object: &Object,
        column: &str,
        using: &str,
    ) -> Result<()> {
        let schema = table.schema();
        let Object::Relation { schema: of, name } = object else {
            return Ok(());
        };
        self.check_column(&[of.clone(), name.clone()], column)?;
        let wanted = schema
            .field_with_name(column)
            .map_err(datafusion::error::DataFusionError::from)?
            .data_type()
            .clone();
        let (expression, kind) = self.checked(&schema, using)?;
        // A text in the place of a number would fail when somebody reads it.
        let fits = kind == wanted
            || kind.is_null()
            || kind.is_string() && wanted.is_string()
            || kind.is_numeric() && wanted.is_numeric()
            || kind.is_temporal() && wanted.is_temporal() && can_cast_types(&kind, &wanted);
        if !fits {
            return Err(mismatch(format!(
                "a mask of column \"{column}\" must be type {wanted}, not type {kind}"
            )));
        }
        self.try_out(table, |plan| plan.project([cast(expression, wanted)]))
    }

    /// An expression over a row, and its type.
    fn checked(&self, schema: &SchemaRef, text: &str) -> Result<(Expr, DataType)> {
        let explain = |error| self.explain_error(Error::from_engine(&error, ""));
        let expression = plan_expression(&self.context.state(), schema, text).map_err(explain)?;
        let mut of_one_row = true;
        expression.apply(|part| {
            of_one_row &= !matches!(
                part,
                Expr::AggregateFunction(_) | Expr::WindowFunction(_) | Expr::Unnest(_)
            );
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !of_one_row {
            return Err(Error::Query {
                fault: Fault::Grouping,
                message: "aggregate and window functions are not allowed in policies and masks"
                    .to_owned(),
                position: None,
            });
        }
        let schema = DFSchema::try_from(schema.as_ref().clone())?;
        let kind = expression.get_type(&schema).map_err(explain)?;
        Ok((expression, kind))
    }

    fn try_out(
        &self,
        table: &Arc<dyn TableProvider>,
        with: impl FnOnce(LogicalPlanBuilder) -> datafusion::error::Result<LogicalPlanBuilder>,
    ) -> Result<()> {
        let source = provider_as_source(Arc::clone(table));
        let plan = LogicalPlanBuilder::scan("t", source, None)
            .and_then(with)
            .and_then(LogicalPlanBuilder::build)
            .and_then(|plan| self.context.state().optimize(&plan));
        plan.map(drop)
            .map_err(|error| self.explain_error(Error::from_engine(&error, "")))
    }

    fn drop_rule(
        &self,
        mask: bool,
        name: &str,
        relation: &[String],
        if_exists: bool,
    ) -> Result<Outcome> {
        let (kind, tag) = match mask {
            true => ("mask", "DROP MASK"),
            false => ("policy", "DROP POLICY"),
        };
        let (object, _) = self.table_to_restrict(relation)?;
        let access = self.engine.catalog.access();
        let found = access.change(&object, |kept, _| {
            Ok(match mask {
                true => kept.masks.remove(name).is_some(),
                false => kept.policies.remove(name).is_some(),
            })
        })?;
        let missing = missing_rule(kind, name, &object);
        match (found, if_exists) {
            (true, _) => Ok(Outcome::done(tag)),
            (false, true) => Ok(Outcome::noted(
                tag,
                Notice::plain(format!("{missing}, skipping")),
            )),
            (false, false) => Err(missing),
        }
    }

    fn alter_policy(
        &self,
        object: &Object,
        table: &Arc<dyn TableProvider>,
        name: &str,
        change: &RuleChange,
    ) -> Result<()> {
        if let Some(using) = change.using {
            self.check_condition(table, using)?;
        }
        let access = self.engine.catalog.access();
        access.change(object, |kept, _| {
            let mut policy = change.taken("policy", &mut kept.policies, name, object)?;
            change.apply(&mut policy.roles, &mut policy.using);
            let name = change.rename.unwrap_or(name);
            kept.policies.insert(name.to_owned(), policy);
            Ok(())
        })
    }

    fn alter_mask(
        &self,
        object: &Object,
        table: &Arc<dyn TableProvider>,
        name: &str,
        change: &RuleChange,
    ) -> Result<()> {
        let access = self.engine.catalog.access();
        if let Some(using) = change.using {
            let kept = access.known(object).kept();
            let mask = kept.masks.get(name);
            let mask = mask.ok_or_else(|| missing_rule("mask", name, object))?;
            self.check_mask(table, object, &mask.column, using)?;
        }
        access.change(object, |kept, _| {
            let mut mask = change.taken("mask", &mut kept.masks, name, object)?;
            change.apply(&mut mask.roles, &mut mask.using);
            let name = change.rename.unwrap_or(name);
            kept.masks.insert(name.to_owned(), mask);
            Ok(())
        })
    }

    /// Takes everything from roles that was granted to them, and the rules that were only theirs.
    fn drop_owned(&self, roles: &BTreeSet<String>) -> Result<()> {
        let access = self.engine.catalog.access();
        for before in access.kept() {
            access.change(&before.object, |kept, _| {
                for role in roles {
                    if let Some(grants) = &mut kept.grants {
                        grants.take_all(role);
                    }
                }
                kept.policies.retain(|_, policy| {
                    policy.roles.retain(|role| !roles.contains(role));
                    !policy.roles.is_empty()
                });
                kept.masks.retain(|_, mask| {
                    mask.roles.retain(|role| !roles.contains(role));
                    !mask.roles.is_empty()
                });
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The names of the functions that a statement calls, as they are looked up.
#[derive(Default)]
struct Called(BTreeSet<String>);

impl Called {
    fn note(&mut self, name: &ObjectName) {
        self.0.insert(crate::postgres::rewrite::last_name(name));
    }
}

impl Visitor for Called {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> std::ops::ControlFlow<()> {
        if let ast::Expr::Function(function) = expression {
            self.note(&function.name);
        }
        std::ops::ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> std::ops::ControlFlow<()> {
        match factor {
            ast::TableFactor::Table {
                name,
                args: Some(_),
                ..
            }
            | ast::TableFactor::Function { name, .. } => self.note(name),
            _ => {}
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// The privileges that a GRANT names on an object, each with its columns.
fn privileges_of(
    kind: &str,
    all: &[Privilege],
    named: &[(String, Vec<String>)],
) -> Result<Vec<(Privilege, Vec<String>)>> {
    const OTHERS: [&str; 10] = [
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
        "CREATE",
        "CONNECT",
        "TEMP",
        "TEMPORARY",
        "MAINTAIN",
    ];
    if named.is_empty() {
        return Ok(all
            .iter()
            .map(|privilege| (*privilege, Vec::new()))
            .collect());
    }
    let mut privileges = Vec::new();
    for (name, columns) in named {
        if name == "ALL" {
            privileges.extend(all.iter().map(|privilege| (*privilege, columns.clone())));
            continue;
        }
        match Privilege::named(name) {
            Some(privilege) if all.contains(&privilege) => {
                privileges.push((privilege, columns.clone()));
            }
            Some(_) => {
                return Err(Error::Role {
                    fault: crate::error::RoleFault::Grant,
                    message: format!("invalid privilege type {name} for {kind}"),
                    hint: None,
                });
            }
            None if OTHERS.contains(&name.as_str()) => {
                return Err(Error::Unsupported {
                    message: format!("the privilege {name} is not supported"),
                    hint: Some(
                        "There is SELECT, INSERT, UPDATE, DELETE, TRUNCATE, USAGE and EXECUTE; everything else is the superusers'."
                            .to_owned(),
                    ),
                });
            }
            None => {
                return Err(Error::Syntax {
                    message: format!("unrecognized privilege type \"{}\"", name.to_lowercase()),
                    position: None,
                });
            }
        }
    }
    Ok(privileges)
}

/// What stands behind the name of a relation.
fn object_in(schema: &str, name: &str) -> Result<Object> {
    match schema {
        JOURNEYS_SCHEMA => Ok(Object::Funnel(name.to_owned())),
        FUNNEL_SCHEMA => Err(everybodys(schema)),
        schema if is_system_schema(schema) => Err(everybodys(schema)),
        schema => Ok(Object::relation(schema, name)),
    }
}

fn everybodys(schema: &str) -> Error {
    Error::Denied {
        message: format!("what is in schema \"{schema}\" is everybody's"),
        hint: "It shows to each role what that role may see.".to_owned(),
    }
}

/// What is changed of a policy or mask; what isn't given stays.
struct RuleChange<'a> {
    rename: Option<&'a str>,
    roles: Option<BTreeSet<String>>,
    using: Option<&'a str>,
}

impl RuleChange<'_> {
    /// Takes the rule of that name out of those that there are, where its new name is free.
    fn taken<T>(
        &self,
        kind: &str,
        rules: &mut BTreeMap<String, T>,
        name: &str,
        object: &Object,
    ) -> Result<T> {
        let rule = rules.remove(name);
        let rule = rule.ok_or_else(|| missing_rule(kind, name, object))?;
        match self.rename {
            Some(rename) if rename == name || rules.contains_key(rename) => {
                Err(duplicate(kind, rename, object))
            }
            _ => Ok(rule),
        }
    }

    fn apply(&self, roles: &mut BTreeSet<String>, using: &mut String) {
        if let Some(wanted) = &self.roles {
            roles.clone_from(wanted);
        }
        if let Some(wanted) = self.using {
            wanted.clone_into(using);
        }
    }
}

fn missing_rule(kind: &str, name: &str, object: &Object) -> Error {
    Error::Query {
        fault: Fault::UndefinedObject,
        message: format!(
            "{kind} \"{name}\" for table \"{}\" does not exist",
            object.name()
        ),
        position: None,
    }
}

fn duplicate(kind: &str, name: &str, object: &Object) -> Error {
    Error::Query {
        fault: Fault::DuplicateObject,
        message: format!(
            "{kind} \"{name}\" for table \"{}\" already exists",
            object.name()
        ),
        position: None,
    }
}

fn mismatch(message: String) -> Error {
    Error::Query {
        fault: Fault::DatatypeMismatch,
        message,
        position: None,
    }
}

fn not_enabled(object: &Object) -> Notice {
    let name = object.name();
    let written = match object {
        Object::Relation { schema, name } if schema != DEFAULT_SCHEMA => {
            format!("{}.{}", identifier(schema), identifier(name))
        }
        _ => identifier(name).to_string(),
    };
    Notice {
        hint: Some(format!(
            "ALTER TABLE {written} ENABLE ROW LEVEL SECURITY lets policies decide."
        )),
        ..Notice::plain(format!(
            "row-level security of table \"{name}\" is not enabled"
        ))
    }
}

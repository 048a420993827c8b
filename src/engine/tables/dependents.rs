//! The views over a relation: a view is a query over the relations as they were, which it doesn't survive when they go.

use datafusion::common::TableReference;
use datafusion::datasource::TableType;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{self, ObjectType};
use datafusion_funnel::definition::text::identifier;
use datafusion_funnel::table::JOURNEYS_SCHEMA;
use futures::FutureExt;

use super::parts;
use crate::catalog::roles::OWNER;
use crate::catalog::{Depth, FUNNEL_SCHEMA, is_system_schema, read_by, relation_key};
use crate::engine::session::Session;
use crate::engine::{DATABASE, DEFAULT_SCHEMA};
use crate::error::{ChangeFault, Result};
use crate::sql::{Relation, StatementKind, renamed};

impl Session {
    /// The views that read a relation, by themselves or through other views.
    pub(in crate::engine) fn views_over(&self, schema: &str, name: &str) -> Vec<Relation> {
        let mut views = Vec::new();
        let Some(database) = self.engine.base.catalog_list().catalog(DATABASE) else {
            return views;
        };
        for schema_name in database.schema_names() {
            if is_system_schema(&schema_name)
                || [FUNNEL_SCHEMA, JOURNEYS_SCHEMA].contains(&schema_name.as_str())
            {
                continue;
            }
            let Some(relations) = database.schema(&schema_name) else {
                continue;
            };
            for relation in relations.table_names() {
                // They are in memory: nobody waits for one.
                let found = relations.table(&relation).now_or_never();
                let Some(Ok(Some(table))) = found else {
                    continue;
                };
                let reads = |read: &TableReference| {
                    read.table() == name && read.schema().unwrap_or(DEFAULT_SCHEMA) == schema
                };
                if table.table_type() == TableType::View
                    && read_by(table.as_ref(), Depth::Through).iter().any(reads)
                {
                    views.push((schema_name.clone(), relation));
                }
            }
        }
        views
    }

    /// Views and funnels over a relation read it under its new name.
    pub(in crate::engine) async fn follow(
        &self,
        views: &[Relation],
        from: &Relation,
        to: &Relation,
    ) -> Result<()> {
        let catalog = &self.engine.catalog;
        catalog.rename_in_funnels(from, to)?;
        let session = self.engine.session_for_kept(OWNER);
        for kept in catalog.kept_statements() {
            if !views
                .iter()
                .any(|(schema, name)| kept.name == relation_key(schema, name))
            {
                continue;
            }
            for mut statement in session.parse(&renamed(&kept.sql, from, to)?)? {
                if let StatementKind::Engine(definition) = &mut statement.kind
                    && let EngineStatement::Statement(definition) = definition.as_mut()
                    && let ast::Statement::CreateView(create) = definition.as_mut()
                {
                    create.or_replace = true;
                }
                Box::pin(session.execute_statement(statement)).await?;
            }
        }
        Ok(())
    }

    /// Refuses to drop what views read, and drops the views first where that was said.
    pub(super) async fn drop_dependents(&self, statement: &EngineStatement) -> Result<()> {
        // Nobody else drops what others see, nor is told what there is.
        if !self.is_superuser() {
            return Ok(());
        }
        let EngineStatement::Statement(statement) = statement else {
            return Ok(());
        };
        let ast::Statement::Drop {
            object_type: object_type @ (ObjectType::Table | ObjectType::View),
            names,
            cascade,
            ..
        } = statement.as_ref()
        else {
            return Ok(());
        };
        let dropped: Vec<Relation> = names
            .iter()
            .filter_map(|name| self.table_of(&parts(name)).ok())
            // One of another kind isn't dropped.
            .filter(|(_, _, table)| {
                (table.table_type() == TableType::View) == (*object_type == ObjectType::View)
            })
            .map(|(schema, name, _)| (schema, name))
            .collect();
        for (schema, name) in &dropped {
            let mut views = self.views_over(schema, name);
            views.retain(|view| !dropped.contains(view));
            let Some(first) = views.first() else {
                continue;
            };
            if !cascade {
                return Err(ChangeFault::Depended
                    .error(format!(
                        "cannot drop {} because other objects depend on it",
                        shown(schema, name)
                    ))
                    .detail(format!(
                        "view {} depends on {}",
                        shown(&first.0, &first.1),
                        shown(schema, name)
                    ))
                    .hint("Use DROP ... CASCADE to drop the dependent objects too.")
                    .into());
            }
            for (schema, name) in &views {
                // One that went with another is gone already.
                let drop = format!(
                    "DROP VIEW IF EXISTS {}.{} CASCADE",
                    identifier(schema),
                    identifier(name)
                );
                for statement in self.parse(&drop)? {
                    Box::pin(self.execute_statement(statement)).await?;
                }
            }
        }
        Ok(())
    }
}

fn shown(schema: &str, name: &str) -> String {
    match schema {
        DEFAULT_SCHEMA => name.to_owned(),
        _ => format!("{schema}.{name}"),
    }
}

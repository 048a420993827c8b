//! `OPTIMIZE` and `VACUUM`.

use std::sync::Arc;
use std::time::Duration;

use super::target::durable_table;
use crate::engine::outcome::{Notice, Outcome};
use crate::engine::session::Session;
use crate::error::{ChangeFault, Result};
use crate::sql::Maintenance;
use crate::tables::Table;

/// How long files that aren't needed any more are kept, where it isn't said.
const RETENTION_HOURS: f64 = 7.0 * 24.0;

impl Session {
    /// Puts small files together, or removes those that aren't needed any more.
    ///
    /// # Errors
    /// 25001 in a transaction block, 42P01 for a table that there isn't, 42501 for whoever isn't a superuser, 55006 for a table
    /// that is being changed.
    pub(in crate::engine) async fn maintain(&self, maintenance: &Maintenance) -> Result<Outcome> {
        let command = match maintenance.vacuums {
            true => "VACUUM",
            false => "OPTIMIZE",
        };
        if self.in_block() {
            let message = format!("{command} cannot run inside a transaction block");
            return Err(ChangeFault::Other("25001").error(message).into());
        }
        self.check_superuser_to(&format!("run {command}"))?;
        let tables = self.engine.tables();
        let named: Vec<Arc<Table>> = match maintenance.tables.is_empty() {
            true => tables.all(),
            false => {
                let mut named = Vec::new();
                for name in &maintenance.tables {
                    let (_, _, provider) = self.table_of(name)?;
                    // Postgres' other relations need neither.
                    named.extend(durable_table(&provider));
                }
                named
            }
        };
        let hours = maintenance.retain_hours.unwrap_or(RETENTION_HOURS);
        let retention = Duration::try_from_secs_f64(hours * 3600.0).unwrap_or(Duration::MAX);
        let mut notices = Vec::new();
        for table in named {
            let name = table.shape().written_name();
            let message = match maintenance.vacuums {
                true => {
                    let removed = tables.vacuum(&table, retention).await?;
                    format!("{name}: {removed} files removed")
                }
                false => {
                    let (before, after) = tables.compact(&self.context, &table, 2).await?;
                    format!("{name}: {before} small files became {after}")
                }
            };
            notices.push(Notice::plain(message));
        }
        Ok(Outcome::done(command).with(notices))
    }
}

//! `funnel.audit_log`: the files of the log as a table, read while they are written.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use chrono::DateTime;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use serde::Serialize;

use super::Catalog;
use super::roles::Roles;
use crate::audit::{Record, files};
use crate::engine::SessionInfo;
use crate::error::Error;

/// The role whose members may read the log, as superusers may.
const AUDITOR: &str = "auditor";
/// How many records are read at a time.
const BATCH_ROWS: usize = 8192;

/// Whether a role may read the log.
fn may_read(roles: &Roles, user: &str) -> bool {
    roles.is_superuser(user) || user == AUDITOR || roles.is_member(user, AUDITOR)
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("at", instant, true),
        text("event"),
        Field::new("connection", DataType::Int32, true),
        text("user_name"),
        text("role"),
        text("address"),
        Field::new("tls", DataType::Boolean, true),
        text("database"),
        text("application"),
        text("statement"),
        text("parameters"),
        text("tag"),
        Field::new("rows", DataType::Int64, true),
        Field::new("duration_ms", DataType::Float64, true),
        text("outcome"),
        text("sqlstate"),
        text("message"),
    ]))
});

/// The table. Who may read it is asked when it is read, whatever the way to it was.
#[derive(Debug)]
pub struct AuditLog(pub Arc<Catalog>);

#[async_trait]
impl TableProvider for AuditLog {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let info = state.config().get_extension::<SessionInfo>();
        let user = info.as_ref().map(|info| info.role());
        if !user.is_some_and(|user| may_read(self.0.roles(), &user)) {
            return Err(DataFusionError::External(Box::new(Error::Denied {
                message: "permission denied for table audit_log".to_owned(),
                hint: format!(
                    "Superusers and members of the role {AUDITOR} can read it (CREATE ROLE {AUDITOR}; GRANT {AUDITOR} TO ...)."
                ),
            })));
        }
        let mut parts: Vec<Arc<dyn PartitionStream>> = Vec::new();
        for file in files(self.0.audit_folder())? {
            parts.push(Arc::new(LogFile(file)));
        }
        let table = StreamingTable::try_new(self.schema(), parts)?;
        table.scan(state, projection, filters, limit).await
    }
}

/// A file of the log.
#[derive(Debug)]
struct LogFile(PathBuf);

impl PartitionStream for LogFile {
    fn schema(&self) -> &SchemaRef {
        &SCHEMA
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&SCHEMA), 2);
        let (sender, file) = (builder.tx(), self.0.clone());
        builder.spawn_blocking(move || {
            let opened = match File::open(&file) {
                // It was the oldest, and has gone meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                opened => opened?,
            };
            let mut lines = BufReader::new(opened);
            loop {
                let records = read(&mut lines)?;
                // Whoever reads may have enough of it.
                if records.is_empty() || sender.blocking_send(batch(&records)).is_err() {
                    return Ok(());
                }
            }
        });
        builder.build()
    }
}

/// The next records. A line without an end is being written, or was when the machine stopped; one that can't be read
/// isn't ours.
fn read(lines: &mut impl BufRead) -> std::io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut line = Vec::new();
    while records.len() < BATCH_ROWS {
        line.clear();
        lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(record) => records.push(record),
            Err(error) => tracing::warn!(%error, "a line of the audit log can't be read"),
        }
    }
    Ok(records)
}

fn batch(records: &[Record]) -> Result<RecordBatch> {
    let text = |value: fn(&Record) -> Option<String>| -> ArrayRef {
        Arc::new(records.iter().map(value).collect::<StringArray>())
    };
    let at = |record: &Record| {
        DateTime::parse_from_rfc3339(&record.at)
            .ok()
            .map(|at| at.timestamp_micros())
    };
    let at: TimestampMicrosecondArray = records.iter().map(at).collect();
    let rows = |record: &Record| i64::try_from(record.rows).ok();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(at.with_timezone("UTC")),
        text(|record| name(&record.event)),
        Arc::new(Int32Array::from_iter_values(
            records.iter().map(|record| record.connection),
        )),
        text(|record| Some(record.user.clone())),
        text(|record| record.role.clone()),
        text(|record| record.address.clone()),
        Arc::new(
            records
                .iter()
                .map(|record| Some(record.tls))
                .collect::<BooleanArray>(),
        ),
        text(|record| Some(record.database.clone())),
        text(|record| Some(record.application.clone())),
        text(|record| record.statement.clone()),
        text(|record| match record.parameters.is_empty() {
            true => None,
            false => serde_json::to_string(&record.parameters).ok(),
        }),
        text(|record| record.tag.clone()),
        Arc::new(records.iter().map(rows).collect::<Int64Array>()),
        Arc::new(Float64Array::from_iter_values(
            records.iter().map(|record| record.duration_ms),
        )),
        text(|record| name(&record.outcome)),
        text(|record| record.sqlstate.clone()),
        text(|record| record.message.clone()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// The word that a choice is written as.
fn name(choice: &impl Serialize) -> Option<String> {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::String(word)) => Some(word),
        _ => None,
    }
}

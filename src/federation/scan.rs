//! The operator that sends a query and hands on what comes.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream::unfold;

use super::columns::ForeignColumn;
use super::remote::Remote;
use super::rows;

/// A query of another database's, in parts, so that more of a plan can be put into it.
#[derive(Debug, Clone)]
pub struct Query {
    /// The table, in the other database's words.
    pub from: String,
    /// What its rows have to be.
    pub conditions: Vec<String>,
    /// The columns that are selected; none where rows are only counted.
    pub columns: Vec<ForeignColumn>,
    /// The most rows.
    pub limit: Option<usize>,
}

impl Query {
    /// Its text.
    pub fn sql(&self, remote: &Remote) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.read(remote.wrapper()))
            .collect();
        let columns = match columns.is_empty() {
            true => "1".to_owned(),
            false => columns.join(", "),
        };
        let mut sql = format!("SELECT {columns}{}", self.rest());
        if let Some(limit) = self.limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        sql
    }

    /// What comes behind the columns, without the limit.
    pub fn rest(&self) -> String {
        match self.conditions.is_empty() {
            true => format!(" FROM {}", self.from),
            false => format!(
                " FROM {} WHERE {}",
                self.from,
                self.conditions.join(" AND ")
            ),
        }
    }
}

/// A query that another database answers.
#[derive(Debug)]
pub struct ForeignScan {
    remote: Arc<Remote>,
    sql: String,
    /// What it selects of a table, unless it groups.
    query: Option<Query>,
    properties: Arc<PlanProperties>,
}

impl ForeignScan {
    /// A query over a table.
    pub fn of_table(remote: Arc<Remote>, query: Query, schema: SchemaRef) -> Self {
        let sql = query.sql(&remote);
        Self {
            query: Some(query),
            ..Self::of_text(remote, sql, schema)
        }
    }

    /// Any query.
    pub fn of_text(remote: Arc<Remote>, sql: String, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            remote,
            sql,
            query: None,
            properties: Arc::new(properties),
        }
    }

    /// Who answers.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// What is selected of a table, where nothing is grouped.
    pub fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }
}

impl DisplayAs for ForeignScan {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        // A plan has a line for each operator.
        let sql = self.sql.replace('\n', " ");
        write!(f, "ForeignScan: server={}, sql={sql}", self.remote.server())
    }
}

impl ExecutionPlan for ForeignScan {
    fn name(&self) -> &str {
        "ForeignScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion, DataFusionError>,
    ) -> Result<TreeNodeRecursion, DataFusionError> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let (remote, sql, schema) = (Arc::clone(&self.remote), self.sql.clone(), self.schema());
        let reading = Reading {
            remote,
            sql,
            schema,
            receiver: None,
        };
        let rows = unfold(reading, |mut reading| async move {
            let width = reading.schema.fields().len();
            // Nothing connects before the first row is wanted.
            let receiver = reading
                .receiver
                .get_or_insert_with(|| reading.remote.read(reading.sql.clone(), width));
            let batch = match receiver.recv().await? {
                Ok(texts) => rows::batch(texts, &reading.schema, reading.remote.server()),
                Err(error) => Err(DataFusionError::External(Box::new(error))),
            };
            Some((batch, reading))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// A query that is being read.
struct Reading {
    remote: Arc<Remote>,
    sql: String,
    schema: SchemaRef,
    receiver: Option<tokio::sync::mpsc::Receiver<crate::error::Result<rows::Texts>>>,
}

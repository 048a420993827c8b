//! A sequence as a relation: how far it is, as Postgres tells it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::sequences::{Sequence, SequenceDefinition};

/// A sequence under its name.
#[derive(Debug)]
pub struct SequenceRelation {
    sequence: Arc<Sequence>,
    schema: SchemaRef,
}

impl SequenceRelation {
    /// The relation of a sequence.
    pub fn new(sequence: &Arc<Sequence>) -> Self {
        let schema = Schema::new(vec![
            Field::new("last_value", DataType::Int64, false),
            Field::new("log_cnt", DataType::Int64, false),
            Field::new("is_called", DataType::Boolean, false),
        ]);
        Self {
            sequence: Arc::clone(sequence),
            schema: Arc::new(schema),
        }
    }

    /// What the sequence is.
    pub fn definition(&self) -> SequenceDefinition {
        self.sequence.definition()
    }
}

#[async_trait]
impl TableProvider for SequenceRelation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let definition = self.definition();
        let row = RecordBatch::try_new(
            Arc::clone(&self.schema),
            vec![
                Arc::new(Int64Array::from(vec![definition.last])),
                Arc::new(Int64Array::from(vec![0])),
                Arc::new(BooleanArray::from(vec![definition.called])),
            ],
        )?;
        let table = MemTable::try_new(Arc::clone(&self.schema), vec![vec![row]])?;
        table.scan(state, projection, &[], limit).await
    }
}

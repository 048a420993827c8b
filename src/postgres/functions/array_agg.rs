//! `array_agg` with the Postgres type of its elements: of a `name` it makes a `name[]`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use crate::postgres::types;

/// DataFusion's `array_agg`, with another field.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PgArrayAgg {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl PgArrayAgg {
    /// Over DataFusion's.
    pub fn new(inner: Arc<AggregateUDF>) -> Self {
        let signature = inner.signature().clone();
        Self { inner, signature }
    }
}

impl AggregateUDFImpl for PgArrayAgg {
    fn name(&self) -> &str {
        "pg_array_agg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        let field = self.inner.return_field(arguments)?.as_ref().clone();
        let element = arguments
            .first()
            .and_then(|field| field.metadata().get(types::TYPE_KEY));
        Ok(Arc::new(match element {
            Some(element) if !element.starts_with('_') => {
                types::marked_always(field, &format!("_{element}"))
            }
            _ => field,
        }))
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(arguments)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        beneficial: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = self
            .inner
            .as_ref()
            .clone()
            .with_beneficial_ordering(beneficial)?;
        Ok(inner.map(|inner| Arc::new(Self::new(Arc::new(inner))) as Arc<dyn AggregateUDFImpl>))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(Arc::new(AggregateUDF::from(Self::new(Arc::clone(
            &self.inner,
        )))))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

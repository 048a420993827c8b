//! Funnels in memory, for programs that embed the functions without a catalog of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;

use crate::definition::change::{KeptChange, unknown_change};
use crate::definition::metric::{MetricDefinition, unknown_metric};
use crate::definition::model::FunnelDefinition;
use crate::definition::resolve::{ResolvedFunnel, resolve};
use crate::error::{FunnelError, Kind};
use crate::table::FunnelLookup;

/// Funnels by name. Shared by a session's planner and whoever defines them.
#[derive(Debug, Default)]
pub struct FunnelRegistry {
    funnels: RwLock<BTreeMap<String, Arc<ResolvedFunnel>>>,
}

impl FunnelRegistry {
    /// Defines a funnel over the tables of `context`, in place of one of the same name. The tables are
    /// those of this moment: define it again when one is replaced.
    ///
    /// # Errors
    /// Every fault of the definition; see [`resolve`].
    pub async fn define(
        &self,
        context: &SessionContext,
        definition: FunnelDefinition,
    ) -> Result<()> {
        let name = definition.name.clone();
        let resolved = resolve(&context.state(), &Arc::new(definition))
            .await
            .map_err(|fault| fault.error)?;
        self.funnels
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, Arc::new(resolved));
        Ok(())
    }
}

impl FunnelLookup for FunnelRegistry {
    fn funnel(&self, name: &str) -> Result<Arc<ResolvedFunnel>, DataFusionError> {
        let funnels = self.funnels.read().unwrap_or_else(PoisonError::into_inner);
        funnels.get(name).map(Arc::clone).ok_or_else(|| {
            FunnelError::Unknown {
                kind: Kind::Funnel,
                name: name.to_owned(),
                place: String::new(),
                existing: funnels.keys().cloned().collect(),
            }
            .into()
        })
    }

    fn funnels(&self) -> Vec<String> {
        let funnels = self.funnels.read().unwrap_or_else(PoisonError::into_inner);
        funnels.keys().cloned().collect()
    }

    fn metrics(&self) -> Vec<Arc<MetricDefinition>> {
        Vec::new()
    }

    /// A registry has no metrics but the built-in ones.
    fn metric(&self, name: &str) -> Result<Arc<MetricDefinition>, DataFusionError> {
        Err(unknown_metric(name, &[]).into())
    }

    fn changes(&self) -> Vec<Arc<KeptChange>> {
        Vec::new()
    }

    /// A registry keeps no changes.
    fn change(&self, name: &str) -> Result<Arc<KeptChange>, DataFusionError> {
        Err(unknown_change(name, &[]).into())
    }

    fn parameter(&self, _index: usize) -> Option<ScalarValue> {
        None
    }
}

//! The company's own metrics, every version of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::Utc;
use datafusion_funnel::definition::metric::{Metric, MetricDefinition, unknown_metric};
use datafusion_funnel::error::{FunnelError, Kind};

use super::store::Store;
use crate::error::{Error, Result};
use crate::storage::Place;

/// Metrics by name; the versions of each, oldest first. A change is on disk before it is seen.
#[derive(Debug)]
pub struct Metrics {
    store: Store<Vec<MetricDefinition>>,
    metrics: RwLock<BTreeMap<String, Vec<Arc<MetricDefinition>>>>,
}

impl Metrics {
    /// Reads the metrics in `folder`.
    ///
    /// # Errors
    /// 58030 when the folder can't be made or read.
    pub fn open(place: impl Into<Place>) -> Result<Self> {
        let store: Store<Vec<MetricDefinition>> = Store::open(place, "metric")?;
        let mut metrics = BTreeMap::new();
        for (name, loaded) in store.load()? {
            match loaded {
                Ok(versions) => {
                    metrics.insert(name, versions.into_iter().map(Arc::new).collect());
                }
                // It is as if it weren't defined, and its file stays.
                Err(Error::Corrupt { file, reason, .. }) => {
                    tracing::error!(file, reason, "a metric's definition can't be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            store,
            metrics: RwLock::new(metrics),
        })
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// The newest version of each, by name.
    pub fn newest(&self) -> Vec<Arc<MetricDefinition>> {
        let metrics = self.read();
        let newest = metrics.values().filter_map(|versions| versions.last());
        newest.map(Arc::clone).collect()
    }

    /// What a statement that says `name` may mean: the metric, and each of its versions as `name@version`.
    pub fn named(&self, name: &str) -> Vec<(String, Arc<MetricDefinition>)> {
        let mut named: Vec<_> = self
            .find(name)
            .map(|found| (name.to_owned(), found))
            .into_iter()
            .collect();
        if let Some(versions) = self.read().get(name) {
            named.extend(versions.iter().map(|definition| {
                (
                    format!("{name}@{}", definition.version),
                    Arc::clone(definition),
                )
            }));
        }
        named
    }

    /// Every version of every metric, by name and version.
    pub fn all(&self) -> Vec<Arc<MetricDefinition>> {
        self.read().values().flatten().map(Arc::clone).collect()
    }

    /// The newest version of `name`, or the one that `name@version` says.
    pub fn find(&self, name: &str) -> Option<Arc<MetricDefinition>> {
        let metrics = self.read();
        if let Some(versions) = metrics.get(name) {
            return versions.last().map(Arc::clone);
        }
        let (name, version) = name.rsplit_once('@')?;
        let version: u32 = version.parse().ok()?;
        let versions = metrics.get(name)?.iter();
        versions
            .filter(|definition| definition.version == version)
            .map(Arc::clone)
            .next()
    }

    /// Keeps a definition, as the next version where there is one of that name and `or_replace`.
    ///
    /// # Errors
    /// 42710 when the name is taken, 58030 when it can't be written.
    pub fn create(&self, mut definition: MetricDefinition, or_replace: bool) -> Result<()> {
        let name = definition.name.clone();
        let mut metrics = self.write();
        let mut versions = metrics.get(&name).cloned().unwrap_or_default();
        if Metric::find(&name).is_some() || (!versions.is_empty() && !or_replace) {
            let kind = Kind::Metric;
            return Err(FunnelError::AlreadyExists { kind, name }.into());
        }
        let today = Utc::now().date_naive().to_string();
        if let Some(last) = versions.last_mut() {
            definition.version = last.version + 1;
            let last = Arc::make_mut(last);
            last.valid_to.get_or_insert_with(|| today.clone());
        }
        definition.valid_from.get_or_insert(today);
        versions.push(Arc::new(definition));
        let kept: Vec<MetricDefinition> =
            versions.iter().map(|kept| kept.as_ref().clone()).collect();
        self.store.put(&name, &kept)?;
        metrics.insert(name, versions);
        Ok(())
    }

    /// Forgets metrics with all their versions; all of them or, when one is missing, none. Returns the missing
    /// ones where they are no error.
    ///
    /// # Errors
    /// 42704 for a missing metric.
    pub fn drop(&self, names: &[String], if_exists: bool) -> Result<Vec<String>> {
        let mut metrics = self.write();
        let (found, missing): (Vec<String>, Vec<String>) = names
            .iter()
            .cloned()
            .partition(|name| metrics.contains_key(name));
        if let (Some(name), false) = (missing.first(), if_exists) {
            let own: Vec<String> = metrics.keys().cloned().collect();
            return Err(unknown_metric(name, &own).into());
        }
        for name in &found {
            self.store.remove(name)?;
            metrics.remove(name);
        }
        Ok(missing)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Vec<Arc<MetricDefinition>>>> {
        // A map is whole after a panic: each change of it is one call.
        self.metrics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Vec<Arc<MetricDefinition>>>> {
        self.metrics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Objects by their OID and their name, as `regclass` and its like read and write them.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::config::ConfigOptions;

/// Who knows the names of the objects that there are.
pub trait Names: Debug + Send + Sync {
    /// The name of the object of that OID, as the type `kind` (`regclass`, `regtype`, …) writes it.
    fn name(&self, kind: &str, oid: i32) -> Option<String>;

    /// The OID of the object of that name.
    fn oid(&self, kind: &str, name: &str) -> Option<i32>;

    /// The names that the session of these options sees, where that isn't all.
    fn seen_by(&self, _options: &ConfigOptions) -> Option<Arc<dyn Names>> {
        None
    }
}

/// Knows types and nothing else.
#[derive(Debug)]
pub struct NoNames;

impl Names for NoNames {
    fn name(&self, _kind: &str, _oid: i32) -> Option<String> {
        None
    }

    fn oid(&self, _kind: &str, _name: &str) -> Option<i32> {
        None
    }
}

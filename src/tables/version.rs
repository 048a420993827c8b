//! The files that hold a table's rows at one moment.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, NaiveDate};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use deltalake::kernel::{Add, Remove};
use serde_json::Value;

use super::definition::Shape;

/// A file smaller than this is put together with others.
pub const SMALL_FILE: i64 = 8 << 20;

/// A file of rows.
#[derive(Debug)]
pub struct DataFile {
    /// The file as Delta's log has it.
    pub add: Add,
    /// How many rows it has.
    pub rows: u64,
    /// What its log entry says about columns, by their stored names.
    stats: OnceLock<Value>,
}

impl DataFile {
    /// The file of a log entry.
    pub fn new(add: Add) -> Self {
        let mut file = Self {
            add,
            rows: 0,
            stats: OnceLock::new(),
        };
        file.rows = file
            .stats()
            .get("numRecords")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        file
    }

    /// Where it is in the table's folder.
    pub fn path(&self) -> &str {
        &self.add.path
    }

    /// The log entry of a version without it.
    pub fn remove(&self, data_change: bool, now_ms: i64) -> Remove {
        Remove {
            path: self.add.path.clone(),
            data_change,
            deletion_timestamp: Some(now_ms),
            extended_file_metadata: Some(true),
            partition_values: Some(self.add.partition_values.clone()),
            size: Some(self.add.size),
            ..Remove::default()
        }
    }

    fn stats(&self) -> &Value {
        self.stats.get_or_init(|| {
            let text = self.add.stats.as_deref().unwrap_or("{}");
            serde_json::from_str(text).unwrap_or_default()
        })
    }

    /// What is known of the columns that files have, in the order of `stored`'s that are no partitions'.
    pub fn statistics(&self, shape: &Shape) -> Statistics {
        let partitions = shape.partitions();
        let columns = shape.stored.fields().iter().enumerate();
        let columns = columns
            .filter(|(at, _)| !partitions.contains(at))
            .map(|(at, field)| {
                self.column_statistics(field.name(), shape.schema.field(at).data_type())
            });
        Statistics {
            num_rows: Precision::Exact(usize::try_from(self.rows).unwrap_or(usize::MAX)),
            total_byte_size: Precision::Inexact(usize::try_from(self.add.size).unwrap_or(0)),
            column_statistics: columns.collect(),
        }
    }

    /// Between which values a column lies, where the log says it.
    pub fn bounds(&self, shape: &Shape, column: usize) -> Option<(ScalarValue, ScalarValue)> {
        let name = shape.stored.field(column).name();
        let known = self.column_statistics(name, shape.schema.field(column).data_type());
        let least = known.min_value.get_value()?.clone();
        Some((least, known.max_value.get_value()?.clone()))
    }

    fn column_statistics(&self, name: &str, kind: &DataType) -> ColumnStatistics {
        let stats = self.stats();
        let bound = |which: &str, upwards: bool| {
            let value = stats.get(which).and_then(|values| values.get(name));
            match value.and_then(|value| scalar(value, kind, upwards)) {
                Some(bound) => Precision::Inexact(bound),
                None => Precision::Absent,
            }
        };
        let nulls = stats.get("nullCount").and_then(|values| values.get(name));
        let nulls = nulls
            .and_then(Value::as_u64)
            .and_then(|nulls| usize::try_from(nulls).ok());
        ColumnStatistics {
            null_count: nulls.map_or(Precision::Absent, Precision::Exact),
            min_value: bound("minValues", false),
            max_value: bound("maxValues", true),
            ..ColumnStatistics::new_unknown()
        }
    }
}

/// A bound as Delta writes it, as a value of the column. Only what is written without loss is taken; instants are written
/// in milliseconds, so that their bounds are moved outwards by one.
fn scalar(value: &Value, kind: &DataType, upwards: bool) -> Option<ScalarValue> {
    let outwards = if upwards { 1000 } else { -1000 };
    Some(match kind {
        DataType::Int16 => ScalarValue::Int16(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(value.as_i64()?.try_into().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.as_i64()?)),
        DataType::Date32 => {
            let date: NaiveDate = value.as_str()?.parse().ok()?;
            let days = date
                .signed_duration_since(DateTime::UNIX_EPOCH.date_naive())
                .num_days();
            ScalarValue::Date32(Some(days.try_into().ok()?))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text = value.as_str()?;
            let text = text.strip_suffix('Z').unwrap_or(text);
            let time = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
                .iter()
                .find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok())?;
            let microseconds = time.and_utc().timestamp_micros().checked_add(outwards)?;
            ScalarValue::TimestampMicrosecond(Some(microseconds), zone.clone())
        }
        _ => return None,
    })
}

/// The values that the rows of a partition have, by their columns.
type Partition = Vec<(String, Option<String>)>;

/// A table's rows at one moment. It never changes.
#[derive(Debug)]
pub struct Version {
    /// Its number in Delta's log.
    pub number: u64,
    /// The files.
    pub files: Vec<Arc<DataFile>>,
}

impl Version {
    /// A version without rows.
    pub fn empty(number: u64) -> Self {
        Self {
            number,
            files: Vec::new(),
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// How many bytes its files take.
    pub fn bytes(&self) -> u64 {
        let sizes = self
            .files
            .iter()
            .map(|file| u64::try_from(file.add.size).unwrap_or(0));
        sizes.sum()
    }

    /// The paths of its files.
    pub fn paths(&self) -> HashSet<&str> {
        self.files.iter().map(|file| file.path()).collect()
    }

    /// This version without some files and with others.
    pub fn changed(&self, removed: &HashSet<String>, added: &[Arc<DataFile>]) -> Self {
        let kept = self
            .files
            .iter()
            .filter(|file| !removed.contains(file.path()));
        Self {
            number: self.number,
            files: kept.chain(added).map(Arc::clone).collect(),
        }
    }

    /// The files of this version that another one lacks.
    pub fn beyond(&self, other: &Self) -> Vec<Arc<DataFile>> {
        let known = other.paths();
        let new = self
            .files
            .iter()
            .filter(|file| !known.contains(file.path()));
        new.map(Arc::clone).collect()
    }

    /// Small files of one partition, of which there are many.
    pub fn many_small(&self, many: usize) -> Vec<Vec<Arc<DataFile>>> {
        let mut groups: HashMap<Partition, Vec<Arc<DataFile>>> = HashMap::new();
        for file in &self.files {
            if file.add.size < SMALL_FILE {
                let mut key: Vec<_> = file
                    .add
                    .partition_values
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                key.sort();
                groups.entry(key).or_default().push(Arc::clone(file));
            }
        }
        groups
            .into_values()
            .filter(|group| group.len() >= many)
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_instants_are_moved_outwards() {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let value = Value::from("2026-01-05T00:00:00.123Z");
        let bound = |upwards| match scalar(&value, &kind, upwards).unwrap() {
            ScalarValue::TimestampMicrosecond(Some(at), _) => at,
            _ => 0,
        };
        assert_eq!(bound(true) - bound(false), 2000);
        assert!(scalar(&Value::from("中"), &DataType::Utf8, true).is_none());
    }
}

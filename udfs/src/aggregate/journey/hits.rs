//! Journeys of entities that can't be lost: the stages that their rows enter are all there is to know.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::common::Result;

use super::kernel::{Entry, Journey, Rules, sort, walk};
use super::output::JourneyBuilder;
use crate::aggregate::hits::{HitResults, HitRuns};

/// The journeys of groups of hits, whose conditions are the stages that they enter.
#[derive(Debug)]
pub(super) struct JourneysOfHits {
    rules: Rules,
}

impl JourneysOfHits {
    /// Journeys under these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl HitResults for JourneysOfHits {
    fn results_of(&self, runs: &mut HitRuns) -> Result<ArrayRef> {
        let mut journeys = JourneyBuilder::new(&self.rules, runs.len());
        let mut journey = Journey::new(&self.rules);
        let mut entries = Vec::new();
        for hits in runs.groups() {
            entries.clear();
            for hit in hits {
                let mut stages = hit.conditions & self.rules.stage_mask();
                while stages != 0 {
                    entries.push(Entry {
                        time_us: hit.time,
                        group: 0,
                        code: stages.trailing_zeros(),
                    });
                    stages &= stages - 1; // takes the lowest bit away
                }
            }
            sort(&mut entries);
            if walk(&entries, &self.rules, &mut journey) {
                journeys.append(&journey, |_| None)?;
            } else {
                journeys.append_null();
            }
        }
        Ok(Arc::new(journeys.finish()?))
    }

    fn is_null_without_hits(&self) -> bool {
        true
    }
}

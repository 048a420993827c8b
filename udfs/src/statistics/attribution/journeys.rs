//! Journeys by their paths: what every model of attribution is computed from, and merges.

use std::collections::HashMap;

use super::markov::{self, Observed};
use super::{Model, weights};
use crate::error::FunnelError;

/// The channel of journeys without a touch.
pub const NONE: &str = "(none)";

/// How many journeys have the same path, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ends {
    /// Those that converted.
    pub conversions: i64,
    /// The others.
    pub nulls: i64,
    /// What the conversions were worth; nothing where no worth is known.
    pub value: Option<f64>,
}

/// What time decay gives a channel: it depends on times that paths don't keep.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Decayed {
    /// Conversions.
    pub conversions: f64,
    /// Their value.
    pub value: f64,
}

/// One channel under one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Credit {
    /// The model.
    pub model: Model,
    /// The channel.
    pub channel: String,
    /// Journeys with a touch of it.
    pub journeys: i64,
    /// Its touches of them.
    pub touches: i64,
    /// Of the journeys, those that converted.
    pub converted: i64,
    /// All conversions, of whatever channel.
    pub conversions: i64,
    /// Its part of the conversions.
    pub credit: f64,
    /// Its part of their value.
    pub amount: Option<f64>,
    /// The share of conversions that are lost without it; a Markov model's.
    pub removal_effect: Option<f64>,
}

/// Journeys by path.
#[derive(Debug, Clone, Default)]
pub struct Journeys {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    paths: HashMap<Box<[u32]>, Ends>,
    /// By channel.
    decayed: Vec<Decayed>,
    /// A path came without times.
    is_untimed: bool,
    /// Items of all paths.
    items: usize,
}

impl Journeys {
    /// The number of a channel.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        self.decayed.push(Decayed::default());
        number
    }

    /// Adds journeys of one path.
    pub fn add(&mut self, path: &[u32], ends: Ends) {
        match self.paths.get_mut(path) {
            Some(known) => {
                known.conversions += ends.conversions;
                known.nulls += ends.nulls;
                known.value = match (known.value, ends.value) {
                    (Some(one), Some(other)) => Some(one + other),
                    (one, other) => one.or(other),
                };
            }
            None => {
                self.items += path.len();
                self.paths.insert(path.into(), ends);
            }
        }
    }

    /// Adds what time decay gives for journeys of one path, whose touches were so long before their end; nothing where the
    /// times aren't known.
    pub fn decay(&mut self, path: &[u32], days: Option<&[f64]>, ends: Ends, half_life: f64) {
        let Some(days) = days else {
            self.is_untimed |= !path.is_empty();
            return;
        };
        if ends.conversions == 0 {
            return;
        }
        let shares = weights(Model::TimeDecay, path, days, half_life);
        for (channel, share) in path.iter().zip(shares) {
            let decayed = &mut self.decayed[*channel as usize];
            decayed.conversions += share * ends.conversions as f64;
            decayed.value += share * ends.value.unwrap_or(0.0);
        }
    }

    /// The channels by number, what time decay gave each, and whether a path came without times.
    pub fn channels(&self) -> (&[String], &[Decayed], bool) {
        (&self.names, &self.decayed, self.is_untimed)
    }

    /// Adds what another part's time decay gave a channel.
    pub fn add_decayed(&mut self, channel: u32, decayed: Decayed) {
        let known = &mut self.decayed[channel as usize];
        known.conversions += decayed.conversions;
        known.value += decayed.value;
    }

    /// Says that a path came without times.
    pub fn set_untimed(&mut self) {
        self.is_untimed = true;
    }

    /// Every path.
    pub fn paths(&self) -> impl Iterator<Item = (&[u32], &Ends)> {
        self.paths.iter().map(|(path, ends)| (path.as_ref(), ends))
    }

    /// Bytes on the heap, about.
    pub fn heap_size(&self) -> usize {
        let path = size_of::<Box<[u32]>>() + size_of::<Ends>() + 1;
        let name = 2 * size_of::<String>() + 8;
        let texts: usize = self.names.iter().map(|name| 2 * name.capacity()).sum();
        self.paths.capacity() * path
            + self.items * size_of::<u32>()
            + self.names.capacity() * (name + size_of::<Decayed>())
            + texts
    }

    /// The credits of each model, in their order; within it by channel, those without a touch last.
    ///
    /// # Errors
    /// 22023 for time decay of paths without times.
    pub fn credits(&self, models: &[Model], order: usize) -> Result<Vec<Credit>, FunnelError> {
        if models.contains(&Model::TimeDecay) && self.is_untimed {
            return Err(FunnelError::InvalidArgument {
                message: "time_decay needs the times of the touches".to_owned(),
                hint: "Leave it out for paths, or give the touches with time => the column of their times."
                    .to_owned(),
            });
        }
        let sorted = Sorted::of(self);
        let mut credits = Vec::new();
        for model in models {
            credits.extend(sorted.credits(*model, order));
        }
        Ok(credits)
    }
}

/// The same with channels by name and paths in order, so that every sum has its order too.
struct Sorted<'a> {
    names: Vec<&'a str>,
    decayed: Vec<Decayed>,
    paths: Vec<(Vec<u32>, Ends)>,
    /// Of journeys without a touch.
    untouched: Option<Ends>,
    is_valued: bool,
}

impl<'a> Sorted<'a> {
    fn of(journeys: &'a Journeys) -> Self {
        let mut order: Vec<usize> = (0..journeys.names.len()).collect();
        order.sort_unstable_by_key(|number| journeys.names[*number].as_str());
        let mut places = vec![0_u32; order.len()];
        for (place, number) in order.iter().enumerate() {
            places[*number] = place as u32;
        }
        let mut paths: Vec<(Vec<u32>, Ends)> = journeys
            .paths
            .iter()
            .filter(|(path, _)| !path.is_empty())
            .map(|(path, ends)| {
                let path = path.iter().map(|number| places[*number as usize]);
                (path.collect(), *ends)
            })
            .collect();
        paths.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let untouched: &[u32] = &[];
        Self {
            names: order
                .iter()
                .map(|number| journeys.names[*number].as_str())
                .collect(),
            decayed: order
                .iter()
                .map(|number| journeys.decayed[*number])
                .collect(),
            paths,
            untouched: journeys.paths.get(untouched).copied(),
            is_valued: journeys.paths.values().any(|ends| ends.value.is_some()),
        }
    }

    fn credits(&self, model: Model, order: usize) -> Vec<Credit> {
        let ends = self.paths.iter().map(|(_, ends)| ends);
        let untouched = self.untouched.unwrap_or_default();
        let conversions = ends.map(|ends| ends.conversions).sum::<i64>() + untouched.conversions;
        let given = self.given(model, order);
        let amount = |value: f64| self.is_valued.then_some(value);
        let mut credits: Vec<Credit> = self
            .names
            .iter()
            .zip(self.counts())
            .zip(given)
            .map(|((name, counts), (decayed, removal_effect))| Credit {
                model,
                channel: (*name).to_owned(),
                journeys: counts.journeys,
                touches: counts.touches,
                converted: counts.converted,
                conversions,
                credit: decayed.conversions,
                amount: amount(decayed.value),
                removal_effect,
            })
            .collect();
        if let Some(ends) = self.untouched {
            credits.push(Credit {
                model,
                channel: NONE.to_owned(),
                journeys: ends.conversions + ends.nulls,
                touches: 0,
                converted: ends.conversions,
                conversions,
                credit: ends.conversions as f64,
                amount: amount(ends.value.unwrap_or(0.0)),
                removal_effect: None,
            });
        }
        credits
    }

    /// What each channel gets, and its removal effect.
    fn given(&self, model: Model, order: usize) -> Vec<(Decayed, Option<f64>)> {
        match model {
            Model::Markov => return self.by_removal(order),
            Model::TimeDecay => return self.decayed.iter().map(|it| (*it, None)).collect(),
            _ => {}
        }
        let mut given = vec![Decayed::default(); self.names.len()];
        for (path, ends) in &self.paths {
            if ends.conversions == 0 {
                continue;
            }
            for (channel, share) in path.iter().zip(weights(model, path, &[], 1.0)) {
                let given = &mut given[*channel as usize];
                given.conversions += share * ends.conversions as f64;
                given.value += share * ends.value.unwrap_or(0.0);
            }
        }
        given.into_iter().map(|given| (given, None)).collect()
    }

    fn by_removal(&self, order: usize) -> Vec<(Decayed, Option<f64>)> {
        let observed: Vec<Observed> = self
            .paths
            .iter()
            .map(|(path, ends)| Observed {
                path,
                conversions: ends.conversions as f64,
                nulls: ends.nulls as f64,
                value: ends.value.unwrap_or(0.0),
            })
            .collect();
        let channels = self.names.len();
        let Some(effects) = markov::removal_effects(&observed, channels, order) else {
            return vec![(Decayed::default(), None); channels];
        };
        let all: f64 = effects.iter().map(|effect| effect.conversions).sum();
        let all_value: f64 = effects.iter().map(|effect| effect.value).sum();
        let conversions: f64 = observed.iter().map(|paths| paths.conversions).sum();
        let value: f64 = observed.iter().map(|paths| paths.value).sum();
        let given = effects.iter().map(|effect| {
            let share = effect.conversions / all;
            // Worth that is nothing in all, or negative, has no effect to share it by.
            let value_share = match all_value > 0.0 {
                true => effect.value / all_value,
                false => share,
            };
            let given = Decayed {
                conversions: conversions * share,
                value: value * value_share,
            };
            (given, Some(effect.conversions))
        });
        given.collect()
    }

    fn counts(&self) -> Vec<Counts> {
        let mut counts = vec![Counts::default(); self.names.len()];
        for (path, ends) in &self.paths {
            let journeys = ends.conversions + ends.nulls;
            for (place, channel) in path.iter().enumerate() {
                let counts = &mut counts[*channel as usize];
                counts.touches += journeys;
                if !path[..place].contains(channel) {
                    counts.journeys += journeys;
                    counts.converted += ends.conversions;
                }
            }
        }
        counts
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    journeys: i64,
    touches: i64,
    converted: i64,
}

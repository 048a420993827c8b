//! Memory of queries: what those of an engine may use together, and what those of one session may.
//!
//! Operators that can, write to disk when they are refused more (spilling); only those that can't fail. The operators of
//! a session share its part evenly, so that the first sort of a statement doesn't take what its second needs, and leave a
//! quarter of it to those that can't.
//!
//! Counted is what operators hold between batches: tables of joins, groups, rows to be sorted, rows that a cursor keeps.
//! The batches in flight are not.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};

use crate::error::Error;

/// What an engine's sessions use together.
#[derive(Debug)]
pub struct EnginePool {
    /// In bytes; as much as they like where absent.
    limit: Option<usize>,
    used: AtomicUsize,
    most_used: AtomicUsize,
}

impl EnginePool {
    /// A pool of `limit` bytes.
    pub fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            most_used: AtomicUsize::new(0),
        }
    }

    /// How many bytes have been in use at most.
    pub fn most_used(&self) -> usize {
        self.most_used.load(Ordering::Relaxed)
    }

    /// How many bytes there are; any number where absent.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    fn take(&self, bytes: usize, limit: usize) -> Result<(), usize> {
        let fits = |used: usize| used.checked_add(bytes).filter(|after| *after <= limit);
        let before = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)?;
        self.most_used.fetch_max(before + bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Display for EnginePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MemoryPool for EnginePool {
    fn name(&self) -> &str {
        "engine"
    }

    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        // What is already there is counted, whatever the limit is.
        let _ = self.take(additional, usize::MAX);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, _reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let limit = self.limit.unwrap_or(usize::MAX);
        self.take(additional, limit).map_err(|used| {
            exhausted(
                "all statements together have",
                used,
                limit,
                "memory_limit",
                additional,
            )
        })
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.limit
            .map_or(MemoryLimit::Infinite, MemoryLimit::Finite)
    }
}

/// What one session's statements use; it is part of what the engine's use.
#[derive(Debug)]
pub struct SessionPool {
    limit: usize,
    own: Mutex<Own>,
    engine: Arc<EnginePool>,
}

/// What the operators of a session hold, in bytes.
#[derive(Debug, Default)]
struct Own {
    /// How many of them can spill.
    spilling: usize,
    spillable: usize,
    unspillable: usize,
}

impl Own {
    /// What is left to an operator that holds `held` already.
    fn left(&self, limit: usize, can_spill: bool, held: usize) -> usize {
        match can_spill {
            true => {
                let kept_free = self.unspillable.max(limit / 4);
                let share = limit.saturating_sub(kept_free) / self.spilling.max(1);
                share.saturating_sub(held)
            }
            false => limit.saturating_sub(self.unspillable + self.spillable),
        }
    }

    fn held(&mut self, can_spill: bool) -> &mut usize {
        match can_spill {
            true => &mut self.spillable,
            false => &mut self.unspillable,
        }
    }
}

impl SessionPool {
    /// `limit` bytes of the engine's.
    pub fn new(limit: usize, engine: Arc<EnginePool>) -> Self {
        Self {
            limit,
            own: Mutex::default(),
            engine,
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        // Numbers are whole after a panic.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for SessionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MemoryPool for SessionPool {
    fn name(&self) -> &str {
        "session"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own().spilling += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut own = self.own();
        own.spilling = own
            .spilling
            .saturating_sub(usize::from(consumer.can_spill()));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.own().held(reservation.consumer().can_spill()) += additional;
        self.engine.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut own = self.own();
        let held = own.held(reservation.consumer().can_spill());
        *held = held.saturating_sub(shrink);
        drop(own);
        self.engine.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let can_spill = reservation.consumer().can_spill();
        let mut own = self.own();
        if additional > own.left(self.limit, can_spill, reservation.size()) {
            return Err(exhausted(
                "the statement has",
                own.spillable + own.unspillable,
                self.limit,
                "session_memory_limit",
                additional,
            ));
        }
        self.engine.try_grow(reservation, additional)?;
        *own.held(can_spill) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let own = self.own();
        own.spillable + own.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

/// Memory that isn't an operator's: rows that a cursor keeps, a copy that comes in. Dropping it gives it back.
#[derive(Debug)]
pub struct Reservation(MemoryReservation);

impl Reservation {
    pub(super) fn new(what: &'static str, pool: &Arc<dyn MemoryPool>) -> Self {
        Self(MemoryConsumer::new(what).register(pool))
    }

    /// Takes more.
    ///
    /// # Errors
    /// 53200 where there is no more.
    pub fn grow(&self, bytes: usize) -> crate::error::Result<()> {
        self.0.try_grow(bytes).map_err(Error::from)
    }
}

/// The kind of error that makes an operator spill.
fn exhausted(who: &str, used: usize, limit: usize, key: &str, more: usize) -> DataFusionError {
    DataFusionError::ResourcesExhausted(format!(
        "out of memory: {who} {} of {} ({key}) and needs {} more",
        human_readable_size(used),
        human_readable_size(limit),
        human_readable_size(more)
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_its_part_and_no_more_than_is_left_to_all() {
        let engine = Arc::new(EnginePool::new(Some(100)));
        let pool = || Arc::new(SessionPool::new(60, Arc::clone(&engine))) as Arc<dyn MemoryPool>;
        let (one, other) = (pool(), pool());
        let first = MemoryConsumer::new("join").register(&one);
        first.try_grow(60).unwrap();
        let message = first.try_grow(1).unwrap_err().strip_backtrace();
        assert!(
            message.contains(
                "the statement has 60.0 B of 60.0 B (session_memory_limit) and needs 1.0 B more"
            ),
            "{message}"
        );
        let second = MemoryConsumer::new("join").register(&other);
        second.try_grow(40).unwrap();
        let message = second.try_grow(1).unwrap_err().strip_backtrace();
        assert!(
            message.contains("all statements together have 100.0 B of 100.0 B (memory_limit)"),
            "{message}"
        );
        // What was refused by the engine isn't counted for the session either.
        assert_eq!((other.reserved(), engine.reserved()), (40, 100));
        drop((first, second));
        assert_eq!(
            (one.reserved(), engine.reserved(), engine.most_used()),
            (0, 0, 100)
        );
    }

    #[test]
    fn operators_that_spill_share_evenly() {
        let engine = Arc::new(EnginePool::new(None));
        let pool = Arc::new(SessionPool::new(100, engine)) as Arc<dyn MemoryPool>;
        let sort = || {
            MemoryConsumer::new("sort")
                .with_can_spill(true)
                .register(&pool)
        };
        let (one, other) = (sort(), sort());
        assert!(one.try_grow(38).is_err());
        one.try_grow(37).unwrap();
        other.try_grow(37).unwrap();
        // What can't spill has what they leave, and then they have less.
        let join = MemoryConsumer::new("join").register(&pool);
        assert!(join.try_grow(27).is_err());
        join.try_grow(26).unwrap();
        one.shrink(10);
        assert!(one.try_grow(11).is_err());
        drop((one, other));
        join.try_grow(74).unwrap();
    }
}

//! Failed logins, by the address that they came from: each is answered later than the one before, and an address
//! that fails too often is not heard for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// How much later each failure is answered, and the latest.
const DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// How many addresses are remembered. Beyond that, the one that failed longest ago is forgotten.
const MOST_ADDRESSES: usize = 10_000;

/// The failures of every address.
#[derive(Debug)]
pub struct Attempts {
    most: u32,
    ban: Duration,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// When the first of them was.
    first: Instant,
    last: Instant,
}

impl Attempts {
    /// An address may fail `most` times in five minutes, and is not heard for `ban` after that; 0 is any number.
    pub fn new(most: u32, ban: Duration) -> Self {
        Self {
            most,
            ban,
            failures: Mutex::default(),
        }
    }

    /// How long the address isn't heard; nothing where it is.
    pub fn banned(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = *self.lock().get(&network(address))?;
        let left = (failures.last + self.ban).saturating_duration_since(now);
        (self.most > 0 && failures.count >= self.most && !left.is_zero()).then_some(left)
    }

    /// The address failed; returns how long to wait before it is told.
    pub fn failed(&self, address: IpAddr, now: Instant) -> Duration {
        let mut all = self.lock();
        if all.len() >= MOST_ADDRESSES {
            let kept = WINDOW.max(self.ban);
            all.retain(|_, failures| now.saturating_duration_since(failures.last) < kept);
        }
        if all.len() >= MOST_ADDRESSES
            && let Some(oldest) = all
                .iter()
                .min_by_key(|(_, failures)| failures.last)
                .map(|(at, _)| *at)
        {
            all.remove(&oldest);
        }
        let failures = all.entry(network(address)).or_insert(Failures {
            count: 0,
            first: now,
            last: now,
        });
        if now.saturating_duration_since(failures.first) >= WINDOW {
            (failures.count, failures.first) = (0, now);
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        DELAY.saturating_mul(failures.count).min(LONGEST_DELAY)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        // A map is whole after a panic: each change of it is one call.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BAN: Duration = Duration::from_secs(600);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_fails_too_often_is_not_heard_for_a_while() {
        let attempts = Attempts::new(3, BAN);
        let (one, other, now) = (address("192.0.2.1"), address("192.0.2.2"), Instant::now());
        let delays: Vec<u128> = (0..3)
            .map(|_| {
                assert_eq!(attempts.banned(one, now), None);
                attempts.failed(one, now).as_millis()
            })
            .collect();
        assert_eq!(delays, [250, 500, 750]);
        assert_eq!(attempts.banned(one, now), Some(BAN));
        assert_eq!(attempts.banned(other, now), None);
        assert_eq!(attempts.banned(one, now + BAN), None);
        assert_eq!(attempts.failed(one, now + BAN), DELAY);
    }

    #[test]
    fn old_failures_do_not_count() {
        let attempts = Attempts::new(2, BAN);
        let (one, now) = (address("192.0.2.1"), Instant::now());
        attempts.failed(one, now);
        attempts.failed(one, now + WINDOW);
        assert_eq!(attempts.banned(one, now + WINDOW), None);
        let never = Attempts::new(0, BAN);
        for _ in 0..100 {
            never.failed(one, now);
        }
        assert_eq!(never.banned(one, now), None);
    }

    #[test]
    fn the_table_is_bounded_and_a_network_is_one() {
        let attempts = Attempts::new(1, BAN);
        let now = Instant::now();
        for number in 0..u32::try_from(MOST_ADDRESSES).unwrap() + 10 {
            attempts.failed(IpAddr::V4(number.into()), now);
        }
        assert_eq!(attempts.lock().len(), MOST_ADDRESSES);
        attempts.failed(address("2001:db8::1"), now);
        assert!(attempts.banned(address("2001:db8::2"), now).is_some());
        assert!(attempts.banned(address("2001:db8:0:1::1"), now).is_none());
    }
}

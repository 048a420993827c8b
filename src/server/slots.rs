//! How many clients there may be: of the server, and of a role. The last places are for superusers, who can then
//! still look what the others do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::Failure;

/// The places of a server.
#[derive(Debug)]
pub struct Slots {
    most: usize,
    reserved: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_user: HashMap<String, usize>,
}

/// A client's place; dropping it gives the place up.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    user: String,
}

impl Slots {
    /// `most` places, of which `reserved` are for superusers.
    pub fn new(most: usize, reserved: usize) -> Self {
        Self {
            most,
            reserved,
            taken: Mutex::default(),
        }
    }

    /// A place for `user`, who may have `limit` of them.
    ///
    /// # Errors
    /// 53300 where there is none.
    pub fn take(
        self: &Arc<Self>,
        user: &str,
        superuser: bool,
        limit: Option<u32>,
    ) -> Result<Slot, Failure> {
        let mut taken = self.lock();
        if taken.total >= self.most {
            return Err(refusal("sorry, too many clients already".to_owned()));
        }
        if !superuser && taken.total + self.reserved >= self.most {
            return Err(refusal(
                "remaining connection slots are reserved for superusers".to_owned(),
            ));
        }
        let own = taken.by_user.get(user).copied().unwrap_or(0);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        if !superuser && limit.is_some_and(|limit| own >= limit) {
            return Err(refusal(format!("too many connections for role \"{user}\"")));
        }
        taken.total += 1;
        taken.by_user.insert(user.to_owned(), own + 1);
        Ok(Slot {
            slots: Arc::clone(self),
            user: user.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.by_user.get_mut(&self.user) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

/// The client is told that there is no place.
pub fn refusal(message: String) -> Failure {
    Failure::Refused {
        code: "53300",
        message,
        hint: None,
        reason: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_last_places_are_for_superusers_and_a_place_comes_back() {
        let slots = Arc::new(Slots::new(3, 1));
        let message = |result: Result<Slot, Failure>| result.unwrap_err().to_string();
        let _one = slots.take("ana", false, Some(1)).unwrap();
        assert_eq!(
            message(slots.take("ana", false, Some(1))),
            "too many connections for role \"ana\""
        );
        let two = slots.take("bob", false, None).unwrap();
        assert_eq!(
            message(slots.take("bob", false, None)),
            "remaining connection slots are reserved for superusers"
        );
        let _three = slots.take("admin", true, Some(0)).unwrap();
        assert_eq!(
            message(slots.take("admin", true, None)),
            "sorry, too many clients already"
        );
        drop(two);
        let _again = slots.take("admin", true, None).unwrap();
        assert_eq!(slots.lock().by_user.get("bob"), None);
    }
}

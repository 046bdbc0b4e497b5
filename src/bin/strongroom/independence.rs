//! Whether a file survives the loss of what keeps the key of one of its slots: a token, a TPM, a
//! key service. Pure; what is known of the other slots is found out elsewhere.

/// A slot beside a new one whose key something else keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Other {
    pub(crate) expired: bool,
    /// The new credential opens it too, or that can't be told: both may be lost together.
    pub(crate) same_key: bool,
}

impl Other {
    fn opens_by_itself(&self) -> bool {
        !self.expired && !self.same_key
    }
}

/// What to warn of after a slot was made whose key something else keeps.
pub(crate) fn advice(others: &[Other]) -> Option<&'static str> {
    let mut independent = others.iter().filter(|other| other.opens_by_itself());
    match (independent.next(), others) {
        (Some(_), _) => None,
        (None, []) => Some(
            "this is the only slot: if what keeps its key is lost, locked or gone, so is the file. \
             Give it a second one that needs nothing of it: `strongroom key recovery FILE` makes a \
             code to lock away",
        ),
        (None, _) => Some(
            "as far as can be told no other slot opens the file without the same key: if what \
             keeps it is lost, locked or gone, so is the file. Give it a slot that needs nothing \
             of it: `strongroom key recovery FILE` makes a code to lock away",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slot_of_another_key_that_is_good_is_enough() {
        let good = Other { expired: false, same_key: false };
        let expired = Other { expired: true, ..good };
        let same = Other { same_key: true, ..good };
        for (others, warned) in [
            (&[][..], Some("the only slot")),
            (&[good], None),
            (&[same], Some("the same key")),
            (&[expired], Some("the same key")),
            (&[same, expired], Some("the same key")),
            (&[same, expired, good], None),
        ] {
            let said = advice(others);
            assert_eq!(said.is_some(), warned.is_some(), "{others:?}");
            assert!(said.unwrap_or_default().contains(warned.unwrap_or_default()), "{others:?}");
        }
    }
}

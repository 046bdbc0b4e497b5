//! The terms on which a credential is tried and slots are made: what a file may ask for, which
//! slots come into question, what time it is. Set on the [`Builder`](crate::Builder).

use super::{KdfLimits, SlotHint};
use crate::clock::Clock;

/// What a caller allows and knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) kdf_limits: KdfLimits,
    pub(crate) hint: SlotHint,
    pub(crate) clock: Clock,
}

//! Many messages of one length, whole groups each: subkeys of eight at a time, and while a message
//! is encrypted, the next but one is hashed. A seal by itself can't encrypt before it has hashed
//! everything, so one of the two kinds of units always waits.

use crate::siv::kernel::block::RoundKeys;
use crate::siv::kernel::text::Text;
use crate::siv::{NotAuthentic, Opening, Sealing};

/// Seals all of them.
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(in crate::siv::kernel) fn seal_batch(key: &RoundKeys, messages: &mut [Sealing<'_>]) {
    for message in messages {
        let mut text = Text::apart(message.plain, message.out);
        *message.tag = super::seal(key, message.nonce, message.associated_data, &mut text);
    }
}

/// Opens all of them. What doesn't open is the caller's to wipe.
#[target_feature(enable = "avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(in crate::siv::kernel) fn open_batch(key: &RoundKeys, messages: &mut [Opening<'_>]) {
    for message in messages {
        let mut text = Text::apart(message.sealed, message.out);
        let opened =
            super::open(key, message.nonce, message.associated_data, message.tag, &mut text);
        message.verdict = if opened { Ok(()) } else { Err(NotAuthentic) };
    }
}

//! The seam for applications: a key service, token or enclave that wraps and unwraps a slot's
//! random secret. It never sees the root key, and is never trusted further than that it answers:
//! it is asked on a thread of its own, so that a panic and a hang are errors, at most once a slot
//! and open. The bytes are in docs/keys.md, "Providers".

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;
use std::{fmt, io};

use super::credential::{Credential, NewSlot, Refusal, Sealed, SlotFacts, SlotSecret, SlotView};
use super::terms::Terms;
use crate::crypto::mac;
use crate::error::{OpenError, ProviderError, ProviderFailure, ProviderFault};
use crate::format::key_slot::{BLOB_SIZE_MAX, Kdf, SlotKind};
use crate::units::FileId;

const NAME_LEN_MAX: usize = 32;

/// Something outside strongroom that holds a key: a key management service, an HSM, a TPM, an
/// enclave. Implement it, put it into an [`Arc`], and the `Arc` is a credential like any other:
/// `Database::open(path, Arc::new(my_service))`. `examples/remote_key_service.rs` is one.
///
/// strongroom draws 32 random bytes for each slot, the slot secret; the provider wraps them under
/// its own key, strongroom stores the result in the slot and hands it back to be unwrapped when
/// the file is opened. No other key ever reaches the provider. Whether an unwrapped secret is the
/// right one is checked against the slot's commitment, so a provider's own integrity check is
/// welcome but nothing rests on it.
///
/// Each call runs on a thread of its own. A panic there is [`ProviderFault::Panicked`]; an answer
/// that takes longer than [`Builder::provider_timeout`](crate::Builder::provider_timeout) is
/// [`ProviderFault::TimedOut`], and the thread goes on until the call returns, its answer thrown
/// away. Set a shorter time-out on every call you make yourself. Where panics abort the process,
/// nothing can be caught.
///
/// `Debug` must show no secret.
pub trait KeyProvider: fmt::Debug + Send + Sync {
    /// A short name for this kind of provider, such as `acme-kms`: 1 to 32 lower-case ASCII
    /// letters, digits, `-`, `_` or `.`. Stored in each slot; a provider is asked about slots of
    /// its own name only, so never change it.
    fn name(&self) -> &str;

    /// Wraps the secret of a new slot; what is returned is stored in the slot, readable by anybody
    /// who has the file, and may be at most [`ProviderSlot::blob_len_max`] bytes. Bind
    /// [`ProviderSlot::associated_data`] into it where your cipher can. strongroom has it unwrapped
    /// at once and compares, before anything is written.
    ///
    /// # Errors
    /// [`ProviderError`]; no slot is made.
    fn wrap_secret(
        &self,
        slot: &ProviderSlot,
        secret: &SlotSecret,
    ) -> Result<Vec<u8>, ProviderError>;

    /// Unwraps what [`KeyProvider::wrap_secret`] returned for this slot. Called before anything in
    /// the file is authentic: the bytes may be anything. Try a PIN or password once, never again.
    ///
    /// # Errors
    /// [`ProviderError`]; it says whether other slots of this provider are tried.
    fn unwrap_secret(&self, slot: &ProviderSlot, blob: &[u8]) -> Result<SlotSecret, ProviderError>;
}

/// What a provider is told about the slot it is asked for. When a file is being opened, none of it
/// is authentic yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderSlot {
    file_id: FileId,
    id: u32,
    label: String,
    blob_len_max: usize,
}

impl ProviderSlot {
    fn new(facts: SlotFacts<'_>, name: &str) -> Self {
        let label = facts.label.split(|byte| *byte == 0).next().unwrap_or_default();
        Self {
            file_id: facts.file_id,
            id: facts.id,
            label: String::from_utf8_lossy(label).into_owned(),
            blob_len_max: (BLOB_SIZE_MAX - 1).saturating_sub(name.len()),
        }
    }

    /// The file's random id. It stays the same for the file's life; a copy of the file has it too.
    #[must_use]
    pub fn file_id(&self) -> FileId {
        self.file_id
    }

    /// The slot's id, unique in the file for its life.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The slot's label, for messages. It can be changed later: never bind it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Bytes that the wrapped secret may have: 1,727 less the length of the provider's name.
    #[must_use]
    pub fn blob_len_max(&self) -> usize {
        self.blob_len_max
    }

    /// 36 bytes to bind into the wrapped secret, so that it opens for this slot of this file only:
    /// `strongroom slot`, a zero byte, the file id, the slot id as a little-endian `u32`.
    #[must_use]
    pub fn associated_data(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..15].copy_from_slice(b"strongroom slot");
        bytes[16..32].copy_from_slice(&self.file_id.0);
        bytes[32..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }
}

impl<P: KeyProvider + ?Sized + 'static> Credential for Arc<P> {}

impl<P: KeyProvider + ?Sized + 'static> Sealed for Arc<P> {
    fn kind(&self) -> SlotKind {
        SlotKind::Provider
    }

    fn make(&self, facts: SlotFacts<'_>, terms: &Terms) -> Result<NewSlot, OpenError> {
        let secret = SlotSecret::random().map_err(OpenError::io("making a slot secret"))?;
        let (blob, secret) = wrap(self, facts, secret, terms.provider_timeout)?;
        Ok(NewSlot { kdf: Kdf::None, blob, secret })
    }

    fn slot_secret(&self, slot: SlotView<'_>, terms: &Terms) -> Result<SlotSecret, Refusal> {
        let (name, wrapped) = split_blob(slot.blob).ok_or(Refusal::NotMine)?;
        let provider = Arc::clone(self);
        let (for_thread, wrapped) = (ProviderSlot::new(slot.facts, name), wrapped.to_vec());
        let wanted = name.to_owned();
        let answer = ask(terms.provider_timeout, move || {
            if provider.name() != wanted {
                return Err(ProviderError::NotMine);
            }
            provider.unwrap_secret(&for_thread, &wrapped)
        });
        let fault = match answer {
            Ok(Ok(secret)) => return Ok(secret),
            Ok(Err(error)) => ProviderFault::Answered(error),
            Err(fault) => fault,
        };
        Err(refusal(ProviderFailure { provider: name.to_owned(), slot: slot.facts.id, fault }))
    }

    fn is_locked(&self) -> bool {
        // Holds nothing of ours; what the provider holds is the provider's to lock.
        true
    }
}

/// Has a new slot's secret wrapped, and unwrapped again to see that it comes back.
fn wrap<P: KeyProvider + ?Sized + 'static>(
    provider: &Arc<P>,
    facts: SlotFacts<'_>,
    secret: SlotSecret,
    timeout: Duration,
) -> Result<(Vec<u8>, SlotSecret), OpenError> {
    let failed = |provider: &str, fault| {
        OpenError::Provider(ProviderFailure {
            provider: provider.to_owned(),
            slot: facts.id,
            fault,
        })
    };
    let asked = Arc::clone(provider);
    let name = ask(timeout, move || asked.name().to_owned()).map_err(|fault| failed("?", fault))?;
    if !is_name(&name) {
        return Err(failed(&name, ProviderFault::BadName));
    }
    let failed = |fault| failed(&name, fault);
    let slot = ProviderSlot::new(facts, &name);
    let max = slot.blob_len_max;
    let (asked, told) = (Arc::clone(provider), slot.clone());
    let (wrapped, secret) =
        ask(timeout, move || asked.wrap_secret(&told, &secret).map(|wrapped| (wrapped, secret)))
            .map_err(failed)?
            .map_err(|error| failed(ProviderFault::Answered(error)))?;
    if wrapped.len() > max {
        return Err(failed(ProviderFault::BlobTooLong { found: wrapped.len(), max }));
    }
    let blob = join_blob(&name, &wrapped);
    let asked = Arc::clone(provider);
    let again = ask(timeout, move || asked.unwrap_secret(&slot, &wrapped))
        .map_err(failed)?
        .map_err(|error| failed(ProviderFault::Answered(error)))?;
    if !mac::equal(again.expose(), secret.expose()) {
        return Err(failed(ProviderFault::Unfaithful));
    }
    Ok((blob, secret))
}

/// Runs one call to a provider on a thread of its own.
fn ask<T: Send + 'static>(
    timeout: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProviderFault> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name("strongroom-key".to_owned())
        .spawn(move || {
            // Nobody may be waiting any more; the answer is wiped then.
            let _ = sender.send(call());
        })
        .map_err(|_: io::Error| ProviderFault::NoThread)?;
    // A panic unwinds the thread and drops the sender without an answer.
    receiver.recv_timeout(timeout).map_err(|error| match error {
        RecvTimeoutError::Timeout => ProviderFault::TimedOut { after: timeout },
        RecvTimeoutError::Disconnected => ProviderFault::Panicked,
    })
}

/// What a failure means for the slots that were not tried yet. An attempt at a PIN may count, and
/// a service that is dead, stuck or broken is so for every slot.
fn refusal(failure: ProviderFailure) -> Refusal {
    match failure.fault {
        ProviderFault::Answered(ProviderError::NotMine) => Refusal::NotMine,
        ProviderFault::Answered(
            ProviderError::Denied(_) | ProviderError::NoKey(_) | ProviderError::Damaged(_),
        ) => Refusal::GoOn(OpenError::Provider(failure)),
        _ => Refusal::Stop(OpenError::Provider(failure)),
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(|byte| allowed(byte) || b"-_.".contains(&byte))
}

/// A provider's slot blob: length of the name u8, name, wrapped secret.
fn join_blob(name: &str, wrapped: &[u8]) -> Vec<u8> {
    let name_len = u8::try_from(name.len()).unwrap_or(0);
    [&[name_len], name.as_bytes(), wrapped].concat()
}

fn split_blob(blob: &[u8]) -> Option<(&str, &[u8])> {
    let (name_len, rest) = blob.split_first()?;
    let (name, wrapped) = rest.split_at_checked(usize::from(*name_len))?;
    let name = str::from_utf8(name).ok().filter(|name| is_name(name))?;
    Some((name, wrapped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::UnverifiedHeader;
    use crate::format::key_slot::KeySlot;
    use crate::keys::{create, unlock};
    use crate::units::CopyId;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn fault(fault: ProviderFault) -> Refusal {
        refusal(ProviderFailure { provider: "p".to_owned(), slot: 1, fault })
    }

    #[test]
    fn only_what_says_nothing_about_other_slots_lets_the_search_go_on() {
        let answered = |error| fault(ProviderFault::Answered(error));
        assert!(matches!(answered(ProviderError::NotMine), Refusal::NotMine));
        for error in [ProviderError::Denied, ProviderError::NoKey, ProviderError::Damaged] {
            assert!(matches!(answered(error("d".into())), Refusal::GoOn(_)));
        }
        let locked = ProviderError::LockedOut { retry_after: None };
        for error in [ProviderError::Wrong, locked, ProviderError::Unavailable("u".into())] {
            assert!(matches!(answered(error), Refusal::Stop(_)));
        }
        for broken in [
            ProviderFault::TimedOut { after: Duration::ZERO },
            ProviderFault::Panicked,
            ProviderFault::NoThread,
        ] {
            assert!(matches!(fault(broken), Refusal::Stop(_)));
        }
    }

    #[test]
    fn blobs_come_apart_as_they_were_joined_and_anything_else_is_nobodys() {
        assert_eq!(split_blob(&join_blob("acme-kms", b"xyz")), Some(("acme-kms", &b"xyz"[..])));
        assert_eq!(join_blob("a.b", b"\x01"), b"\x03a.b\x01");
        for blob in [&b""[..], b"\0", b"\0abc", b"\x05abc", b"\x03aBc", b"\x02\xFF\xFF"] {
            assert_eq!(split_blob(blob), None, "{blob:?}");
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(is_name("acme-kms_2.eu") && is_name(&"x".repeat(32)));
        for name in ["", "Acme", "a b", "a/b", "\u{e4}", &*"x".repeat(33)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_a_provider_binds_is_pinned() {
        let label = *b"laptop\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let file_id = FileId(*b"an example file!");
        let facts = SlotFacts { file_id, id: 0x0102, label: &label, salt: &[0; 32] };
        let slot = ProviderSlot::new(facts, "acme");
        assert_eq!(slot.associated_data(), *b"strongroom slot\0an example file!\x02\x01\0\0");
        assert_eq!((slot.label(), slot.id(), slot.blob_len_max()), ("laptop", 0x0102, 1723));
    }

    /// Answers every question in the same way, and counts them.
    #[derive(Debug)]
    struct Says(Option<ProviderError>, AtomicU32);

    impl KeyProvider for Says {
        fn name(&self) -> &str {
            "says"
        }

        fn wrap_secret(
            &self,
            _slot: &ProviderSlot,
            secret: &SlotSecret,
        ) -> Result<Vec<u8>, ProviderError> {
            Ok(secret.expose().to_vec())
        }

        fn unwrap_secret(
            &self,
            _slot: &ProviderSlot,
            blob: &[u8],
        ) -> Result<SlotSecret, ProviderError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            match &self.0 {
                Some(error) => Err(error.clone()),
                None => Ok(SlotSecret::from_bytes(blob).unwrap()),
            }
        }
    }

    #[test]
    fn of_three_slots_none_is_asked_for_after_an_answer_that_counts() {
        let terms = Terms::default();
        let made = create(&Arc::new(Says(None, AtomicU32::new(0))), None, &terms).unwrap();
        let mut header = made.header.clone();
        for id in [2, 3] {
            let slot = KeySlot { id, ..header.slots[0].clone().unwrap() };
            header.slots[id as usize - 1] = Some(slot);
        }
        let bytes = header.encode(CopyId::A, &[0; 32], &made.root.data_mac);
        let unverified = UnverifiedHeader::decode(&bytes, CopyId::A).unwrap();
        for (answer, asked) in [
            (ProviderError::NotMine, 3),
            (ProviderError::Denied("d".into()), 3),
            (ProviderError::Damaged("d".into()), 3),
            (ProviderError::Wrong, 1),
            (ProviderError::LockedOut { retry_after: None }, 1),
            (ProviderError::Unavailable("u".into()), 1),
        ] {
            let provider = Arc::new(Says(Some(answer.clone()), AtomicU32::new(0)));
            let error = unlock(&unverified, &provider, &terms).unwrap_err();
            assert_eq!(provider.1.load(Ordering::SeqCst), asked, "{answer:?}");
            match error {
                OpenError::WrongKey => assert_eq!(answer, ProviderError::NotMine),
                OpenError::Provider(failure) => {
                    let first = ProviderFailure {
                        provider: "says".to_owned(),
                        slot: 1,
                        fault: ProviderFault::Answered(answer),
                    };
                    assert_eq!(failure, first);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_call_that_panics_or_hangs_is_a_fault() {
        let second = Duration::from_secs(5);
        assert_eq!(ask(second, || 5).ok(), Some(5));
        let panicked = ask(second, || panic!("on purpose"));
        assert_eq!(panicked.map(|(): ()| ()), Err(ProviderFault::Panicked));
        let after = Duration::from_millis(20);
        let slow = ask(after, || thread::sleep(Duration::from_millis(500)));
        assert_eq!(slow, Err(ProviderFault::TimedOut { after }));
    }
}

//! How a token wraps 32 bytes, and what the slot stores for it. Three ways, because tokens differ;
//! which one it was is in the blob, so a file opens whatever the token's list of mechanisms says
//! later.
//!
//! Blob: version 1; way u8; length of the key's id u8, the id; then for AES-GCM nonce (12),
//! ciphertext and tag (48); for the others what the token returned. AES-GCM authenticates the
//! slot's binding; the others have no associated data, so the binding is wrapped with the secret
//! and compared: secret (32), binding (36), zero (4).

use std::fmt;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use zeroize::{Zeroize, Zeroizing};

use super::error::Pkcs11Error;
use super::key::{Key, KeyKind};
use crate::keys::SlotSecret;
use crate::random;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const TAG_BITS: u64 = 128;
const SECRET_LEN: usize = 32;
const BINDING_LEN: usize = 36;
/// A multiple of 8: AES key wrap with padding has nothing to pad then. SoftHSM 2.6.1 gives the
/// padding back as a part of the key.
const BOUND_LEN: usize = 72;
/// As much of a key's id as is stored.
const KEY_ID_LEN_MAX: usize = 32;

/// How a secret is wrapped in a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Wrapping {
    /// `C_Encrypt` by `CKM_AES_GCM`, with the slot's binding as associated data. The first choice.
    AesGcm,
    /// `C_WrapKey` by `CKM_AES_KEY_WRAP_PAD`, where the token has no AES-GCM.
    AesKeyWrapPad,
    /// `C_Encrypt` by `CKM_RSA_PKCS_OAEP` with SHA-1, where the key is an RSA pair. SHA-1 is what
    /// every token has; nothing here rests on it being free of collisions.
    RsaOaep,
}

impl Wrapping {
    const ALL: [(u8, Self); 3] = [(1, Self::AesGcm), (2, Self::AesKeyWrapPad), (3, Self::RsaOaep)];

    fn id(self) -> u8 {
        Self::ALL.iter().find(|(_, way)| *way == self).map_or(0, |(id, _)| *id)
    }

    pub(super) fn key_kind(self) -> KeyKind {
        match self {
            Self::AesGcm | Self::AesKeyWrapPad => KeyKind::Aes,
            Self::RsaOaep => KeyKind::Rsa,
        }
    }
}

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AesGcm => "AES-GCM",
            Self::AesKeyWrapPad => "AES key wrap with padding",
            Self::RsaOaep => "RSA-OAEP",
        })
    }
}

/// Which of them a token can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Offers {
    pub(super) gcm: bool,
    pub(super) key_wrap: bool,
    pub(super) oaep: bool,
}

impl Offers {
    pub(super) fn of(context: &Pkcs11, slot: Slot) -> Result<Self, Pkcs11Error> {
        let listed = context.get_mechanism_list(slot)?;
        let info = |kind: MechanismType| {
            listed.contains(&kind).then(|| context.get_mechanism_info(slot, kind).ok()).flatten()
        };
        let seals = |kind| info(kind).is_some_and(|info| info.encrypt() && info.decrypt());
        let wraps = |kind| info(kind).is_some_and(|info| info.wrap() && info.unwrap());
        Ok(Self {
            gcm: seals(MechanismType::AES_GCM),
            key_wrap: wraps(MechanismType::AES_KEY_WRAP_PAD),
            oaep: seals(MechanismType::RSA_PKCS_OAEP),
        })
    }

    fn has(self, way: Wrapping) -> bool {
        match way {
            Wrapping::AesGcm => self.gcm,
            Wrapping::AesKeyWrapPad => self.key_wrap,
            Wrapping::RsaOaep => self.oaep,
        }
    }

    /// How a new secret is wrapped by a key of this kind: as it was asked for, or the best.
    ///
    /// # Errors
    /// [`Pkcs11Error::MechanismMissing`].
    pub(super) fn choose(
        self,
        kind: KeyKind,
        forced: Option<Wrapping>,
    ) -> Result<Wrapping, Pkcs11Error> {
        let ways = Wrapping::ALL.map(|(_, way)| way);
        let mut fit = ways.into_iter().filter(|way| way.key_kind() == kind && self.has(*way));
        let chosen = match forced {
            Some(wanted) => fit.find(|way| *way == wanted),
            None => fit.next(),
        };
        chosen.ok_or_else(|| {
            let can: Vec<_> = ways.into_iter().filter(|way| self.has(*way)).collect();
            let can: Vec<_> = can.iter().map(Wrapping::to_string).collect();
            let can = if can.is_empty() { "nothing".to_owned() } else { can.join(", ") };
            let why = format!("it lists {can}, and the key is {kind}");
            Pkcs11Error::MechanismMissing { wanted: forced, why }
        })
    }

    /// The kind of a new key.
    pub(super) fn kind_of_new_key(self, forced: Option<Wrapping>) -> KeyKind {
        match forced {
            Some(way) => way.key_kind(),
            None if self.gcm || self.key_wrap || !self.oaep => KeyKind::Aes,
            None => KeyKind::Rsa,
        }
    }
}

/// A slot's blob, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Blob<'a> {
    pub(super) way: Wrapping,
    pub(super) key_id: &'a [u8],
    wrapped: &'a [u8],
}

impl<'a> Blob<'a> {
    pub(super) fn decode(blob: &'a [u8]) -> Result<Self, Pkcs11Error> {
        let parts = || {
            let (version, rest) = blob.split_first()?;
            let (way, rest) = rest.split_first()?;
            let (id_len, rest) = rest.split_first()?;
            let (key_id, wrapped) = rest.split_at_checked(usize::from(*id_len))?;
            let (_, way) = Wrapping::ALL.into_iter().find(|(id, _)| id == way)?;
            let good = *version == VERSION && key_id.len() <= KEY_ID_LEN_MAX;
            good.then_some(Self { way, key_id, wrapped })
        };
        parts().ok_or_else(|| Pkcs11Error::Damaged("no blob of this provider".to_owned()))
    }

    fn encode(&self) -> Vec<u8> {
        let id_len = u8::try_from(self.key_id.len()).unwrap_or(0);
        [&[VERSION, self.way.id(), id_len], self.key_id, self.wrapped].concat()
    }
}

/// The secret, wrapped by a key of the token: what the slot is to store.
///
/// # Errors
/// What the token says.
pub(super) fn wrap(
    session: &Session,
    key: &Key,
    way: Wrapping,
    binding: &[u8; BINDING_LEN],
    secret: &SlotSecret,
) -> Result<Vec<u8>, Pkcs11Error> {
    let wrapped = match way {
        Wrapping::AesGcm => {
            let mut nonce = random::array::<NONCE_LEN>().map_err(no_randomness)?;
            let sealed = gcm(&mut nonce, binding, |way| {
                session.encrypt(&way, key.private, secret.expose())
            })?;
            // Some tokens insist on a nonce of their own, and write it where ours was.
            [&nonce[..], &sealed].concat()
        }
        Wrapping::AesKeyWrapPad => key_wrap(session, key, bound(secret, binding).as_slice())?,
        Wrapping::RsaOaep => {
            let public = key.public.ok_or_else(|| {
                Pkcs11Error::KeyAbsent("the public half of the RSA key is not there".to_owned())
            })?;
            session.encrypt(&oaep(), public, bound(secret, binding).as_slice())?
        }
    };
    let key_id = key.id.get(..KEY_ID_LEN_MAX).unwrap_or(&key.id);
    Ok(Blob { way, key_id, wrapped: &wrapped }.encode())
}

/// The secret again.
///
/// # Errors
/// What the token says; [`Pkcs11Error::NotMine`] where that is that it can't, and the blob names
/// another key.
pub(super) fn unwrap(
    session: &Session,
    key: &Key,
    blob: &Blob<'_>,
    binding: &[u8; BINDING_LEN],
) -> Result<SlotSecret, Pkcs11Error> {
    let opened = match blob.way {
        Wrapping::AesGcm => match blob.wrapped.split_first_chunk::<NONCE_LEN>() {
            None => Err(too_short()),
            Some((nonce, sealed)) => {
                gcm(&mut nonce.clone(), binding, |way| session.decrypt(&way, key.private, sealed))
                    .map(Zeroizing::new)
            }
        },
        Wrapping::AesKeyWrapPad => {
            key_unwrap(session, key, blob.wrapped).and_then(|plain| unbound(&plain, binding))
        }
        Wrapping::RsaOaep => session
            .decrypt(&oaep(), key.private, blob.wrapped)
            .map_err(Pkcs11Error::from)
            .map(Zeroizing::new)
            .and_then(|plain| unbound(&plain, binding)),
    };
    let named = key.id.get(..KEY_ID_LEN_MAX).unwrap_or(&key.id);
    match opened {
        Ok(plain) => SlotSecret::from_bytes(&plain).ok_or_else(too_short),
        // The id of a key can be changed, so it decides about nothing but the name of the error.
        Err(Pkcs11Error::Damaged(_)) if blob.key_id != named => Err(Pkcs11Error::NotMine),
        Err(error) => Err(error),
    }
}

fn too_short() -> Pkcs11Error {
    Pkcs11Error::Damaged("not as long as a wrapped secret".to_owned())
}

fn no_randomness(error: std::io::Error) -> Pkcs11Error {
    Pkcs11Error::Device(error.to_string())
}

fn gcm(
    nonce: &mut [u8; NONCE_LEN],
    binding: &[u8],
    call: impl FnOnce(Mechanism<'_>) -> Result<Vec<u8>, cryptoki::error::Error>,
) -> Result<Vec<u8>, Pkcs11Error> {
    let parameters = GcmParams::new(nonce, binding, TAG_BITS.into())?;
    Ok(call(Mechanism::AesGcm(parameters))?)
}

fn oaep() -> Mechanism<'static> {
    // Not every token takes a label, so the binding is in the message.
    let label = PkcsOaepSource::empty();
    PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, label).into()
}

/// Secret and binding as one message.
fn bound(secret: &SlotSecret, binding: &[u8; BINDING_LEN]) -> Zeroizing<[u8; BOUND_LEN]> {
    let mut message = Zeroizing::new([0; BOUND_LEN]);
    let (start, rest) = message.split_at_mut(SECRET_LEN);
    start.copy_from_slice(secret.expose());
    if let Some(place) = rest.get_mut(..BINDING_LEN) {
        place.copy_from_slice(binding);
    }
    message
}

/// The secret in such a message, if it is bound to this slot.
fn unbound(message: &[u8], binding: &[u8; BINDING_LEN]) -> Result<Zeroizing<Vec<u8>>, Pkcs11Error> {
    let message: &[u8; BOUND_LEN] = message.try_into().map_err(|_| too_short())?;
    let (secret, rest) = message.split_at(SECRET_LEN);
    if rest.strip_prefix(binding) != Some(&[0; BOUND_LEN - SECRET_LEN - BINDING_LEN]) {
        return Err(Pkcs11Error::Damaged("it is of another slot or file".to_owned()));
    }
    Ok(Zeroizing::new(secret.to_vec()))
}

/// A secret key object for this session only, whose value can be read: it is no key of the token.
fn in_the_clear() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]
}

fn key_wrap(session: &Session, key: &Key, message: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
    let mut template = in_the_clear();
    template.push(Attribute::Value(message.to_vec()));
    let object = session.create_object(&template);
    if let Some(Attribute::Value(value)) = template.last_mut() {
        value.zeroize();
    }
    let object = object?;
    let wrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, key.private, object);
    session.destroy_object(object)?;
    Ok(wrapped?)
}

fn key_unwrap(
    session: &Session,
    key: &Key,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Pkcs11Error> {
    let way = Mechanism::AesKeyWrapPad;
    let object = session.unwrap_key(&way, key.private, wrapped, &in_the_clear())?;
    let read = session.get_attributes(object, &[AttributeType::Value]);
    session.destroy_object(object)?;
    match read?.pop() {
        Some(Attribute::Value(value)) => Ok(Zeroizing::new(value)),
        _ => Err(Pkcs11Error::MechanismMissing {
            wanted: Some(Wrapping::AesKeyWrapPad),
            why: "it lets nobody read what it unwrapped".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_is_chosen_or_the_one_that_was_asked_for() {
        let all = Offers { gcm: true, key_wrap: true, oaep: true };
        let [gcm, pad, oaep] = Wrapping::ALL.map(|(_, way)| way);
        let (aes, rsa) = (KeyKind::Aes, KeyKind::Rsa);
        for (offers, kind, forced, way) in [
            (all, aes, None, Some(gcm)),
            (all, rsa, None, Some(oaep)),
            (Offers { gcm: false, ..all }, aes, None, Some(pad)),
            (Offers { gcm: false, key_wrap: false, ..all }, aes, None, None),
            (Offers { oaep: false, ..all }, rsa, None, None),
            (Offers::default(), aes, None, None),
            (all, aes, Some(gcm), Some(gcm)),
            (all, aes, Some(pad), Some(pad)),
            (all, aes, Some(oaep), None),
            (all, rsa, Some(oaep), Some(oaep)),
            (all, rsa, Some(gcm), None),
            // What was asked for is not replaced by another.
            (Offers { gcm: false, ..all }, aes, Some(gcm), None),
        ] {
            let chosen = offers.choose(kind, forced);
            assert_eq!(chosen.clone().ok(), way, "{offers:?} {kind:?} {forced:?}");
            if let Err(error) = chosen {
                assert!(matches!(&error, Pkcs11Error::MechanismMissing { wanted, .. }
                    if *wanted == forced));
            }
        }
        for (offers, forced, kind) in [
            (all, None, aes),
            (all, Some(oaep), rsa),
            (Offers { gcm: false, ..all }, None, aes),
            (Offers { gcm: false, key_wrap: false, ..all }, None, rsa),
        ] {
            assert_eq!(offers.kind_of_new_key(forced), kind);
        }
    }

    #[test]
    fn blobs_come_apart_as_they_were_joined_and_anything_else_is_damaged() {
        for (_, way) in Wrapping::ALL {
            for key_id in [&b""[..], b"0123456789abcdef", &[7; 32]] {
                let blob = Blob { way, key_id, wrapped: b"xyz" };
                assert_eq!(Blob::decode(&blob.encode()), Ok(blob));
            }
        }
        let good = Blob { way: Wrapping::AesGcm, key_id: b"id", wrapped: b"xyz" }.encode();
        assert_eq!(good, b"\x01\x01\x02idxyz");
        for bad in [
            &b""[..],
            b"\x01",
            b"\x01\x01",
            b"\x02\x01\0xyz",
            b"\x01\0\0xyz",
            b"\x01\x04\0xyz",
            b"\x01\x01\x04xyz",
            &[[1, 1, 33].as_slice(), &[0; 40]].concat(),
        ] {
            assert!(matches!(Blob::decode(bad), Err(Pkcs11Error::Damaged(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_message_is_for_its_slot_only() {
        let secret = SlotSecret::from_bytes(&[5; 32]).unwrap();
        let message = bound(&secret, &[9; 36]);
        assert_eq!(*unbound(message.as_slice(), &[9; 36]).unwrap(), [5; 32]);
        let mut other = [9; 36];
        other[35] = 8;
        assert!(matches!(unbound(message.as_slice(), &other), Err(Pkcs11Error::Damaged(_))));
        for at in SECRET_LEN..BOUND_LEN {
            let mut forged = *message;
            forged[at] ^= 1;
            assert!(unbound(&forged, &[9; 36]).is_err(), "{at}");
        }
        for len in [0, 32, 68, 71] {
            assert!(unbound(&message[..len], &[9; 36]).is_err());
        }
    }
}

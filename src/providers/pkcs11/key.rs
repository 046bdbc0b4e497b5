//! The key in the token: found by label or id, made, destroyed. One key is meant or none: a name
//! that fits several is an error, since a slot wrapped by the wrong one would not open again.

use std::fmt;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::error::Pkcs11Error;
use super::uri::Pkcs11Uri;
use crate::random;

const AES_KEY_BYTES: u64 = 32;
const RSA_BITS: u64 = 3072;
const RSA_BITS_MIN: u64 = 2048;

/// The kinds of key that wrap a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyKind {
    /// A secret AES key.
    Aes,
    /// An RSA pair; the private half unwraps.
    Rsa,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes => "an AES key",
            Self::Rsa => "an RSA pair",
        })
    }
}

/// A key that was found, for as long as its session lives.
pub(super) struct Key {
    pub(super) kind: KeyKind,
    /// The AES key, or the private half.
    pub(super) private: ObjectHandle,
    /// The public half of a pair.
    pub(super) public: Option<ObjectHandle>,
    pub(super) id: Vec<u8>,
    pub(super) facts: KeyFacts,
}

/// What a token says of a key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct KeyFacts {
    pub(super) label: String,
    pub(super) sensitive: bool,
    pub(super) extractable: bool,
    /// Bytes of an AES key; 0 where the token doesn't say.
    pub(super) value_len: u64,
    /// Bits of an RSA key; 0 where the token doesn't say.
    pub(super) modulus_bits: u64,
}

impl KeyFacts {
    /// Whether a new secret may rest on it. What was wrapped before is unwrapped by any key.
    ///
    /// # Errors
    /// [`Pkcs11Error::KeyUnfit`].
    pub(super) fn check(&self, kind: KeyKind) -> Result<(), Pkcs11Error> {
        let unfit = |why| Err(Pkcs11Error::KeyUnfit(why));
        match kind {
            _ if self.extractable && !self.sensitive => {
                unfit("its value can be read out of the token; make one that is not extractable")
            }
            KeyKind::Aes if ![0, AES_KEY_BYTES].contains(&self.value_len) => {
                unfit("it is an AES key of less than 256 bits")
            }
            KeyKind::Rsa if (1..RSA_BITS_MIN).contains(&self.modulus_bits) => {
                unfit("it is an RSA key of less than 2048 bits")
            }
            _ => Ok(()),
        }
    }
}

/// What the URI says of a key, for a search.
fn named(uri: &Pkcs11Uri) -> Result<Vec<Attribute>, Pkcs11Error> {
    let label = uri.object().map(|label| Attribute::Label(label.as_bytes().to_vec()));
    let id = uri.id().map(|id| Attribute::Id(id.to_vec()));
    let named: Vec<_> = [label, id].into_iter().flatten().collect();
    if named.is_empty() {
        return Err(Pkcs11Error::Incomplete("names no key; add `object=` or `id=` to it"));
    }
    Ok(named)
}

/// For messages.
pub(super) fn name_of(uri: &Pkcs11Uri) -> String {
    let id = uri.id().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    match (uri.object(), id) {
        (Some(label), Some(id)) => format!("{label:?} with id {id}"),
        (Some(label), None) => format!("{label:?}"),
        (None, id) => format!("with id {}", id.unwrap_or_default()),
    }
}

fn objects(
    session: &Session,
    named: &[Attribute],
    more: &[Attribute],
) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
    let template = [named, more, &[Attribute::Token(true)]].concat();
    Ok(session.find_objects(&template)?)
}

fn aes_keys(session: &Session, named: &[Attribute]) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
    let class = Attribute::Class(ObjectClass::SECRET_KEY);
    objects(session, named, &[class, Attribute::KeyType(KeyType::AES)])
}

fn rsa_halves(
    session: &Session,
    named: &[Attribute],
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>, Pkcs11Error> {
    objects(session, named, &[Attribute::Class(class), Attribute::KeyType(KeyType::RSA)])
}

/// The key that the URI names; of this kind, if one is given.
///
/// # Errors
/// [`Pkcs11Error::KeyAbsent`], [`Pkcs11Error::KeyAmbiguous`], or the token fails.
pub(super) fn find(
    session: &Session,
    uri: &Pkcs11Uri,
    wanted: Option<KeyKind>,
) -> Result<Key, Pkcs11Error> {
    let named = named(uri)?;
    let looks_for = |kind, object_type| {
        wanted.is_none_or(|wanted| wanted == kind)
            && uri.object_type().is_none_or(|named| named == object_type)
    };
    let mut found = Vec::new();
    if looks_for(KeyKind::Aes, "secret-key") {
        found.extend(aes_keys(session, &named)?.into_iter().map(|key| (KeyKind::Aes, key)));
    }
    if looks_for(KeyKind::Rsa, "private") {
        let private = rsa_halves(session, &named, ObjectClass::PRIVATE_KEY)?;
        found.extend(private.into_iter().map(|key| (KeyKind::Rsa, key)));
    }
    let several = found.len();
    let (Some((kind, private)), 1) = (found.pop(), several) else {
        return Err(match several {
            0 => Pkcs11Error::KeyAbsent(format!("no key {}", name_of(uri))),
            several => Pkcs11Error::KeyAmbiguous(several),
        });
    };
    let (id, facts) = look_at(session, private, kind)?;
    let public = match kind {
        KeyKind::Aes => None,
        KeyKind::Rsa => rsa_halves(session, &named, ObjectClass::PUBLIC_KEY)?.pop(),
    };
    Ok(Key { kind, private, public, id, facts })
}

fn look_at(
    session: &Session,
    key: ObjectHandle,
    kind: KeyKind,
) -> Result<(Vec<u8>, KeyFacts), Pkcs11Error> {
    let size = match kind {
        KeyKind::Aes => AttributeType::ValueLen,
        KeyKind::Rsa => AttributeType::Modulus,
    };
    let wanted = [
        AttributeType::Id,
        AttributeType::Label,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        size,
    ];
    let (mut id, mut facts) = (Vec::new(), KeyFacts::default());
    // What a token doesn't know it leaves out.
    for attribute in session.get_attributes(key, &wanted)? {
        match attribute {
            Attribute::Id(value) => id = value,
            Attribute::Label(value) => facts.label = String::from_utf8_lossy(&value).into_owned(),
            Attribute::Sensitive(value) => facts.sensitive = value,
            Attribute::Extractable(value) => facts.extractable = value,
            Attribute::ValueLen(value) => facts.value_len = *value,
            Attribute::Modulus(value) => {
                let zeros = value.iter().take_while(|byte| **byte == 0).count();
                let bytes = u64::try_from(value.len().saturating_sub(zeros)).unwrap_or(0);
                facts.modulus_bits = bytes.saturating_mul(8);
            }
            _ => {}
        }
    }
    Ok((id, facts))
}

/// Makes the key that the URI names, with a random id unless it gives one.
///
/// # Errors
/// [`Pkcs11Error::KeyExists`], or the token says no.
pub(super) fn generate(
    session: &Session,
    uri: &Pkcs11Uri,
    kind: KeyKind,
) -> Result<(), Pkcs11Error> {
    match find(session, uri, None) {
        Err(Pkcs11Error::KeyAbsent(_)) => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(Pkcs11Error::KeyExists(name_of(uri))),
    }
    let id = match uri.id() {
        Some(id) => id.to_vec(),
        None => {
            random::array::<16>().map_err(|error| Pkcs11Error::Device(error.to_string()))?.to_vec()
        }
    };
    let label = uri.object().unwrap_or("strongroom").as_bytes().to_vec();
    let named = [Attribute::Label(label), Attribute::Id(id), Attribute::Token(true)];
    let kept = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
    ];
    match kind {
        KeyKind::Aes => {
            let uses = [
                Attribute::ValueLen(AES_KEY_BYTES.into()),
                Attribute::Encrypt(true),
                Attribute::Wrap(true),
                Attribute::Unwrap(true),
            ];
            session.generate_key(&Mechanism::AesKeyGen, &[&named[..], &kept, &uses].concat())?;
        }
        KeyKind::Rsa => {
            let public = [
                Attribute::Private(false),
                Attribute::ModulusBits(RSA_BITS.into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
                Attribute::Encrypt(true),
            ];
            session.generate_key_pair(
                &Mechanism::RsaPkcsKeyPairGen,
                &[&named[..], &public].concat(),
                &[&named[..], &kept].concat(),
            )?;
        }
    }
    Ok(())
}

/// Destroys the key that the URI names, and sees that it is gone. Says how many objects that were:
/// one for an AES key, two for a pair, none where there was no such key.
///
/// # Errors
/// [`Pkcs11Error::KeyAmbiguous`]: nothing was destroyed. Or the token says no.
pub(super) fn destroy(session: &Session, uri: &Pkcs11Uri) -> Result<usize, Pkcs11Error> {
    let named = named(uri)?;
    let all = || -> Result<_, Pkcs11Error> {
        let secret = aes_keys(session, &named)?;
        let private = rsa_halves(session, &named, ObjectClass::PRIVATE_KEY)?;
        Ok((secret, private, rsa_halves(session, &named, ObjectClass::PUBLIC_KEY)?))
    };
    let (secret, private, public) = all()?;
    let keys = secret.len() + private.len().max(public.len());
    if keys > 1 {
        return Err(Pkcs11Error::KeyAmbiguous(keys));
    }
    // The private half before the public one: what is left of a cut does no harm.
    let objects = [secret, private, public].concat();
    objects.iter().try_for_each(|object| session.destroy_object(*object))?;
    match all()? {
        (secret, private, public) if [&secret, &private, &public].iter().all(|a| a.is_empty()) => {
            Ok(objects.len())
        }
        _ => Err(Pkcs11Error::Denied("the key is still there after it was destroyed".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_can_be_read_or_is_weak_is_not_used_for_new_slots() {
        let good = KeyFacts {
            label: String::new(),
            sensitive: true,
            extractable: false,
            value_len: 32,
            modulus_bits: 3072,
        };
        let (aes, rsa) = (KeyKind::Aes, KeyKind::Rsa);
        for (facts, kind, fit) in [
            (good.clone(), aes, true),
            (good.clone(), rsa, true),
            // Can be wrapped by another key of the token, for a backup: not in the clear.
            (KeyFacts { extractable: true, ..good.clone() }, aes, true),
            (KeyFacts { sensitive: false, ..good.clone() }, aes, true),
            (KeyFacts { extractable: true, sensitive: false, ..good.clone() }, aes, false),
            (KeyFacts { extractable: true, sensitive: false, ..good.clone() }, rsa, false),
            (KeyFacts { value_len: 16, ..good.clone() }, aes, false),
            (KeyFacts { value_len: 16, ..good.clone() }, rsa, true),
            (KeyFacts { value_len: 0, ..good.clone() }, aes, true),
            (KeyFacts { modulus_bits: 1024, ..good.clone() }, rsa, false),
            (KeyFacts { modulus_bits: 2048, ..good.clone() }, rsa, true),
            (KeyFacts { modulus_bits: 0, ..good }, rsa, true),
        ] {
            assert_eq!(facts.check(kind).is_ok(), fit, "{facts:?} {kind:?}");
        }
    }

    #[test]
    fn a_key_has_to_be_named() {
        let name = |text: &str| name_of(&text.parse().unwrap());
        let refused = named(&"pkcs11:token=t;type=secret-key".parse().unwrap());
        assert!(matches!(refused, Err(Pkcs11Error::Incomplete(_))));
        assert_eq!(name("pkcs11:object=k;id=%01%FF"), "\"k\" with id 01ff");
        assert_eq!(
            (name("pkcs11:object=k"), name("pkcs11:id=%0A")),
            ("\"k\"".into(), "with id 0a".into())
        );
    }
}

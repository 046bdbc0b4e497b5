//! What a TPM slot stores: everything but the TPM and the PIN (docs/providers/tpm.md, "The bytes").
//! None of it is secret, and when a file is opened none of it is authentic: it is taken apart
//! without a panic whatever it holds, and of the sealed object's public area only the two fields
//! that vary are in it, so that a file can't make the TPM load anything but a sealed secret.

use std::fmt;

use crate::format::key_slot::KdfCost;
use crate::wire::{Malformed, Reader};

const VERSION: u8 = 1;
/// The private half as TPMs make it has some 200 bytes; the library has room for this many.
const PRIVATE_LEN_MAX: usize = 1024;
/// A TPM has 24 PCRs in a bank.
const PCR_MAX: u8 = 23;

/// Names as a TPM computes them: the algorithm, always SHA-256 here, and the hash.
pub(super) const NAME_LEN: usize = 34;
const NAME_ALGORITHM: [u8; 2] = [0x00, 0x0B];

/// The storage key that a secret is sealed under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parent {
    /// The primary of the storage hierarchy: there as long as the TPM is not cleared.
    Primary,
    /// A key of its own at this persistent handle, which can be destroyed.
    Key(u32),
}

impl Parent {
    /// Handles that the owner may give away.
    pub(super) const HANDLES: std::ops::RangeInclusive<u32> = 0x8100_0000..=0x817F_FFFF;

    fn from_u32(handle: u32) -> Option<Self> {
        match handle {
            0 => Some(Self::Primary),
            handle => Self::HANDLES.contains(&handle).then_some(Self::Key(handle)),
        }
    }

    fn to_u32(self) -> u32 {
        match self {
            Self::Primary => 0,
            Self::Key(handle) => handle,
        }
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("the storage primary"),
            Self::Key(handle) => write!(f, "the key at 0x{handle:08x}"),
        }
    }
}

/// Some of the 24 platform configuration registers of the SHA-256 bank; bit n is register n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pcrs(pub(super) u32);

impl Pcrs {
    /// `None` where there is no such register.
    pub(super) fn new(numbers: &[u8]) -> Option<Self> {
        let mut bits = 0;
        for number in numbers {
            bits |= (*number <= PCR_MAX).then(|| 1_u32 << number)?;
        }
        Some(Self(bits))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit each.
    pub(super) fn bits(self) -> impl Iterator<Item = u32> {
        (0..=PCR_MAX).map(|number| 1 << number).filter(move |bit| self.0 & bit != 0)
    }
}

impl fmt::Display for Pcrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, bit) in self.bits().enumerate() {
            write!(f, "{}{}", if nth == 0 { "" } else { ", " }, bit.trailing_zeros())?;
        }
        Ok(())
    }
}

/// A sealed secret and what it takes to unseal it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sealed {
    pub(super) cost: KdfCost,
    pub(super) salt: [u8; 32],
    pub(super) parent: Parent,
    /// The name of the parent: another TPM has another one.
    pub(super) parent_name: [u8; NAME_LEN],
    pub(super) pcrs: Pcrs,
    /// What the PCRs and the authorisation came to; zeros without PCRs.
    pub(super) policy: [u8; 32],
    /// Binds the public half to the private one.
    pub(super) unique: [u8; 32],
    /// Encrypted by the parent.
    pub(super) private: Vec<u8>,
}

impl Sealed {
    pub(super) fn encode(&self) -> Vec<u8> {
        let KdfCost { memory_kib, passes, lanes } = self.cost;
        let mut bytes = vec![VERSION];
        for number in [memory_kib, passes, lanes, self.parent.to_u32(), self.pcrs.0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.salt);
        bytes.extend(self.parent_name.iter().skip(NAME_ALGORITHM.len()));
        bytes.extend(self.policy);
        bytes.extend(self.unique);
        bytes.extend(&self.private);
        bytes
    }

    /// # Errors
    /// Not what [`Sealed::encode`] makes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed("of another version"));
        }
        let cost =
            KdfCost { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? };
        let parent = Parent::from_u32(reader.u32()?).ok_or(Malformed("no handle of a key"))?;
        let pcrs = Pcrs(reader.u32()?);
        if pcrs.0 >> (PCR_MAX + 1) != 0 {
            return Err(Malformed("PCRs that no TPM has"));
        }
        let salt = reader.array()?;
        let mut parent_name = [0; NAME_LEN];
        let (algorithm, hash) = parent_name.split_at_mut(NAME_ALGORITHM.len());
        algorithm.copy_from_slice(&NAME_ALGORITHM);
        hash.copy_from_slice(reader.slice(hash.len())?);
        let policy = reader.array()?;
        if pcrs.is_empty() != (policy == [0; 32]) {
            return Err(Malformed("a policy without PCRs, or the other way round"));
        }
        let unique = reader.array()?;
        let private = reader.rest().to_vec();
        if private.is_empty() || private.len() > PRIVATE_LEN_MAX {
            return Err(Malformed("a private half of impossible length"));
        }
        Ok(Self { cost, salt, parent, parent_name, pcrs, policy, unique, private })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Sealed {
        let mut parent_name = [0xA5; NAME_LEN];
        parent_name[..2].copy_from_slice(&NAME_ALGORITHM);
        Sealed {
            cost: KdfCost { memory_kib: 65_536, passes: 3, lanes: 1 },
            salt: [1; 32],
            parent: Parent::Key(0x8100_0042),
            parent_name,
            pcrs: Pcrs::new(&[7, 16]).unwrap(),
            policy: [2; 32],
            unique: [3; 32],
            private: vec![4; 190],
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let bytes = example().encode();
        println!("figure: TPM slot blob, private half of 190 bytes = {} bytes", bytes.len());
        assert_eq!(bytes.len(), 149 + 190);
        assert_eq!(bytes[..13], [1, 0, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[13..21], [0x42, 0, 0, 0x81, 0x80, 0, 1, 0]);
        let rest: [(&[u8], usize); 5] =
            [(&[1], 21), (&[0xA5], 53), (&[2], 85), (&[3], 117), (&[4], 149)];
        for (byte, at) in rest {
            assert_eq!(bytes[at..at + 32], byte.repeat(32), "{at}");
        }
        assert_eq!(Sealed::decode(&bytes), Ok(example()));
        let plain =
            Sealed { parent: Parent::Primary, pcrs: Pcrs::default(), policy: [0; 32], ..example() };
        assert_eq!(Sealed::decode(&plain.encode()), Ok(plain));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let decode = |change: &dyn Fn(&mut Sealed)| {
            let mut sealed = example();
            change(&mut sealed);
            Sealed::decode(&sealed.encode()).unwrap_err().0
        };
        assert!(decode(&|sealed| sealed.pcrs = Pcrs(0)).contains("without PCRs"));
        assert!(decode(&|sealed| sealed.policy = [0; 32]).contains("without PCRs"));
        assert!(decode(&|sealed| sealed.pcrs = Pcrs(1 << 24)).contains("no TPM"));
        assert!(decode(&|sealed| sealed.parent = Parent::Key(1)).contains("handle"));
        assert!(decode(&|sealed| sealed.parent = Parent::Key(0x8180_0000)).contains("handle"));
        assert!(decode(&|sealed| sealed.private.clear()).contains("length"));
        assert!(decode(&|sealed| sealed.private.resize(1025, 0)).contains("length"));
        let mut other = example().encode();
        other[0] = 2;
        assert!(Sealed::decode(&other).unwrap_err().0.contains("version"));
    }

    #[test]
    fn registers_are_named_and_counted() {
        assert_eq!(Pcrs::new(&[7, 0, 23, 7]).unwrap().to_string(), "0, 7, 23");
        assert_eq!(Pcrs::new(&[24]), None);
        assert_eq!(Pcrs::new(&[255]), None);
        assert!(Pcrs::new(&[]).unwrap().is_empty());
    }

    proptest! {
        /// Whatever a file holds: no panic, and what is taken is exactly what was written.
        #[test]
        fn any_bytes_decode_to_what_encodes_to_them_or_to_an_error(
            noise in prop::collection::vec(any::<u8>(), 0..400),
            cut in 0_usize..400,
            flip in (0_usize..339, 0_u32..8),
        ) {
            let whole = example().encode();
            let mut flipped = whole.clone();
            flipped[flip.0] ^= 1 << flip.1;
            let mut headed = noise.clone();
            if let Some(first) = headed.first_mut() {
                *first = VERSION;
            }
            for bytes in [&noise, &headed, &flipped, &whole[..cut.min(338)].to_vec()] {
                if let Ok(sealed) = Sealed::decode(bytes) {
                    prop_assert_eq!(&sealed.encode(), bytes);
                }
            }
        }
    }
}

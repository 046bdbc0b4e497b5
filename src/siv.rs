//! Floor 2: AES-256-GCM-SIV (RFC 8452) over slices. Knows bytes: no page, no place and no owner of
//! a key.

/// The bytes don't belong to this key, nonce, tag and associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotAuthentic;

/// A message of a batch to seal. `out` is as long as `plain`; `tag` is written.
#[derive(Debug)]
pub(crate) struct Sealing<'a> {
    pub(crate) nonce: &'a [u8; 12],
    pub(crate) associated_data: &'a [u8],
    pub(crate) plain: &'a [u8],
    pub(crate) out: &'a mut [u8],
    pub(crate) tag: &'a mut [u8; 16],
}

/// A message of a batch to open. `out` is as long as `sealed`; `verdict` is written, and where it
/// is an error, `out` is zeros.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) nonce: &'a [u8; 12],
    pub(crate) associated_data: &'a [u8],
    pub(crate) tag: &'a [u8; 16],
    pub(crate) sealed: &'a [u8],
    pub(crate) out: &'a mut [u8],
    pub(crate) verdict: Result<(), NotAuthentic>,
}

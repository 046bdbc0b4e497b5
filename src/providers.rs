//! Floor 7: key providers that come with strongroom, each behind a feature of its name. Each is a
//! [`KeyProvider`](crate::KeyProvider) like one an application writes: it sees the public seam and
//! nothing else of the house, so no provider can weaken what the others rest on. Which protects
//! against what, and how each is set up, is in docs/providers.md.

#[cfg(feature = "tpm")]
pub mod tpm;

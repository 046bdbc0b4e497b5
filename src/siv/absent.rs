//! Stands in where there is no kernel: another processor family, or the feature `fast-siv` is off.

use super::{NotAuthentic, Opening, Sealing, Width};

impl Width {
    /// Never: there is no kernel in this build.
    pub(crate) fn runs_here(self) -> bool {
        false
    }
}

/// There is no value of it.
#[derive(Debug)]
pub(crate) enum Siv {}

impl Siv {
    /// Always `None`.
    pub(crate) fn new(_: Width, _: &[u8; 32]) -> Option<Self> {
        None
    }

    pub(crate) fn seal(&self, _: &[u8; 12], _: &[u8], _: &[u8], _: &mut [u8]) -> [u8; 16] {
        match *self {}
    }

    pub(crate) fn seal_in_place(&self, _: &[u8; 12], _: &[u8], _: &mut [u8]) -> [u8; 16] {
        match *self {}
    }

    pub(crate) fn open_into(
        &self,
        _: &[u8; 12],
        _: &[u8],
        _: &[u8; 16],
        _: &[u8],
        _: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        match *self {}
    }

    pub(crate) fn open_in_place(
        &self,
        _: &[u8; 12],
        _: &[u8],
        _: &[u8; 16],
        _: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        match *self {}
    }

    pub(crate) fn seal_batch(&self, _: &mut [Sealing<'_>]) {
        match *self {}
    }

    pub(crate) fn open_batch(&self, _: &mut [Opening<'_>]) {
        match *self {}
    }
}

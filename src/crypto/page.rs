//! Sealing and opening with AES-256-GCM-SIV (RFC 8452): pages, tag pages, root records, index
//! pages and wrapped keys all pass through here. The one place that picks an implementation: all of
//! them make the same bytes, and the fastest that runs here is taken.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod portable;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use crate::secret::SecretKey;
use crate::siv::{Siv, Width};

pub(crate) use crate::siv::{NotAuthentic, Opening, Sealing};

/// An implementation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backend {
    /// The kernel in `siv`.
    Wide(Width),
    #[cfg(feature = "aws-lc")]
    AwsLc,
    Portable,
}

impl Backend {
    /// Fastest first.
    pub(crate) const ALL: &[Self] = &[
        Self::Wide(Width::Bits512),
        Self::Wide(Width::Bits256),
        #[cfg(feature = "aws-lc")]
        Self::AwsLc,
        Self::Portable,
    ];

    /// What tests call it.
    #[cfg(feature = "testkit")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wide(Width::Bits512) => "512",
            Self::Wide(Width::Bits256) => "256",
            #[cfg(feature = "aws-lc")]
            Self::AwsLc => "aws-lc",
            Self::Portable => "portable",
        }
    }

    /// Whether it is in this build and this processor has its instructions.
    pub(crate) fn runs_here(self) -> bool {
        match self {
            Self::Wide(width) => width.runs_here(),
            _ => true,
        }
    }

    /// The one that every [`Cipher::new`] of this process takes.
    pub(crate) fn chosen() -> Self {
        static CHOSEN: OnceLock<Backend> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let fastest = Self::ALL.iter().find(|backend| backend.runs_here());
            forced().or(fastest.copied()).unwrap_or(Self::Portable)
        })
    }
}

/// What `STRONGROOM_SIV` names, so that a test can run on each implementation.
///
/// # Panics
/// Where that doesn't run here: another one in its place would be a test of something else.
#[cfg(feature = "testkit")]
fn forced() -> Option<Backend> {
    let name = std::env::var("STRONGROOM_SIV").ok()?;
    let named = Backend::ALL.iter().find(|backend| backend.name() == name);
    let Some(backend) = named.filter(|backend| backend.runs_here()) else {
        panic!("STRONGROOM_SIV={name} is not in this build or not on this processor")
    };
    Some(*backend)
}

#[cfg(not(feature = "testkit"))]
fn forced() -> Option<Backend> {
    None
}

/// A cipher with its key schedule, built for one page or one run of pages and wiped when dropped:
/// building costs about 2 % of a page, and round keys don't stay in memory. What is derived from it
/// and a nonce serves that nonce alone: there is nothing to keep between pages. It is not moved
/// about: a move leaves a copy of the round keys on the stack. Those of [`Cipher::new`] lie where the
/// first use of a kernel wipes.
#[derive(Debug)]
pub(crate) struct Cipher(Implementation);

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "on the stack for the length of a call")]
enum Implementation {
    Wide(Siv),
    #[cfg(feature = "aws-lc")]
    AwsLc(aws_lc::AwsLc),
    Portable(portable::Portable),
}

/// The same call on whatever is behind a cipher.
macro_rules! on {
    ($cipher:expr, $it:ident => $call:expr) => {
        match &$cipher.0 {
            Implementation::Wide($it) => $call,
            #[cfg(feature = "aws-lc")]
            Implementation::AwsLc($it) => $call,
            Implementation::Portable($it) => $call,
        }
    };
}

impl Cipher {
    #[inline(never)]
    pub(crate) fn new(key: &SecretKey) -> Self {
        Self::with(Backend::chosen(), &key.expose())
    }

    /// By a given implementation, or by the portable one where it doesn't run.
    pub(crate) fn with(backend: Backend, key: &[u8; 32]) -> Self {
        Self(match backend {
            Backend::Wide(width) => match Siv::new(width, key) {
                Some(siv) => Implementation::Wide(siv),
                None => Implementation::Portable(portable::Portable::new(key)),
            },
            #[cfg(feature = "aws-lc")]
            Backend::AwsLc => Implementation::AwsLc(aws_lc::AwsLc::new(key)),
            Backend::Portable => Implementation::Portable(portable::Portable::new(key)),
        })
    }

    /// seal[key, nonce](associated data, plain) -> (ciphertext in `out`, tag). `out` is as long as
    /// `plain`.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; 16] {
        on!(self, it => it.seal(nonce, associated_data, plain, out))
    }

    /// The same, in place.
    pub(crate) fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> [u8; 16] {
        on!(self, it => it.seal_in_place(nonce, associated_data, buffer))
    }

    /// open[key, nonce](associated data, sealed, tag) -> plain, into `out`, which is as long as
    /// `sealed`.
    ///
    /// # Errors
    /// [`NotAuthentic`]; `out` is then zeros.
    #[allow(dead_code, reason = "for the testkit: the store opens in place")]
    pub(crate) fn open_into(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        on!(self, it => it.open_into(nonce, associated_data, tag, sealed, out))
    }

    /// The same, in place.
    ///
    /// # Errors
    /// [`NotAuthentic`]; the buffer then holds no plaintext.
    pub(crate) fn open_in_place(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        tag: &[u8; 16],
        buffer: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        on!(self, it => it.open_in_place(nonce, associated_data, tag, buffer))
    }

    /// Seals many messages; faster than one by one where they are equally long.
    pub(crate) fn seal_batch(&self, messages: &mut [Sealing<'_>]) {
        if let Implementation::Wide(siv) = &self.0 {
            return siv.seal_batch(messages);
        }
        for message in messages {
            let Sealing { nonce, associated_data, plain, out, tag } = message;
            **tag = self.seal(nonce, associated_data, plain, out);
        }
    }

    /// Opens many messages, each with a verdict of its own.
    #[allow(dead_code, reason = "for the testkit: the store opens in place")]
    pub(crate) fn open_batch(&self, messages: &mut [Opening<'_>]) {
        if let Implementation::Wide(siv) = &self.0 {
            return siv.open_batch(messages);
        }
        for message in messages {
            let Opening { nonce, associated_data, tag, sealed, out, verdict } = message;
            *verdict = self.open_into(nonce, associated_data, tag, sealed, out);
        }
    }
}

//! Where an anchor is: a file, or a counter in a TPM. The TPM's counter counts for who knows its
//! value, 32 bytes in a file of their own. Who has that can count without need, which looks like a
//! file that was put back; he can't put one back unnoticed.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::{OsStringValueParser, TypedValueParser};
use strongroom::{Anchor, FileAnchor};

use crate::credential::tpm::DEFAULT_TCTI;
use crate::failure::Failure;

const TPM: &str = "tpm:";

/// Where an anchor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnchorPlace {
    File(PathBuf),
    /// An NV index of a TPM, both as they were given.
    Tpm {
        index: String,
        tcti: String,
    },
}

impl From<OsString> for AnchorPlace {
    fn from(text: OsString) -> Self {
        match text.to_str().and_then(|text| text.strip_prefix(TPM)) {
            None => Self::File(text.into()),
            Some(place) => {
                let (index, tcti) = place.split_once('@').unwrap_or((place, DEFAULT_TCTI));
                Self::Tpm { index: index.to_owned(), tcti: tcti.to_owned() }
            }
        }
    }
}

impl fmt::Display for AnchorPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Tpm { index, tcti } => write!(f, "{TPM}{index}@{tcti}"),
        }
    }
}

impl AnchorPlace {
    /// Takes an argument, of any bytes that a file's name may have.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().map(Self::from)
    }

    /// The anchor that is there.
    pub(crate) fn open(&self, auth: Option<&Path>) -> Result<Arc<dyn Anchor>, Failure> {
        match self {
            Self::File(path) => {
                self.no_auth(auth)?;
                Ok(Arc::new(FileAnchor::open(path)?))
            }
            Self::Tpm { index, tcti } => tpm::open(index, tcti, auth),
        }
    }

    /// A new one.
    pub(crate) fn create(&self, auth: Option<&Path>) -> Result<Arc<dyn Anchor>, Failure> {
        match self {
            Self::File(path) => {
                self.no_auth(auth)?;
                let doing = format!("making the anchor {}", path.display());
                Ok(Arc::new(FileAnchor::create(path).map_err(Failure::io(doing))?))
            }
            Self::Tpm { index, tcti } => tpm::create(index, tcti, auth),
        }
    }

    fn no_auth(&self, auth: Option<&Path>) -> Result<(), Failure> {
        match auth {
            None => Ok(()),
            Some(_) => Err(Failure::usage(format!(
                "--anchor-auth is for a counter in a TPM, and {self} is a file"
            ))),
        }
    }
}

#[cfg(not(feature = "tpm"))]
mod tpm {
    use std::path::Path;
    use std::sync::Arc;

    use strongroom::Anchor;

    use crate::credential::provider::absent;
    use crate::failure::Failure;

    pub(super) fn open(_: &str, _: &str, _: Option<&Path>) -> Result<Arc<dyn Anchor>, Failure> {
        Err(Failure::usage(absent("TPMs", "tpm")).hint("a file of that name is ./tpm:..."))
    }

    pub(super) fn create(_: &str, _: &str, _: Option<&Path>) -> Result<Arc<dyn Anchor>, Failure> {
        open("", "", None)
    }
}

#[cfg(feature = "tpm")]
mod tpm {
    use std::fs::File;
    use std::io::Read;
    use std::path::Path;
    use std::sync::Arc;

    use strongroom::providers::tpm::{Tcti, TpmCounter};
    use strongroom::{Anchor, KeyFile};
    use zeroize::Zeroizing;

    use crate::credential::{refuse_readable, tpm::handle};
    use crate::failure::Failure;

    pub(super) fn open(
        index: &str,
        tcti: &str,
        auth: Option<&Path>,
    ) -> Result<Arc<dyn Anchor>, Failure> {
        Ok(Arc::new(counter(index, tcti, wanted(auth)?)?.open()?))
    }

    /// The file for the value is made with it, and taken away again where the counter isn't made.
    pub(super) fn create(
        index: &str,
        tcti: &str,
        auth: Option<&Path>,
    ) -> Result<Arc<dyn Anchor>, Failure> {
        let path = wanted(auth)?;
        KeyFile::generate(path)?;
        let made = counter(index, tcti, path).and_then(|counter| Ok(counter.create()?));
        if made.is_err() {
            let _ = std::fs::remove_file(path);
        }
        Ok(Arc::new(made?))
    }

    fn wanted(auth: Option<&Path>) -> Result<&Path, Failure> {
        auth.ok_or_else(|| {
            Failure::usage("a counter in a TPM counts for who knows its value").hint(
                "name the file with it, --anchor-auth FILE; `strongroom create --new-anchor` makes \
                 it",
            )
        })
    }

    fn counter(index: &str, tcti: &str, auth: &Path) -> Result<TpmCounter, Failure> {
        let index = handle(index).map_err(|_| {
            Failure::usage(format!("{index:?} is no index of a TPM"))
                .hint("write tpm:0x01500100, and ./tpm:... for a file of such a name")
        })?;
        let tcti: Tcti = tcti.parse().map_err(|error| Failure::usage(format!("{error}")))?;
        Ok(TpmCounter::new(tcti, index, &*value(auth)?)?)
    }

    fn value(path: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
        refuse_readable(path, "file with the counter's value", false)?;
        let doing = || Failure::io(format!("reading {}", path.display()));
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        let mut file = File::open(path).map_err(doing())?;
        file.by_ref().take(33).read_to_end(&mut bytes).map_err(doing())?;
        let value: Result<[u8; 32], _> = bytes.as_slice().try_into();
        value.map(Zeroizing::new).map_err(|_| {
            Failure::usage(format!("{} holds no counter's value: 32 bytes", path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_a_file_unless_it_says_tpm() {
        let tpm = |index: &str, tcti: &str| AnchorPlace::Tpm {
            index: index.to_owned(),
            tcti: tcti.to_owned(),
        };
        for (text, place) in [
            ("a", AnchorPlace::File("a".into())),
            ("./tpm:1", AnchorPlace::File("./tpm:1".into())),
            ("tpm:0x01500100", tpm("0x01500100", DEFAULT_TCTI)),
            ("tpm:1@swtpm:host=h,port=1", tpm("1", "swtpm:host=h,port=1")),
        ] {
            assert_eq!(AnchorPlace::from(OsString::from(text)), place, "{text}");
        }
    }
}

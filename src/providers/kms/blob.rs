//! What a slot holds for the key service, readable by anybody who has the file:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | layout, 1 |
//! | 1 | length of the key's name |
//! | ... | the key's name |
//! | rest | the service's ciphertext as it gave it: `vault:v`, key version, `:`, Base64 |
//!
//! Nothing here is authentic when a file is being opened, so nothing but a well-formed ciphertext
//! gets into a request.

use super::options::is_name;

const LAYOUT: u8 = 1;
const PREFIX: &str = "vault:v";

/// A ciphertext of the service, and the version of the key it was made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ciphertext<'a> {
    pub(super) text: &'a str,
    pub(super) key_version: u32,
}

impl<'a> Ciphertext<'a> {
    /// `None` where it is not of the service's form.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (version, sealed) = text.strip_prefix(PREFIX)?.split_once(':')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        let digits = !version.starts_with('0') && version.bytes().all(|byte| byte.is_ascii_digit());
        let key_version = version.parse().ok().filter(|_| digits)?;
        (!sealed.is_empty() && sealed.bytes().all(plain)).then_some(Self { text, key_version })
    }
}

/// What to store.
pub(super) fn join(key: &str, ciphertext: Ciphertext<'_>) -> Vec<u8> {
    let key_len = u8::try_from(key.len()).unwrap_or(0);
    [&[LAYOUT, key_len], key.as_bytes(), ciphertext.text.as_bytes()].concat()
}

/// The key's name and the ciphertext; `None` where the bytes are not what [`join`] makes.
pub(super) fn split(blob: &[u8]) -> Option<(&str, Ciphertext<'_>)> {
    let (&[layout, key_len], rest) = blob.split_first_chunk()?;
    let (key, text) = rest.split_at_checked(usize::from(key_len))?;
    let key = str::from_utf8(key).ok().filter(|key| layout == LAYOUT && is_name(key))?;
    Some((key, Ciphertext::parse(str::from_utf8(text).ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_come_apart_as_they_were_joined() {
        let ciphertext = Ciphertext::parse("vault:v12:AbC+/w==").unwrap();
        assert_eq!(ciphertext.key_version, 12);
        let blob = join("notes", ciphertext);
        assert_eq!(blob, b"\x01\x05notesvault:v12:AbC+/w==");
        assert_eq!(split(&blob), Some(("notes", ciphertext)));
    }

    #[test]
    fn nothing_but_a_ciphertext_gets_into_a_request() {
        for text in [
            "",
            "vault:",
            "vault:v:AA",
            "vault:v0:AA",
            "vault:v01:AA",
            "vault:v+1:AA",
            "vault:v1:",
            "vault:v1",
            "vault:v4294967296:AA",
            "vault:v1:A\"A",
            "vault:v1:A\\A",
            "vault:v1:A A",
            "vault:v1:A\nA",
            "vault:v1:\u{e4}",
            "Vault:v1:AA",
        ] {
            assert_eq!(Ciphertext::parse(text), None, "{text}");
            assert_eq!(split(&[b"\x01\x01k", text.as_bytes()].concat()), None, "{text}");
        }
    }

    #[test]
    fn other_bytes_are_nobodys() {
        for blob in [
            &b""[..],
            b"\x01",
            b"\x01\x00vault:v1:AA",
            b"\x02\x01kvault:v1:AA",
            b"\x01\xFFkvault:v1:AA",
            b"\x01\x01/vault:v1:AA",
            b"\x01\x02..vault:v1:AA",
            b"\x01\x01\xFFvault:v1:AA",
        ] {
            assert_eq!(split(blob), None, "{blob:?}");
        }
    }
}

//! What the service answers, and what each answer means. Choice only; the service's words are
//! those of OpenBao 2.7, which Vault shares.

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::token::Token;
use crate::error::ProviderError;

/// Of what the service says in an error, as much as a message can bear.
const SAID_LEN_MAX: usize = 160;

/// A status and a body. The body is wiped when dropped: a secret may be in it.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// What was asked, for messages.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) mount: &'a str,
    pub(super) key: &'a str,
    /// The version that the slot's ciphertext names.
    pub(super) key_version: Option<u32>,
}

/// JSON whose strings are wiped when it is dropped, as far as they are still in it.
pub(super) struct Json(Value);

impl Answer {
    /// The body of an answer that says yes.
    ///
    /// # Errors
    /// What the answer means where it says no.
    pub(super) fn yes(
        &self,
        asked: Asked<'_>,
        token: Option<&Token>,
    ) -> Result<Json, ProviderError> {
        match self.status {
            200 => self.json(),
            204 => Ok(Json(Value::Null)),
            status => match self.said(token) {
                Some(said) => Err(refusal(status, &said, asked)),
                None if (300..=399).contains(&status) => Err(refusal(status, "", asked)),
                // Somebody in between, who says nothing about keys: a balancer, say.
                None => Err(ProviderError::Unavailable(format!(
                    "status {status}, and not in the service's form; is it the key service?"
                ))),
            },
        }
    }

    /// # Errors
    /// [`ProviderError::Unavailable`]: the body is no JSON.
    pub(super) fn json(&self) -> Result<Json, ProviderError> {
        serde_json::from_slice(&self.body).map(Json).map_err(|_| {
            ProviderError::Unavailable(format!(
                "an answer of status {} that is not JSON; is it the key service?",
                self.status
            ))
        })
    }

    /// What the service says of a key to be deleted that isn't there. A 404 may be anybody's.
    pub(super) fn says_no_key(&self) -> bool {
        let said = self.said(None);
        self.status == 400 && said.is_some_and(|said| is_no_key(self.status, &said))
    }

    /// What the service says went wrong: printable, short, and without the token, should it ever
    /// repeat it. `None` where the body is not of the form that the service gives its errors.
    fn said(&self, token: Option<&Token>) -> Option<String> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        let errors = value.get("errors")?.as_array()?;
        let said: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
        let mut said: String = said.join("; ").chars().filter(|c| matches!(c, ' '..='~')).collect();
        let token = token.and_then(|token| str::from_utf8(token.bytes()).ok());
        // Before it is cut: a part of the token would not be known for one.
        if token.is_some_and(|token| said.contains(token)) {
            said.clear();
        }
        said.truncate(SAID_LEN_MAX);
        Some(said)
    }
}

impl Json {
    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.0, |value, name| value.get(name))
    }

    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path).and_then(Value::as_str)
    }

    pub(super) fn number(&self, path: &[&str]) -> Option<u64> {
        self.at(path).and_then(Value::as_u64)
    }

    pub(super) fn flag(&self, path: &[&str]) -> Option<bool> {
        self.at(path).and_then(Value::as_bool)
    }

    pub(super) fn list(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        self.at(path).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, value)| wipe(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_no_key(status: u16, said: &str) -> bool {
    match status {
        404 => !said.contains("no handler for route"),
        400 => said.contains("key not found") || said.contains("; not found"),
        _ => false,
    }
}

/// What an answer means that says no.
pub(super) fn refusal(status: u16, said: &str, asked: Asked<'_>) -> ProviderError {
    let Asked { mount, key, key_version } = asked;
    let says = |words: &str| said.contains(words);
    let denied = |why: String| ProviderError::Denied(why);
    let unavailable = |why: String| ProviderError::Unavailable(why);
    let version = key_version.map_or_else(|| "its version".to_owned(), |v| format!("version {v}"));
    match status {
        503 if says("sealed") => unavailable("the service is sealed; have it unsealed".to_owned()),
        300..=399 => unavailable(format!(
            "it sends us elsewhere (status {status}), which is not followed; give the address of \
             the active server"
        )),
        429 => unavailable(format!("it has too much to do (status 429): {said}")),
        472 | 473 => unavailable(format!("a standby answered (status {status})")),
        403 => denied(format!(
            "the token may not do this, is unknown, or has expired; its policy needs update on \
             {mount}/encrypt/{key} and {mount}/decrypt/{key}"
        )),
        404 if says("no handler for route") => {
            denied(format!("nothing is mounted at {mount}: wrong mount or namespace"))
        }
        status if is_no_key(status, said) => {
            ProviderError::NoKey(format!("{key:?} in {mount}: effaced, or misspelt"))
        }
        400 if says("too old") || says("disallowed by policy") => {
            denied(format!("revoked: {version} of key {key:?} is below the key's minimum version"))
        }
        400 if says("soft") && says("delete") => denied(format!("key {key:?} is soft-deleted")),
        400 if says("deletion is not allowed") => {
            denied(format!("key {key:?} may not be deleted; set its deletion_allowed first"))
        }
        400 if says("too new") => ProviderError::Damaged(format!(
            "{version} of key {key:?} doesn't exist: the slot was altered, or the key was made anew"
        )),
        400 if says("authentication failed") || says("invalid ciphertext") || says("decrypt") => {
            ProviderError::Damaged(format!(
                "key {key:?} doesn't open it: it was altered, is another slot's, or the key was \
                 made anew under its old name"
            ))
        }
        400 | 405 | 422 => denied(format!("status {status}: {said}")),
        _ => unavailable(format!("status {status}: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::TokenFrom;
    use super::*;

    const ASKED: Asked<'_> = Asked { mount: "transit", key: "notes", key_version: Some(3) };

    /// What OpenBao 2.7.2 said when it was asked, and what it means.
    #[test]
    fn each_answer_of_the_service_has_its_meaning() {
        for (status, said, kind, words) in [
            (503, "Vault is sealed", "Unavailable", "is sealed"),
            (503, "", "Unavailable", "status 503"),
            (500, "internal error", "Unavailable", "status 500: internal error"),
            (307, "", "Unavailable", "not followed"),
            (429, "request rate quota", "Unavailable", "too much to do"),
            (473, "", "Unavailable", "standby"),
            (412, "not yet", "Unavailable", "status 412: not yet"),
            (403, "permission denied", "Denied", "transit/decrypt/notes"),
            (404, "no handler for route \"x\". route entry not found.", "Denied", "mounted"),
            (404, "", "NoKey", "no such key (\"notes\" in transit"),
            (400, "encryption key not found", "NoKey", "notes"),
            (400, "error deleting policy k: could not delete key; not found", "NoKey", "notes"),
            (
                400,
                "ciphertext or signature version is disallowed by policy (too old)",
                "Denied",
                "revoked: version 3 of key \"notes\"",
            ),
            (400, "error deleting policy k: deletion is not allowed for this key", "Denied", "set"),
            (400, "invalid ciphertext: version is too new", "Damaged", "version 3"),
            (400, "cipher: message authentication failed", "Damaged", "altered"),
            (400, "invalid ciphertext length", "Damaged", "altered"),
            (400, "invalid ciphertext: no prefix", "Damaged", "altered"),
            (400, "missing 'context' for key derivation", "Denied", "missing 'context'"),
            (200, "", "Unavailable", "status 200"),
        ] {
            let error = refusal(status, said, ASKED);
            let shown = format!("{error:?}");
            assert!(shown.starts_with(kind), "{status} {said}: {shown}");
            assert!(error.to_string().contains(words), "{status} {said}: {error}");
        }
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    #[test]
    fn what_the_service_says_is_shortened_cleaned_and_never_holds_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s.secret").unwrap();
        let token = TokenFrom::File(path).read().unwrap();
        let gone = r#"{"errors":["could not delete key; not found"]}"#;
        assert!(answer(400, gone).says_no_key() && !answer(404, gone).says_no_key());
        let told = |body: &str| answer(400, body).said(Some(&token));
        let said = |body: &str| told(body).unwrap();
        assert_eq!(said(r#"{"errors":["a","b"]}"#), "a; b");
        assert_eq!(said(r#"{"errors":["a\u001b[31mb\n\u00e4c"]}"#), "a[31mbc");
        assert_eq!(said(r#"{"errors":["your token s.secret is bad"]}"#), "");
        let straddles = format!("{}s.secret", "x".repeat(SAID_LEN_MAX - 4));
        assert_eq!(said(&format!(r#"{{"errors":["{straddles}"]}}"#)), "");
        assert_eq!(said(&format!(r#"{{"errors":["{}"]}}"#, "x".repeat(999))).len(), SAID_LEN_MAX);
        for other in [r#"{"errors":[]}"#, r#"{"errors":[{"a":1}]}"#] {
            assert_eq!(said(other), "", "{other}");
        }
        for other in ["", "{}", "<html>", r#"{"errors":7}"#, r#""errors""#] {
            assert_eq!(told(other), None, "{other}");
        }
    }

    #[test]
    fn who_stands_in_between_is_not_taken_for_the_service() {
        for status in [400, 403, 404, 405, 500, 502, 503] {
            for body in ["", "<html>not found", "{}", "null"] {
                let answer = answer(status, body);
                let error = answer.yes(ASKED, None).err().unwrap();
                assert!(matches!(error, ProviderError::Unavailable(_)), "{status} {body}: {error}");
                assert!(!answer.says_no_key());
            }
        }
        let gone = answer(404, r#"{"errors":[]}"#);
        // For an open another slot is tried; an effacement takes nobody's 404 for the key's end.
        assert!(!gone.says_no_key());
        assert!(matches!(gone.yes(ASKED, None).err(), Some(ProviderError::NoKey(_))));
        assert!(!answer(404, r#"{"errors":["no handler for route"]}"#).says_no_key());
    }

    #[test]
    fn a_yes_is_json_or_nothing() {
        let json = answer(200, r#"{"data":{"n":7,"t":"x","f":true,"l":["a","b"]}}"#);
        let json = json.yes(ASKED, None).ok().unwrap();
        assert_eq!(json.number(&["data", "n"]), Some(7));
        assert_eq!(json.text(&["data", "t"]), Some("x"));
        assert_eq!(json.flag(&["data", "f"]), Some(true));
        assert_eq!(json.list(&["data", "l"]).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(json.text(&["data", "n"]), None);
        assert!(answer(204, "").yes(ASKED, None).is_ok());
        for (status, body) in [(200, ""), (200, "<html>"), (201, "{}"), (403, "{}")] {
            assert!(answer(status, body).yes(ASKED, None).is_err(), "{status} {body}");
        }
    }
}

//! What a file claims, to somebody without a key, about rotations: pure choices over its header.

use serde_json::{Value, json};
use strongroom::{EpochState, HeaderClaims, Inspection};

use crate::output::{moment, span};

/// Whether the header holds a key that is to go.
pub(super) fn is_unfinished(inspection: &Inspection) -> bool {
    inspection.header().is_some_and(|claims| claims.epochs.len() > 1)
}

/// The number of the newest data key.
pub(super) fn newest_key(inspection: &Inspection) -> Option<u32> {
    inspection.header()?.epochs.iter().map(|claim| claim.epoch.0).max()
}

/// The state of a file that no `strongroom rotate` is at work on.
pub(super) fn at_rest(inspection: &Inspection) -> (Value, String) {
    let in_use = inspection.in_use;
    let Some(claims) = inspection.header() else {
        let json = json!({ "state": "unknown", "in_use": in_use });
        return (json, "the header can't be read: `strongroom inspect` says more".to_owned());
    };
    let (word, mut text) = match (is_unfinished(inspection), in_use) {
        (true, false) => ("unfinished", unfinished(claims, "`strongroom rotate` goes on with it")),
        (true, true) => {
            ("unfinished", unfinished(claims, "the application that has the file open goes on"))
        }
        (false, _) => ("none", at_peace(claims)),
    };
    if in_use {
        text.push_str("\nthe file is open for writing in another process");
    }
    let keys: Vec<Value> = claims.epochs.iter().map(key_json).collect();
    let json = json!({
        "state": word,
        "in_use": in_use,
        "data_keys": keys,
        "ended": claims.rotations.last().map(|last| last.ended),
    });
    (json, text)
}

fn key_json(claim: &strongroom::EpochClaim) -> Value {
    let retired = claim.state != EpochState::Active;
    json!({ "data_key": claim.epoch.0, "retired": retired, "created": claim.created })
}

fn unfinished(claims: &HeaderClaims, next: &str) -> String {
    let old = claims.epochs.iter().filter(|claim| claim.state != EpochState::Active);
    let old: Vec<String> = old.map(|claim| claim.epoch.0.to_string()).collect();
    format!("unfinished: data key {} is still to go; {next}", old.join(" and "))
}

fn at_peace(claims: &HeaderClaims) -> String {
    let number = claims.epochs.first().map_or(0, |claim| claim.epoch.0);
    match claims.rotations.last() {
        None => format!("no rotation is under way; data key {number} is the file's first"),
        Some(last) => format!(
            "no rotation is under way; the last one, to data key {number}, took {} and ended {}",
            span(last.ended.saturating_sub(last.begun)),
            moment(last.ended)
        ),
    }
}

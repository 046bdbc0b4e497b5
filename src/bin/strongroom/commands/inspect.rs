//! `inspect`: what a file says of itself to somebody without a key.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use strongroom::{CopyLook, HeaderClaims, Inspection, RootLook};

use crate::failure::Failure;
use crate::output::{Output, plain};
use crate::shapes;

/// Show what a file says of itself, without a key
///
/// Format version, file id, key slots with their kinds, labels and costs, data keys by number,
/// sizes. Nothing of it is secret, and nothing of it is authenticated: whoever can write the file
/// can write it. Works while the file is in use, and on damaged files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom inspect notes.room
  strongroom inspect notes.room --json | jq '.header.slots'")]
pub(crate) struct Inspect {
    /// The file to look at
    file: PathBuf,
}

impl Inspect {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let inspection = strongroom::inspect(&self.file)?;
        let text = plain(&inspection.to_string());
        out.either(&inspection_json(&inspection), text)
    }
}

fn inspection_json(inspection: &Inspection) -> Value {
    json!({
        "authenticated": false,
        "file_bytes": inspection.file_bytes,
        "groups_by_length": inspection.groups_by_length,
        "in_use": inspection.in_use,
        "copies": inspection.copies.iter().map(copy_json).collect::<Vec<_>>(),
        "roots": inspection.roots.iter().map(root_json).collect::<Vec<_>>(),
        "header": inspection.header().map(header_json),
    })
}

fn copy_json(look: &CopyLook) -> Value {
    let state = match look {
        CopyLook::Whole(claims) => {
            return json!({ "state": "whole", "generation": claims.generation.0 });
        }
        CopyLook::Torn => "torn",
        CopyLook::Blank => "blank",
        CopyLook::OtherVersion(_) => "other_version",
        CopyLook::UnknownFeatures(_) => "unknown_features",
        CopyLook::Malformed(_) => "malformed",
        CopyLook::Unreadable(_) => "unreadable",
        _ => "foreign",
    };
    json!({ "state": state, "generation": null })
}

fn root_json(look: &RootLook) -> Value {
    let state = match look {
        RootLook::Sealed(epoch) => return json!({ "state": "sealed", "data_key": epoch.0 }),
        RootLook::Blank => "blank",
        RootLook::Missing => "missing",
        _ => "unreadable",
    };
    json!({ "state": state, "data_key": null })
}

fn header_json(claims: &HeaderClaims) -> Value {
    let data_keys = claims.epochs.iter().map(|epoch| {
        json!({
            "data_key": epoch.epoch.0,
            "state": shapes::epoch_state(epoch.state),
            "created": epoch.created,
            "retired": epoch.retired,
            "sealed_pages": epoch.sealed_pages,
        })
    });
    json!({
        "version": claims.version,
        "file_id": claims.file_id.to_string(),
        "generation": claims.generation.0,
        "admin_generation": claims.admin_generation,
        "created": claims.created,
        "split_roles": !claims.combined_roles,
        "slots": claims.slots.iter().map(shapes::slot_json).collect::<Vec<_>>(),
        "data_keys": data_keys.collect::<Vec<_>>(),
        "policy": shapes::policy_json(&claims.policy),
        "rotations": claims.rotations.iter().map(shapes::completion_json).collect::<Vec<_>>(),
    })
}

//! `inspect`: what a file says of itself to somebody without a key.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use strongroom::{CopyId, CopyLook, HeaderClaims, Inspection, RootLook};

use crate::failure::Failure;
use crate::output::{Output, count, moment, size};
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
        if out.is_json() {
            return out.json(&inspection_json(&inspection));
        }
        show(&inspection, out)
    }
}

fn show(inspection: &Inspection, out: &mut Output) -> Result<(), Failure> {
    let Inspection { file_bytes, groups_by_length, in_use, copies, roots, .. } = inspection;
    let head = out.paint().bold("not authenticated: whoever can write the file can write this");
    out.line(head)?;
    let in_use = if *in_use { ", in use" } else { "" };
    let groups = count(*groups_by_length, "group");
    out.line(format_args!("{}, room for {groups}{in_use}", size(*file_bytes)))?;
    for (copy, look) in CopyId::BOTH.into_iter().zip(copies) {
        out.line(format_args!("header, {copy}: {look}"))?;
    }
    for (copy, look) in CopyId::BOTH.into_iter().zip(roots) {
        let look = match look {
            RootLook::Sealed(epoch) => format!("says data key {}", epoch.0),
            RootLook::Blank => "zeros".to_owned(),
            RootLook::Missing => "the file ends before it".to_owned(),
            RootLook::Unreadable(kind) => format!("can't be read: {kind}"),
            _ => "unknown".to_owned(),
        };
        out.line(format_args!("root record, {copy}: {look}"))?;
    }
    match inspection.header() {
        Some(claims) => show_claims(claims, out),
        None => out.line("no header copy is whole: no credential opens the file"),
    }
}

fn show_claims(claims: &HeaderClaims, out: &mut Output) -> Result<(), Failure> {
    let roles = if claims.combined_roles { "combined" } else { "split" };
    out.line(format_args!(
        "format version {}, file id {}, made {}, roles {roles}",
        claims.version,
        claims.file_id,
        moment(claims.created)
    ))?;
    for slot in &claims.slots {
        out.line(shapes::slot_line(slot))?;
    }
    for epoch in &claims.epochs {
        let (state, made) = (shapes::epoch_state(epoch.state), moment(epoch.created));
        out.line(format_args!("data key {}: {state}, made {made}", epoch.epoch.0))?;
    }
    for done in &claims.rotations {
        out.line(shapes::completion_line(done))?;
    }
    out.line(shapes::policy_line(&claims.policy))
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

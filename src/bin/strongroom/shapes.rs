//! What several verbs show of a file, as JSON and in words: slots, data keys, policy, rotations.
//! The JSON's names are part of docs/cli.md.

use serde_json::{Value, json};
use strongroom::{
    AnchorStatus, Completion, Due, EpochInfo, EpochState, KeyStatus, Policy, Recovery, Role,
    SlotInfo, SlotKind,
};

use crate::output::{count, moment, plain, span};

pub(crate) fn slot_kind(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::RawKey => "raw key",
        SlotKind::KeyFile => "key file",
        SlotKind::Passphrase => "passphrase",
        SlotKind::RecoveryCode => "recovery code",
        SlotKind::AllOf => "several together",
        SlotKind::Provider => "provider",
        _ => "unknown",
    }
}

/// The word for it in JSON.
fn slot_kind_name(kind: SlotKind) -> String {
    slot_kind(kind).replace(' ', "_")
}

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Data => "data",
        Role::Admin => "admin",
    }
}

pub(crate) fn epoch_state(state: EpochState) -> &'static str {
    match state {
        EpochState::Active => "active",
        EpochState::Retired => "retired",
        EpochState::Compromised => "compromised",
        _ => "unknown",
    }
}

pub(crate) fn slot_json(slot: &SlotInfo) -> Value {
    json!({
        "slot": slot.id.0,
        "kind": slot_kind_name(slot.kind),
        "role": role(slot.role),
        "label": slot.label,
        "kdf": slot.kdf.map(|cost| json!({
            "memory_kib": cost.memory_kib, "passes": cost.passes, "lanes": cost.lanes,
        })),
        "created": slot.created,
        "not_after": slot.not_after,
        "expired": slot.expired,
    })
}

pub(crate) fn slot_line(slot: &SlotInfo) -> String {
    let mut line = format!("slot {}: {}, {}", slot.id.0, slot_kind(slot.kind), role(slot.role));
    if !slot.label.is_empty() {
        line.push_str(&format!(", \"{}\"", plain(&slot.label).replace('\n', "\\n")));
    }
    if let Some(cost) = slot.kdf {
        let (memory, passes) = (cost.memory_kib / 1024, cost.passes);
        line.push_str(&format!(", Argon2id {memory} MiB, {passes} passes"));
    }
    line.push_str(&format!(", made {}", moment(slot.created)));
    if let Some(not_after) = slot.not_after {
        let verb = if slot.expired { "EXPIRED" } else { "good until" };
        line.push_str(&format!(", {verb} {}", moment(not_after)));
    }
    line
}

pub(crate) fn epoch_json(epoch: &EpochInfo) -> Value {
    json!({
        "data_key": epoch.epoch.0,
        "state": epoch_state(epoch.state),
        "created": epoch.created,
        "age_s": epoch.age_s,
        "sealed_pages": epoch.sealed_pages,
        "share": epoch.share,
    })
}

pub(crate) fn epoch_line(epoch: &EpochInfo) -> String {
    let (state, age) = (epoch_state(epoch.state), span(epoch.age_s));
    let share =
        epoch.share.map_or(String::new(), |share| format!(", {:.1}% of the file", share * 100.0));
    format!("data key {}: {state}, {age} old{share}", epoch.epoch.0)
}

pub(crate) fn policy_json(policy: &Policy) -> Value {
    let kinds = [
        SlotKind::RawKey,
        SlotKind::KeyFile,
        SlotKind::Passphrase,
        SlotKind::RecoveryCode,
        SlotKind::AllOf,
        SlotKind::Provider,
    ];
    let allowed = kinds.into_iter().filter(|kind| policy.allows(*kind)).map(slot_kind_name);
    json!({
        "data_key_age_s": policy.data_key_age_s,
        "sweep_within_s": policy.sweep_within_s,
        "sealed_pages_soft": policy.sealed_pages_soft,
        "sealed_pages_hard": policy.sealed_pages_hard,
        "argon2_memory_min_kib": policy.argon2_memory_min_kib,
        "argon2_passes_min": policy.argon2_passes_min,
        "slots_min": policy.slots_min,
        "slot_kinds": allowed.collect::<Vec<_>>(),
    })
}

pub(crate) fn policy_line(policy: &Policy) -> String {
    format!(
        "policy: a data key lives {}, an old one must be gone within {}, {} at least",
        span(policy.data_key_age_s),
        span(policy.sweep_within_s),
        count(policy.slots_min.into(), "slot")
    )
}

pub(crate) fn completion_json(done: &Completion) -> Value {
    json!({
        "from": done.from.0,
        "to": done.to.0,
        "begun": done.begun,
        "ended": done.ended,
        "pages": done.pages,
        "lost": done.lost,
    })
}

pub(crate) fn completion_line(done: &Completion) -> String {
    let Completion { from, to, ended, pages, lost, .. } = done;
    let lost = if *lost > 0 { format!(", {lost} given up") } else { String::new() };
    let ended = moment(*ended);
    format!("rotated from data key {} to {}, done {ended}: {pages} pages{lost}", from.0, to.0)
}

pub(crate) fn due_json(due: &Due) -> Value {
    match due {
        Due::RotationByAge(epoch) => json!({"what": "rotation_by_age", "data_key": epoch.0}),
        Due::RotationByUse(epoch) => json!({"what": "rotation_by_use", "data_key": epoch.0}),
        Due::SweepOverdue(epoch) => json!({"what": "sweep_overdue", "data_key": epoch.0}),
        Due::SlotExpired(slot) => json!({"what": "slot_expired", "slot": slot.0}),
        other => json!({"what": other.to_string()}),
    }
}

pub(crate) fn due_line(due: &Due) -> String {
    match due {
        Due::RotationByAge(epoch) => {
            format!("data key {} is older than the policy allows: run `strongroom rotate`", epoch.0)
        }
        Due::RotationByUse(epoch) => {
            format!("data key {} has sealed its share of pages: run `strongroom rotate`", epoch.0)
        }
        Due::SweepOverdue(epoch) => {
            format!("data key {} should be gone: run `strongroom rotate`", epoch.0)
        }
        Due::SlotExpired(slot) => format!(
            "slot {} has expired: remove it, or give it another date (`strongroom key`)",
            slot.0
        ),
        other => other.to_string(),
    }
}

pub(crate) fn recovery_json(recovery: &Recovery) -> Value {
    json!({
        "clean": recovery.clean,
        "sync": recovery.sync.0,
        "passed_over": recovery.recovered_from.map(|sync| sync.0),
        "unreadable_root": recovery.unreadable_root,
        "scanned": recovery.scanned,
        "healed_header": recovery.healed_header,
        "healed_root": recovery.healed_root,
        "healed_tag_pages": recovery.erased_tag_pages,
        "torn_pages": recovery.torn_pages,
        "lost_pages": recovery.lost_pages,
        "journaled_pages": recovery.journaled_pages,
    })
}

pub(crate) fn recovery_line(recovery: &Recovery) -> String {
    if recovery.clean {
        return format!("closed cleanly, sync {}", recovery.sync.0);
    }
    let mut line = format!("recovered after a crash, sync {}", recovery.sync.0);
    if let Some(sync) = recovery.recovered_from {
        line.push_str(&format!("; sync {} had not finished", sync.0));
    }
    if recovery.lost_pages > 0 {
        line.push_str(&format!("; {} unused pages given up", recovery.lost_pages));
    }
    line
}

pub(crate) fn anchor_json(anchor: &AnchorStatus) -> Value {
    json!({
        "count": anchor.count,
        "acknowledged": anchor.acknowledged,
        "level": anchor.is_level(),
        "fault": anchor.fault.as_ref().map(ToString::to_string),
        "policy": {
            "at_close": anchor.policy.at_close,
            "at_key_changes": anchor.policy.at_key_changes,
            "commits": anchor.policy.commits,
            "seconds": anchor.policy.seconds,
        },
    })
}

pub(crate) fn anchor_line(anchor: &AnchorStatus) -> String {
    let level = if anchor.is_level() { "level with the file" } else { "BEHIND the file" };
    format!("anchor: at {}, {level} at {}", anchor.acknowledged, anchor.count)
}

pub(crate) fn keys_json(status: &KeyStatus) -> Value {
    json!({
        "file_id": status.file_id.to_string(),
        "generation": status.generation.0,
        "admin_generation": status.admin_generation,
        "split_roles": status.split_roles,
        "memory_locked": status.memory_locked,
        "slots": status.slots.iter().map(slot_json).collect::<Vec<_>>(),
        "data_keys": status.epochs.iter().map(epoch_json).collect::<Vec<_>>(),
        "policy": policy_json(&status.policy),
        "rotations": status.rotations.iter().map(completion_json).collect::<Vec<_>>(),
        "due": status.due.iter().map(due_json).collect::<Vec<_>>(),
    })
}

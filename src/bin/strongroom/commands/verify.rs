//! `verify`: every byte that a file stands on.

use std::ops::ControlFlow;

use clap::Args;
use serde_json::{Value, json};
use strongroom::{Finding, Report, Severity, Trees, VerifyOptions, VerifyPhase};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::OpenArgs;
use crate::output::{Output, plain};

/// Check every byte of a file
///
/// Reads both header copies, both root records, both copies of every tag page and every data page;
/// each must authenticate. Then redb checks its trees. Changes nothing, not even after a crash,
/// and works on files that no other verb opens. The file must not be open for writing.
///
/// Ends with code 0 where all data is there, also if a spare copy is damaged or a crash left debris
/// that the next open mends (--strict makes that a failure), and with 4 where data is damaged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strongroom verify notes.room
  strongroom verify notes.room --key-file notes.key --strict --quiet || echo 'look at it'")]
pub(crate) struct Verify {
    #[command(flatten)]
    open: OpenArgs,
    /// Threads that read and check, as many as there are cores unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// List at most so many findings; all of them are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    findings: usize,
    /// Leave out redb's check of its trees
    #[arg(long)]
    no_trees: bool,
    /// Take bytes from the system's cache: faster, and says less about the disk
    #[arg(long)]
    cached: bool,
    /// Fail on damaged spares and on debris too
    #[arg(long)]
    strict: bool,
}

impl Verify {
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Failure> {
        let builder = self.open.builder()?;
        let key = self.open.key()?;
        let progress = out.progress("verifying", "pages");
        let shown = progress.clone();
        let mut options = VerifyOptions::new()
            .findings_max(self.findings)
            .check_trees(!self.no_trees)
            .allow_cached(self.cached)
            .progress(move |at| {
                shown.phase(match at.phase {
                    VerifyPhase::Trees => "checking redb's trees",
                    _ => "verifying",
                });
                shown.at(at.done, at.total);
                ControlFlow::Continue(())
            });
        if let Some(threads) = self.threads {
            options = options.threads(threads);
        }
        let report = builder.verify(&self.open.file, &*key, &options);
        progress.end();
        let report = report?;
        let failed = !report.is_sound() || (self.strict && !report.is_spotless());
        out.either(&report_json(&report), plain(&report.to_string()))?;
        if failed { Err(Failure::Verdict(Exit::Damaged)) } else { Ok(()) }
    }
}

fn report_json(report: &Report) -> Value {
    let pages = &report.pages;
    let trees = match &report.trees {
        Trees::Sound => "sound",
        Trees::NotChecked(_) => "not_checked",
        Trees::Stopped(_) => "stopped",
        Trees::Inconsistent(_) => "inconsistent",
        _ => "panicked",
    };
    let data_keys = report.epochs.iter().map(
        |epoch| json!({ "data_key": epoch.epoch.0, "active": epoch.active, "pages": epoch.pages }),
    );
    json!({
        "sound": report.is_sound(),
        "spotless": report.is_spotless(),
        "file_id": report.file_id.to_string(),
        "file_bytes": report.file_bytes,
        "generation": report.generation.0,
        "sync": report.sync.map(|sync| sync.0),
        "closed": report.closed,
        "logical_pages": report.logical_pages,
        "groups": report.groups,
        "pages": {
            "sealed": pages.sealed,
            "opened": pages.opened,
            "in_journal": pages.in_journal,
            "bad": pages.bad,
            "absent": pages.absent,
            "lost": pages.lost,
            "unknown": pages.unknown,
            "used": pages.used,
        },
        "data_keys": data_keys.collect::<Vec<_>>(),
        "trees": trees,
        "counts": {
            "damage": report.counts.damage,
            "spare": report.counts.spare,
            "leftover": report.counts.leftover,
        },
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "seconds": report.elapsed.as_secs_f64(),
    })
}

fn finding_json(finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Damage => "damage",
        Severity::Spare => "spare",
        Severity::Leftover => "leftover",
    };
    json!({
        "severity": severity,
        "at": finding.at.to_string(),
        "offset": finding.at.offset().map(|offset| offset.0),
        "group": finding.at.group().map(|group| group.0),
        "what": finding.flaw.to_string(),
    })
}

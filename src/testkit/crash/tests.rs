//! Every behaviour of the crash machine that the power-cut tests lean on: if one of these were
//! wrong, those would pass for the wrong reason.

use super::*;

const NOTHING: Survival = Survival::Each(0.0);
const EVERYTHING: Survival = Survival::Each(1.0);

fn power_cut(survival: Survival) -> Crash {
    Crash::PowerCut { tearing: Tearing::Sector512, survival }
}

fn written(medium: &CrashMedium, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    medium.read_at(offset, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_loses_the_rest() {
    let disk = CrashMedium::new(1);
    disk.write_at(0, &[1; 1024]).unwrap();
    disk.sync().unwrap();
    disk.write_at(512, &[2; 1024]).unwrap();
    assert_eq!(written(&disk, 512, 1), [2]);
    assert_eq!(disk.durable_image(), [1; 1024]);
    let after = disk.crash(power_cut(NOTHING));
    assert_eq!((after.image(), after.durable_image()), (vec![1; 1024], vec![1; 1024]));
    // Nothing is pending any more: a second cut changes nothing.
    let again = after.crash(power_cut(EVERYTHING));
    assert_eq!(again.image(), [1; 1024]);
}

#[test]
fn the_same_seed_crashes_the_same_way() {
    let run = |seed| {
        let disk = CrashMedium::new(seed);
        disk.write_at(0, &[1; 65_536]).unwrap();
        disk.crash(power_cut(Survival::Each(0.5))).image()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn a_kill_keeps_the_cache_but_makes_nothing_durable() {
    let disk = CrashMedium::new(1);
    disk.write_at(0, &[1; 512]).unwrap();
    let killed = disk.crash(Crash::Kill);
    assert_eq!(killed.image(), [1; 512]);
    assert!(killed.durable_image().is_empty());
    // A sync after the restart makes it durable; a power cut instead would have lost it.
    assert!(killed.crash(power_cut(NOTHING)).image().is_empty());
    let disk = CrashMedium::new(1);
    disk.write_at(0, &[1; 512]).unwrap();
    let killed = disk.crash(Crash::Kill);
    killed.sync().unwrap();
    assert_eq!(killed.crash(power_cut(NOTHING)).image(), [1; 512]);
}

#[test]
fn after_a_failed_sync_lost_bytes_are_readable_until_the_cache_is_dropped() {
    let disk = CrashMedium::from_image(1, vec![0; 4096]);
    disk.write_at(0, &[1; 1024]).unwrap();
    disk.fail_sync_after(0, Tearing::Sector512, NOTHING);
    disk.sync().unwrap_err();
    assert!(disk.sync_failed() && !disk.is_off());
    // The next sync succeeds and proves nothing.
    disk.sync().unwrap();
    assert_eq!(written(&disk, 0, 1024), [1; 1024]);
    assert_eq!(disk.durable_image(), [0; 4096]);
    // A newer write is dirty, so dropping the cache doesn't touch it.
    disk.write_at(512, &[3; 8]).unwrap();
    assert_eq!(disk.drop_cache(0, 600).unwrap(), CacheDrop::Dropped);
    assert_eq!(written(&disk, 0, 512), [0; 512]);
    assert_eq!(written(&disk, 512, 8), [3; 8]);
    assert_eq!(written(&disk, 520, 80), [0; 80]);
    // Outside of the range the lost bytes are still there.
    assert_eq!(written(&disk, 600, 424), [1; 424]);
    disk.drop_cache(0, u64::MAX).unwrap();
    assert_eq!(written(&disk, 600, 424), [0; 424]);
    disk.sync().unwrap();
    assert_eq!(disk.durable_image(), disk.image());
}

#[test]
fn a_failed_sync_lands_in_part_and_lengths_are_tried_again() {
    let disk = CrashMedium::new(3);
    disk.set_len(1 << 20).unwrap();
    disk.write_at(0, &[1; 65_536]).unwrap();
    let tearing = Tearing::Sector512;
    let restarted = disk.crash(Crash::FailedSync { tearing, survival: Survival::Each(0.5) });
    let landed = restarted.durable_image().iter().filter(|byte| **byte == 1).count();
    assert!((1..65_536).contains(&landed), "{landed}");
    assert_eq!(restarted.len().unwrap(), 1 << 20);
    restarted.sync().unwrap();
    assert_eq!(restarted.durable_image().len(), 1 << 20);
    let ones = restarted.durable_image().iter().filter(|byte| **byte == 1).count();
    assert_eq!(ones, landed, "a later sync must not write what was lost");
}

#[test]
fn the_cut_comes_during_the_operation_it_was_set_for() {
    let disk = CrashMedium::new(1);
    disk.write_at(0, &[1; 512]).unwrap();
    assert_eq!(disk.operations(), 1);
    disk.cut_after(2);
    disk.sync().unwrap();
    disk.write_at(0, &[2; 512]).unwrap();
    let error = disk.sync().unwrap_err();
    assert_eq!(error.to_string(), "power is off");
    assert!(disk.is_off());
    assert!(disk.read_at(0, &mut [0]).is_err() && disk.write_at(0, &[1]).is_err());
    assert!(disk.len().is_err() && disk.set_len(0).is_err() && disk.sync().is_err());
    assert!(disk.try_lock(LockKind::Shared).is_err() && disk.drop_cache(0, 1).is_err());
    assert_eq!(disk.operations(), 4);
    // The sync that was cut had not landed everything.
    assert_eq!(disk.crash(power_cut(NOTHING)).image(), [1; 512]);
}

#[test]
fn a_cut_write_arrives_in_part() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let disk = CrashMedium::new(seed);
        disk.cut_after(0);
        disk.write_at(0, &[1; 100]).unwrap_err();
        lengths.insert(disk.crash(Crash::Kill).image().len());
    }
    assert!(lengths.len() > 5 && lengths.iter().all(|length| *length <= 100), "{lengths:?}");
}

#[test]
fn a_cut_length_change_happened_or_not() {
    let lengths: std::collections::BTreeSet<u64> = (0..20)
        .map(|seed| {
            let disk = CrashMedium::new(seed);
            disk.cut_after(0);
            disk.set_len(77).unwrap_err();
            disk.crash(Crash::Kill).len().unwrap()
        })
        .collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 77]);
}

#[test]
fn a_cut_at_a_point_counts_from_now() {
    let disk = CrashMedium::new(1);
    disk.reached("sync: start");
    disk.cut_at_point("sync: start", 1);
    disk.reached("sync: start");
    disk.reached("sync: end");
    assert!(!disk.is_off());
    disk.reached("sync: start");
    assert!(disk.is_off());
    assert_eq!(disk.points(), [("sync: end", 1), ("sync: start", 3)]);
}

#[test]
fn a_plan_can_be_taken_back_and_ends_with_a_crash() {
    let disk = CrashMedium::new(1);
    disk.cut_after(0);
    disk.fail_sync_after(0, Tearing::Sector512, NOTHING);
    disk.clear_plan();
    disk.sync().unwrap();
    disk.cut_after(0);
    let after = disk.crash(Crash::Kill);
    after.sync().unwrap();
}

#[test]
fn a_crash_kills_every_old_handle_and_frees_every_lock() {
    let disk = CrashMedium::new(1);
    let second = disk.clone();
    assert!(disk.try_lock(LockKind::Exclusive).unwrap());
    assert!(!second.try_lock(LockKind::Exclusive).unwrap());
    let after = disk.crash(Crash::Kill);
    assert!(second.len().is_err() && disk.len().is_err());
    assert!(after.try_lock(LockKind::Exclusive).unwrap());
    // The dead handle must not give back a lock of the living.
    drop((disk, second));
    assert!(!after.clone().try_lock(LockKind::Shared).unwrap());
}

#[test]
fn locks_conflict_between_handles_and_end_with_them() {
    let disk = CrashMedium::new(1);
    let (first, second) = (disk.clone(), disk.clone());
    assert!(first.try_lock(LockKind::Shared).unwrap());
    assert!(second.try_lock(LockKind::Shared).unwrap());
    assert!(!disk.try_lock(LockKind::Exclusive).unwrap());
    drop(first);
    second.unlock().unwrap();
    assert!(disk.try_lock(LockKind::Exclusive).unwrap());
}

#[test]
fn the_hook_runs_before_the_write_and_may_call_back() {
    let disk = CrashMedium::new(1);
    let inner = disk.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    disk.on_write(move |offset, data| {
        // Before the write: a sync here doesn't make it durable.
        inner.sync().unwrap();
        log.lock().unwrap().push((offset, data.len(), inner.len().unwrap()));
    });
    disk.write_at(0, &[1; 10]).unwrap();
    disk.write_at(10, &[1; 5]).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(0, 10, 0), (10, 5, 10)]);
    let after = disk.crash(power_cut(NOTHING));
    assert_eq!(after.len().unwrap(), 10);
    after.write_at(0, &[2]).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2, "a crash removes the hook");
}

#[test]
fn damage_and_forgery_reach_both_cache_and_disk() {
    let disk = CrashMedium::from_image(1, vec![0; 4]);
    disk.write_at(1, &[8]).unwrap();
    disk.damage(1, 1);
    disk.damage(99, 1);
    disk.forge(2, &[5, 6, 7]);
    assert_eq!(disk.image(), [0, 9, 5, 6]);
    assert_eq!(disk.durable_image(), [0, 1, 5, 6]);
}

#[test]
fn the_last_synced_ranges_are_those_of_the_last_sync() {
    let disk = CrashMedium::new(1);
    disk.write_at(0, &[1; 10]).unwrap();
    disk.sync().unwrap();
    disk.write_at(20, &[1; 5]).unwrap();
    disk.set_len(30).unwrap();
    assert_eq!(disk.last_synced(), [(0, 10)]);
    disk.sync().unwrap();
    assert_eq!((disk.last_synced(), disk.syncs()), (vec![(20, 5)], 2));
}

#[test]
fn writes_past_the_end_extend_and_reads_past_it_fail() {
    let disk = CrashMedium::new(1);
    disk.write_at(4, b"ab").unwrap();
    assert_eq!(disk.image(), [0, 0, 0, 0, b'a', b'b']);
    let error = disk.read_at(4, &mut [0; 3]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    disk.set_len(2).unwrap();
    disk.set_len(6).unwrap();
    assert_eq!(disk.image(), [0; 6]);
}

#[test]
fn an_image_is_a_value_and_the_machine_runs_on() {
    let disk = CrashMedium::new(1);
    disk.write_at(0, &[1; 512]).unwrap();
    disk.sync().unwrap();
    disk.write_at(0, &[2; 65_536]).unwrap();
    assert!(disk.try_lock(LockKind::Exclusive).unwrap());
    let image = |seed| disk.image_after(power_cut(Survival::Each(0.5)), seed);
    assert_eq!(image(5).image(), image(5).image());
    assert_ne!(image(5).image(), image(6).image());
    // Nothing of it is seen on the machine itself, whose next crash draws as if there were none.
    let (first, second) = (image(5), image(5));
    assert!(first.try_lock(LockKind::Exclusive).unwrap(), "the image is unlocked");
    first.write_at(0, &[9; 512]).unwrap();
    assert_eq!(second.image(), image(5).image());
    assert_eq!((disk.image(), disk.durable_image()), (vec![2; 65_536], vec![1; 512]));
    assert_eq!(disk.image_after(Crash::Kill, 1).image(), [2; 65_536]);
    let other = CrashMedium::from_image(1, vec![1; 512]);
    other.write_at(0, &[2; 65_536]).unwrap();
    let crash = power_cut(Survival::Each(0.5));
    assert_eq!(disk.crash(crash).image(), other.crash(crash).image());
}

#[test]
fn a_lying_disk_returns_from_its_syncs_and_keeps_nothing() {
    let disk = CrashMedium::new(1);
    disk.lose_syncs_after(1, 2);
    for byte in 1..=3 {
        disk.write_at(0, &[byte; 512]).unwrap();
        disk.sync().unwrap();
    }
    assert_eq!((disk.syncs(), disk.syncs_lost()), (3, 2));
    assert_eq!(disk.durable_image(), [1; 512]);
    assert_eq!(disk.image_after(power_cut(NOTHING), 1).image(), [1; 512]);
    // The next one is honest, and makes all that came before durable.
    disk.sync().unwrap();
    assert_eq!(disk.durable_image(), [3; 512]);
}

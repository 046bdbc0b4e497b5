//! The plan's words round trip, and each fault does what its sentence says.

use std::io;

use proptest::prelude::*;

use super::{Fault, FaultKind, FaultPlan, FaultyMedium, Place, When};
use crate::medium::{Medium, MemoryMedium};

fn kind() -> impl Strategy<Value = FaultKind> {
    let number = any::<u64>;
    prop_oneof![
        Just(FaultKind::ReadError),
        Just(FaultKind::ShortRead),
        any::<i64>().prop_map(|by| FaultKind::MisdirectedRead { by }),
        (number(), 0..8_u8).prop_map(|(byte, bit)| FaultKind::BitFlipOnRead { byte, bit }),
        Just(FaultKind::WriteError),
        Just(FaultKind::ShortWrite),
        Just(FaultKind::LostWrite),
        any::<i64>().prop_map(|by| FaultKind::MisdirectedWrite { by }),
        number().prop_map(|nth| FaultKind::StaleSector { nth }),
        (number(), 0..8_u8).prop_map(|(byte, bit)| FaultKind::BitFlipOnWrite { byte, bit }),
        Just(FaultKind::SyncError),
        Just(FaultKind::LostSync),
        Just(FaultKind::ResizeError),
        number().prop_map(|byte| FaultKind::DiskFullAt { byte }),
        number().prop_map(|bytes| FaultKind::DiskFullAfter { bytes }),
        number().prop_map(|byte| FaultKind::TruncatedTo { byte }),
        number().prop_map(|micros| FaultKind::Slow { micros }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let place = prop_oneof![
        Just(Place::Anywhere),
        Just(Place::Header),
        Just(Place::RootRecord),
        Just(Place::TagPage),
        Just(Place::DataPage),
        any::<(u64, u64)>().prop_map(|(start, end)| Place::Bytes { start, end }),
    ];
    let passing = any::<u64>();
    let when = prop_oneof![
        Just(When::ForEverAfter(0)),
        passing.prop_map(When::OnceAfter),
        passing.prop_map(When::ForEverAfter),
    ];
    (kind(), place, when).prop_map(|(what, place, when)| Fault { what, place, when })
}

proptest! {
    #[test]
    fn a_plan_prints_and_parses_back(faults in proptest::collection::vec(fault(), 0..5)) {
        let plan = FaultPlan { faults };
        let line = plan.to_string();
        prop_assert_eq!(line.parse::<FaultPlan>(), Ok(plan));
        prop_assert!(!line.contains('\n'));
    }

    #[test]
    fn no_text_panics_and_what_parses_prints_back(text in "[a-z0-9 ;.]{0,40}") {
        if let Ok(plan) = text.parse::<FaultPlan>() {
            prop_assert_eq!(plan.to_string().parse::<FaultPlan>(), Ok(plan));
        }
    }
}

#[test]
fn nonsense_is_refused_with_the_words_in_question() {
    for text in [
        "",
        "read",
        "read error in attic",
        "read error once",
        "read error at operation 0",
        "bit flip on read at byte 5 bit 8",
        "write error; ",
        "misdirected write by far",
    ] {
        let error = text.parse::<FaultPlan>().unwrap_err().to_string();
        let last = text.rsplit(';').next().unwrap().trim();
        assert!(error.contains(last) && error.contains("once after 3"), "{error}");
    }
    let numbered: FaultPlan = "read error at operation 7".parse().unwrap();
    assert_eq!(numbered.to_string(), "read error once after 6");
}

fn disk(plan: &str) -> FaultyMedium<MemoryMedium> {
    let disk = FaultyMedium::new(MemoryMedium::from_bytes(vec![1; 8192]));
    disk.arm(plan.parse().unwrap());
    disk
}

fn read(disk: &impl Medium, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut out = vec![0; len];
    disk.read_at(offset, &mut out).map(|()| out)
}

#[test]
fn each_fault_does_what_it_says_to_a_read() {
    assert!(read(&disk("read error"), 0, 4).is_err());
    let short = read(&disk("short read"), 0, 4).unwrap_err();
    assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    let flipped = disk("bit flip on read at byte 5 bit 2");
    assert_eq!(read(&flipped, 4, 3).unwrap(), [1, 5, 1]);
    assert_eq!(read(&flipped, 0, 4).unwrap(), [1; 4]);
    assert_eq!(flipped.fired(), 1);
    let off = disk("misdirected read by -2");
    off.inner().write_at(0, &[9, 8]).unwrap();
    assert_eq!(read(&off, 2, 2).unwrap(), [9, 8]);
    let cut = disk("truncated to byte 6");
    assert_eq!(cut.len().unwrap(), 6);
    assert!(read(&cut, 0, 6).is_ok());
    assert_eq!(read(&cut, 0, 7).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

/// What 1024 twos at 512 leave, byte by byte where it isn't a one.
fn after_a_write(plan: &str) -> (bool, Vec<(usize, u8)>) {
    let disk = disk(plan);
    let result = disk.write_at(512, &[2; 1024]);
    let bytes = disk.inner().to_bytes().into_iter().enumerate();
    (result.is_ok(), bytes.filter(|(_, byte)| *byte != 1).collect())
}

#[test]
fn each_fault_does_what_it_says_to_a_write() {
    let twos = |from: usize, to: usize| (from..to).map(|at| (at, 2)).collect::<Vec<_>>();
    assert_eq!(after_a_write("no fault"), (true, twos(512, 1536)));
    assert_eq!(after_a_write("write error"), (false, vec![]));
    assert_eq!(after_a_write("lost write"), (true, vec![]));
    assert_eq!(after_a_write("short write"), (false, twos(512, 1024)));
    assert_eq!(after_a_write("misdirected write by 4096"), (true, twos(4608, 5632)));
    assert_eq!(after_a_write("stale sector 0 on write"), (true, twos(1024, 1536)));
    assert_eq!(after_a_write("stale sector 2 on write"), (true, twos(512, 1536)));
    assert_eq!(after_a_write("disk full at byte 600"), (false, twos(512, 600)));
    assert_eq!(after_a_write("disk full after 7 bytes"), (false, twos(512, 519)));
    assert_eq!(after_a_write("write error in tag page"), (true, twos(512, 1536)));
    assert_eq!(after_a_write("write error in header"), (false, vec![]));
    assert_eq!(after_a_write("write error in bytes 1535..1600"), (false, vec![]));
    assert!(after_a_write("write error in bytes 1536..1600").0);
    let (fine, bytes) = after_a_write("bit flip on write at byte 600 bit 0");
    assert!(fine && bytes.contains(&(600, 3)) && bytes.len() == 1024);
}

#[test]
fn syncs_and_lengths_fail_once_or_for_ever() {
    let once = disk("fsync error once after 1");
    let results = [(); 4].map(|()| once.sync().is_ok());
    assert_eq!((results, once.fired()), ([true, false, true, true], 1));
    let for_ever = disk("fsync error for ever after 2");
    assert_eq!([(); 4].map(|()| for_ever.sync().is_ok()), [true, true, false, false]);
    for_ever.disarm();
    assert!(for_ever.sync().is_ok() && for_ever.fired() == 0);
    assert!(disk("resize error").set_len(0).is_err());
    let full = disk("disk full at byte 9000");
    assert!(full.set_len(9001).is_err() && full.set_len(9000).is_ok() && full.set_len(5).is_ok());
}

#[test]
fn a_clone_shares_the_plan() {
    let disk = disk("no fault");
    let handle = disk.clone();
    handle.arm("slow by 1 us".parse().unwrap());
    assert!(disk.sync().is_ok());
    assert_eq!(handle.fired(), 1);
}

//! A header put back: from a backup, or from the other copy; what is refused, and what is said.

use super::*;

fn without_headers(medium: &MemoryMedium) -> MemoryMedium {
    let mut bytes = medium.to_bytes();
    bytes[..65_536].fill(0xA5);
    bytes[..16].copy_from_slice(b"\x89STRONGROOM\r\n\x1a\n\0");
    bytes[16..18].copy_from_slice(&[1, 0]);
    MemoryMedium::from_bytes(bytes)
}

#[test]
fn a_lost_header_comes_back_from_its_backup() {
    let (medium, db) = made();
    let backup = db.header_backup().unwrap();
    db.close().unwrap();
    let lost = without_headers(&medium);
    let error = opens(&lost, &raw(1)).unwrap_err();
    assert!(matches!(error, OpenError::HeaderLost), "{error}");
    let text = error.to_string();
    assert!(text.contains("every wrapped key") && text.contains("header backup"), "{text}");
    let put_back = |backup: &[u8], key: u8, turn_back| {
        at(NOW).restore_header_on(lost.clone(), backup, &raw(key), turn_back)
    };
    refused!(lost, put_back(&backup[1..], 1, TurnBack::Refuse), KeyError::NotABackup(_));
    refused!(lost, put_back(&[0; 32_768], 1, TurnBack::Allow), KeyError::NotABackup(_));
    let wrong = KeyError::Open(OpenError::WrongKey);
    assert!(
        matches!(put_back(&backup, 9, TurnBack::Refuse), Err(error) if error.to_string() == wrong.to_string())
    );
    let restored = put_back(&backup, 2, TurnBack::Refuse).unwrap();
    assert_eq!(
        (restored.generation, restored.restored),
        (restored.newest_seen, restored.generation)
    );
    assert_eq!(restored.slots.len(), 4);
    assert_eq!(openers(&lost), [1, 2, 3, 4]);
}

#[test]
fn a_backup_of_another_file_or_another_time_is_refused() {
    let (medium, db) = made();
    let older = db.header_backup().unwrap();
    let _ = db.admin(&raw(1)).unwrap().revoke_data(SlotId(2)).unwrap();
    let newer = db.header_backup().unwrap();
    db.close().unwrap();
    let (other_medium, other) = made();
    let foreign = other.header_backup().unwrap();
    other.close().unwrap();
    let restore = |medium: &MemoryMedium, backup: &[u8], turn_back| {
        at(NOW).restore_header_on(medium.clone(), backup, &raw(1), turn_back)
    };
    refused!(medium, restore(&medium, &foreign, TurnBack::Allow), KeyError::ForeignHeader { .. });
    let lost = without_headers(&medium);
    refused!(lost, restore(&lost, &foreign, TurnBack::Allow), KeyError::NoRootOpens);
    for file in [&medium, &lost] {
        refused!(file, restore(file, &older, TurnBack::Refuse), KeyError::WouldTurnBack { .. });
    }
    let open = at(NOW).open_on(medium.clone(), &raw(1)).unwrap();
    refused!(
        medium,
        restore(&medium, &newer, TurnBack::Refuse),
        KeyError::Open(OpenError::AlreadyOpen)
    );
    drop(open);
    assert!(restore(&lost, &newer, TurnBack::Refuse).is_ok());
    assert_eq!(openers(&lost), [1, 3, 4]);
    // Forced: said how far it went back, and the file lives on.
    let forced = restore(&lost, &older, TurnBack::Allow).unwrap();
    assert!(forced.restored < forced.newest_seen && forced.generation > forced.newest_seen);
    assert!(forced.to_string().contains("turned back from generation 5"), "{forced}");
    assert_eq!(openers(&lost), [1, 2, 3, 4], "the revoked credential is back");
    let db = at(NOW).open_on(lost.clone(), &raw(2)).unwrap();
    write(&db, 7);
    db.admin(&raw(1)).unwrap().remove(SlotId(3)).unwrap();
    db.close().unwrap();
    assert_eq!(openers(&lost), [1, 2, 4]);
    assert_eq!(openers(&other_medium), [1, 2, 3, 4]);
}

/// Raises the generation in header copy A and puts its CRC right: what an attacker can do.
fn forge_newest(medium: &MemoryMedium) -> MemoryMedium {
    let mut bytes = medium.to_bytes();
    bytes[24..32].copy_from_slice(&999_u64.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..32_764]).to_le_bytes();
    bytes[32_764..32_768].copy_from_slice(&crc);
    MemoryMedium::from_bytes(bytes)
}

#[test]
fn a_forged_newest_copy_is_passed_over_only_when_asked() {
    let (medium, db) = made();
    db.close().unwrap();
    let recover = |medium: &MemoryMedium, key: u8, turn_back| {
        at(NOW).recover_header_on(medium.clone(), &raw(key), turn_back)
    };
    refused!(medium, recover(&medium, 1, TurnBack::Allow), KeyError::HeaderIntact);
    let forged = forge_newest(&medium);
    let opened = opens(&forged, &raw(1)).map(drop);
    assert!(matches!(opened, Err(OpenError::Damaged(Damage::Header { .. }))), "{opened:?}");
    refused!(forged, recover(&forged, 9, TurnBack::Allow), KeyError::Open(OpenError::WrongKey));
    let recovered = recover(&forged, 1, TurnBack::Refuse).unwrap();
    assert_eq!(recovered.restored, recovered.newest_seen, "nothing was turned back");
    assert_eq!(openers(&forged), [1, 2, 3, 4]);

    // A newest copy with a slot table of somebody else's: it may be right, so it takes a word more.
    let (other_medium, other) = made();
    other.close().unwrap();
    let mut bytes = forge_newest(&medium).to_bytes();
    bytes[2048..26_624].copy_from_slice(&other_medium.to_bytes()[2048..26_624]);
    let crc = crc32fast::hash(&bytes[..32_764]).to_le_bytes();
    bytes[32_764..32_768].copy_from_slice(&crc);
    let forged = MemoryMedium::from_bytes(bytes);
    refused!(forged, recover(&forged, 1, TurnBack::Refuse), KeyError::WouldTurnBack { .. });
    recover(&forged, 1, TurnBack::Allow).unwrap();
    assert_eq!(openers(&forged), [1, 2, 3, 4]);

    let mut one_copy = forge_newest(&medium).to_bytes();
    one_copy[32_768..65_536].fill(0);
    let one_copy = MemoryMedium::from_bytes(one_copy);
    refused!(one_copy, recover(&one_copy, 1, TurnBack::Allow), KeyError::NoOtherCopy);
}

#[test]
fn files_do_it_as_media_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.room");
    let db = at(NOW).create_split(&path, &raw(1), &raw(2)).unwrap();
    write(&db, 7);
    let backup = db.header_backup().unwrap();
    db.close().unwrap();
    assert!(matches!(
        at(NOW).create_split(&path, &raw(1), &raw(2)),
        Err(OpenError::AlreadyExists(_))
    ));
    let intact = at(NOW).recover_header(&path, &raw(2), TurnBack::Refuse);
    assert!(matches!(intact, Err(KeyError::HeaderIntact)), "{intact:?}");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..65_536].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    at(NOW).restore_header(&path, &backup, &raw(2), TurnBack::Refuse).unwrap();
    assert_eq!(read(&at(NOW).open(&path, &raw(2)).unwrap()), 7);
    let missing = at(NOW).restore_header(folder.path(), &backup, &raw(2), TurnBack::Refuse);
    assert!(matches!(missing, Err(KeyError::Open(OpenError::IsDirectory(_)))));
}

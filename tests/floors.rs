//! Shows that the house is built as docs/design.md says: a file imports lower floors or its own
//! room only, every outside crate has one door, no file is longer than 600 lines or holds a byte
//! that is not ASCII, and none but `siv` and `medium/map.rs` says `unsafe`. Reads sources as
//! text: tests included, comments not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test")]

use std::fs;
use std::path::Path;

/// Rooms by floor, lowest first; rooms on one floor do not see each other. The crate root may
/// import everything, and so may the testkit, which nobody else may import.
const FLOORS: &str =
    "units locks events crew / layout wire error holes / secret siv random clock medium /
    crypto anchor drafts / format / keys / store / backend admin rotation verify inspect prove providers /
    database / builder / salvage testkit / convert backup";
/// Outside crates and the files or rooms that may name them; `*` is all of them.
const DOORS: &str =
    "zeroize: *; aes_gcm_siv: crypto; aws_lc_rs: crypto; blake3: crypto; argon2: keys;
    getrandom: random.rs; memmap2: secret.rs medium/map.rs; rustix: medium/file.rs secret
    siv/kernel/tests/guard_pages.rs;
    crc32fast: format/header.rs anchor/record.rs; shuttle: locks.rs;
    redb: lib.rs error backend.rs database.rs builder.rs verify/trees.rs salvage testkit
    convert backup; tracing: events.rs; aes: ; polyval: ;
    cryptoki: providers/pkcs11.rs providers/pkcs11; tss_esapi: providers/tpm.rs providers/tpm;
    ureq: providers/kms.rs; rustls: providers/kms.rs; serde_json: providers bin; base64ct: providers bin;
    clap: bin; clap_complete: bin; clap_mangen: bin; rpassword: bin";
const LINES_MAX: usize = 600;

fn rust_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| vec![path.to_str().unwrap().to_owned()];
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { name(&path) }).collect()
}

fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

fn floor(room: &str) -> Option<usize> {
    let mut floors = FLOORS.split('/').chain(["lib"]);
    floors.position(|rooms| rooms.split_whitespace().any(|known| known == room))
}

fn doors() -> impl Iterator<Item = (&'static str, &'static str)> {
    DOORS.split(';').map(|row| row.trim().split_once(':').unwrap())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What stands behind each `path` that is not the end of a longer word.
fn after<'a>(code: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    let hits = code.match_indices(path).filter(|(at, _)| !code[..*at].ends_with(is_word));
    hits.map(|(at, _)| &code[at + path.len()..])
}

fn faults(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (own, mut depth) = (floor(room(file)), file.split('/').count());
    let mut check = |good: bool, line: usize, what: &str| {
        faults.extend((!good).then(|| format!("{file}:{line}: {what}")));
    };
    check(own.is_some(), 0, "on no floor");
    check(text.is_ascii(), 0, "not ASCII");
    check(text.lines().count() <= LINES_MAX, LINES_MAX, "too long");
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or("");
        depth += usize::from(code.starts_with("mod tests {"));
        for behind in after(code, "crate::") {
            let word = behind.split(|c| !is_word(c)).next().unwrap();
            let lower = floor(word).is_some_and(|floor| Some(floor) < own) && word != "testkit";
            check(lower || [word, "testkit"].contains(&room(file)), number, line);
        }
        check(code.matches("super::").count() < depth, number, "leaves its room by `super`");
        let mut unsafes = after(code, "unsafe").filter(|behind| !behind.starts_with(is_word));
        let opened = room(file) == "siv" || file == "medium/map.rs";
        check(opened || unsafes.next().is_none(), number, "unsafe");
        for (name, doors) in doors() {
            let named = after(code, name).any(|behind| behind.starts_with("::"))
                || after(code, "use ")
                    .filter_map(|behind| behind.strip_prefix(name))
                    .any(|behind| !behind.starts_with(is_word));
            let open = doors.split_whitespace().any(|door| {
                ["*", file, room(file)].contains(&door) || file.starts_with(&format!("{door}/"))
            });
            check(open || !named, number, line);
        }
    }
    faults
}

#[test]
fn every_file_keeps_to_its_floor_and_every_crate_to_its_door() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let table = manifest.split("\n[").find(|part| part.starts_with("dependencies]")).unwrap();
    for (name, _) in table.lines().filter_map(|line| line.split_once(" = ")) {
        let known = doors().any(|(known, _)| known == name.replace('-', "_"));
        assert!(known || name.starts_with('#'), "no door: {name}");
    }
    let src = format!("{}/", root.join("src").display());
    let (files, mut found) = (rust_files(Path::new(&src)), Vec::new());
    for path in &files {
        found.extend(faults(path.strip_prefix(&src).unwrap(), &fs::read_to_string(path).unwrap()));
    }
    println!("figure: source files = {}", files.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

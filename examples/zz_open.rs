use strongroom::{Builder, RawKey, redb::TableDefinition};
const T: TableDefinition<u64, &[u8]> = TableDefinition::new("t");
fn main() {
    let p = "/tmp/openb/x.room";
    let _ = std::fs::remove_file(p);
    let db = Builder::new().create(p, &RawKey::new([1; 32])).unwrap();
    let w = db.begin_write().unwrap();
    {
        let mut t = w.open_table(T).unwrap();
        for i in 0..4200u64 {
            t.insert(i, [i as u8; 60_000].as_slice()).unwrap();
        }
    }
    w.commit().unwrap();
    db.close().unwrap();
    let mut v = vec![];
    let mut c = vec![];
    for _ in 0..60 {
        let t = std::time::Instant::now();
        let db = Builder::new().open(p, &RawKey::new([1; 32])).unwrap();
        v.push(t.elapsed().as_micros());
        let t = std::time::Instant::now();
        db.close().unwrap();
        c.push(t.elapsed().as_micros());
    }
    v.sort();
    c.sort();
    println!("open median {} min {} close median {} min {}", v[30], v[0], c[30], c[0]);
}

//! Crashes and attacks that random work doesn't reach: one root copy damaged after a clean close,
//! an old page damaged after an unclean one, a cut in creation, a second open, a sync while a page
//! is on its way. Each answers `Err` with what went wrong, with and without a planted hole.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::redb::StorageBackend;
use strongroom::testkit::{Crash, CrashMedium, Hole, SeededRandom, Survival, Tearing};
use strongroom::{EncryptedBackend, OpenError};

use strongroom::testkit::model::{
    Content, Found, Life, NotOpened, Observed, Room, Settings, Step, Taste, Transaction, Vault,
};

const PAGE: u64 = 4096;
const ROOT_A: u64 = 16 * PAGE;
const GROUPS: u64 = 20 * PAGE;

const ALL_LOST: Crash =
    Crash::PowerCut { tearing: Tearing::Sector512, survival: Survival::Each(0.0) };

fn settings(hole: Option<Hole>) -> Settings {
    Settings {
        cache_bytes: 64 << 10,
        tag_cache_bytes: None,
        seal_reserve: None,
        gathered_pages: None,
        late_entries: None,
        hole,
    }
}

/// A database at work, and what happens to it.
struct Scene {
    life: Life<Vault>,
    random: SeededRandom,
    taste: Taste,
}

impl Scene {
    /// A new database.
    fn new(settings: Settings, seed: u64) -> Result<Self, String> {
        let mut random = SeededRandom::new(seed);
        let mut life = Life::new(CrashMedium::new(random.next_u64()), settings);
        if !life.create().map_err(|verdict| format!("{verdict:?}"))? {
            return Err("creation was cut".to_owned());
        }
        let taste = Taste::draw(&mut random);
        Ok(Self { life, random, taste })
    }

    /// A new database with some random work done.
    fn worked(hole: Option<Hole>, seed: u64) -> Result<Self, String> {
        let mut scene = Self::new(settings(hole), seed)?;
        let steps = 1 + scene.random.below(6);
        scene.fill(20)?;
        for _ in 0..steps {
            let step = Step::draw(&mut scene.random, &scene.taste);
            scene.step(step)?;
        }
        // Whatever went before, this one is durable.
        scene.fill(2)?;
        Ok(scene)
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        self.life.step(&step).map_err(|trouble| trouble.to_string())
    }

    /// One durable transaction that inserts this many rows.
    fn fill(&mut self, rows: u64) -> Result<(), String> {
        self.fill_with(rows, false)
    }

    /// The same, perhaps with quick repair, after which redb opens without looking at any page.
    fn fill_with(&mut self, rows: u64, quick_repair: bool) -> Result<(), String> {
        let filling = Transaction::filling(&mut self.random, &self.taste, rows);
        self.step(Step::Transaction(Transaction { quick_repair, ..filling }))
    }

    fn put_large(&mut self) -> Result<(), String> {
        let large = Transaction::large(&mut self.random, &self.taste);
        self.step(Step::Transaction(large))
    }

    /// The crash comes now: the database gets to do nothing any more.
    fn crash(&mut self, crash: Crash) {
        self.life.medium.cut_after(0);
        self.life.crash(crash);
    }

    fn open_and_judge(&mut self) -> Result<(), String> {
        let opened = self.life.open().and_then(|()| self.life.judge());
        opened.map_err(|verdict| format!("{verdict:?}"))
    }

    fn db(&self) -> Result<&Vault, String> {
        self.life.db.as_ref().ok_or_else(|| "no database".to_owned())
    }
}

/// After damage: an error, or exactly the newest state; never an older one.
fn newest_or_error(life: &mut Life<Vault>) -> Result<&'static str, String> {
    let db = match Vault::open(life.medium.clone(), life.settings) {
        Ok(db) => db,
        Err(NotOpened::CreationCut(_) | NotOpened::Failed(_)) => return Ok("open says so"),
    };
    let Ok(observed) = Observed::read(db.redb()) else { return Ok("reading says so") };
    let difference = observed.difference(life.history.newest());
    match life.history.find(&observed) {
        Found::Allowed => Ok("the newest state"),
        Found::Older(by) => Err(format!("{by} acknowledged commits lost in silence: {difference}")),
        Found::None => Err(format!("wrong data: {difference}")),
    }
}

/// H6: one root copy is damaged after a clean close. The other one is as new, so the newest state
/// is there, or an error. In every second run redb itself had no chance to close: the last commit
/// is then the last sync, and a fallback by one sync loses it.
pub fn damaged_root_after_clean_close(hole: Option<Hole>, seed: u64) -> Result<(), String> {
    let mut scene = Scene::worked(hole, seed)?;
    if scene.random.chance(0.5) {
        let db = scene.db()?.redb();
        let aborted = panic::catch_unwind(AssertUnwindSafe(|| {
            let _write = db.begin_write();
            panic!("a transaction is dropped while a panic unwinds");
        }));
        assert!(aborted.is_err());
    }
    scene.life.close().map_err(|trouble| trouble.to_string())?;
    let copy = scene.random.below(2);
    let bit = 1 << scene.random.below(8);
    scene.life.medium.damage(ROOT_A + copy * PAGE + scene.random.below(PAGE), bit);
    newest_or_error(&mut scene.life)?;
    Ok(())
}

/// H7: a page that the last sync did not write is damaged while the file is unclean: whatever is
/// read must be an error or the right data. Two kinds of page are worth it: one that the last
/// commit wrote, but an earlier sync of the same commit made durable, since forgiving it takes the
/// commit back; and any page where redb opens without a walk, since zeros then reach a reader.
pub fn damaged_old_page(hole: Option<Hole>, seed: u64) -> Result<(), String> {
    let mut scene = Scene::worked(hole, seed)?;
    let quick_repair = scene.random.chance(0.5);
    let before = scene.life.medium.durable_image();
    scene.fill_with(if quick_repair { 5 } else { 400 }, quick_repair)?;
    let after = scene.life.medium.durable_image();
    let last_synced = scene.life.medium.last_synced();
    scene.crash(ALL_LOST);
    let in_last_sync = |start: u64| {
        last_synced.iter().any(|(offset, length)| *offset < start + PAGE && start < offset + length)
    };
    if !in_last_sync(ROOT_A) && !in_last_sync(ROOT_A + PAGE) {
        return Ok(());
    }
    let old: Vec<u64> = (GROUPS..after.len() as u64)
        .step_by(PAGE as usize)
        .filter(|start| (start - GROUPS) / PAGE % 128 >= 2 && !in_last_sync(*start))
        .filter(|start| {
            let range = *start as usize..(start + PAGE) as usize;
            let page = after.get(range.clone()).unwrap_or_default();
            let changed = before.get(range) != Some(page);
            page.iter().any(|byte| *byte != 0) && (quick_repair || changed)
        })
        .collect();
    let Some(page) = scene.random.pick(&old).copied() else { return Ok(()) };
    scene.life.medium.damage(page + scene.random.below(PAGE), 1 << scene.random.below(8));
    newest_or_error(&mut scene.life)?;
    Ok(())
}

/// A commit is lost in part, but only pages behind the end of a leaf's last value: redb's checksums
/// don't cover them, so it takes the commit for whole. Those pages must stay readable.
pub fn torn_slack(hole: Option<Hole>, seed: u64) -> Result<(), String> {
    let mut scene = Scene::worked(hole, seed)?;
    scene.put_large()?;
    let tearing = *scene.random.pick(&[Tearing::Sector512, Tearing::Page4096]).unwrap();
    let failed_sync = scene.random.chance(0.5);
    if failed_sync {
        scene.life.medium.fail_sync_after(0, tearing, Survival::AllButOne);
    } else {
        // The commit's writes are as many as the large row before it took, then comes the sync.
        let before = scene.life.medium.operations();
        scene.put_large()?;
        scene.life.medium.cut_after(scene.life.medium.operations() - before - 1);
    }
    let committed = scene.put_large();
    let survival = Survival::AllButOne;
    let power_cut = Crash::PowerCut { tearing, survival };
    scene.crash(if failed_sync { Crash::Kill } else { power_cut });
    let opened = scene.open_and_judge();
    let finished = opened
        .and_then(|()| scene.life.finish().map_err(|verdict| format!("at the end: {verdict:?}")));
    finished.map_err(|error| format!("commit {committed:?}, then {error}"))
}

/// R2: the store syncs by itself, here after a few pages, also in the middle of redb's flush. The
/// power goes a little later: pages that redb had used before are half overwritten by then, and
/// nothing durable may ask for what they were to hold.
pub fn own_sync_in_a_flush(hole: Option<Hole>, seed: u64) -> Result<(), String> {
    let seal_reserve = Some(SeededRandom::new(seed).between(8, 60));
    let settings =
        Settings { cache_bytes: 4 << 20, seal_reserve, gathered_pages: Some(0), ..settings(hole) };
    let mut scene = Scene::new(settings, seed)?;
    for _ in 0..6 {
        scene.fill(60)?;
    }
    scene.life.medium.cut_after(scene.random.below(100));
    let _ = scene.fill(60);
    let survival = *scene.random.pick(&[Survival::Prefix, Survival::Each(0.5)]).unwrap();
    scene.crash(Crash::PowerCut { tearing: Tearing::WholeWrite, survival });
    scene.open_and_judge()
}

/// H13: a cut anywhere in creation leaves an empty database, or word that creation was cut off.
pub fn cut_in_creation(hole: Option<Hole>, seed: u64) -> Result<bool, String> {
    let mut random = SeededRandom::new(seed);
    let medium = CrashMedium::new(random.next_u64());
    medium.cut_after(random.below(12));
    let created = Vault::create(medium.clone(), settings(hole));
    if created.is_err() && !medium.is_off() {
        return Err("creation failed without a cut".to_owned());
    }
    let tearing = *random.pick(&Tearing::ALL).unwrap();
    let survival = Survival::Each(*random.pick(&[0.0, 0.1, 0.5, 0.9, 1.0]).unwrap());
    let medium = medium.crash(Crash::PowerCut { tearing, survival });
    let returned = created.is_ok();
    drop(created);
    match Vault::open(medium, settings(hole)) {
        Ok(db) => {
            let observed = Observed::read(db.redb())?;
            if observed.is(&Content::default()) { Ok(true) } else { Err("not empty".to_owned()) }
        }
        Err(NotOpened::CreationCut(_)) if !returned => Ok(false),
        Err(NotOpened::CreationCut(error) | NotOpened::Failed(error)) => {
            Err(format!("creation returned {returned}, then: {error}"))
        }
    }
}

/// H14: a second open while the first one lives is refused, and touches nothing.
pub fn second_open(hole: Option<Hole>, seed: u64) -> Result<(), String> {
    let mut scene = Scene::worked(hole, seed)?;
    // An unclean state with something to recover, opened once and then once more.
    scene.life.medium.cut_after(scene.random.below(12));
    let _ = scene.fill(30);
    let survival = Survival::Each(0.5);
    scene.crash(Crash::PowerCut { tearing: Tearing::Page4096, survival });
    scene.life.open().map_err(|verdict| format!("{verdict:?}"))?;
    // Something is always pending, such as a transaction that has not committed.
    let write = scene.db()?.redb().begin_write().map_err(|error| error.to_string())?;
    let Life { medium, settings, .. } = &scene.life;
    let (view, disk) = (medium.image(), medium.durable_image());
    let operations = medium.operations();
    let second = Vault::builder(*settings).open_on(medium.clone(), &Vault::key());
    if !matches!(second, Err(OpenError::AlreadyOpen)) {
        return Err(format!("a second open was not refused: {:?}", second.err()));
    }
    let touched = medium.operations() != operations;
    if touched || medium.image() != view || medium.durable_image() != disk {
        return Err("a second open wrote, or synced, before it was refused".to_owned());
    }
    let reader = Vault::builder(*settings).open_read_only_on(medium.clone(), &Vault::key());
    if !matches!(reader, Err(OpenError::AlreadyOpen)) {
        return Err(format!("a second open for reading was not refused: {:?}", reader.err()));
    }
    write.abort().map_err(|error| error.to_string())?;
    scene.life.close().map_err(|trouble| trouble.to_string())
}

/// H9: while a page is on its way to the medium, a sync runs and returns, and then the power goes:
/// the page never lands. What is durable must not speak of it: the page reads as it was before.
pub fn sync_while_a_page_is_written(
    open: impl Fn(CrashMedium) -> Result<EncryptedBackend, OpenError>,
    seed: u64,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut random = SeededRandom::new(seed);
    let medium = CrashMedium::new(random.next_u64());
    let backend =
        EncryptedBackend::create_on(medium.clone(), &Vault::key()).map_err(|e| text(&e))?;
    let pages = random.between(2, 300);
    backend.set_len(pages * PAGE).map_err(|e| text(&e))?;
    for page in 1..pages {
        backend.write(page * PAGE, &[1; PAGE as usize]).map_err(|e| text(&e))?;
    }
    backend.sync_data().map_err(|e| text(&e))?;
    backend.close().map_err(|e| text(&e))?;
    drop(backend);
    let backend = Arc::new(open(medium.clone()).map_err(|e| text(&e))?);
    let chosen = random.between(1, pages - 1);
    let other = random.between(1, pages - 1);
    // The first change after a clean close makes an ordinary sync of its own: get it over with.
    backend.write(other * PAGE, &[1; PAGE as usize]).map_err(|e| text(&e))?;
    backend.sync_data().map_err(|e| text(&e))?;

    let synced = Arc::new(Mutex::new(None));
    let (in_hook, result) = (Arc::clone(&backend), Arc::clone(&synced));
    medium.on_write(move |_, _| {
        // Only the data page's own write, not those of the sync that it starts.
        let mut result = match result.try_lock() {
            Ok(result) if result.is_none() => result,
            _ => return,
        };
        let (sender, receiver) = mpsc::channel();
        let backend = Arc::clone(&in_hook);
        std::thread::spawn(move || sender.send(backend.sync_data().is_ok()));
        // A store that lets no sync pass while a page is written is right as well.
        *result = Some(receiver.recv_timeout(Duration::from_millis(500)));
    });
    let written = backend.write(chosen * PAGE, &[2; PAGE as usize]);
    let outcome = *synced.lock().unwrap();
    let after = medium.crash(ALL_LOST);
    written.map_err(|e| text(&e))?;
    if outcome.is_none() {
        return Err("the hook was never called".to_owned());
    }
    drop(backend);
    let backend = open(after).map_err(|e| format!("open: {e}"))?;
    for page in 1..pages {
        let mut bytes = [0; PAGE as usize];
        backend.read(page * PAGE, &mut bytes).map_err(|e| format!("page {page}: {e}"))?;
        if bytes != [1; PAGE as usize] {
            return Err(format!("page {page} holds what was never synced"));
        }
    }
    Ok(())
}

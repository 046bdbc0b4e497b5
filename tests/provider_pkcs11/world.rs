//! A token of SoftHSM as the suite's world: keys are made, revoked and destroyed through the
//! module, tokens are pulled out by taking their files away, and an answer is slow because another
//! process holds the lock that SoftHSM takes before it looks at a token.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use cryptoki::object::{Attribute, ObjectClass};
use rustix::fs::{FlockOperation, fcntl_lock};
use strongroom::Credential;
use strongroom::providers::pkcs11::{Pkcs11Error, Pkcs11Provider, Wrapping};

use super::hsm::{Hsm, PIN, make_rsa_pair};
use super::suite::{Answer, Case, When, World};

const HELD_FILE: &str = "STRONGROOM_HELD_FILE";
const TOKEN: &str = "vault";

/// Another process that holds the lock of a file.
pub struct Holder(Child);

impl Holder {
    /// Starts it, and comes back once it holds the lock; it does so for half a minute at most.
    pub fn of(file: &Path) -> Self {
        let noted = noted(file);
        let _ = fs::remove_file(&noted);
        let child = Command::new(env::current_exe().unwrap())
            .args(["hold_a_lock_for_another_test", "--exact"])
            .env(HELD_FILE, file)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while !noted.exists() {
            sleep(Duration::from_millis(5));
        }
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn noted(file: &Path) -> PathBuf {
    // Beside the tokens: what lies among them is the module's.
    let folder = file.ancestors().nth(3).unwrap();
    folder.join("held")
}

/// What the other process does; nothing where nobody asked.
pub fn hold_a_lock() {
    let Some(path) = env::var_os(HELD_FILE).map(PathBuf::from) else { return };
    let file = File::options().read(true).write(true).open(&path).unwrap();
    fcntl_lock(&file, FlockOperation::LockExclusive).unwrap();
    File::create(noted(&path)).unwrap();
    sleep(Duration::from_secs(30));
}

pub struct Token<'a> {
    hsm: &'a Hsm,
    way: Wrapping,
    holder: Mutex<Option<Holder>>,
}

impl<'a> Token<'a> {
    pub fn new(hsm: &'a Hsm, way: Wrapping) -> Self {
        hsm.fresh(&[TOKEN]);
        Self { hsm, way, holder: Mutex::new(None) }
    }

    fn provider(&self, key: &str, pin: &str) -> Pkcs11Provider {
        let path = format!("token={TOKEN};object={key}");
        self.hsm.provider_with(&path, pin).wrapping(self.way)
    }

    fn make(&self, key: &str) {
        if self.way == Wrapping::RsaOaep {
            // Half the work of the pair that the provider would make; and made by somebody else.
            return self.hsm.as_user(TOKEN, |session| {
                let label = Attribute::Label(key.into());
                if session.find_objects(&[label]).unwrap().is_empty() {
                    make_rsa_pair(session, key, 2048);
                }
            });
        }
        match self.provider(key, PIN).generate_key() {
            Ok(_) | Err(Pkcs11Error::KeyExists(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn credential_of(&self, key: &str) -> Box<dyn Credential> {
        Box::new(Arc::new(self.provider(key, PIN)))
    }
}

impl World for Token<'_> {
    fn name(&self) -> String {
        format!("PKCS #11, {} (SoftHSM)", self.way)
    }

    // Made at the first call; later ones must not bring a destroyed key back.
    fn credential(&self) -> Box<dyn Credential> {
        let made = self.hsm.folder.join("tokens").join(TOKEN);
        if !made.exists() {
            self.make("right");
            fs::write(made, "").unwrap();
        }
        self.credential_of("right")
    }

    fn other_key(&self) -> Box<dyn Credential> {
        self.make("other");
        self.credential_of("other")
    }

    fn wrong(&self) -> Case<Box<dyn Credential>> {
        Ok(Box::new(Arc::new(self.provider("right", "4321"))))
    }

    fn replace_key(&self) -> Case<()> {
        self.destroy()?;
        if self.way == Wrapping::RsaOaep {
            // One made by hand has the old one's id again: the error then is `Damaged`.
            self.make("right");
        } else {
            self.provider("right", PIN).generate_key().unwrap();
        }
        Ok(())
    }

    fn stop(&self) -> Case<()> {
        self.hsm.pull_out();
        Ok(())
    }

    fn start(&self) {
        self.hsm.put_back();
    }

    fn slow(&self, by: Duration) -> Case<()> {
        let mut holder = self.holder.lock().unwrap();
        *holder = None;
        if !by.is_zero() {
            *holder = Some(Holder::of(&self.hsm.lock_file(TOKEN)));
        }
        Ok(())
    }

    fn revoke(&self) -> Case<()> {
        self.hsm.as_user(TOKEN, |session| {
            let class = match self.way {
                Wrapping::RsaOaep => ObjectClass::PRIVATE_KEY,
                _ => ObjectClass::SECRET_KEY,
            };
            let key = [Attribute::Label("right".into()), Attribute::Class(class)];
            let key = session.find_objects(&key).unwrap()[0];
            let mut uses = vec![Attribute::Decrypt(false)];
            if self.way != Wrapping::RsaOaep {
                uses.push(Attribute::Unwrap(false));
            }
            session.update_attributes(key, &uses).unwrap();
        });
        Ok(())
    }

    fn destroy(&self) -> Case<()> {
        self.provider("right", PIN).efface().unwrap();
        Ok(())
    }

    fn crashes_per_cut(&self) -> usize {
        2
    }

    fn expect(&self, when: When) -> &'static [Answer] {
        match when {
            When::WrongCredential => &[Answer::Wrong],
            When::OtherKey => &[Answer::WrongKey],
            When::ReplacedKey if self.way == Wrapping::RsaOaep => &[Answer::Damaged],
            When::ReplacedKey => &[Answer::WrongKey],
            // A changed mechanism asks for a key of another kind, which the token doesn't have.
            When::Tampered => &[Answer::WrongKey, Answer::Damaged, Answer::NoKey],
            When::Moved => &[Answer::Damaged],
            When::Gone => &[Answer::Unavailable],
            When::Revoked => &[Answer::Denied],
            When::Destroyed => &[Answer::NoKey],
        }
    }
}

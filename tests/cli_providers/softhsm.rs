//! A SoftHSM of each sandbox's own: its configuration lies where the module looks for it in the
//! sandbox, which is the home directory of every step, and its tokens beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::terminal::Terminal;

const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];
const CONF: &str = ".config/softhsm2/softhsm2.conf";

fn module() -> Option<PathBuf> {
    let named = std::env::var_os("SOFTHSM2_MODULE").map(PathBuf::from);
    named.into_iter().chain(MODULES.map(PathBuf::from)).find(|path| path.exists())
}

/// Whether the tests can run. Where `CI` is set they must.
pub(crate) fn installed() -> bool {
    let tool = Command::new("softhsm2-util").arg("--version").output().is_ok();
    let found = tool && module().is_some();
    let how = "apt-get install softhsm2";
    assert!(found || std::env::var_os("CI").is_none(), "SoftHSM must be there: {how}");
    if !found {
        println!("skipped: SoftHSM is not installed ({how})");
    }
    found
}

/// The module as `softhsm.so`, and the tokens `vault` and `spare` of PIN 1234, empty.
pub(crate) fn make(sandbox: &Path) {
    let conf = sandbox.join(CONF);
    let tokens = sandbox.join("tokens");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    fs::create_dir(&tokens).unwrap();
    let content = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&conf, content).unwrap();
    std::os::unix::fs::symlink(module().unwrap(), sandbox.join("softhsm.so")).unwrap();
    for label in ["vault", "spare"] {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "12345678"])
            .args(["--pin", "1234"])
            .env("HOME", sandbox)
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

#[test]
fn a_pin_is_typed_without_echo_once_and_only_for_a_token_that_is_there() {
    if !installed() {
        return;
    }
    let sandbox = tempfile::tempdir().unwrap();
    make(sandbox.path());
    let place = sandbox.path().display().to_string();
    let conf = format!("{place}/{CONF}");
    let environment = [("SOFTHSM2_CONF", conf.as_str())];
    let uri = |token: &str| format!("pkcs11:token={token};object=k?module-path={place}/softhsm.so");
    let run = |arguments: &[&str]| Terminal::run(sandbox.path(), arguments, &environment);

    let mut terminal = run(&["create", "a.room", "--pkcs11", &uri("vault"), "--pkcs11-generate"]);
    terminal.answer("PIN of token \"vault\": ", 1, "1234");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("this is the only slot"), "{screen}");
    assert!(!screen.contains("1234"), "{screen}");
    assert_eq!(screen.matches("PIN of token").count(), 1, "{screen}");

    let mut terminal = run(&["tables", "a.room", "--pkcs11", &uri("vault")]);
    terminal.answer("PIN of token \"vault\": ", 1, "4321");
    let (code, screen) = terminal.end();
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("wrong PIN"), "{screen}");

    let (code, screen) = run(&["tables", "a.room", "--pkcs11", &uri("nobody")]).end();
    assert_eq!(code, 12, "{screen}");
    assert!(!screen.contains("PIN"), "{screen}");
}

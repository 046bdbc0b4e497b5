//! What keeps keys in the transcripts, by the name behind `@ `: made anew for each sandbox.

use std::path::Path;

pub(crate) fn make(name: &str, sandbox: &Path) {
    match name {
        #[cfg(feature = "pkcs11")]
        "softhsm" => crate::softhsm::make(sandbox),
        #[cfg(feature = "tpm")]
        "swtpm" => swtpm(sandbox),
        #[cfg(feature = "kms")]
        "bao" => bao(sandbox),
        other => panic!("no fixture {other} in {}", sandbox.display()),
    }
}

/// `tcti` says where it is. Ends with the test.
#[cfg(feature = "tpm")]
fn swtpm(sandbox: &Path) {
    use std::sync::Mutex;

    static KEPT: Mutex<Vec<crate::swtpm::Swtpm>> = Mutex::new(Vec::new());
    let tpm = crate::swtpm::Swtpm::new();
    // Three wrong attempts, then 1000 s: far more than any machine's load takes to make.
    tpm.limits(3, 1000);
    std::fs::write(sandbox.join("tcti"), tpm.tcti().to_string()).unwrap();
    KEPT.lock().unwrap().push(tpm);
}

/// `url`, and `mutual-url` where a client certificate is wanted; `ca.pem`, `client.pem`,
/// `client.key`; `token` for both directions, `opener` for one; and the keys `notes` and `other`.
#[cfg(feature = "kms")]
fn bao(sandbox: &Path) {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use crate::certificates::Ends;
    use crate::service::{MUTUAL, PLAIN, service};

    let service = service().unwrap();
    let private = |name: &str, content: &str| {
        let path = sandbox.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    service.make_key("notes");
    service.make_key("other");
    fs::write(sandbox.join("url"), service.url(PLAIN)).unwrap();
    fs::write(sandbox.join("mutual-url"), service.url(MUTUAL)).unwrap();
    fs::write(sandbox.join("ca.pem"), text(&service.authority.file())).unwrap();
    let (certificate, key) = service.authority.sign("clip", "DNS:client.example", Ends::InDays(90));
    fs::write(sandbox.join("client.pem"), text(&certificate)).unwrap();
    private("client.key", &text(&key));
    for (name, policy) in [("token", "user"), ("opener", "opener")] {
        private(name, &text(&service.token_file(policy)));
    }
    let pin = crate::certificates::fingerprint(&service.folder.join("server.pem"), true);
    fs::write(sandbox.join("pin"), format!("spki:{pin}")).unwrap();
    // The certificate of another authority.
    crate::certificates::Authority::new(sandbox, "stranger");
}

//! Certificates for the tests, made by the `openssl` program in a folder of the test's own: an
//! authority, and what it signs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority, by the name that its files begin with.
pub struct Authority {
    folder: PathBuf,
    name: &'static str,
}

/// When a certificate ends.
#[derive(Clone, Copy)]
pub enum Ends {
    InDays(u32),
    /// In February 2020.
    LongAgo,
}

impl Authority {
    pub fn new(folder: &Path, name: &'static str) -> Self {
        let subject = format!("/CN={name}");
        openssl(
            folder,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 400 \
                 -keyout {name}.key -out {name}.pem -subj {subject} \
                 -addext basicConstraints=critical,CA:true -addext keyUsage=keyCertSign"
            ),
        );
        let settings = format!(
            "[ca]\ndefault_ca = us\n[us]\ndatabase = {name}.index\nserial = {name}.serial\n\
             new_certs_dir = .\ndefault_md = sha256\npolicy = any\nunique_subject = no\n\
             certificate = {name}.pem\nprivate_key = {name}.key\n[any]\ncommonName = supplied\n"
        );
        fs::write(folder.join(format!("{name}.cnf")), settings).unwrap();
        fs::write(folder.join(format!("{name}.index")), "").unwrap();
        fs::write(folder.join(format!("{name}.serial")), "1000\n").unwrap();
        Self { folder: folder.to_owned(), name }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// `stem.pem` and `stem.key`, for these alternative names.
    pub fn sign(&self, stem: &str, names: &str, ends: Ends) -> (PathBuf, PathBuf) {
        let (folder, authority) = (&self.folder, self.name);
        openssl(
            folder,
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {stem}.key \
                 -out {stem}.csr -subj /CN={stem}"
            ),
        );
        let extensions =
            format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n");
        fs::write(folder.join(format!("{stem}.ext")), extensions).unwrap();
        let dates = match ends {
            Ends::InDays(days) => format!("-days {days}"),
            Ends::LongAgo => "-startdate 20200101000000Z -enddate 20200201000000Z".to_owned(),
        };
        openssl(
            folder,
            &format!(
                "ca -batch -notext -config {authority}.cnf -in {stem}.csr -extfile {stem}.ext \
                 -out {stem}.pem {dates}"
            ),
        );
        (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}.key")))
    }
}

/// The SHA-256 of a file's certificate, or of its public key, as hexadecimal digits.
pub fn fingerprint(certificate: &Path, of_public_key: bool) -> String {
    let file = certificate.display();
    let pipe = if of_public_key {
        format!("openssl x509 -in {file} -noout -pubkey | openssl pkey -pubin -outform DER")
    } else {
        format!("openssl x509 -in {file} -outform DER")
    };
    let script = format!("{pipe} | openssl dgst -sha256 -r");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

fn openssl(folder: &Path, arguments: &str) {
    let output =
        Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

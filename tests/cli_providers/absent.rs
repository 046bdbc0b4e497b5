//! A binary that was built without a provider.

use std::process::Command;

use crate::STRONGROOM;

fn run(line: &str) -> (i32, String) {
    let output = Command::new(STRONGROOM).args(line.split_whitespace()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_a_binary_was_built_without_is_said_and_not_shown() {
    for (has_it, feature, options) in [
        (cfg!(feature = "pkcs11"), "pkcs11", "--pkcs11 pkcs11:object=k"),
        (cfg!(feature = "tpm"), "tpm", "--tpm"),
        (
            cfg!(feature = "kms"),
            "kms",
            "--kms https://h --kms-key k --kms-token-env T --kms-ca ca.pem",
        ),
    ] {
        if has_it {
            continue;
        }
        for verb in ["tables nothing.room", "create nothing.room", "key test nothing.room"] {
            let (code, text) = run(&format!("{verb} {options}"));
            assert_eq!(code, 2, "{text}");
            assert!(text.contains("built without"), "{text}");
            assert!(text.contains(&format!("--features cli,{feature}`")), "{text}");
        }
        let help = Command::new(STRONGROOM).args(["tables", "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains("--key-file") && !help.contains(&format!("--{feature}")), "{help}");
    }
}

#[cfg(not(feature = "tpm"))]
#[test]
fn a_counter_in_a_tpm_is_no_file_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("k");
    let file = folder.path().join("a.room");
    let line = format!(
        "create {} --generate-key-file {} --new-anchor tpm:0x01500100",
        file.display(),
        key.display()
    );
    let (code, text) = run(&line);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("--features cli,tpm"), "{text}");
}

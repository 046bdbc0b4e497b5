//! Programs with crashes: any bytes are one (`Program::from_bytes`), taken through on a crash
//! medium and judged by the model. Whatever the fuzzer makes of it, every restart must find the
//! last commit that returned, or one that was in flight.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom::testkit::model::{Program, Vault, Verdict, run};

fuzz_target!(|bytes: &[u8]| {
    let program = Program::from_bytes(bytes);
    let story = run::<Vault>(&program);
    if !matches!(story.verdict, Verdict::Fine | Verdict::CreationCut) {
        eprintln!("{program:?}\n{}", story.trace.join("\n"));
        panic!("{:?}", story.verdict);
    }
});

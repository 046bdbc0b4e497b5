//! Any bytes through every decoder: none panics, and what one accepts encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| strongroom::testkit::decode_anything(bytes));

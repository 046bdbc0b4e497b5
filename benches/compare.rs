//! Plain redb beside strongroom, in one run (docs/performance.md).
fn main() {}

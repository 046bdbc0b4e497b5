//! Nothing: the peers are a bench, in `peers.rs`.

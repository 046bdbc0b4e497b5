//! Floor 10: what can be saved from a damaged file.
#![allow(dead_code, unused_imports, reason = "being built")]
mod definition;
mod dump;
mod node;
mod plain;
mod raw;
mod states;
mod super_header;
mod tables;
#[cfg(test)]
mod tests;
mod walk;
mod xxh3;

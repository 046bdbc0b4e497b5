//! redb straight on a medium: the yardstick for what a crash or an attacker does to redb itself.

use std::io;

use strongroom::medium::Medium;
use strongroom::redb;

/// redb's bytes as they are.
#[derive(Debug)]
pub struct PlainBackend<M>(pub M);

impl<M: Medium> redb::StorageBackend for PlainBackend<M> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

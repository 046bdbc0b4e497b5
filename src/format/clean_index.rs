//! The clean index (docs/format.md, "Clean index"): what a clean close writes so that the next
//! open need not read every tag page. A cache: it must add up to the digest of the root record
//! that names it, or it is as if it weren't there.

use super::record::Body;
use crate::layout::ROWS_PER_INDEX_PAGE;
use crate::units::{CopyId, SyncSeq};
use crate::wire::{Malformed, Reader, Writer};

/// Which tag page is a group's current one: 32 bytes on disk and in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) sync: SyncSeq,
    pub(crate) tag: [u8; 16],
    pub(crate) copy: CopyId,
}

/// One page of rows: sync u64, tag 16, copy u8, 7 reserved; unused rows zero.
pub(crate) fn encode(rows: &[Row]) -> Body {
    let mut body = Body::blank();
    let mut writer = Writer::new(body.bytes_mut());
    for row in rows.iter().take(ROWS_PER_INDEX_PAGE) {
        writer.u64(row.sync.0);
        writer.bytes(&row.tag);
        writer.u8(row.copy.index());
        writer.skip(7);
    }
    body
}

/// The first `count` rows of a page.
///
/// # Errors
/// [`Malformed`], for bytes that no encoder writes.
pub(crate) fn decode(body: &Body, count: usize) -> Result<Vec<Row>, Malformed> {
    let count = count.min(ROWS_PER_INDEX_PAGE);
    let mut reader = Reader::new(body.bytes());
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let (sync, tag) = (SyncSeq(reader.u64()?), reader.array()?);
        let copy = CopyId::from_index(reader.u8()?).ok_or(Malformed("an unknown copy"))?;
        reader.zeros(7)?;
        rows.push(Row { sync, tag, copy });
    }
    reader.zeros(32 * (ROWS_PER_INDEX_PAGE - count))?;
    reader.finish()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let rows: Vec<_> = (0..127u8)
            .map(|n| Row {
                sync: SyncSeq(n.into()),
                tag: [n; 16],
                copy: if n % 2 == 0 { CopyId::A } else { CopyId::B },
            })
            .collect();
        assert_eq!(decode(&encode(&rows), 127), Ok(rows.clone()));
        assert_eq!(decode(&encode(&rows[..5]), 5), Ok(rows[..5].to_vec()));
        assert!(decode(&encode(&rows), 126).is_err(), "a row too many");
    }

    #[test]
    fn bad_rows_are_refused() {
        let row = Row { sync: SyncSeq(1), tag: [1; 16], copy: CopyId::A };
        let mut body = encode(&[row]);
        body.bytes_mut()[24] = 2;
        assert!(decode(&body, 1).is_err(), "copy 2");
        let mut body = encode(&[row]);
        body.bytes_mut()[25] = 1;
        assert!(decode(&body, 1).is_err(), "reserved");
    }
}

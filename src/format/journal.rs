//! An index page of the rotation journal (docs/format.md, "Rotation journal"): which pages of a
//! batch have an image behind it, and between which two entries each image stands. Bound to the
//! entry it replaces, an image can never put a stale page back (MariaDB, MDEV-11799).

use super::record::Body;
use super::tag_page::{Entry, EntryState};
use crate::layout::ROWS_PER_JOURNAL_PAGE;
use crate::units::{Epoch, PageNo};
use crate::wire::{Malformed, Reader, Writer};

/// One image of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Image {
    pub(crate) page: PageNo,
    /// What the page was sealed with when the image was made: stops the image from being applied
    /// to anything newer.
    pub(crate) old: Entry,
    /// What the image is sealed with.
    pub(crate) new: Entry,
}

/// One index page: batch u64, count u32, 4 reserved, rows of 72: page u64, old entry 32, new 32.
pub(crate) fn encode(batch: u64, images: &[Image]) -> Body {
    let mut body = Body::blank();
    let mut writer = Writer::new(body.bytes_mut());
    let images = images.get(..ROWS_PER_JOURNAL_PAGE).unwrap_or(images);
    writer.u64(batch);
    writer.u32(u32::try_from(images.len()).unwrap_or(0));
    writer.skip(4);
    for image in images {
        writer.u64(image.page.0);
        for entry in [&image.old, &image.new] {
            writer.u32(entry.epoch.0);
            writer.bytes(&entry.nonce);
            writer.bytes(&entry.tag);
        }
    }
    body
}

/// The batch number and the rows of an index page.
///
/// # Errors
/// [`Malformed`], for bytes that no encoder writes.
pub(crate) fn decode(body: &Body) -> Result<(u64, Vec<Image>), Malformed> {
    let mut reader = Reader::new(body.bytes());
    let (batch, count) = (reader.u64()?, reader.u32()?);
    reader.zeros(4)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let unused =
        ROWS_PER_JOURNAL_PAGE.checked_sub(count).ok_or(Malformed("more images than rows"))?;
    let mut images = Vec::with_capacity(count);
    for _ in 0..count {
        let page = PageNo(reader.u64()?);
        let mut entry = || -> Result<Entry, Malformed> {
            let entry =
                Entry { epoch: Epoch(reader.u32()?), nonce: reader.array()?, tag: reader.array()? };
            match entry.state() {
                EntryState::Sealed => Ok(entry),
                _ => Err(Malformed("an image of a page that isn't sealed")),
            }
        };
        images.push(Image { page, old: entry()?, new: entry()? });
    }
    reader.zeros(unused * 72 + 16)?;
    reader.finish()?;
    Ok((batch, images))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(number: u32) -> Image {
        let byte = u8::try_from(number).unwrap();
        let entry = |epoch| Entry { epoch: Epoch(epoch), nonce: [byte; 12], tag: [byte; 16] };
        Image { page: PageNo(number.into()), old: entry(1), new: entry(2) }
    }

    #[test]
    fn images_come_back_and_encode_to_the_same_bytes() {
        let images: Vec<_> = (1..=56).map(image).collect();
        for count in [0, 1, 56] {
            let body = encode(7, &images[..count]);
            let (batch, found) = decode(&body).unwrap();
            assert_eq!((batch, &found[..]), (7, &images[..count]));
            assert_eq!(encode(batch, &found).bytes(), body.bytes());
        }
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        let refused = |at: usize, value: u8| {
            let mut body = encode(7, &[image(1)]);
            body.bytes_mut()[at] = value;
            decode(&body).is_err()
        };
        assert!(refused(8, 57), "more rows than a page has");
        assert!(refused(12, 1), "reserved");
        assert!(refused(16 + 8, 0), "an absent old entry");
        assert!(refused(16 + 72, 1), "a row behind the last");
        assert!(refused(4063, 1), "reserved at the end");
        assert!(!refused(0, 9), "another batch is a batch");
    }
}

//! Records of a CSV file (RFC 4180): fields apart by commas, quoted where they hold commas, quotes
//! or line ends, a quote written twice. Reads from any offset at which a record begins, and says
//! after each record where the next one does.

use std::io::BufRead;

use crate::Result;

/// Longer than any record of a file that is one: a missing quote must not read all of a huge file
/// into one field.
const RECORD_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Records<R> {
    from: R,
    /// Where in the file the next record begins.
    pub(crate) offset: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Records<R> {
    /// Of a reader that stands at `offset`.
    pub(crate) fn at(from: R, offset: u64) -> Self {
        Self { from, offset, line: Vec::new() }
    }

    /// The bytes of the record that came last, its line end included.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.line
    }

    /// The next record; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<String>>> {
        self.line.clear();
        // A record goes on over the end of a line as long as a quote is open.
        while self.line.is_empty() || quotes(&self.line) % 2 == 1 {
            let before = self.line.len();
            self.from.read_until(b'\n', &mut self.line)?;
            if self.line.len() == before {
                break;
            }
            if self.line.len() > RECORD_BYTES_MAX {
                return Err(self.bad("a record of more than 1 MiB: is a quote missing?"));
            }
        }
        if self.line.is_empty() {
            return Ok(None);
        }
        let text = str::from_utf8(&self.line).map_err(|_| self.bad("not UTF-8"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let fields = fields(text).ok_or_else(|| self.bad("a quote where none may stand"))?;
        self.offset += self.line.len() as u64;
        Ok(Some(fields))
    }

    fn bad(&self, what: &str) -> Box<dyn std::error::Error> {
        format!("the record at byte {}: {what}", self.offset).into()
    }
}

fn quotes(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'"').count()
}

fn fields(record: &str) -> Option<Vec<String>> {
    let (mut fields, mut rest) = (Vec::new(), record);
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, behind) = rest.split_at(end);
                (Some(field.to_owned()).filter(|field| !field.contains('"'))?, behind)
            }
            Some(quoted) => unquote(quoted)?,
        };
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// What stands between two quotes, and what is behind the second.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let (mut field, mut rest) = (String::new(), quoted);
    loop {
        let (before, behind) = rest.split_once('"')?;
        field.push_str(before);
        match behind.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, behind)),
        }
    }
}

/// A field as it is written.
pub(crate) fn quote(field: &str) -> String {
    match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

//! How keys and values are written: on the command line, for people, and as JSON lines. A byte
//! string that is UTF-8 is written as text, any other as `{"b64": ..}` or `{"hex": ..}`; which of
//! them a text stands for is told by the table's types, so nothing is ambiguous.

use std::fmt::Write;

use base64ct::{Base64, Encoding as _};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cells::{Cell, CellType, TableTypes};
use crate::failure::Failure;
use crate::output::plain;

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// As text; on output, bytes that are no text as base64
    Utf8,
    Base64,
    Hex,
}

/// How bytes are written, as an argument.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EncodingArg {
    /// How keys and values of type `bytes` are written; those of other types are not touched
    #[arg(long, value_name = "HOW", default_value = "utf8")]
    pub(crate) encoding: Encoding,
}

/// A key or value that was typed.
pub(crate) fn parse(text: &str, cell_type: CellType, encoding: Encoding) -> Result<Cell, Failure> {
    let not = |what: &str| Failure::usage(format!("a key or value given is {what}"));
    Ok(match cell_type {
        CellType::Text => Cell::Text(text.to_owned()),
        CellType::U64 => Cell::U64(text.parse().map_err(|_| not("no u64, and has to be one"))?),
        CellType::U32 => Cell::U32(text.parse().map_err(|_| not("no u32, and has to be one"))?),
        CellType::Bytes => Cell::Bytes(match encoding {
            Encoding::Utf8 => text.as_bytes().to_vec(),
            Encoding::Base64 => Base64::decode_vec(text).map_err(|_| not("not base64"))?,
            Encoding::Hex => from_hex(text).ok_or_else(|| not("not hexadecimal"))?,
        }),
    })
}

/// A value as a file or standard input holds it.
pub(crate) fn from_bytes(bytes: Vec<u8>, value: CellType) -> Result<Cell, Failure> {
    let no_text = || Failure::usage("the value is not UTF-8, and the table holds text");
    match value {
        CellType::Bytes => Ok(Cell::Bytes(bytes)),
        CellType::Text => Ok(Cell::Text(String::from_utf8(bytes).map_err(|_| no_text())?)),
        number => {
            let text = String::from_utf8(bytes).map_err(|_| no_text())?;
            parse(text.trim(), number, Encoding::Utf8)
        }
    }
}

/// For people: one line whatever is in it.
pub(crate) fn human(cell: &Cell, encoding: Encoding) -> String {
    let one_line = |text: &str| plain(text).replace('\n', "\\n");
    match cell {
        Cell::Text(text) => one_line(text),
        Cell::U64(number) => number.to_string(),
        Cell::U32(number) => number.to_string(),
        Cell::Bytes(bytes) => match (encoding, str::from_utf8(bytes)) {
            (Encoding::Hex, _) => to_hex(bytes),
            (Encoding::Utf8, Ok(text)) => one_line(text),
            (Encoding::Utf8, Err(_)) => format!("b64:{}", Base64::encode_string(bytes)),
            (Encoding::Base64, _) => Base64::encode_string(bytes),
        },
    }
}

/// The bytes themselves, and integers in decimal.
pub(crate) fn raw(cell: &Cell) -> Vec<u8> {
    match cell {
        Cell::Text(text) => text.as_bytes().to_vec(),
        Cell::Bytes(bytes) => bytes.clone(),
        Cell::U64(number) => number.to_string().into_bytes(),
        Cell::U32(number) => number.to_string().into_bytes(),
    }
}

pub(crate) fn to_json(cell: &Cell, encoding: Encoding) -> Value {
    match cell {
        Cell::Text(text) => json!(text),
        Cell::U64(number) => json!(number),
        Cell::U32(number) => json!(number),
        Cell::Bytes(bytes) => match (encoding, str::from_utf8(bytes)) {
            (Encoding::Hex, _) => json!({ "hex": to_hex(bytes) }),
            (Encoding::Utf8, Ok(text)) => json!(text),
            _ => json!({ "b64": Base64::encode_string(bytes) }),
        },
    }
}

/// `None` where it is none of this type.
pub(crate) fn from_json(value: &Value, cell_type: CellType) -> Option<Cell> {
    let text = value.as_str();
    Some(match cell_type {
        CellType::Text => Cell::Text(text?.to_owned()),
        CellType::U64 => Cell::U64(value.as_u64()?),
        CellType::U32 => Cell::U32(u32::try_from(value.as_u64()?).ok()?),
        CellType::Bytes => Cell::Bytes(match text {
            Some(text) => text.as_bytes().to_vec(),
            None => encoded(value)?,
        }),
    })
}

fn encoded(value: &Value) -> Option<Vec<u8>> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    match (object.get("b64"), object.get("hex")) {
        (Some(b64), None) => Base64::decode_vec(b64.as_str()?).ok(),
        (None, Some(hex)) => from_hex(hex.as_str()?),
        _ => None,
    }
}

/// A record as one line of a dump.
pub(crate) fn record_json(table: &str, key: &Cell, value: &Cell, encoding: Encoding) -> Value {
    json!({
        "table": table, "key": to_json(key, encoding), "value": to_json(value, encoding),
    })
}

/// What a dump says of a table before its records: `load` makes it with these types.
pub(crate) fn header_json(table: &str, types: TableTypes) -> Value {
    json!({ "table": table, "types": types.to_string() })
}

fn to_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // A String takes everything.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<Cell> {
        vec![
            Cell::Text(String::new()),
            Cell::Text("a\"b\n\u{1b}\u{fffd}".to_owned()),
            Cell::Bytes(Vec::new()),
            Cell::Bytes(b"plain".to_vec()),
            Cell::Bytes(vec![0, 0xff, 0x80, b'{']),
            Cell::U64(u64::MAX),
            Cell::U32(7),
        ]
    }

    #[test]
    fn json_comes_back_as_it_was_in_every_encoding() {
        for cell in cells() {
            for encoding in [Encoding::Utf8, Encoding::Base64, Encoding::Hex] {
                let line = to_json(&cell, encoding).to_string();
                let value: Value = serde_json::from_str(&line).unwrap();
                assert!(from_json(&value, cell.cell_type()) == Some(cell.clone()), "{line}");
            }
        }
    }

    #[test]
    fn json_of_another_type_is_refused() {
        for (line, cell_type) in [
            ("1", CellType::Text),
            ("{\"b64\":\"AA==\"}", CellType::Text),
            ("-1", CellType::U64),
            ("4294967296", CellType::U32),
            ("1.5", CellType::U64),
            ("\"1\"", CellType::U64),
            ("{\"b64\":\"A\"}", CellType::Bytes),
            ("{\"hex\":\"0\"}", CellType::Bytes),
            ("{\"hex\":\"0g\"}", CellType::Bytes),
            ("{\"hex\":\"00\",\"b64\":\"AA==\"}", CellType::Bytes),
            ("{\"utf8\":\"a\"}", CellType::Bytes),
            ("null", CellType::Bytes),
            ("[1]", CellType::Bytes),
        ] {
            let value: Value = serde_json::from_str(line).unwrap();
            assert!(from_json(&value, cell_type).is_none(), "{line} as {cell_type:?}");
        }
    }

    #[test]
    fn what_is_typed_and_what_is_shown() {
        let bytes = |text, encoding| match parse(text, CellType::Bytes, encoding) {
            Ok(Cell::Bytes(bytes)) => Some(bytes),
            _ => None,
        };
        assert_eq!(bytes("0a", Encoding::Utf8), Some(b"0a".to_vec()));
        assert_eq!(bytes("0aFF", Encoding::Hex), Some(vec![10, 255]));
        assert_eq!(bytes("Cv8=", Encoding::Base64), Some(vec![10, 255]));
        assert_eq!(bytes("Cv8", Encoding::Base64), None);
        assert_eq!(bytes("0aF", Encoding::Hex), None);
        for bad in ["", "-1", "1.0", "18446744073709551616"] {
            assert!(parse(bad, CellType::U64, Encoding::Utf8).is_err(), "{bad}");
        }
        let shown = |bytes: &[u8], encoding| human(&Cell::Bytes(bytes.to_vec()), encoding);
        assert_eq!(shown(b"a\nb", Encoding::Utf8), "a\\nb");
        assert_eq!(shown(b"\xff", Encoding::Utf8), "b64:/w==");
        assert_eq!(shown(b"\xff", Encoding::Hex), "ff");
    }
}

//! A line as words: parted by blanks; quotes, single or double, and a backslash keep blanks.

/// # Errors
/// What about the line makes no sense; nothing of the line is in it.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut characters = line.trim_end_matches(['\r', '\n']).chars();
    while let Some(character) = characters.next() {
        match character {
            quote @ ('\'' | '"') => {
                begun = true;
                quoted(&mut characters, quote, &mut word)?;
            }
            '\\' => {
                begun = true;
                word.push(characters.next().ok_or("a backslash at the end of the line")?);
            }
            blank if blank.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            other => {
                begun = true;
                word.push(other);
            }
        }
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

fn quoted(
    characters: &mut std::str::Chars<'_>,
    quote: char,
    word: &mut String,
) -> Result<(), &'static str> {
    loop {
        match characters.next().ok_or("a quote that doesn't end")? {
            end if end == quote => return Ok(()),
            // As in a POSIX shell: nothing is special between single quotes.
            '\\' if quote == '"' => match characters.next().ok_or("a quote that doesn't end")? {
                'n' => word.push('\n'),
                't' => word.push('\t'),
                other => word.push(other),
            },
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_words() {
        for (line, expected) in [
            ("", &[][..]),
            ("  \n", &[]),
            ("get notes today\n", &["get", "notes", "today"]),
            (
                "put a 'two words' \"and\\n\\\"more\\\"\"",
                &["put", "a", "two words", "and\n\"more\""],
            ),
            ("a'b'\"c\"d", &["abcd"]),
            ("'' x", &["", "x"]),
            ("one\\ word '\\n'", &["one word", "\\n"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        for bad in ["'", "\"a", "\"a\\", "a\\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}

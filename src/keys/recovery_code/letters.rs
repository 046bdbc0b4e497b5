//! The letters of a recovery code: 55 of five bits each, in 11 groups of five, each group with a
//! check letter. Pure; every buffer that held letters is wiped.
//!
//! The letters hold 275 bits: the 256 of the key, then 19 bits derived from it, which tie the
//! groups together. A group's check letter is, in GF(32) with x^5 + x^2 + 1 and a = x,
//! `g + a^5 l1 + a^4 l2 + a^3 l3 + a^2 l4 + a l5` for group number g (from 0). The six weights
//! differ and none is 0, so one wrong letter, or two letters of a group swapped, never fit; and
//! neither do two groups swapped, since g is in the sum.

use zeroize::Zeroizing;

use crate::crypto::derive::{self, Purpose};
use crate::error::{CodeError, WrongGroups};

const GROUPS: usize = 11;
const GROUP_LEN: usize = 6;
const LETTERS: usize = GROUPS * GROUP_LEN;
/// Letters and the dashes between the groups.
const TEXT_LEN: usize = LETTERS + GROUPS - 1;
/// Crockford's: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Five-bit values, group by group, check letters included.
type Letters = Zeroizing<[[u8; GROUP_LEN]; GROUPS]>;

/// The code of a key, upper case, a dash between groups.
pub(super) fn encode(key: &[u8; 32]) -> Zeroizing<[u8; TEXT_LEN]> {
    let mut text = Zeroizing::new([b'-'; TEXT_LEN]);
    let letters = letters_of(key);
    for (group, place) in letters.iter().zip(text.chunks_mut(GROUP_LEN + 1)) {
        for (letter, place) in group.iter().zip(place) {
            *place = ALPHABET.get(usize::from(*letter)).copied().unwrap_or_default();
        }
    }
    text
}

/// The key of a code as it was typed.
///
/// # Errors
/// Where the typing mistake is.
pub(super) fn parse(typed: &str) -> Result<Zeroizing<[u8; 32]>, CodeError> {
    let letters = read(typed)?;
    let wrong = wrong_groups(&letters);
    if wrong != WrongGroups::default() {
        return Err(CodeError::Groups(wrong));
    }
    let mut key = Zeroizing::new([0; 32]);
    let mut bits = Bits::default();
    let mut data = letters.iter().flat_map(|group| group.iter().take(GROUP_LEN - 1));
    for byte in key.iter_mut() {
        while bits.count < 8 {
            let Some(letter) = data.next() else { return Err(CodeError::Mixed) };
            bits.push(*letter, 5);
        }
        *byte = bits.take(8);
    }
    // The 19 bits that tie the groups together: the only letters that this key has.
    if *letters_of(&key) == *letters { Ok(key) } else { Err(CodeError::Mixed) }
}

// Key and tie as five-bit values, with the check letters.
fn letters_of(key: &[u8; 32]) -> Letters {
    let tie = derive::bytes(Purpose::RecoveryCodeTie, &[key]);
    let mut letters: Letters = Zeroizing::new([[0; GROUP_LEN]; GROUPS]);
    let mut bits = Bits::default();
    let mut bytes = key.iter().chain(tie.iter());
    for (number, group) in (0..).zip(letters.iter_mut()) {
        let [data @ .., check] = group;
        for letter in data.iter_mut() {
            if bits.count < 5 {
                bits.push(bytes.next().copied().unwrap_or_default(), 8);
            }
            *letter = bits.take(5);
        }
        *check = check_letter(number, data);
    }
    letters
}

fn wrong_groups(letters: &Letters) -> WrongGroups {
    let mut wrong = WrongGroups::default();
    for (number, [data @ .., check]) in (0_u8..).zip(letters.iter()) {
        wrong.0 |= u16::from(check_letter(number, data) != *check) << number;
    }
    wrong
}

fn check_letter(group: u8, data: &[u8]) -> u8 {
    data.iter().fold(0, |sum, letter| times_x(sum ^ letter)) ^ group
}

// In GF(32): x^5 = x^2 + 1.
fn times_x(letter: u8) -> u8 {
    let shifted = letter << 1;
    if shifted & 0x20 == 0 { shifted } else { shifted ^ 0x25 }
}

/// Letters out of what was typed, 66 of them.
fn read(typed: &str) -> Result<Letters, CodeError> {
    let mut letters: Letters = Zeroizing::new([[0; GROUP_LEN]; GROUPS]);
    let mut found = 0;
    for typed in typed.chars().filter(|letter| !is_separator(*letter)) {
        let group = u8::try_from(found / GROUP_LEN + 1).unwrap_or(u8::MAX);
        let value = value_of(typed).ok_or(CodeError::Letter { group, letter: typed })?;
        if let Some(place) = letters.as_flattened_mut().get_mut(found) {
            *place = value;
        }
        found += 1;
    }
    if found == LETTERS { Ok(letters) } else { Err(wrong_length(typed, found, &letters)) }
}

fn wrong_length(typed: &str, found: usize, letters: &Letters) -> CodeError {
    let groups = typed.split(is_separator).map(|group| group.chars().count());
    let groups = groups.filter(|len| *len > 0);
    let odd = (1..).zip(groups.clone()).find(|(_, len)| *len != GROUP_LEN);
    match odd {
        Some((group, found)) if groups.count() == GROUPS => CodeError::GroupLength { group, found },
        _ => CodeError::Length { found, first_wrong: wrong_groups(letters).iter().next() },
    }
}

// Hyphen, the dashes that a word processor makes of it, and any white space.
fn is_separator(letter: char) -> bool {
    letter == '-' || ('\u{2010}'..='\u{2015}').contains(&letter) || letter.is_whitespace()
}

fn value_of(letter: char) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        letter => letter,
    };
    let place = ALPHABET.iter().position(|known| char::from(*known) == letter)?;
    u8::try_from(place).ok()
}

/// A few bits on their way from one width to another, most significant first.
#[derive(Default)]
struct Bits {
    value: Zeroizing<u16>,
    count: u32,
}

impl Bits {
    // `count` is below 8 before, so 16 bits hold what comes.
    fn push(&mut self, value: u8, width: u32) {
        *self.value = *self.value << width | u16::from(value);
        self.count += width;
    }

    fn take(&mut self, width: u32) -> u8 {
        self.count = self.count.saturating_sub(width);
        let taken = *self.value >> self.count;
        *self.value &= (1 << self.count) - 1;
        u8::try_from(taken).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> [u8; 32] {
        std::array::from_fn(|i| u8::try_from(i * 37 % 251).unwrap())
    }

    fn text(key: &[u8; 32]) -> String {
        String::from_utf8(encode(key).to_vec()).unwrap()
    }

    /// The letters without dashes, and back with them.
    fn letters(key: &[u8; 32]) -> Vec<char> {
        text(key).chars().filter(|letter| *letter != '-').collect()
    }

    fn parsed(letters: &[char]) -> Result<Zeroizing<[u8; 32]>, CodeError> {
        parse(&letters.iter().collect::<String>())
    }

    fn located(error: CodeError) -> Vec<u8> {
        match error {
            CodeError::Groups(groups) => groups.iter().collect(),
            other => panic!("not located: {other:?}"),
        }
    }

    fn group_of(place: usize) -> u8 {
        u8::try_from(place / GROUP_LEN + 1).unwrap()
    }

    #[test]
    fn every_single_wrong_letter_is_located() {
        let (good, mut tried) = (letters(&key()), 0);
        assert_eq!(*parsed(&good).unwrap(), key());
        for place in 0..LETTERS {
            for letter in ALPHABET.map(char::from).into_iter().filter(|l| *l != good[place]) {
                let mut wrong = good.clone();
                wrong[place] = letter;
                assert_eq!(located(parsed(&wrong).unwrap_err()), [group_of(place)]);
                tried += 1;
            }
        }
        println!("figure: single wrong letters, all located = {tried}");
        assert_eq!(tried, 66 * 31);
    }

    #[test]
    fn every_two_wrong_letters_of_a_group_are_located_or_refused() {
        let (good, mut here, mut refused) = (letters(&key()), 0, 0);
        let pairs = (0..GROUP_LEN).flat_map(|a| (a + 1..GROUP_LEN).map(move |b| (a, b)));
        for (group, (first, second)) in (0..GROUPS).flat_map(|g| pairs.clone().map(move |p| (g, p)))
        {
            let [first, second] = [first, second].map(|place| group * GROUP_LEN + place);
            for (one, two) in ALPHABET.iter().flat_map(|a| ALPHABET.map(|b| (*a, b))) {
                let [one, two] = [one, two].map(char::from);
                if one == good[first] || two == good[second] {
                    continue;
                }
                let mut wrong = good.clone();
                (wrong[first], wrong[second]) = (one, two);
                match parsed(&wrong).unwrap_err() {
                    CodeError::Mixed => refused += 1,
                    error => {
                        assert_eq!(located(error), [group_of(first)]);
                        here += 1;
                    }
                }
            }
        }
        println!("figure: two wrong letters in a group, located = {here}");
        println!("figure: two wrong letters in a group, refused as a whole = {refused}");
        assert_eq!(here + refused, 11 * 15 * 31 * 31);
    }

    #[test]
    fn every_swap_of_two_letters_is_located() {
        let (good, mut tried, mut same) = (letters(&key()), 0, 0);
        for (first, second) in (0..LETTERS).flat_map(|a| (a + 1..LETTERS).map(move |b| (a, b))) {
            let mut wrong = good.clone();
            wrong.swap(first, second);
            if wrong == good {
                same += 1;
                continue;
            }
            let mut groups = vec![group_of(first), group_of(second)];
            groups.dedup();
            assert_eq!(located(parsed(&wrong).unwrap_err()), groups, "{first} {second}");
            tried += 1;
        }
        println!("figure: swaps of two letters, all located = {tried}");
        println!("figure: swaps of two equal letters, no mistake = {same}");
        assert_eq!(tried + same, 66 * 65 / 2);
    }

    #[test]
    fn every_swap_of_two_groups_is_located() {
        let good = letters(&key());
        for (first, second) in (0..GROUPS).flat_map(|a| (a + 1..GROUPS).map(move |b| (a, b))) {
            let mut groups: Vec<&[char]> = good.chunks(GROUP_LEN).collect();
            groups.swap(first, second);
            let found = located(parsed(&groups.concat()).unwrap_err());
            assert_eq!(found, [first + 1, second + 1].map(|group| u8::try_from(group).unwrap()));
        }
    }

    #[test]
    fn every_missing_or_doubled_letter_is_refused_and_located_where_groups_are_kept_apart() {
        let text = text(&key());
        for (at, letter) in text.char_indices().filter(|(_, letter)| *letter != '-') {
            let group = u8::try_from(at / (GROUP_LEN + 1) + 1).unwrap();
            let (before, behind) = (&text[..at], &text[at + 1..]);
            for (wrong, found) in [
                (format!("{before}{behind}"), GROUP_LEN - 1),
                (format!("{before}{letter}{letter}{behind}"), GROUP_LEN + 1),
            ] {
                assert_eq!(parse(&wrong).unwrap_err(), CodeError::GroupLength { group, found });
                let joined = parse(&wrong.replace('-', "")).unwrap_err();
                assert!(matches!(joined, CodeError::Length { .. }), "{joined:?}");
            }
        }
    }

    #[test]
    fn groups_of_two_codes_do_not_mix() {
        let (mut good, other) = (letters(&key()), letters(&[7; 32]));
        good[..GROUP_LEN].copy_from_slice(&other[..GROUP_LEN]);
        assert_eq!(parsed(&good).unwrap_err(), CodeError::Mixed);
    }

    #[test]
    fn what_is_easily_mistyped_is_read_as_meant() {
        let good = text(&[0x08; 32]);
        assert!(good.contains('0') && good.contains('1'), "{good}");
        let typed = good.to_lowercase().replace('-', " \u{2013}\n").replace('0', "o");
        for one in ["i", "l", "L", "I"] {
            assert_eq!(*parse(&typed.replace('1', one)).unwrap(), [0x08; 32]);
        }
        let letter = CodeError::Letter { group: 2, letter: 'u' };
        assert_eq!(parse(&format!("{}u", &good[..9])).unwrap_err(), letter);
        let short = parse("").unwrap_err();
        assert!(matches!(short, CodeError::Length { found: 0, .. }));
    }

    #[test]
    fn the_letters_are_pinned() {
        // Recomputed from docs/keys.md by other means, but for the last 19 bits.
        let expected = "00JMMK-VWMQ73-F0GBAX-JEYEC6-3SGG6G-ND7Z9W-69XRCR-3TRM7Y-NK8ZCT-825DA9-\
                        7SRQ5T";
        assert_eq!(text(&key()), expected);
    }

    proptest! {
        #[test]
        fn any_key_comes_back(key: [u8; 32]) {
            prop_assert_eq!(*parse(&text(&key)).unwrap(), key);
        }

        #[test]
        fn any_text_is_a_code_or_an_error_that_prints(typed in any::<String>()) {
            if let Err(error) = parse(&typed) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn any_letters_are_an_error_or_the_code_that_they_spell(
            typed in "[0-9A-Za-z \u{2013}-]{60,80}", tail in "[0-9A-Z]{66}",
        ) {
            for typed in [typed, tail] {
                if let Ok(key) = parse(&typed) {
                    let plain = |text: &str| text.replace('-', "");
                    prop_assert_eq!(plain(&text(&key)), plain(&typed));
                }
            }
        }

        #[test]
        fn any_typing_of_a_code_spells_the_same_code(
            key: [u8; 32], lower in any::<[bool; 76]>(), gap in "[ \n\t-]{0,3}",
        ) {
            let good = text(&key);
            let typed: String = good.chars().zip(lower).map(|(letter, lower)| match letter {
                '-' => gap.clone(),
                letter if lower => letter.to_ascii_lowercase().into(),
                letter => letter.into(),
            }).collect();
            prop_assert_eq!(text(&parse(&typed).unwrap()), good);
        }
    }
}

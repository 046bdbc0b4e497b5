use super::*;
use crate::exit::tests::all;

// `Builder::anchor` means nothing on the command line.
fn names_a_call(text: &str) -> bool {
    text.split('`').skip(1).step_by(2).any(|quoted| quoted.contains("::"))
        || text.contains("revoke_data")
        || text.contains("revoke_admin")
}

#[test]
fn no_error_names_a_call_of_the_library() {
    let mut named = 0;
    for (error, _) in all() {
        named += usize::from(names_a_call(&error.to_string()));
        let ours = in_our_words(&error.to_string());
        assert!(!names_a_call(&ours), "{ours}");
    }
    // Those that need words of ours are among them.
    assert!(named > 15, "{named}");
}

#[test]
fn every_word_is_needed() {
    let all: Vec<String> = all().iter().map(|(error, _)| error.to_string()).collect();
    let provider = "`Builder::provider_timeout`";
    for (library, _) in WORDS.iter().filter(|(library, _)| *library != provider) {
        assert!(all.iter().any(|text| text.contains(library)), "{library}");
    }
}

#[test]
fn what_to_do_next_is_in_the_words_of_the_command_line() {
    let next = |error: OpenError| next(&error.into()).unwrap_or_default();
    assert!(next(OpenError::NeedsRecovery).contains("--recover"));
    assert!(next(OpenError::WrongKey).contains("strongroom inspect"));
    assert_eq!(next(OpenError::AlreadyOpen), "");
}

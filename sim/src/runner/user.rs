//! Where the user stands. cargo runs a test in the folder of its package, wherever it was called from; the shell's own
//! word for it is left in `PWD`.

use std::path::{Path, PathBuf};

/// The folder to which the user's paths are relative.
#[expect(
    clippy::disallowed_methods,
    reason = "this is about the user who runs the tool, outside of any rehearsal"
)]
pub(super) fn folder() -> PathBuf {
    let shell = std::env::var_os("PWD").map(PathBuf::from);
    let shell = shell.filter(|folder| folder.is_absolute() && folder.is_dir());
    shell.or_else(|| std::env::current_dir().ok()).unwrap_or_default()
}

/// The file that the user means by `path`.
pub(super) fn meant(path: &Path) -> PathBuf {
    folder().join(path)
}

/// `file` as the user would write it: relative to where they stand if it is below, in quotes if a shell needs them.
pub(super) fn shown(file: &Path) -> String {
    relative(file, &folder())
}

fn relative(file: &Path, folder: &Path) -> String {
    let short = file.strip_prefix(folder).ok().filter(|short| !short.as_os_str().is_empty());
    quoted(&short.unwrap_or(file).to_string_lossy())
}

/// `word` as a shell takes it for one.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./:=+,@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_the_user_is_short_and_any_other_whole() {
        let shown = |file: &str| relative(Path::new(file), Path::new("/home/me/shop"));
        assert_eq!(shown("/home/me/shop/tests/graveyard/storm-7.toml"), "tests/graveyard/storm-7.toml");
        assert_eq!(shown("/home/me/shops/a.toml"), "/home/me/shops/a.toml");
        assert_eq!(shown("/home/me/shop/my plan.toml"), "'my plan.toml'");
    }

    #[test]
    fn a_quote_in_a_word_survives_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}

//! What the documents say of the tests is true.

use std::path::Path;

/// Every `.rs` file below a directory, as one text.
fn sources(dir: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    text
}

#[test]
fn every_test_that_a_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = [
        "docs/backup-restore.md",
        "docs/deletion.md",
        "docs/guarantees.md",
        "docs/security.md",
    ];
    let sources = sources(&root.join("src")) + &sources(&root.join("tests"));
    for page in pages {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        // A test's name is a sentence: several words in one code span.
        let names = text.split('`').skip(1).step_by(2);
        let names: Vec<&str> = names
            .filter(|span| span.matches('_').count() >= 2)
            .filter(|span| {
                span.chars()
                    .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
            })
            .collect();
        assert!(names.len() >= 20, "{page} names tests: {names:?}");
        for name in names {
            assert!(
                sources.contains(&format!("fn {name}(")),
                "{page}: there is no test {name}"
            );
        }
    }
}

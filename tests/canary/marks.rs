//! The marks, and where they may be.

use std::path::Path;

use roster::sim::shapes::{SECRET, SECRET_PHONE};

/// In the names, addresses and public metadata of people who stay. Answers and the database have them.
pub const LIVING: &str = "livingmark";
/// The same of people who are deleted. Nothing has them afterwards.
pub const GONE: &str = "gonemark";
/// In what Clerk says and we do not use, beside what the simulated one marks itself. Nothing ever has it.
pub const UNUSED: &str = "unusedmark";
/// In what only this service and Clerk may know: its keys and tokens. Nothing ever has it.
pub const KEY: &str = "keymark";

/// What is nowhere, whoever it is about.
const NOWHERE: [&str; 4] = [UNUSED, KEY, SECRET, SECRET_PHONE];

/// Things that were said or lie somewhere, by the name of the place.
#[derive(Default)]
pub struct Heap(Vec<(String, String)>);

impl Heap {
    pub fn add(&mut self, place: impl Into<String>, content: impl AsRef<[u8]>) {
        self.0.push((place.into(), String::from_utf8_lossy(content.as_ref()).to_ascii_lowercase()));
    }

    /// Every file of a folder.
    pub fn add_folder(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            self.add(path.display().to_string(), std::fs::read(&path).unwrap());
        }
    }

    /// How many places have it.
    pub fn count(&self, mark: &str) -> usize {
        let mark = mark.to_ascii_lowercase();
        self.0.iter().filter(|(_, content)| content.contains(&mark)).count()
    }

    /// Asserts that none of these is in any of it, nor what is allowed nowhere.
    pub fn has_none_of(&self, marks: &[&str]) {
        let marks: Vec<_> = NOWHERE.iter().chain(marks).map(|mark| mark.to_ascii_lowercase()).collect();
        for (place, content) in &self.0 {
            for mark in &marks {
                if let Some(at) = content.find(mark) {
                    let start = content.floor_char_boundary(at.saturating_sub(300));
                    let end = content.ceil_char_boundary(at + 100);
                    panic!("`{mark}` is in {place}: … {} …", &content[start..end]);
                }
            }
        }
    }
}

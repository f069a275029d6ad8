//! Reads events from files and folders.
//!
//! A file holds one event, an array of events, or one event after the other (JSON lines). Everything is
//! read before anything is sent, so that a broken file at the end does not leave half a replay behind. The
//! text of an event is kept as it is: what is sent is what was recorded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

/// Why the events could not be read. Names the file, and where it can, the place in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file or folder is not there, or may not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not JSON.
    #[error("{} is not JSON", .path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The file is JSON, but not of events.
    #[error("{} must hold one event, an array of events, or one event a line", .path.display())]
    Shape {
        /// Which.
        path: PathBuf,
    },
}

/// The events of files and folders, in the order given; a folder's files by name, its folders among them.
pub fn read(paths: &[PathBuf]) -> Result<Vec<String>, FileError> {
    let mut events = Vec::new();
    for path in paths {
        if is_folder(path)? {
            read_folder(path, &mut events)?;
        } else {
            read_file(path, &mut events)?;
        }
    }
    Ok(events)
}

fn is_folder(path: &Path) -> Result<bool, FileError> {
    let found = fs::metadata(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    Ok(found.is_dir())
}

fn read_folder(folder: &Path, events: &mut Vec<String>) -> Result<(), FileError> {
    let unreadable = |source| FileError::Read { path: folder.to_owned(), source };
    let mut entries: Vec<fs::DirEntry> =
        fs::read_dir(folder).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to a folder may lead back up; only real folders are walked.
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if !is_hidden(&path) {
                read_folder(&path, events)?;
            }
        } else if is_event_file(&path) && !is_folder(&path)? {
            read_file(&path, events)?;
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn is_event_file(path: &Path) -> bool {
    !is_hidden(path) && path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl")
}

fn read_file(path: &Path, events: &mut Vec<String>) -> Result<(), FileError> {
    let text =
        fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    events.extend(parse(&text, path)?);
    Ok(())
}

/// The events in the text of one file; `path` is for the error.
pub fn parse(text: &str, path: &Path) -> Result<Vec<String>, FileError> {
    let not_json = |source| FileError::Parse { path: path.to_owned(), source };
    let text = text.trim_start_matches('\u{feff}');
    let mut events = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(not_json)?.get();
        if value.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(value).map_err(not_json)?;
            events.extend(items.into_iter().map(|item| item.get().to_owned()));
        } else {
            events.push(value.to_owned());
        }
    }
    if events.iter().all(|event| event.starts_with('{')) {
        Ok(events)
    } else {
        Err(FileError::Shape { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        parse(text, Path::new("events.json")).unwrap()
    }

    #[test]
    fn a_file_holds_one_event_an_array_or_lines() {
        assert_eq!(parsed("{ \"type\": \"a\" }\n"), [r#"{ "type": "a" }"#]);
        assert_eq!(parsed("[{\"n\":1},\n {\"n\":2}]"), [r#"{"n":1}"#, r#"{"n":2}"#]);
        assert_eq!(parsed("\u{feff}{\"n\":1}\r\n\r\n{\"n\":2}\r\n"), [r#"{"n":1}"#, r#"{"n":2}"#]);
        assert_eq!(parsed("[]"), [""; 0]);
    }

    #[test]
    fn what_is_not_an_event_is_an_error_that_names_the_file() {
        for text in ["null", "[1]", "{} 5", "\"event\"", "[[{}]]"] {
            let error = parse(text, Path::new("odd.json")).unwrap_err();
            assert!(matches!(error, FileError::Shape { .. }), "{text}: {error:?}");
            assert!(error.to_string().contains("odd.json"));
        }
        for text in ["{", "{}{\"a\":}", "[{}", "nonsense"] {
            let error = parse(text, Path::new("broken.json")).unwrap_err();
            assert!(matches!(error, FileError::Parse { .. }), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_folder_is_read_by_name_with_its_folders() {
        let folder = std::env::temp_dir().join(format!("roster-replay-files-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("b")).unwrap();
        for (name, text) in [
            ("c.json", "{\"n\":3}"),
            ("a.jsonl", "{\"n\":1}\n"),
            ("b/x.json", "{\"n\":2}"),
            ("notes.txt", "not read"),
            (".hidden.json", "not read"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let events = read(std::slice::from_ref(&folder)).unwrap();
        assert_eq!(events, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);

        let missing = read(&[folder.join("missing.json")]).unwrap_err();
        assert!(missing.to_string().contains("missing.json"));
        fs::remove_dir_all(&folder).unwrap();
    }
}

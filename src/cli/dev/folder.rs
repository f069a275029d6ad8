//! What `roster dev` keeps in `./.roster-dev/`, so that lines printed yesterday still work.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use crate::app::Claim;
use crate::sim::fixtures::INSTANCE_ID;
use crate::sim::keys::SigningKey;
use crate::store::private;

const FOLDER: &str = ".roster-dev";
const KEY: &str = "signing-key.der";
const SECRET: &str = "webhook-secret";
const DATABASE: &str = "roster.db";
/// Everything that is ours; a reset touches nothing else.
const OWN: [&str; 6] = [KEY, SECRET, DATABASE, "roster.db-wal", "roster.db-shm", "roster.db.lock"];

/// The folder of the demo.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Opens the folder in the working folder, and makes it when it is not there.
    pub(super) fn open(reset: bool) -> anyhow::Result<Self> {
        Self::open_at(Path::new(FOLDER), reset)
    }

    fn open_at(path: &Path, reset: bool) -> anyhow::Result<Self> {
        let folder = Self(path.to_owned());
        make(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        // Keys do not belong into a repository, not even these.
        folder.keep(".gitignore", || Ok(b"*\n".to_vec()))?;
        if reset {
            // A demo that runs keeps what it has.
            drop(Claim::take(&folder.database())?);
            for name in OWN {
                folder.remove(name)?;
            }
        }
        Ok(folder)
    }

    /// The key that session tokens are signed with.
    pub(super) fn signing_key(&self) -> anyhow::Result<SigningKey> {
        let der = self.keep(KEY, || SigningKey::generate(INSTANCE_ID)?.to_pkcs8())?;
        SigningKey::from_pkcs8(INSTANCE_ID, &der).with_context(|| self.broken(KEY))
    }

    /// The secret that webhooks are signed with.
    pub(super) fn webhook_secret(&self) -> anyhow::Result<SecretString> {
        let text = self.keep(SECRET, || {
            let mut key = [0; 24];
            aws_lc_rs::rand::fill(&mut key)?;
            Ok(format!("whsec_{}\n", STANDARD.encode(key)).into_bytes())
        })?;
        let text = String::from_utf8(text).with_context(|| self.broken(SECRET))?;
        svix::webhooks::Webhook::new(text.trim()).with_context(|| self.broken(SECRET))?;
        Ok(SecretString::from(text.trim()))
    }

    /// Where the webhook secret is kept.
    pub(super) fn secret_path(&self) -> PathBuf {
        self.0.join(SECRET)
    }

    /// Where the database is kept.
    pub(super) fn database(&self) -> PathBuf {
        self.0.join(DATABASE)
    }

    /// What is in a file; made, for the owner's eyes only, when it is not there.
    fn keep(&self, name: &str, make: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(content) => Ok(content),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let content = make()?;
                write_whole(&path, &content).with_context(|| format!("cannot write {}", path.display()))?;
                Ok(content)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn broken(&self, name: &str) -> String {
        format!("{} cannot be used: start anew with `roster dev --reset`", self.0.join(name).display())
    }
}

/// Makes the folder for the owner's eyes only.
fn make(path: &Path) -> io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.recursive(true).create(path)
}

/// Half a key is worse than none: the file appears when all of it is written.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    private().write(true).create(true).truncate(true).open(&unfinished)?.write_all(content)?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("roster-dev-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn key_and_secret_are_kept_until_the_reset_which_touches_nothing_else() {
        let scratch = Scratch::new("kept");
        let open = |reset| Folder::open_at(&scratch.0, reset).unwrap();
        let seen = |folder: &Folder| {
            let secret = folder.webhook_secret().unwrap().expose_secret().to_owned();
            (folder.signing_key().unwrap().jwk(), secret)
        };
        let first = seen(&open(false));
        assert_eq!(first, seen(&open(false)));
        fs::write(scratch.0.join("mine.txt"), "keep").unwrap();
        fs::write(scratch.0.join(DATABASE), "").unwrap();
        let anew = open(true);
        assert!(!anew.database().exists());
        let second = seen(&anew);
        assert!(first.0 != second.0 && first.1 != second.1);
        assert!(scratch.0.join("mine.txt").exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_for_their_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::new("mode");
        let folder = Folder::open_at(&scratch.0, false).unwrap();
        folder.signing_key().unwrap();
        folder.webhook_secret().unwrap();
        for (name, owners) in [("", 0o700), (KEY, 0o600), (SECRET, 0o600)] {
            let mode = fs::metadata(scratch.0.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, owners, "{name}");
        }
    }

    #[test]
    fn a_broken_file_names_the_mend() {
        let scratch = Scratch::new("broken");
        let folder = Folder::open_at(&scratch.0, false).unwrap();
        fs::write(scratch.0.join(KEY), "nonsense").unwrap();
        fs::write(scratch.0.join(SECRET), "whsec_!").unwrap();
        assert!(folder.signing_key().unwrap_err().to_string().contains("--reset"));
        assert!(folder.webhook_secret().unwrap_err().to_string().contains("--reset"));
    }
}

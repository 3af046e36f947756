//! The folder on the disk. Each process has one of its own in it, and a lock beside that, which
//! the system takes back when the process ends, whatever its end.
//!
//! So two processes never share a file: neither two gateways that were given one folder by mistake
//! nor the old and the new one of an upgrade, of which both run for a while. What has no living
//! owner is removed by whoever comes by.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::form::{Lengths, Seal};

const LOCK: &str = "lock";
/// Names that are tried; each is taken by chance only.
const TRIES: usize = 16;

/// See the module.
pub struct Folder {
    root: PathBuf,
    own: PathBuf,
    /// Held for as long as the process lives.
    _lock: File,
}

impl Folder {
    /// # Errors
    /// It cannot be made, written to or locked.
    pub fn open(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        sweep(root)?;
        for _ in 0..TRIES {
            let name = format!("{:016x}", fastrand::u64(..));
            if let Some(folder) = Self::claim(root, &name)? {
                return Ok(folder);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// `None`: somebody else has it, or sweeps it away right now.
    fn claim(root: &Path, name: &str) -> io::Result<Option<Self>> {
        let path = root.join(name).with_extension(LOCK);
        let lock = private().create_new(true).open(&path);
        let lock = match lock {
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => return Ok(None),
            lock => lock?,
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(fault)) => return Err(fault),
            Ok(()) => {}
        }
        // Who swept may have been between us and the lock.
        if !fs::metadata(&path).is_ok_and(|there| is_same(&there, &lock)) {
            return Ok(None);
        }
        let own = root.join(name);
        DirBuilder::new().mode(0o700).create(&own)?;
        Ok(Some(Self {
            root: root.to_owned(),
            own,
            _lock: lock,
        }))
    }

    /// Removes what is left of processes that have ended.
    ///
    /// # Errors
    /// Some of it cannot be removed.
    pub fn sweep(&self) -> io::Result<()> {
        sweep(&self.root)
    }

    /// # Errors
    /// The file is not there then.
    pub fn write(&self, number: u64, seal: &Seal, record: &[u8], body: &[u8]) -> io::Result<()> {
        let new = self.own.join("new");
        let written = private()
            .create(true)
            .truncate(true)
            .open(&new)
            .and_then(|mut file| seal.write(number, record, body, &mut file))
            .and_then(|()| fs::rename(&new, self.path(number)));
        if written.is_err() {
            // It may not have been made.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Record and body.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written.
    pub fn read(
        &self,
        number: u64,
        seal: &Seal,
        lengths: Lengths,
    ) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut file = File::open(self.path(number))?;
        seal.read(number, lengths, &mut file)
    }

    /// # Errors
    /// It is still there.
    pub fn remove(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.path(number)) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.own.join(format!("{number:016x}"))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn is_same(there: &fs::Metadata, lock: &File) -> bool {
    lock.metadata()
        .is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// Touches nothing that has no name of ours.
fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let is_lock = path.extension().is_some_and(|extension| extension == LOCK);
        let name = path.file_stem().unwrap_or_default().as_encoded_bytes();
        if !is_lock || name.len() != 16 || !name.iter().all(u8::is_ascii_hexdigit) {
            continue;
        }
        // Somebody else may sweep too.
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        match fs::remove_dir_all(path.with_extension("")) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
        match fs::remove_file(&path) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let name = format!("portcullis-folder-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn names(&self) -> Vec<String> {
            let name = |entry: io::Result<fs::DirEntry>| {
                entry.unwrap().file_name().to_str().unwrap().to_owned()
            };
            let mut names: Vec<_> = fs::read_dir(&self.0).unwrap().map(name).collect();
            names.sort();
            names
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn processes_have_folders_of_their_own_and_the_dead_are_swept_away() {
        let root = Root::new("own");
        let first = Folder::open(&root.0).unwrap();
        let second = Folder::open(&root.0).unwrap();
        assert_ne!(first.own, second.own);
        fs::write(root.0.join("not-ours.lock"), "").unwrap();
        fs::write(root.0.join("0123456789abcdef"), "").unwrap();
        let seal = Seal::new().unwrap();
        first.write(1, &seal, b"record", b"body").unwrap();
        second.sweep().unwrap();
        assert_eq!(root.names().len(), 6);
        let gone = first.own.clone();
        drop(first);
        second.sweep().unwrap();
        assert!(!gone.exists() && second.own.exists());
        assert_eq!(root.names().len(), 4);
    }

    #[test]
    fn files_are_private_and_go_when_they_are_told_to() {
        let root = Root::new("private");
        let folder = Folder::open(&root.0).unwrap();
        let seal = Seal::new().unwrap();
        folder.write(1, &seal, b"record", b"body").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&root.0), 0o700);
        assert_eq!(mode(&folder.own), 0o700);
        assert_eq!(mode(&folder.path(1)), 0o600);
        let lengths = Lengths { record: 6, body: 4 };
        let read = || folder.read(1, &seal, lengths);
        assert_eq!(read().unwrap(), (b"record".to_vec(), b"body".to_vec()));
        folder.remove(1).unwrap();
        folder.remove(1).unwrap();
        assert!(read().is_err());
        fs::remove_dir_all(&folder.own).unwrap();
        assert!(folder.write(2, &seal, b"record", b"body").is_err());
    }
}

//! A copy of the server's installation whose extensions are its own: a server finds its files by where its
//! program is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::directory_of;

/// An installation, gone on drop.
pub struct Programs {
    root: PathBuf,
}

impl Programs {
    /// The installation of all tests, with further files, or others, among its extensions.
    pub fn with_extension_files(files: &[(&str, &str)]) -> Programs {
        let root = std::env::temp_dir().join(format!("vectorext-programs-{}", std::process::id()));
        let programs = Programs { root };
        let bindir = directory_of("--bindir");
        fs::create_dir_all(programs.of(&bindir)).unwrap();
        for program in ["postgres", "initdb", "pg_ctl"] {
            // one that is a link would look for its files where the link leads
            fs::copy(bindir.join(program), programs.of(&bindir).join(program)).unwrap();
        }
        let share = directory_of("--sharedir");
        programs.link_all(&share, &["extension"]);
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        programs.link_all(&share.join("extension"), &names);
        for (name, text) in files {
            fs::write(programs.of(&share).join("extension").join(name), text).unwrap();
        }
        let libraries = directory_of("--pkglibdir");
        fs::create_dir_all(programs.of(&libraries).parent().unwrap()).unwrap();
        symlink(&libraries, programs.of(&libraries)).unwrap();
        programs
    }

    /// Where the programs are.
    pub fn directory(&self) -> PathBuf {
        self.of(&directory_of("--bindir"))
    }

    /// Where a directory of the installation is in the copy.
    fn of(&self, directory: &Path) -> PathBuf {
        self.root.join(directory.strip_prefix("/").unwrap())
    }

    fn link_all(&self, directory: &Path, but: &[&str]) {
        let copy = self.of(directory);
        fs::create_dir_all(&copy).unwrap();
        for entry in fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name();
            if !but.iter().any(|other| name == *other) {
                symlink(directory.join(&name), copy.join(&name)).unwrap();
            }
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

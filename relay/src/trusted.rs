//! Files that root opens where others may write: a symbolic link is followed only if nobody but root can
//! have laid it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat, stat};
use rustix::io::Errno;

/// Links that are followed on one way, as the kernel has it.
const MAX_LINKS: usize = 40;
/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// What this process has open already, by name and by number: links that lead nowhere else.
const OWN: [&str; 2] = ["/dev/stdout", "/dev/stderr"];
const OWN_NUMBERS: [&str; 2] = ["/dev/fd/", "/proc/self/fd/"];

/// Opens `path` with these flags, and `mode` where they make it. As root no link of others is followed, be it
/// the file or a folder on the way; anybody else can only lead to what is theirs.
///
/// # Errors
/// What the system says, or which link is not followed.
pub(crate) fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    if !is_root() || is_own(path) {
        let file = openat(CWD, path, flags | OFlags::CLOEXEC, mode)?;
        return Ok(File::from(file));
    }
    Way::begin(path, false)?.open(flags, mode)
}

/// Opens `path` to append to it. Folders that are not there are made, mode 0700, and so is the file, mode 0640.
///
/// # Errors
/// As of [`open`].
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    if is_root() && !is_own(path) {
        return Way::begin(path, true)?.open(flags, mode);
    }
    let parent = path.parent();
    if let Some(folder) = parent.filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder)?;
    }
    open(path, flags, mode)
}

/// Looks that `folder` holds no links that others than root laid, where root is about to open what is in it.
///
/// # Errors
/// What the system says, or which link there is.
pub(crate) fn check_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if !is_root() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)?.take(MAX_ENTRIES) {
        let entry = entry?;
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_symlink() && !is_roots(about.uid())? {
            return Err(foreign(&entry.path(), about.uid()));
        }
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_own(path: &Path) -> bool {
    let Some(path) = path.to_str() else {
        return false;
    };
    let mut numbers = OWN_NUMBERS.iter().filter_map(|of| path.strip_prefix(of));
    // Nothing but a number: `..` would lead anywhere.
    OWN.contains(&path)
        || numbers.any(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whoever owns `/` decides about everything anyway: that is root seen from within a user namespace.
fn is_roots(uid: u32) -> io::Result<bool> {
    Ok(uid == 0 || uid == stat("/")?.st_uid)
}

fn foreign(link: &Path, owner: u32) -> io::Error {
    io::Error::other(format!(
        "{} is a symbolic link in the hands of others than root (uid {owner}), which root does not follow: remove \
         it, or name the file itself",
        shared::display_safe(&link.to_string_lossy())
    ))
}

/// The way to a file, gone folder by folder, so that nobody can exchange one behind our back.
struct Way {
    folder: OwnedFd,
    rest: VecDeque<OsString>,
    links: usize,
    /// Folders that are not there are made.
    makes: bool,
}

impl Way {
    fn begin(path: &Path, makes: bool) -> io::Result<Self> {
        let start = if path.is_absolute() { "/" } else { "." };
        Ok(Self {
            folder: folder(CWD, start)?,
            rest: names(path).collect(),
            links: 0,
            makes,
        })
    }

    fn open(mut self, flags: OFlags, mode: Mode) -> io::Result<File> {
        while let Some(name) = self.rest.pop_front() {
            let is_last = self.rest.is_empty();
            let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&self.folder, &name, look, Mode::empty()) {
                Ok(found) => {
                    let about = fstat(&found)?;
                    if FileType::from_raw_mode(about.st_mode) == FileType::Symlink {
                        let target = target(&found)?;
                        if is_last && is_own(&target) {
                            let file = openat(CWD, &target, flags | OFlags::CLOEXEC, mode)?;
                            return Ok(File::from(file));
                        }
                        self.follow(Path::new(&name), &about, &target)?;
                    } else if is_last {
                        return self.open_here(&name, flags, mode);
                    } else {
                        self.folder = found;
                    }
                }
                Err(Errno::NOENT) if is_last => return self.open_here(&name, flags, mode),
                Err(Errno::NOENT) if self.makes => {
                    mkdirat(&self.folder, &name, Mode::RWXU)?;
                    self.rest.push_front(name);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::ISDIR.into())
    }

    fn open_here(&self, name: &OsString, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.folder, name, flags, mode)?))
    }

    /// Goes on at the target of a link, if link and folder are root's.
    fn follow(&mut self, name: &Path, link: &Stat, target: &Path) -> io::Result<()> {
        let around = fstat(&self.folder)?;
        for owner in [link.st_uid, around.st_uid] {
            if !is_roots(owner)? {
                return Err(foreign(name, owner));
            }
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if target.is_absolute() {
            self.folder = folder(CWD, "/")?;
        }
        let names: Vec<_> = names(target).collect();
        for name in names.into_iter().rev() {
            self.rest.push_front(name);
        }
        Ok(())
    }
}

fn folder(from: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(from, name, flags, Mode::empty())?)
}

fn target(link: &OwnedFd) -> io::Result<PathBuf> {
    let target = readlinkat(link, "", Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()).into())
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    const NOBODY: Option<u32> = Some(65_534);

    fn write(path: &Path) -> io::Result<()> {
        append(path)?.write_all(b"line\n")
    }

    #[test]
    fn links_of_root_are_followed_and_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("deep/down/log")).unwrap();
        symlink("deep/down", at("short")).unwrap();
        symlink(at("short/log"), at("log")).unwrap();
        write(&at("log")).unwrap();
        write(&at("deep/../short/./log")).unwrap();
        let mut text = String::new();
        let mut file = open(&at("log"), OFlags::RDONLY, Mode::empty()).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\nline\nline\n");
        symlink("round", at("round")).unwrap();
        assert!(write(&at("round")).is_err());
        assert!(write(folder.path()).is_err());
        assert!(write(Path::new("/dev/null")).is_ok());
    }

    #[test]
    fn a_link_of_others_is_not_followed_and_named() {
        // Only root gives files away, and only root is led to what the others may not open.
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let theirs = |link: &Path| lchown(link, NOBODY, None).unwrap();
        std::fs::create_dir(at("theirs")).unwrap();
        write(&at("victim")).unwrap();
        // The link is theirs, the folder is, or a folder on the way is a link of theirs.
        symlink(at("victim"), at("link")).unwrap();
        theirs(&at("link"));
        symlink(at("victim"), at("theirs/log")).unwrap();
        symlink(folder.path(), at("theirs/way")).unwrap();
        theirs(&at("theirs"));
        for path in ["link", "theirs/log", "theirs/way/victim"] {
            let error = write(&at(path)).unwrap_err().to_string();
            assert!(
                error.contains("uid 65534") && error.contains("remove it"),
                "{path}: {error}"
            );
        }
        assert_eq!(std::fs::read_to_string(at("victim")).unwrap(), "line\n");
        assert!(check_folder(&at("theirs")).is_ok());
        let error = check_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("link is a symbolic link"), "{error}");
        // Where nothing is there yet nothing is made behind a link.
        symlink(at("new"), at("dangling")).unwrap();
        theirs(&at("dangling"));
        assert!(write(&at("dangling")).is_err() && !at("new").exists());
        let away = format!("/dev/fd/../..{}", at("victim").display());
        symlink(away, at("away")).unwrap();
        theirs(&at("away"));
        assert!(write(&at("away")).is_err());
        // What they lead to is this process's own.
        symlink("/dev/stderr", at("output")).unwrap();
        theirs(&at("output"));
        assert!(open(&at("output"), OFlags::WRONLY, Mode::empty()).is_ok());
    }
}

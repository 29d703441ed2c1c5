//! Files that root opens where others may write: a symbolic link is followed only if nobody but root can
//! have laid it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, PROC_SUPER_MAGIC, Stat, Uid, chownat, fcntl_setfl,
    fstat, fstatfs, mkdirat, openat, readlinkat, stat,
};
use rustix::io::Errno;

/// Links that are followed on one way, as the kernel has it.
const MAX_LINKS: usize = 40;
/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Descriptors of a process that a log may go to, as `/proc` names them.
const OUTPUTS: [&str; 2] = ["1", "2"];

/// Opens `path` with these flags, and `mode` where they make it. As root no link of others is followed, be it
/// the file or a folder on the way; anybody else can only lead to what is theirs. An output of a process is none.
///
/// # Errors
/// What the system says, or which link is not followed.
pub(crate) fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    if own_output(path).is_some() {
        return Err(no_file(path));
    }
    if !is_root() {
        let file = openat(CWD, path, flags | OFlags::CLOEXEC, mode)?;
        return Ok(File::from(file));
    }
    Way::begin(path, false)?.open(flags, mode)
}

/// Opens `path` to append to it. Folders that are not there are made, mode 0700, and so is the file, mode 0640.
/// Standard output and error are taken as they are open; a named pipe needs no reader yet.
///
/// # Errors
/// As of [`open`]; as root for a file with another name, too, where others may give it one.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    if let Some(output) = own_output(path) {
        return output;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    if is_root() {
        return Way::begin(path, true)?.open(flags, mode);
    }
    let parent = path.parent();
    if let Some(folder) = parent.filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder)?;
    }
    open_at_once(CWD, path, flags, mode)
}

/// Gives a file or a named pipe to a user, who reopens it. What has another name, too, stays whose it is.
///
/// # Errors
/// As of [`open`].
pub(crate) fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    // Without opening it: a named pipe may have no reader.
    let found = open(path, OFlags::PATH, Mode::empty())?;
    let about = fstat(&found)?;
    let kind = FileType::from_raw_mode(about.st_mode);
    if matches!(kind, FileType::RegularFile | FileType::Fifo) && about.st_nlink == 1 {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        chownat(&found, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

/// Looks that `folder` holds no links that others than root laid, and no files of others than its owner under
/// another name, where root is about to open what is in it.
///
/// # Errors
/// What the system says, which link there is, or that there is too much to look at.
pub(crate) fn check_folder(folder: &Path) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(folder)?.uid();
    for (count, entry) in std::fs::read_dir(folder)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(io::Error::other(format!(
                "there are more than {MAX_ENTRIES} entries in it: remove what is not relayd's, or name a folder \
                 of its own"
            )));
        }
        let entry = entry?;
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_symlink() && !is_roots(about.uid())? {
            return Err(foreign(&entry.path(), about.uid()));
        }
        if !about.is_dir() && about.nlink() > 1 && about.uid() != owner {
            return Err(linked(&entry.path()));
        }
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Another descriptor of standard output or error of this process, if that is what `path` names.
fn own_output(path: &Path) -> Option<io::Result<File>> {
    let folder = path.parent()?.to_str()?;
    let own = format!("/proc/{}/fd", std::process::id());
    let is_numbered = ["/dev/fd", "/proc/self/fd", &own].contains(&folder);
    let copy = match path.file_name()?.to_str()? {
        "stdout" if folder == "/dev" => io::stdout().as_fd().try_clone_to_owned(),
        "stderr" if folder == "/dev" => io::stderr().as_fd().try_clone_to_owned(),
        "1" if is_numbered => io::stdout().as_fd().try_clone_to_owned(),
        "2" if is_numbered => io::stderr().as_fd().try_clone_to_owned(),
        _ => return None,
    };
    Some(copy.map(File::from))
}

/// Opens without waiting for the reader of a named pipe, who may come later.
fn open_at_once(
    folder: impl AsFd,
    name: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let name = name.as_ref();
    let opened = match openat(&folder, name, flags, mode) {
        Err(Errno::NXIO) => {
            let both = flags.difference(OFlags::WRONLY) | OFlags::RDWR;
            openat(&folder, name, both, mode)?
        }
        opened => opened?,
    };
    // Whoever writes may wait.
    fcntl_setfl(&opened, flags & OFlags::APPEND)?;
    Ok(File::from(opened))
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

fn linked(file: &Path) -> io::Error {
    io::Error::other(format!(
        "{} has another name too (a hard link), which others may have given it, and root does not open it: remove \
         it, or put a copy in its place",
        shared::display_safe(&file.to_string_lossy())
    ))
}

fn no_file(path: &Path) -> io::Error {
    io::Error::other(format!(
        "{} is what a process has open, and no file: name a file",
        shared::display_safe(&path.to_string_lossy())
    ))
}

/// The way to a file, gone folder by folder, so that nobody can exchange one behind our back.
struct Way {
    folder: OwnedFd,
    rest: VecDeque<OsString>,
    links: usize,
    /// It leads to a log: folders that are not there are made, and it may be an output of a process.
    is_log: bool,
}

impl Way {
    fn begin(path: &Path, is_log: bool) -> io::Result<Self> {
        let start = if path.is_absolute() { "/" } else { "." };
        Ok(Self {
            folder: folder(CWD, start)?,
            rest: names(path).collect(),
            links: 0,
            is_log,
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
                        if let Some(output) = self.output(&name, &about, &target, flags)? {
                            return Ok(output);
                        }
                        self.follow(Path::new(&name), &about, &target)?;
                    } else if is_last {
                        return self.open_here(&name, flags, mode);
                    } else {
                        self.folder = found;
                    }
                }
                Err(Errno::NOENT) if is_last => return self.open_here(&name, flags, mode),
                Err(Errno::NOENT) if self.is_log => {
                    match mkdirat(&self.folder, &name, Mode::RWXU) {
                        // Another start was faster.
                        Err(error) if error != Errno::EXIST => return Err(error.into()),
                        _ => self.rest.push_front(name),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::ISDIR.into())
    }

    fn open_here(&self, name: &OsString, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !self.is_log {
            return Ok(File::from(openat(&self.folder, name, flags, mode)?));
        }
        let file = open_at_once(&self.folder, name, flags, mode)?;
        let about = file.metadata()?;
        if !about.is_dir() && about.nlink() > 1 {
            let around = fstat(&self.folder)?;
            let shared = Mode::WGRP | Mode::WOTH;
            let is_shared = Mode::from_raw_mode(around.st_mode).intersects(shared);
            if is_shared || !is_roots(around.st_uid)? {
                return Err(linked(Path::new(name)));
            }
        }
        Ok(file)
    }

    /// What a link stands for that is an output of a process. Those of `/proc` name what is open, which may
    /// have no name: the kernel opens it.
    fn output(
        &self,
        name: &OsStr,
        link: &Stat,
        target: &Path,
        flags: OFlags,
    ) -> io::Result<Option<File>> {
        let is_log = self.is_log && self.rest.is_empty();
        if is_log && let Some(output) = own_output(target) {
            return output.map(Some);
        }
        if fstatfs(&self.folder)?.f_type != PROC_SUPER_MAGIC {
            return Ok(None);
        }
        let here = readlinkat(CWD, fd_path(&self.folder), Vec::new())?;
        let here = PathBuf::from(OsString::from_vec(here.into_bytes()));
        if here.file_name() != Some(OsStr::new("fd")) {
            return Ok(None);
        }
        if !is_log || !OUTPUTS.iter().any(|output| name == *output) {
            return Err(no_file(&here.join(name)));
        }
        if let Some(output) = own_output(&here.join(name)) {
            return output.map(Some);
        }
        self.check_owners(Path::new(name), link)?;
        // What it names is there: nothing is made.
        let flags = flags.difference(OFlags::CREATE);
        open_at_once(&self.folder, name, flags, Mode::empty()).map(Some)
    }

    /// Goes on at the target of a link, if link and folder are root's.
    fn follow(&mut self, name: &Path, link: &Stat, target: &Path) -> io::Result<()> {
        self.check_owners(name, link)?;
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

    fn check_owners(&self, name: &Path, link: &Stat) -> io::Result<()> {
        let around = fstat(&self.folder)?;
        for owner in [link.st_uid, around.st_uid] {
            if !is_roots(owner)? {
                return Err(foreign(name, owner));
            }
        }
        Ok(())
    }
}

fn fd_path(of: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", of.as_raw_fd()).into()
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

    const RUN_AS_ROOT: &str = "only root gives files away: run this test as root";

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
        assert!(is_root(), "{RUN_AS_ROOT}");
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
        // What they lead to is this process's own: that is for logs.
        symlink("/dev/stderr", at("output")).unwrap();
        theirs(&at("output"));
        assert!(append(&at("output")).is_ok());
        assert!(open(&at("output"), OFlags::WRONLY, Mode::empty()).is_err());
    }

    #[test]
    fn outputs_are_for_logs_and_no_other_descriptor_is() {
        assert!(is_root(), "{RUN_AS_ROOT}");
        let folder = tempfile::tempdir().unwrap();
        let own = format!("/proc/{}/fd/2", std::process::id());
        for path in ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", &own] {
            assert!(append(Path::new(path)).is_ok(), "{path}");
            let opened = open(Path::new(path), OFlags::RDWR, Mode::empty());
            assert!(opened.is_err(), "{path}");
        }
        let file = File::create(folder.path().join("open")).unwrap();
        for of in ["/dev/fd", "/proc/self/fd"] {
            let path = PathBuf::from(format!("{of}/{}", file.as_raw_fd()));
            assert!(append(&path).is_err(), "{path:?}");
            let error = open(&path, OFlags::RDWR, Mode::empty()).unwrap_err();
            assert!(error.to_string().contains("name a file"), "{error}");
        }
    }

    #[test]
    fn an_output_of_another_process_is_opened_by_the_kernel() {
        assert!(is_root(), "{RUN_AS_ROOT}");
        let folder = tempfile::tempdir().unwrap();
        // It waits for its input, and has a pipe for its output.
        let mut command = std::process::Command::new("cat");
        let pipes = || std::process::Stdio::piped();
        let mut other = command.stdin(pipes()).stdout(pipes()).spawn().unwrap();
        let path = format!("/proc/{}/fd/1", other.id());
        let link = folder.path().join("log");
        symlink(&path, &link).unwrap();
        write(Path::new(&path)).unwrap();
        write(&link).unwrap();
        let mut lines = [0; 10];
        let output = other.stdout.as_mut().unwrap();
        output.read_exact(&mut lines).unwrap();
        assert_eq!(&lines, b"line\nline\n");
        // Where somebody else laid the link it is not followed.
        lchown(&link, NOBODY, None).unwrap();
        assert!(write(&link).is_err());
        drop(other.stdin.take());
        other.wait().unwrap();
    }

    #[test]
    fn a_named_pipe_needs_no_reader_and_is_given_away_as_a_file_is() {
        assert!(is_root(), "{RUN_AS_ROOT}");
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mut log = append(&at("pipe")).unwrap();
        log.write_all(b"line\n").unwrap();
        let mut line = [0; 5];
        let mut reader = File::open(at("pipe")).unwrap();
        reader.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"line\n");
        drop((log, reader));
        write(&at("file")).unwrap();
        for name in ["pipe", "file"] {
            give(&at(name), 65_534, 65_534).unwrap();
            assert_eq!(std::fs::metadata(at(name)).unwrap().uid(), 65_534);
        }
    }

    #[test]
    fn a_file_with_another_name_is_refused_where_others_may_give_it_one() {
        assert!(is_root(), "{RUN_AS_ROOT}");
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("victim")).unwrap();
        std::fs::hard_link(at("victim"), at("log")).unwrap();
        write(&at("log")).unwrap();
        assert!(check_folder(folder.path()).is_ok());
        lchown(folder.path(), NOBODY, None).unwrap();
        for refused in [write(&at("log")), check_folder(folder.path())] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("hard link"), "{error}");
        }
        let text = std::fs::read_to_string(at("victim")).unwrap();
        assert_eq!(text, "line\nline\n");
        give(&at("log"), 65_534, 65_534).unwrap();
        assert_eq!(std::fs::metadata(at("victim")).unwrap().uid(), 0);
        // A backup of their own, with links, is theirs.
        lchown(at("victim"), NOBODY, None).unwrap();
        assert!(check_folder(folder.path()).is_ok());
    }

    #[test]
    fn a_folder_with_too_much_to_look_at_is_refused() {
        assert!(is_root(), "{RUN_AS_ROOT}");
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MAX_ENTRIES {
            File::create(folder.path().join(number.to_string())).unwrap();
        }
        let error = check_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("remove what is not relayd's"), "{error}");
    }
}

//! The SQL servers that coturn keeps users in, PostgreSQL and MariaDB: each of its own, in a folder of its
//! own, with coturn's schema, gone with the value.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::address::{free_port, fresh_ip};
use crate::coturn::UserDb;
use crate::program::{self, Sinks, finish, spawn};
use crate::wait::wait_until;

/// The tables of all coturn's SQL databases, as its Debian package has them.
const SCHEMA: &str = "/usr/share/coturn/schema.sql";
/// The database.
pub const DATABASE: &str = "coturn";
/// The user of MariaDB, and its password.
const USER: &str = "turn";
/// How often the files of a server are made until they are.
const ATTEMPTS: usize = 3;
/// How long a server may take to make its files, or to start.
const DEADLINE: Duration = Duration::from_secs(90);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `postgres`.
    Postgres,
    /// `mariadbd`.
    Mariadb,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct SqlServer {
    kind: Kind,
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl SqlServer {
    /// Starts one that has coturn's tables, empty.
    ///
    /// # Panics
    /// When it is not installed (the message names the Debian package), or does not start.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let folder = tempfile::Builder::new().prefix("sql-").tempdir();
        let folder = folder.expect("a folder");
        let place = folder.path();
        std::fs::create_dir(place.join("home")).expect("a fresh folder");
        give_away(place);
        let address = free_port(fresh_ip());
        let child = kind.launch(place, address);
        let mut server = Self {
            kind,
            address,
            child,
            folder,
        };
        wait_until("a server of databases", DEADLINE, || {
            let gone = server.child.try_wait().expect("a child can be waited for");
            let log = std::fs::read_to_string(server.folder.path().join("log"));
            assert!(gone.is_none(), "{gone:?}\n{}", log.unwrap_or_default());
            server.client("", &["select 1"]).status.success()
        });
        server.furnish();
        server
    }

    /// Creates the database with coturn's tables.
    fn furnish(&self) {
        let schema = std::fs::read_to_string(SCHEMA).expect("it comes with `coturn`");
        let create = format!("create database {DATABASE}");
        match self.kind {
            Kind::Postgres => self.must("", &[&create]),
            Kind::Mariadb => {
                let create = format!("{create} character set utf8mb4");
                let user = format!("create user {USER}@'%' identified by '{USER}'");
                let grant = format!("grant all on {DATABASE}.* to {USER}@'%'");
                self.must("", &[&create, &user, &grant])
            }
        };
        self.must(DATABASE, &[&schema]);
    }

    /// How coturn connects, as its options have it.
    #[must_use]
    pub fn connection(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        let password = match self.kind {
            Kind::Postgres => "user=postgres".to_owned(),
            Kind::Mariadb => format!("user={USER} password={USER}"),
        };
        format!("host={ip} port={port} {password} dbname={DATABASE}")
    }

    /// The same for `turnadmin`.
    #[must_use]
    pub fn userdb(&self) -> UserDb {
        match self.kind {
            Kind::Postgres => UserDb::Postgres(self.connection()),
            Kind::Mariadb => UserDb::Mysql(self.connection()),
        }
    }

    /// Runs these statements.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> String {
        self.must(DATABASE, &[statement])
    }

    /// An expression of SQL for this text, whatever is in it.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        match self.kind {
            Kind::Postgres => format!("convert_from(decode('{hex}', 'hex'), 'UTF8')"),
            Kind::Mariadb => format!("convert(x'{hex}' using utf8mb4)"),
        }
    }

    /// All users: realm, name, key.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn rows(&self) -> BTreeSet<(String, String, String)> {
        let hex = |column: &str| match self.kind {
            Kind::Postgres => format!("encode(convert_to({column}, 'UTF8'), 'hex')"),
            Kind::Mariadb => format!("hex(convert({column} using utf8mb4))"),
        };
        let (realm, name) = (hex("realm"), hex("name"));
        // PostgreSQL fills keys up with spaces.
        let rows = self.sql(&format!(
            "select concat_ws(',', {realm}, {name}, trim(hmackey)) from turnusers_lt"
        ));
        let row = |row: &str| {
            let columns: Vec<_> = row.split(',').collect();
            let [realm, name, key] = columns[..] else {
                panic!("three columns: {row}")
            };
            (plain(realm), plain(name), key.to_owned())
        };
        rows.lines().map(row).collect()
    }

    /// Whether its process has not ended, by itself or otherwise.
    ///
    /// # Panics
    /// When it is no child of this process.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("a child that nobody has waited for");
        let (_, state) = stat.rsplit_once(") ").expect("a state behind the name");
        !state.starts_with('Z')
    }

    /// Runs a line of a shell in `folder`, where the clients find this server by themselves; what it wrote.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn shell(&self, folder: &Path, line: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(folder);
        command.process_group(0);
        self.point(&mut command);
        let output = finish(line, spawn("dash", command, &Sinks::Pipes), DEADLINE);
        let said = program::text(&output);
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn must(&self, database: &str, statements: &[&str]) -> String {
        let output = self.client(database, statements);
        let said = program::text(&output);
        assert!(output.status.success(), "{statements:?}: {said}");
        said
    }

    fn client(&self, database: &str, statements: &[&str]) -> Output {
        let mut command = match self.kind {
            Kind::Postgres => {
                let mut command = Command::new("psql");
                command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
                let database = if database.is_empty() {
                    "postgres"
                } else {
                    database
                };
                command.args(["-d", database]);
                for statement in statements {
                    command.args(["-c", statement]);
                }
                command
            }
            Kind::Mariadb => {
                let mut command = Command::new("mariadb");
                command.args(["--default-character-set=utf8mb4", "--batch", "-N"]);
                command.args(["-e", &statements.join(";\n"), database]);
                command
            }
        };
        self.point(&mut command);
        let program = self.kind.client();
        finish(
            program,
            spawn(self.kind.package(), command, &Sinks::Pipes),
            DEADLINE,
        )
    }

    /// Makes a client, or a shell that starts one, find this server without being told.
    fn point(&self, command: &mut Command) {
        let place = self.folder.path();
        command.env("HOME", place.join("home"));
        match self.kind {
            Kind::Postgres => {
                command.env("PGHOST", place).env("PGUSER", "postgres");
                command.env("PGPORT", self.address.port().to_string());
            }
            Kind::Mariadb => {
                let socket = place.join("sock");
                let text = format!("[client]\nsocket={}\nuser=root\n", socket.display());
                std::fs::write(place.join("home/.my.cnf"), text).expect("a file");
            }
        }
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        // At once, whatever it would still write: its files go, too. PostgreSQL ends its other processes
        // itself then.
        if self.kind == Kind::Postgres {
            program::signal(&self.child, "QUIT");
            if program::ended(&mut self.child, Duration::from_secs(10)).is_some() {
                return;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Kind {
    fn package(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Mariadb => "mariadb-server-core and mariadb-client-core",
        }
    }

    fn client(self) -> &'static str {
        match self {
            Self::Postgres => "psql",
            Self::Mariadb => "mariadb",
        }
    }

    /// Makes the files of a server and starts it.
    fn launch(self, place: &Path, address: SocketAddr) -> Child {
        let (ip, port) = (&address.ip().to_string(), address.port().to_string());
        let data = place.join("data").display().to_string();
        // Its script takes no value in a word of its own.
        let data_word = format!("--datadir={data}");
        let socket = place.join("sock").display().to_string();
        let place_text = place.display().to_string();
        let (make, serve): (Vec<&str>, Vec<&str>) = match self {
            Self::Postgres => (
                vec![
                    "-D",
                    &data,
                    "-A",
                    "trust",
                    "-U",
                    "postgres",
                    "-E",
                    "UTF8",
                    "--locale=C.UTF-8",
                    "--no-sync",
                ],
                vec!["-D", &data, "-p", &port, "-k", &place_text, "-h", ip, "-F"],
            ),
            Self::Mariadb => (
                vec![
                    "--no-defaults",
                    &data_word,
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ],
                vec![
                    "--no-defaults",
                    &data_word,
                    "--socket",
                    &socket,
                    "--port",
                    &port,
                    "--bind-address",
                    ip,
                ],
            ),
        };
        let (maker, server) = match self {
            Self::Postgres => (postgres_program("initdb"), postgres_program("postgres")),
            Self::Mariadb => ("mariadb-install-db".into(), mariadbd()),
        };
        let made = || {
            // What an attempt that failed left behind.
            let _ = std::fs::remove_dir_all(&data);
            let mut making = as_nobody(place, &maker, &make);
            making.process_group(0);
            let made = spawn(self.package(), making, &Sinks::Pipes);
            finish(&maker.display().to_string(), made, DEADLINE)
        };
        // It starts servers of its own for a moment, for which a busy machine may lack something.
        let mut said = String::new();
        let is_made = (0..ATTEMPTS).any(|_| {
            let made = made();
            said += &format!("{}: {}\n", made.status, program::text(&made));
            made.status.success()
        });
        assert!(is_made, "{said}");
        let log = place.join("log");
        spawn(
            self.package(),
            as_nobody(place, &server, &serve),
            &Sinks::File(&log),
        )
    }
}

/// A program of PostgreSQL, which Debian keeps out of the path: the newest there is.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let programs = versions.map(|version| version.path().join("bin").join(name));
    let newest = programs.filter(|program| program.exists()).max();
    newest.unwrap_or_else(|| name.into())
}

/// Debian's is where only root's path leads.
fn mariadbd() -> PathBuf {
    let debians = PathBuf::from("/usr/sbin/mariadbd");
    match debians.exists() {
        true => debians,
        false => "mariadbd".into(),
    }
}

/// The text of these hex digits.
fn plain(hex: &str) -> String {
    let digits = hex.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("hex")
    });
    String::from_utf8(digits.collect()).expect("text")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// These servers refuse to be root's, and nobody stops them when the tests are killed.
fn as_nobody(place: &Path, program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL");
    if is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command.args(arguments).current_dir(place);
    command.env("HOME", place);
    command
}

/// Makes the folder of a server that is not root's its own.
fn give_away(place: &Path) {
    if is_root() {
        let nobody = Command::new("id").args(["-u", "nobody"]).output();
        let nobody = nobody.expect("id runs").stdout;
        let nobody = String::from_utf8_lossy(&nobody).trim().parse();
        chown(place, Some(nobody.expect("a number")), None).expect("root may give it away");
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place, open).expect("its own folder");
}

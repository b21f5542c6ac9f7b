//! A throw-away server for a test: initdb, start, crash, follow, connect.
//!
//! Each [`Server`] has a directory of its own with data, log and Unix socket, listens nowhere
//! else, and is gone when the value is dropped. If the test is failing, the directory stays and
//! its path is printed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};

/// Settings of every test server. Autovacuum is off so that only a test's own VACUUM runs;
/// fsync is off because the tests' crashes are the server's, never the machine's.
const SETTINGS: &str = "
listen_addresses = ''
fsync = off
autovacuum = off
shared_buffers = 64MB
max_connections = 40
log_min_messages = warning
log_line_prefix = '%m [%p] '
";

/// The superuser of every test server.
pub const SUPERUSER: &str = "postgres";

/// A running server that is stopped and removed on drop.
pub struct Server {
    /// holds `data/`, `log` and the socket
    directory: PathBuf,
    /// where its programs are
    programs: PathBuf,
}

impl Server {
    /// A new cluster, started, without the extension.
    pub fn start() -> Server {
        Server::start_with("")
    }

    /// A new cluster started with further lines of `postgresql.conf`.
    pub fn start_with(settings: &str) -> Server {
        Server::start_of(bindir(), settings)
    }

    /// A new cluster of the server whose programs are in that directory, started.
    pub fn start_of(programs: &Path, settings: &str) -> Server {
        let server = Server::not_started(programs, settings);
        server.start_again();
        server
    }

    fn not_started(programs: &Path, settings: &str) -> Server {
        let server = Server::in_new_directory(programs);
        server.run(
            "initdb",
            [
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                SUPERUSER,
                "--pgdata",
                path_str(&server.data()),
            ],
        );
        server.configure(SETTINGS);
        server.configure(settings);
        server.configure(&server.own_settings());
        server
    }

    /// Stops, and has `pg_upgrade` make a new cluster of this one, which is started.
    pub fn upgraded(&self, options: &[&str]) -> Server {
        let new = Server::not_started(&self.programs, "");
        self.pg_ctl(["stop", "--mode=fast", "--wait"]);
        let (from, to) = (self.data(), new.data());
        let places = [
            "--username",
            SUPERUSER,
            "--old-bindir",
            path_str(&self.programs),
            "--new-bindir",
            path_str(&new.programs),
            "--old-datadir",
            path_str(&from),
            "--new-datadir",
            path_str(&to),
            "--socketdir",
            path_str(&new.directory),
        ];
        new.run(
            "pg_upgrade",
            places.into_iter().chain(options.iter().copied()),
        );
        new.start_again();
        new
    }

    /// A new cluster with the extension created in database `postgres`, and a client there.
    pub fn start_with_extension() -> (Server, Client) {
        let server = Server::start();
        let mut client = server.client();
        client
            .batch_execute("CREATE EXTENSION vectorext")
            .expect("the extension is installed in this server");
        (server, client)
    }

    /// A streaming standby of this server, taken by `pg_basebackup` and started.
    pub fn standby(&self) -> Server {
        let standby = self.copy(&["--write-recovery-conf"]);
        standby.start_again();
        standby
    }

    /// A backup of this server, not started yet.
    pub fn backup(&self) -> Server {
        self.copy(&[])
    }

    /// Starts a backup: what the log says that `restore_command` brings is replayed.
    pub fn start_recovery(&self) {
        fs::write(self.data().join("recovery.signal"), "").expect("write recovery.signal");
        self.start_again();
    }

    fn copy(&self, options: &[&str]) -> Server {
        let copy = Server::in_new_directory(&self.programs);
        let data = copy.data();
        let place = [
            "--no-sync",
            "--checkpoint=fast",
            "--username",
            SUPERUSER,
            "--host",
            path_str(&self.directory),
            "--pgdata",
            path_str(&data),
        ];
        self.run(
            "pg_basebackup",
            place.into_iter().chain(options.iter().copied()),
        );
        copy.configure(&copy.own_settings());
        copy
    }

    /// Waits until this standby has replayed all that `primary` has written so far.
    pub fn catch_up_with(&self, primary: &Server) {
        let written: String = primary
            .client()
            .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
            .expect("a primary knows where it writes")
            .get(0);
        let mut client = self.client();
        wait_until("the standby has caught up", || {
            let query = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
            client.query_one(&query, &[]).expect("ask").get(0)
        });
    }

    /// Makes a primary of this standby.
    pub fn promote(&self) {
        self.pg_ctl(["promote", "--wait"]);
    }

    /// Stops without a checkpoint, as a crash of the server would, and starts again: recovery
    /// replays the log.
    pub fn crash_and_restart(&self) {
        self.pg_ctl(["stop", "--mode=immediate", "--wait"]);
        self.start_again();
    }

    /// Kills the postmaster and every process of the server at once (SIGKILL).
    pub fn kill_everything(&self) {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        let postmaster = file.lines().next().expect("its process").to_owned();
        let mut all = children_of(&postmaster);
        kill(&postmaster);
        all.extend(children_of(&postmaster));
        for process in &all {
            kill(process);
        }
        all.push(postmaster);
        wait_until("killed processes are gone", || {
            all.iter().all(|process| !is_running(process))
        });
        // to a new postmaster one that nobody has waited for looks as if it ran
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
        let _ = fs::remove_file(self.directory.join(".s.PGSQL.5432.lock"));
    }

    /// Starts a server that was killed.
    pub fn start_after_kill(&self) {
        self.start_again();
    }

    /// Kills one process of the server (SIGKILL); the postmaster then restarts all others.
    pub fn kill_process(&self, process: i64) {
        kill(&process.to_string());
    }

    /// Stops in good order and starts again.
    pub fn restart(&self) {
        self.pg_ctl(["stop", "--mode=fast", "--wait"]);
        self.start_again();
    }

    /// Stops in good order and starts again with so much address space for each process.
    pub fn restart_with_memory(&self, kilobytes: u64) {
        self.pg_ctl(["stop", "--mode=fast", "--wait"]);
        let start = format!(
            "ulimit -v {kilobytes} && exec '{}' start --silent --wait -D '{}' --log '{}'",
            self.programs.join("pg_ctl").display(),
            self.data().display(),
            self.directory.join("log").display(),
        );
        self.run("/bin/sh", ["-c", &start]);
    }

    /// Stops in good order, lets `change` do something to the files, and starts again.
    pub fn change_while_stopped(&self, change: impl FnOnce()) {
        self.pg_ctl(["stop", "--mode=fast", "--wait"]);
        change();
        self.start_again();
    }

    /// Whether the server lets clients in at the moment.
    pub fn accepts_connections(&self) -> bool {
        self.config("postgres", SUPERUSER).connect(NoTls).is_ok()
    }

    /// Appends lines to `postgresql.conf`; they count from the next start or reload.
    pub fn configure(&self, settings: &str) {
        let file = self.data().join("postgresql.conf");
        let mut text = fs::read_to_string(&file).expect("read postgresql.conf");
        text.push_str(settings);
        text.push('\n');
        fs::write(&file, text).expect("write postgresql.conf");
    }

    /// A superuser's connection to database `postgres`.
    pub fn client(&self) -> Client {
        self.client_of("postgres", SUPERUSER)
    }

    /// A connection to `database` as `user`; no password is asked.
    pub fn client_of(&self, database: &str, user: &str) -> Client {
        self.config(database, user)
            .connect(NoTls)
            .unwrap_or_else(|error| panic!("cannot connect to {database} as {user}: {error}"))
    }

    fn config(&self, database: &str, user: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.directory)
            .user(user)
            .dbname(database);
        config
    }

    /// Runs one of the server's own programs (`psql`, `pg_dump`, ...) against this server and
    /// returns what it printed; panics if it fails.
    pub fn program<'a>(&self, name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        self.run(name, arguments).stdout
    }

    /// The server's directory, where its user can write: a place for dumps and tablespaces.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new directory below the server's own, where its user can write.
    pub fn new_directory(&self, name: &str) -> PathBuf {
        let directory = self.directory.join(name);
        fs::create_dir(&directory).expect("create a directory");
        give_to_server_user(&directory);
        directory
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// An empty directory with a short path (a socket's path has at most 107 bytes) that belongs
    /// to the user who runs the server.
    fn in_new_directory(programs: &Path) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("vectorext-{}-{number}", std::process::id()));
        assert!(
            path_str(&directory).len() < 85,
            "{} is too long for a socket: set TMPDIR to a shorter path",
            directory.display()
        );
        fs::create_dir(&directory).expect("create the server's directory");
        give_to_server_user(&directory);
        Server {
            directory,
            programs: programs.to_owned(),
        }
    }

    /// Settings that differ from server to server.
    fn own_settings(&self) -> String {
        format!("unix_socket_directories = '{}'", self.directory.display())
    }

    fn start_again(&self) {
        self.pg_ctl(["start", "--wait", "--timeout=120"]);
    }

    fn pg_ctl<const N: usize>(&self, arguments: [&str; N]) {
        let log = self.directory.join("log");
        let data = self.data();
        let place = ["--silent", "-D", path_str(&data), "--log", path_str(&log)];
        self.run("pg_ctl", place.into_iter().chain(arguments));
    }

    fn run<'a>(&self, name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        let output = self.command(name, arguments).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        assert!(
            output.status.success(),
            "{name}: {}\n{}{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.log(),
        );
        output
    }

    /// A server program, as the user who may run it and away from directories that user cannot
    /// enter.
    fn command<'a>(&self, name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env("PGHOST", &self.directory)
            .env("PGUSER", SUPERUSER)
            .env("LC_ALL", "C")
            // a backtrace would be the DETAIL of every ERROR
            .env_remove("RUST_BACKTRACE");
        if let Some((uid, gid)) = unprivileged() {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            let data = self.data();
            let stop = ["--silent", "-D", path_str(&data), "stop", "-m", "immediate"];
            // nothing to do about a server that is gone already
            let _ = self.command("pg_ctl", stop).output();
        }
        if std::thread::panicking() {
            eprintln!("the server's files stay in {}", self.directory.display());
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Sends SIGKILL to a process; it may have ended already.
fn kill(process: &str) {
    let _ = Command::new("kill").args(["-9", process]).output();
}

/// State and parent of a process, as /proc tells them after its name, in parentheses.
fn state_and_parent(process: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
}

fn is_running(process: &str) -> bool {
    state_and_parent(process).is_some_and(|(state, _)| state != "Z")
}

/// The processes that a process has started.
fn children_of(parent: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux has /proc");
    let names = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_child = |name: &String| state_and_parent(name).is_some_and(|(_, of)| of == parent);
    names.filter(is_child).collect()
}

/// Polls `condition` until it holds; panics after a minute.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "gave up waiting: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The server's major version, as 18.
pub fn major_version(client: &mut Client) -> i32 {
    client
        .query_one(
            "SELECT current_setting('server_version_num')::int / 10000",
            &[],
        )
        .expect("a server knows its version")
        .get(0)
}

/// The SQLSTATE that `sql` fails with; panics if it succeeds or the connection is lost.
pub fn sqlstate_of(client: &mut Client, sql: &str) -> String {
    match client.batch_execute(sql) {
        Ok(()) => panic!("no error from: {sql}"),
        Err(error) => error
            .code()
            .unwrap_or_else(|| panic!("connection lost by: {sql}: {error}"))
            .code()
            .to_owned(),
    }
}

/// Ends a `statement_timeout` so short that the statement which ends it may not have the time.
pub fn lift_statement_timeout(client: &mut Client) {
    while let Err(error) = client.batch_execute("RESET statement_timeout") {
        let code = error.code().expect("the connection is there").code();
        assert_eq!(code, "57014", "{error}");
    }
}

/// The plan of `query` as one text.
pub fn explain(client: &mut Client, query: &str) -> String {
    let rows = client
        .query(&format!("EXPLAIN (COSTS OFF) {query}"), &[])
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

/// Directory of the server's programs.
pub fn bindir() -> &'static Path {
    static BINDIR: OnceLock<PathBuf> = OnceLock::new();
    BINDIR.get_or_init(|| directory_of("--bindir"))
}

/// A directory of the server's installation, as `pg_config` names it.
pub fn directory_of(option: &str) -> PathBuf {
    let pg_config = std::env::var_os("PG_CONFIG").unwrap_or_else(|| "pg_config".into());
    PathBuf::from(printed_by(&pg_config, &[option]))
}

/// Whom to become when the tests run as root, which the server refuses to be.
fn unprivileged() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *USER.get_or_init(|| {
        let id = |arguments: &[&str]| -> u32 {
            let printed = printed_by(OsStr::new("id"), arguments);
            printed.parse().expect("id prints a number")
        };
        (id(&["-u"]) == 0).then(|| (id(&["-u", SUPERUSER]), id(&["-g", SUPERUSER])))
    })
}

/// Makes a directory that of the user who runs servers.
fn give_to_server_user(directory: &Path) {
    if let Some((uid, gid)) = unprivileged() {
        std::os::unix::fs::chown(directory, Some(uid), Some(gid))
            .expect("give the directory to the server's user");
    }
}

fn printed_by(program: &OsStr, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program:?}: {error}"));
    assert!(output.status.success(), "{program:?} {arguments:?} failed");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    printed.trim().to_owned()
}

fn path_str(path: &Path) -> &str {
    path.to_str().expect("paths of the tests are UTF-8")
}

/// Tells other threads to end, also when a test's own thread panics: a scope waits for them.
pub struct Ends<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

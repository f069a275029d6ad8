//! A PostgreSQL of our own: Debian's programs, a folder that goes away, a free port, and not root.
//!
//! A shell stands between the tests and the server: when the test process ends, however it ends, the shell reads
//! the end of its input, stops the server and removes the folder.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// Runs the server until the input ends, or until it ends by itself.
const GUARD: &str = r#"folder=$1; shift
"$@" >>"$folder/log" 2>&1 & server=$!
read -r word
kill -QUIT "$server" 2>/dev/null
wait "$server"
[ "$word" = keep ] || rm -rf "$folder""#;

/// One server for all tests that need no more than a database.
static SHARED: LazyLock<Cluster> = LazyLock::new(|| {
    // What is lost with the machine need not be on a disk.
    Cluster::start(&["fsync=off", "max_connections=300", "shared_buffers=64MB", "max_wal_size=256MB"])
});

/// A server in a folder of its own.
pub struct Cluster {
    pub port: u16,
    folder: PathBuf,
    guard: Option<Child>,
}

impl Cluster {
    /// The one that the tests share.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// A new one, with these settings.
    pub fn start(settings: &[&str]) -> Self {
        // In memory where there is one, else where temporary files go.
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        Self::start_in(&place, settings)
    }

    /// A new one below this folder, which everybody may enter.
    pub fn start_in(place: &Path, settings: &[&str]) -> Self {
        let mut cluster = Self::at(folder(place));
        let data = cluster.data();
        let initdb = ["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D"];
        run(cluster.command("initdb").args(initdb).arg(&data));
        cluster.configure(settings);
        cluster.up();
        cluster
    }

    /// A standby that follows this one.
    pub fn replica(&self) -> Self {
        let mut replica = Self::at(folder(self.folder.parent().unwrap()));
        let (data, port) = (replica.data(), self.port.to_string());
        let copy =
            ["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-p"];
        run(replica.command("pg_basebackup").args(copy).arg(port).arg("-D").arg(&data));
        replica.configure(&[]);
        replica.up();
        replica
    }

    fn at(folder: PathBuf) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, folder, guard: None }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn configure(&self, settings: &[&str]) {
        let file = self.data().join("postgresql.conf");
        let mut text = fs::read_to_string(&file).unwrap();
        let folder = self.folder.display();
        let ours = [
            String::new(),
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("unix_socket_directories = '{folder}'"),
            format!("port = {}", self.port),
        ];
        let settings = settings.iter().map(|setting| (*setting).to_owned());
        text.extend(ours.into_iter().chain(settings).map(|line| line + "\n"));
        fs::write(file, text).unwrap();
    }

    /// A program of the server's, run by a user who may.
    fn command(&self, program: &str) -> Command {
        let mut command = unprivileged();
        command.arg(bin().join(program)).current_dir(&self.folder);
        command
    }

    /// Starts it, and waits until it answers.
    pub fn up(&mut self) {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(&self.folder);
        let server = unprivileged();
        command.arg(server.get_program()).args(server.get_args());
        command.arg(bin().join("postgres")).arg("-D").arg(self.data()).stdin(Stdio::piped());
        self.guard = Some(command.spawn().unwrap());
        let ready = || {
            self.command("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status()
        };
        for _ in 0..600 {
            if ready().unwrap().success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL does not start: {}", fs::read_to_string(self.folder.join("log")).unwrap());
    }

    /// Stops it at once, as a crash would.
    pub fn down(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // It is not the end: the folder stays.
            guard.stdin.take().unwrap().write_all(b"keep\n").unwrap();
            guard.wait().unwrap();
        }
    }

    /// The process that all of the server's descend from.
    #[allow(dead_code, reason = "for the benchmark, which counts what they cost")]
    pub fn process(&self) -> Option<u32> {
        self.guard.as_ref().map(Child::id)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection past the program.
    pub async fn connect(&self, database: &str) -> PgConnection {
        let options: PgConnectOptions = self.url(database).parse().unwrap();
        options.connect().await.unwrap()
    }

    /// Runs statements past the program.
    pub async fn run(&self, database: &str, sql: &str) {
        let mut connection = self.connect(database).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Makes an empty database, and answers with its name.
    pub async fn database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("roster_{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}")).await;
        name
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.down();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Where Debian puts the server's programs; elsewhere they are in the path.
fn bin() -> &'static Path {
    static BIN: LazyLock<PathBuf> = LazyLock::new(|| {
        let has_server = |folder: &PathBuf| folder.join("initdb").exists();
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let newest = versions.map(|version| version.unwrap().path().join("bin")).filter(has_server).max();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = newest.or_else(|| std::env::split_paths(&path).find(has_server));
        found
            .expect("PostgreSQL's server is needed for the tests: apt-get install postgresql, or run .ci/run")
    });
    &BIN
}

fn is_root() -> bool {
    static ROOT: LazyLock<bool> =
        LazyLock::new(|| Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n")));
    *ROOT
}

/// The server refuses to run as root.
fn unprivileged() -> Command {
    if !is_root() {
        return Command::new("env");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
    command
}

/// A new folder that is the server's alone.
fn folder(place: &Path) -> PathBuf {
    let folder = tempfile::Builder::new().prefix("roster-pg-").tempdir_in(place).unwrap().keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    if is_root() {
        run(Command::new("chown").arg("postgres:").arg(&folder));
    }
    folder
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

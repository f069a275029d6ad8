//! Roster, and what it is measured beside: nginx with a file, and the Node service of `benches/node/`.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{Answer, ask};
use super::cluster::Cluster;
use super::process::{LOOK, Process, all_cpu_s};
use super::{data, node};
use crate::town::clerk::{Clerk, ISSUER, PARTY};
use crate::town::events;

/// The route of the list.
pub(crate) const LIST: &str = "/api/v1/entities/users";
/// Whoever is not ready after so long will not be.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server that answers.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// From its start to its first right answer.
    pub(crate) started_in: Duration,
    /// The first process of its database, where that is another one.
    database: Option<u32>,
    folder: TempDir,
}

impl Server {
    /// Starts it, and waits until `path` is answered with 200.
    fn start(command: &mut Command, address: SocketAddr, path: &str, folder: TempDir) -> Self {
        let begun = Instant::now();
        let mut process = Process::start(command);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        while !ask(address, request.as_bytes()).is_ok_and(|answer| answer.status == 200) {
            process.must_run();
            assert!(begun.elapsed() < PATIENCE, "{command:?} is not ready");
            sleep(LOOK);
        }
        Self { process, address, started_in: begun.elapsed(), database: None, folder }
    }

    /// The CPU time of all that works for it, in seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.process.cpu_s() + self.database.map_or(0.0, all_cpu_s)
    }

    /// Stops it, and gives its folder to the next one.
    pub(crate) fn stop(self) -> TempDir {
        drop(self.process);
        self.folder
    }
}

/// An address that nobody has now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The release build, with nothing set but what it must know; `folder` holds `roster.db`.
pub(crate) fn roster(clerk: &Clerk, folder: TempDir, cache_mb: Option<usize>) -> Server {
    serve(clerk, folder, cache_mb.map(|mb| ("ROSTER_CACHE_MB", mb.to_string())))
}

/// The same on a server's database.
pub(crate) fn roster_on(cluster: &Cluster, database: &str, clerk: &Clerk) -> Server {
    let server = serve(clerk, data::scratch(), Some(("DATABASE_URL", cluster.url(database))));
    Server { database: cluster.process(), ..server }
}

fn serve(clerk: &Clerk, folder: TempDir, more: Option<(&str, String)>) -> Server {
    let address = free();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.arg("serve").env_clear().current_dir(folder.path()).envs([
        ("ROSTER_LISTEN", address.to_string()),
        ("ROSTER_OPS_LISTEN", "127.0.0.1:0".to_owned()),
        ("CLERK_JWT_KEY", clerk.public_pem()),
        ("CLERK_ISSUER", ISSUER.to_owned()),
        ("CLERK_AUTHORIZED_PARTIES", PARTY.to_owned()),
        ("CLERK_WEBHOOK_SIGNING_SECRET", events::secret()),
    ]);
    command.envs(more);
    // It writes its log, and nobody pays for keeping it.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Server::start(&mut command, address, "/readyz", folder)
}

/// The Node service; `folder` holds `node.db`.
pub(crate) fn node_service(clerk: &Clerk, folder: TempDir, processes: usize) -> Server {
    let address = free();
    let mut command = Command::new("node");
    command.arg(node("server.mjs")).current_dir(folder.path());
    command.args(["node.db", &address.port().to_string(), &processes.to_string()]).envs([
        ("NODE_ENV", "production".to_owned()),
        ("CLERK_JWT_KEY", clerk.public_pem()),
        ("CLERK_AUTHORIZED_PARTIES", PARTY.to_owned()),
        ("CLERK_WEBHOOK_SIGNING_SECRET", events::secret()),
    ]);
    Server::start(&mut command, address, "/readyz", folder)
}

/// nginx with the body of an answer in a file, and the headers of that answer.
pub(crate) fn nginx(answer: &Answer) -> Server {
    let (folder, address) = (data::scratch(), free());
    let here = folder.path();
    let file = here.join(LIST.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, &answer.body).unwrap();
    fs::write(here.join("nginx.conf"), configuration(here, address, answer)).unwrap();
    let mut command = Command::new(nginx_program());
    command.arg("-p").arg(here).arg("-e").arg(here.join("error.log")).arg("-c").arg(here.join("nginx.conf"));
    Server::start(&mut command, address, LIST, folder)
}

/// Debian keeps it where users do not look.
fn nginx_program() -> PathBuf {
    let usual = Path::new("/usr/sbin/nginx");
    if usual.exists() { usual.to_owned() } else { PathBuf::from("nginx") }
}

fn configuration(here: &Path, address: SocketAddr, answer: &Answer) -> String {
    let mut headers = String::new();
    for name in ["cache-control", "vary", "roster-as-of", "x-request-id"] {
        if let Some(value) = answer.header(name) {
            writeln!(headers, "add_header {name} \"{value}\";").unwrap();
        }
    }
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    let (user, here) = (user.trim(), here.display());
    format!(
        "user {user};
        daemon off;
        worker_processes auto;
        pid {here}/nginx.pid;
        error_log {here}/error.log;
        events {{ worker_connections 1024; }}
        http {{
            default_type application/json;
            access_log off;
            sendfile on;
            tcp_nopush on;
            keepalive_requests 1000000000;
            open_file_cache max=100;
            open_file_cache_valid 1h;
            client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
            uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
            server {{ listen {address}; root {here}; {headers} }}
        }}"
    )
}

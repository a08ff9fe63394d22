//! Fresh databases for tests, on both backends.
//!
//! PostgreSQL is the server named by `DAC_TEST_POSTGRES_URL`, where every test gets a schema of its own; without the
//! variable each test process starts a throw-away server (`tools/with-postgres`), which ends with the process. A machine
//! without PostgreSQL fails these tests: they are never skipped.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;
use url::Url;

use crate::database::{Backend, Database};
use crate::migrate::Migration;
use crate::options::{DatabaseOptions, DatabaseUrl};

/// Names a server whose databases tests may write to.
pub const POSTGRES_URL_VARIABLE: &str = "DAC_TEST_POSTGRES_URL";

/// How long a server may take to read its settings again, and a pause between two looks.
const SETTING_LIMIT: Duration = Duration::from_secs(60);
const SETTING_PAUSE: Duration = Duration::from_millis(20);

/// Makes `sqlite::NAME` and `postgres::NAME` of each `async fn NAME(backend: Backend)` beside it.
#[macro_export]
macro_rules! on_both_backends {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::Backend::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::Backend::Postgres).await;
            })*
        }
    };
}

/// An empty database of one test, gone when dropped.
#[derive(Debug)]
pub struct TestDatabase {
    options: DatabaseOptions,
    /// Where its file is, and goes with it.
    _folder: Option<TempDir>,
}

impl TestDatabase {
    /// An empty one on either backend.
    pub async fn new(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::sqlite(),
            Backend::Postgres => Self::postgres().await,
        }
    }

    /// A file in a folder of its own.
    pub fn sqlite() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self { options: DatabaseOptions::sqlite(folder.path().join("test.db")), _folder: Some(folder) }
    }

    /// A file in this folder, which is the caller's and stays.
    pub fn sqlite_in(folder: &Path) -> Self {
        Self { options: DatabaseOptions::sqlite(folder.join("test.db")), _folder: None }
    }

    /// A schema of its own on a throw-away server.
    pub async fn postgres() -> Self {
        Self::postgres_at(postgres_url().parse().expect("a URL of the PostgreSQL server for tests")).await
    }

    /// A schema of its own on this server.
    pub async fn postgres_at(mut url: Url) -> Self {
        sqlx::any::install_default_drivers();
        let schema = unique_name();
        let mut connection = sqlx::AnyConnection::connect(url.as_str())
            .await
            .expect("the PostgreSQL server for tests answers");
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
            .execute(&mut connection)
            .await
            .expect("tests may create schemas");
        connection.close().await.expect("a connection closes");
        url.query_pairs_mut().append_pair("options[search_path]", &schema);
        Self { options: DatabaseOptions::new(DatabaseUrl::Postgres(Box::new(url))), _folder: None }
    }

    /// How to open it; as often as a test likes, as a restarted process would.
    pub const fn options(&self) -> &DatabaseOptions {
        &self.options
    }

    /// The options, to be changed.
    pub const fn options_mut(&mut self) -> &mut DatabaseOptions {
        &mut self.options
    }

    /// Opens it with these migrations.
    pub async fn open(&self, migrations: &[Migration]) -> Database {
        Database::open(&self.options, migrations).await.expect("a fresh database opens")
    }

    /// The file, where it is one: for tests that damage it.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.options.url {
            DatabaseUrl::Sqlite(path) => Some(path.clone()),
            DatabaseUrl::Postgres(_) => None,
        }
    }
}

/// The server's URL. Starts one where nobody did, once a process.
fn postgres_url() -> String {
    static SERVER: OnceLock<(String, Option<TestServer>)> = OnceLock::new();
    let (url, _server) = SERVER.get_or_init(|| match std::env::var(POSTGRES_URL_VARIABLE) {
        Ok(url) if !url.is_empty() => (url, None),
        _ => {
            let server = TestServer::start();
            (server.url().to_string(), Some(server))
        }
    });
    url.clone()
}

/// A PostgreSQL server of one test's own, whose settings it may change; stopped when dropped.
#[derive(Debug)]
pub struct TestServer {
    url: Url,
    script: Child,
}

impl TestServer {
    /// Sets one up and starts it.
    pub fn start() -> Self {
        let (url, script) = start_server();
        Self { url: url.parse().expect("the script's URL"), script }
    }

    /// How it is reached, as a user who may do anything.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The server's main process.
    pub async fn process_id(&self) -> i32 {
        let mut connection = self.connect().await;
        let line: String = sqlx::query_scalar("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
            .fetch_one(&mut connection)
            .await
            .expect("the server tells its process");
        connection.close().await.expect("a connection closes");
        line.trim().parse().expect("a number")
    }

    /// Gives a setting of the whole server a value, and waits until new connections have it.
    pub async fn set(&self, setting: &'static str, value: &str) {
        let mut connection = self.connect().await;
        for statement in
            [format!("ALTER SYSTEM SET {setting} = '{value}'"), "SELECT pg_reload_conf()".to_owned()]
        {
            // Also where the setting is that sessions only read.
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("a known setting");
        }
        connection.close().await.expect("a connection closes");
        let started = std::time::Instant::now();
        loop {
            let mut connection = self.connect().await;
            let now: String = sqlx::query_scalar("SELECT current_setting($1)")
                .bind(setting)
                .fetch_one(&mut connection)
                .await
                .expect("a known setting");
            connection.close().await.expect("a connection closes");
            if now == value {
                return;
            }
            assert!(started.elapsed() < SETTING_LIMIT, "{setting} is still {now}");
            tokio::time::sleep(SETTING_PAUSE).await;
        }
    }

    /// Ends all sessions but the one that asks for it.
    pub async fn end_all_others(&self) {
        let mut connection = self.connect().await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let _: i64 = sqlx::query_scalar(end).fetch_one(&mut connection).await.expect("a superuser may");
        connection.close().await.expect("a connection closes");
    }

    async fn connect(&self) -> sqlx::AnyConnection {
        sqlx::any::install_default_drivers();
        sqlx::AnyConnection::connect(self.url.as_str()).await.expect("the test's server answers")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The end of its input is the end of the script.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The script's command prints the URL and waits for the end of its input, which is the end of this process, however it
/// comes about. Then the script stops the server.
fn start_server() -> (String, Child) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/with-postgres");
    let mut server = Command::new(&script)
        // Whatever server others share, this one is another.
        .env_remove(POSTGRES_URL_VARIABLE)
        .args(["sh", "-c", "echo \"$DAC_TEST_POSTGRES_URL\"; exec >/dev/null 2>&1; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A test runner that kills the group of a test must not kill what cleans up after it.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let mut url = String::new();
    let stdout = server.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut url).expect("the server's URL");
    if url.trim().is_empty() {
        let output = server.wait_with_output().expect("the script ends");
        panic!("no PostgreSQL for tests:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    (url.trim().to_owned(), server)
}

fn unique_name() -> String {
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("test_{nanoseconds}_{}_{}", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed))
}

//! New databases for tests, on both backends.
//!
//! PostgreSQL is the server in `DAC_TEST_POSTGRES_URL`, on which every test gets a schema of its
//! own. Without that variable, each test process starts a temporary server (`tools/with-postgres`),
//! which ends with the process. On a machine without PostgreSQL these tests fail; they are never
//! skipped.

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

use crate::database::Database;
use crate::migrate::Migration;
use crate::options::{DatabaseOptions, DatabaseUrl};
use crate::transaction::Backend;

/// The environment variable with the URL of a server on which tests may create schemas.
pub const POSTGRES_URL_VARIABLE: &str = "DAC_TEST_POSTGRES_URL";

/// How long a server may take to reload its settings, and the pause between two checks.
const SETTING_LIMIT: Duration = Duration::from_secs(60);
const SETTING_PAUSE: Duration = Duration::from_millis(20);

/// Makes the tests `sqlite::NAME` and `postgres::NAME` of each `async fn NAME(backend: Backend)`
/// beside it.
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

/// An empty database for one test. A SQLite file is removed when this is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    options: DatabaseOptions,
    /// The folder of the SQLite file, which is removed when this is dropped.
    _folder: Option<TempDir>,
}

impl TestDatabase {
    /// Makes an empty database on the given backend.
    pub async fn new(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::sqlite(),
            Backend::Postgres => Self::postgres().await,
        }
    }

    /// Makes a SQLite file in a folder of its own.
    pub fn sqlite() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self { options: DatabaseOptions::sqlite(folder.path().join("test.db")), _folder: Some(folder) }
    }

    /// Makes a SQLite file in a folder that belongs to the caller and is not removed.
    pub fn sqlite_in(folder: &Path) -> Self {
        Self { options: DatabaseOptions::sqlite(folder.join("test.db")), _folder: None }
    }

    /// Makes a schema on the PostgreSQL server for tests.
    pub async fn postgres() -> Self {
        Self::postgres_at(postgres_url().parse().expect("a URL of the PostgreSQL server for tests")).await
    }

    /// Makes a schema on this server.
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

    /// Returns the options to open the database. A test may open it several times, like a restarted
    /// process.
    pub const fn options(&self) -> &DatabaseOptions {
        &self.options
    }

    /// Returns the options for changes.
    pub const fn options_mut(&mut self) -> &mut DatabaseOptions {
        &mut self.options
    }

    /// Opens the database with these migrations.
    pub async fn open(&self, migrations: &[Migration]) -> Database {
        Database::open(&self.options, migrations).await.expect("a fresh database opens")
    }

    /// Returns the path of a SQLite file, for tests that damage it.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.options.url {
            DatabaseUrl::Sqlite(path) => Some(path.clone()),
            DatabaseUrl::Postgres(_) => None,
        }
    }
}

/// Returns the server's URL. If none is configured, starts one server for this process.
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

/// A PostgreSQL server for one test, which may change its settings. It is stopped when this is
/// dropped.
#[derive(Debug)]
pub struct TestServer {
    url: Url,
    script: Child,
}

impl TestServer {
    /// Creates a server and starts it.
    pub fn start() -> Self {
        let (url, script) = start_server();
        Self { url: url.parse().expect("the script's URL"), script }
    }

    /// Returns the server's URL, with a superuser as its user.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the id of the server's main process.
    pub async fn process_id(&self) -> i32 {
        let mut connection = self.connect().await;
        let line: String = sqlx::query_scalar("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
            .fetch_one(&mut connection)
            .await
            .expect("the server tells its process");
        connection.close().await.expect("a connection closes");
        line.trim().parse().expect("a number")
    }

    /// Sets a setting of the whole server, and waits until new connections have it.
    pub async fn set(&self, setting: &'static str, value: &str) {
        let mut connection = self.connect().await;
        for statement in
            [format!("ALTER SYSTEM SET {setting} = '{value}'"), "SELECT pg_reload_conf()".to_owned()]
        {
            // This also works if the setting makes sessions read-only.
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

    /// Ends all sessions except the one that does this.
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
        // The script ends when its input does.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// Starts the script that runs a server. The script's command prints the URL and waits for the end
/// of its input, which comes when this process ends in any way. Then the script stops the server.
fn start_server() -> (String, Child) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/with-postgres");
    let mut server = Command::new(&script)
        // This server must be a different one from the server that other tests share.
        .env_remove(POSTGRES_URL_VARIABLE)
        .args(["sh", "-c", "echo \"$DAC_TEST_POSTGRES_URL\"; exec >/dev/null 2>&1; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A test runner that kills the process group of a test must not kill the script that cleans
        // up.
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
    #[expect(clippy::disallowed_methods, reason = "only a name that no earlier run has used")]
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("test_{nanoseconds}_{}_{}", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed))
}

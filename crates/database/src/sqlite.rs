//! SQLite with one file and a write-ahead log. Every commit is on the disk before it is
//! acknowledged.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::error::DatabaseError;

/// The largest number of bytes that are read from a lock file about its holder.
const HOLDER_MAX_BYTES: u64 = 512;

/// The name of each pragma, the value to set, and the value that is read back.
const WRITER: &[(&str, &str, &str)] = &[
    ("busy_timeout", "20000", "20000"),
    // This must be set before anything is written. It lets deleted space be returned to the file
    // system.
    ("auto_vacuum", "INCREMENTAL", "2"),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", "2"),
    ("fullfsync", "ON", "1"),
    ("checkpoint_fullfsync", "ON", "1"),
    ("foreign_keys", "ON", "1"),
    ("trusted_schema", "OFF", "0"),
    // After a burst of writes the log is truncated to this many bytes.
    ("journal_size_limit", "67108864", "67108864"),
];
const READER: &[(&str, &str, &str)] = &[
    ("busy_timeout", "20000", "20000"),
    ("foreign_keys", "ON", "1"),
    ("trusted_schema", "OFF", "0"),
    ("query_only", "ON", "1"),
];

/// The primary result code of SQLite for a locked file.
const SQLITE_BUSY: u32 = 5;
/// The same time as `busy_timeout`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Creates the file and its folder for their owner alone if they do not exist, and returns the
/// driver's options.
pub(crate) fn connect_options(path: &Path) -> Result<AnyConnectOptions, DatabaseError> {
    let failed = |source| DatabaseError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| DatabaseError::File { path: folder.to_owned(), source })?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            let absolute = fs::canonicalize(path).map_err(failed)?;
            // The file's name must survive a power cut, like its contents. SQLite does this for its
            // log's name.
            let folder = absolute.parent().unwrap_or(Path::new("/"));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let absolute = fs::canonicalize(path).map_err(failed)?;
    check_access(&absolute)?;
    let text = absolute
        .to_str()
        .ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8")))?;
    // The driver reads a URL, so characters that would end or decode the path are encoded.
    let url = format!("sqlite:{}", text.replace('%', "%25").replace('?', "%3F").replace('#', "%23"));
    Ok(url.parse()?)
}

/// Checks that [`connect_options`] could create the file, or could write it if it exists. A process
/// that has the file open must not call this, because closing a file ends the locks that SQLite has
/// on it.
pub(crate) fn check(path: &Path) -> Result<(), DatabaseError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DatabaseError::File { path, source }
    };
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(drop).map_err(failed(path)),
    }
    let here = Path::new(".");
    let folders =
        path.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { here } else { folder });
    for folder in folders {
        match fs::metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(folder)(error)),
            Ok(found) if !found.is_dir() => return Err(failed(folder)(io::ErrorKind::NotADirectory.into())),
            Ok(_) => {
                let probe = folder.join(format!(".dac-check-{}", std::process::id()));
                OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&probe)
                    .map_err(failed(folder))?;
                return fs::remove_file(&probe).map_err(failed(&probe));
            }
        }
    }
    Ok(())
}

/// Returns an error that names the file that this user cannot access; SQLite would only say that it
/// cannot open something. No file is opened, because closing it would end SQLite's locks on it.
fn check_access(path: &Path) -> Result<(), DatabaseError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.to_owned().into_os_string();
        name.push(suffix);
        let access = Access::READ_OK | Access::WRITE_OK;
        match rustix::fs::accessat(CWD, &name, access, AtFlags::EACCESS) {
            Ok(()) => {}
            Err(Errno::NOENT) if !suffix.is_empty() => {}
            Err(errno) => return Err(DatabaseError::File { path: name.into(), source: errno.into() }),
        }
    }
    Ok(())
}

/// Locks the file for this process, or returns an error with its holder. The operating system
/// releases the lock when the process ends.
///
/// The lock is on a separate file: SQLite locks the database file itself, and closing that would
/// end its locks.
pub(crate) fn lock(path: &Path, holder: &str) -> Result<File, DatabaseError> {
    let path =
        fs::canonicalize(path).map_err(|source| DatabaseError::File { path: path.to_owned(), source })?;
    let mut name = path.clone().into_os_string();
    name.push("-lock");
    let failed = |source| DatabaseError::File { path: PathBuf::from(&name), source };
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = Vec::new();
            file.take(HOLDER_MAX_BYTES).read_to_end(&mut text).map_err(failed)?;
            let text = String::from_utf8_lossy(&text);
            let holder = if text.is_empty() { "another process".to_owned() } else { text.into_owned() };
            return Err(DatabaseError::FileInUse { path, holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(failed)?;
    Ok(file)
}

/// Prepares a connection that writes.
pub(crate) async fn configure_writer(connection: &mut AnyConnection) -> Result<(), DatabaseError> {
    configure(connection, WRITER).await
}

/// Prepares a connection that reads.
pub(crate) async fn configure_reader(connection: &mut AnyConnection) -> Result<(), DatabaseError> {
    configure(connection, READER).await
}

async fn configure(
    connection: &mut AnyConnection,
    pragmas: &'static [(&'static str, &'static str, &'static str)],
) -> Result<(), DatabaseError> {
    for &(pragma, wanted, expected) in pragmas {
        set(connection, pragma, wanted).await?;
        let row = sqlx::query(AssertSqlSafe(format!("PRAGMA {pragma}"))).fetch_one(&mut *connection).await?;
        let got = text_or_number(&row)?;
        if got != expected {
            return Err(DatabaseError::Pragma { pragma, wanted, got });
        }
    }
    Ok(())
}

/// Sets a pragma, and tries again while the file is busy. When several processes open a new file,
/// SQLite switches it to a write-ahead log under a lock for which it does not wait, regardless of
/// `busy_timeout`.
async fn set(connection: &mut AnyConnection, pragma: &str, wanted: &str) -> Result<(), DatabaseError> {
    let began = Instant::now();
    loop {
        let set = sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA {pragma} = {wanted}")));
        match set.execute(&mut *connection).await {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            done => return Ok(done.map(drop)?),
        }
    }
}

/// Returns whether an error means that the file is busy. The low byte of an extended code is the
/// primary code.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

fn text_or_number(row: &sqlx::any::AnyRow) -> Result<String, sqlx::Error> {
    use sqlx::Row;
    row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|number| number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_missing_is_made_and_one_that_cannot_be_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        sqlx::any::install_default_drivers();
        let path = folder.path().join("data/more/dac.db");
        check(&path).unwrap();
        assert!(!path.parent().unwrap().exists(), "a check makes nothing");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        connect_options(&path).unwrap();
        assert!(path.exists());
        check(&path).unwrap();

        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = check(&file.join("data/dac.db")).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
        assert!(check(folder.path()).is_err(), "a folder is no database");
    }
}

//! Damage to a member's files while its process is not running: a byte of a row changes, or a log
//! loses its end.

use std::fs;
use std::path::{Path, PathBuf};

use dac_database::sqlx::{self, AssertSqlSafe, Connection, Row};
use dac_types::BatchDigest;
use rand::Rng;

use crate::database;
use crate::failure::{Context, Failure, Result};
use crate::network::Service;

/// The part of a stored batch that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A row of the shard.
    Row,
    /// The hashes of the shard's chunks.
    Tree,
    /// The record.
    Record,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Row, Self::Tree, Self::Record];

    const fn place(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Row => (
                "shard_rows",
                "data",
                "shard = (SELECT shard FROM batches WHERE digest = $1) AND row_index = 0",
            ),
            Self::Tree => {
                ("shard_trees", "leaf_hashes", "shard = (SELECT shard FROM batches WHERE digest = $1)")
            }
            Self::Record => ("records", "record", "shard = (SELECT shard FROM batches WHERE digest = $1)"),
        }
    }
}

/// Flips a random bit of a stored batch, and returns the index of the byte.
pub async fn flip(service: &Service, digest: BatchDigest, part: Part, dice: &mut impl Rng) -> Result<usize> {
    let (table, column, condition) = part.place();
    let mut connection = database::meddle(service).await?;
    let select = format!("SELECT {column} FROM {table} WHERE {condition}");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(digest.as_bytes().to_vec())
        .fetch_one(&mut connection)
        .await
        .context(format!("{part:?} of {digest}"))?;
    let mut bytes: Vec<u8> = row.try_get(0)?;
    let at = dice.random_range(0..bytes.len());
    bytes[at] ^= 1 << dice.random_range(0..8);
    let update = format!("UPDATE {table} SET {column} = $2 WHERE {condition}");
    sqlx::query(AssertSqlSafe(update))
        .bind(digest.as_bytes().to_vec())
        .bind(bytes)
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(at)
}

/// A copy of the files of a SQLite database.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Files {
    /// Reads the files of a service's database.
    pub fn of(service: &Service) -> Result<Self> {
        Self::beside(&service.database_file().context("a database that is a file")?)
    }

    /// Reads all files in the folder of this database file.
    pub fn beside(file: &Path) -> Result<Self> {
        let folder = file.parent().context("its folder")?.to_owned();
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).context(folder.display())? {
            let path = entry.context(folder.display())?.path();
            files.push((path.clone(), fs::read(&path).context(path.display())?));
        }
        Ok(Self { folder, files })
    }

    /// Writes the files back, and removes those that were made since.
    pub fn restore(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder).context(self.folder.display())? {
            let path = entry.context(self.folder.display())?.path();
            fs::remove_file(&path).context(path.display())?;
        }
        for (path, bytes) in &self.files {
            fs::write(path, bytes).context(path.display())?;
        }
        Ok(())
    }

    /// Returns the write-ahead log.
    pub fn log(&self) -> Result<Log> {
        let log = self.files.iter().find(|(path, _)| path.to_string_lossy().ends_with("-wal"));
        let (path, bytes) = log.context("a write-ahead log")?;
        Log::read(path, bytes)
    }

    /// Overwrites every CREATE TABLE statement in the files. SQLite keeps the schema as text and
    /// cannot open such a database.
    pub fn spoil_schema(&self) -> Result<()> {
        let statement = b"CREATE TABLE";
        for (path, bytes) in &self.files {
            let mut bytes = bytes.clone();
            for at in 0..bytes.len().saturating_sub(statement.len()) {
                if bytes[at..].starts_with(statement) {
                    bytes[at..at + statement.len()].fill(b'?');
                }
            }
            fs::write(path, bytes).context(path.display())?;
        }
        Ok(())
    }

    /// Returns the path of the database's main file and a copy of its bytes.
    fn main(&self) -> Result<(&Path, Vec<u8>)> {
        let main = self.files.iter().find(|(path, _)| path.extension().is_some_and(|end| end == "db"));
        main.map(|(path, bytes)| (path.as_path(), bytes.clone())).context("the database's file")
    }

    /// Changes a random byte of the database's main file, and returns its index.
    pub fn flip(&self, dice: &mut impl Rng) -> Result<usize> {
        let (path, mut bytes) = self.main()?;
        let at = dice.random_range(0..bytes.len());
        bytes[at] ^= 1 << dice.random_range(0..8);
        fs::write(path, bytes).context(path.display())?;
        Ok(at)
    }
}

/// SQLite's write-ahead log: a header, then frames of one page each (see "The WAL File Format" in
/// SQLite's documentation).
#[derive(Clone, Debug)]
pub struct Log {
    /// The log's path.
    pub path: PathBuf,
    /// The log's bytes.
    pub bytes: Vec<u8>,
    page_bytes: usize,
}

const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

impl Log {
    fn read(path: &Path, bytes: &[u8]) -> Result<Self> {
        let page = bytes.get(8..12).and_then(|bytes| bytes.try_into().ok()).context("a log's header")?;
        let page_bytes = usize::try_from(u32::from_be_bytes(page))?;
        if !page_bytes.is_power_of_two() {
            return Err(Failure::new(format!("a write-ahead log with pages of {page_bytes} bytes")));
        }
        Ok(Self { path: path.to_owned(), bytes: bytes.to_vec(), page_bytes })
    }

    /// Returns whether the other log continues this one and was not started anew.
    pub fn is_continued_by(&self, other: &Self) -> bool {
        other.bytes.len() > self.bytes.len() && other.bytes.starts_with(&self.bytes)
    }

    /// Returns the places from this length on where frames begin, and the middle of each frame.
    pub fn tears_from(&self, length: usize) -> Vec<usize> {
        let frame = FRAME_HEADER_BYTES + self.page_bytes;
        (LOG_HEADER_BYTES..self.bytes.len())
            .step_by(frame)
            .flat_map(|start| [start, start + frame / 2])
            .filter(|&place| (length..self.bytes.len()).contains(&place))
            .collect()
    }

    /// Cuts the log off at `place`.
    pub fn truncate(&self, place: usize) -> Result<()> {
        fs::write(&self.path, &self.bytes[..place]).context(self.path.display())
    }

    /// Fills the log from `place` on with random bytes.
    pub fn garble(&self, place: usize, dice: &mut impl Rng) -> Result<()> {
        let mut bytes = self.bytes.clone();
        dice.fill_bytes(&mut bytes[place..]);
        fs::write(&self.path, bytes).context(self.path.display())
    }
}

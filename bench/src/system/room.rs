//! Makes sure that the disk has room for what a load stores.

use dac_database::Backend;
use dac_tests::{Context, Failure, Result};
use rustix::fs::statvfs;

use super::arena::{Arena, Load, start_members};

/// The bytes stored for each byte of payload and of shards. It is more than one because SQLite's
/// write-ahead log holds a part of them twice.
const STORED_TIMES: f64 = 1.5;
/// An upper bound of the payload bytes a second that a committee on one machine certifies.
const BYTES_PER_SECOND_MAX: f64 = 100e6;
/// The bytes that must stay free, because members accept nothing more when their disk is nearly
/// full.
const RESERVE_BYTES: f64 = 3e9;

/// Makes sure that what a load stores fits on the disk. If it might not, processes with SQLite are
/// restarted with empty stores. Returns an error if the disk is still too full.
pub async fn make_room(arena: &mut Arena, load: &Load) -> Result<()> {
    let needed = needed_bytes(arena, load);
    if free_bytes(arena)? >= needed {
        return Ok(());
    }
    if arena.setting.backend == Backend::Sqlite {
        let network = &mut arena.network;
        network.aggregator.kill();
        network.aggregator.lose_database()?;
        for member in &mut network.members {
            member.service.kill();
            member.service.lose_database()?;
        }
        start_members(network, |_| true).await?;
        network.aggregator.start().await?;
    }
    let free = free_bytes(arena)?;
    if free >= needed {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} has {:.0} GB free, this load may take {:.0} GB: free some, or set DAC_BENCH_DIR to a folder on another disk",
        arena.stores().display(),
        free / 1e9,
        needed / 1e9
    )))
}

fn needed_bytes(arena: &Arena, load: &Load) -> f64 {
    let (n, k) = (f64::from(arena.setting.geometry.n()), f64::from(arena.setting.geometry.k()));
    let payload = load.bytes_per_second().unwrap_or(BYTES_PER_SECOND_MAX).min(BYTES_PER_SECOND_MAX)
        * (load.warm_up + load.measured).as_secs_f64();
    RESERVE_BYTES + payload * (1.0 + n / k) * STORED_TIMES
}

/// Returns the free bytes of the disk with SQLite's stores. A PostgreSQL server is most likely on
/// the same disk.
#[allow(clippy::cast_precision_loss)] // Gigabytes.
fn free_bytes(arena: &Arena) -> Result<f64> {
    let folder = arena.stores();
    let disk = statvfs(folder).context(folder.display())?;
    Ok(disk.f_bavail as f64 * disk.f_frsize as f64)
}

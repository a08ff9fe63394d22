//! The answer to a caller whose shard has no room.

use dac_proto::reason::Reason;
use tonic::Status;

use super::work_status;
use crate::context::store_status;
use crate::store::NoRoom;

/// Logs and counts that there is no room. The caller learns only which room is full.
pub(super) fn no_room(no_room: NoRoom) -> Status {
    let (cause, message) = match &no_room {
        NoRoom::Capacity { .. } => ("capacity", "this member's capacity is used up"),
        NoRoom::Disk { .. } => ("disk", "this member's disk is full"),
        NoRoom::Database { .. } => ("database", "this member's database is full"),
        NoRoom::UnknownDisk(_) => {
            tracing::error!(error = %no_room, "the room on the store's disk is unknown");
            return Reason::StorageFailed.status("the store failed; try again");
        }
        NoRoom::Store(error) => return store_status(error),
        NoRoom::Work(error) => return work_status(*error),
    };
    tracing::error!(cause, error = %no_room, "there is no room: new batches are refused");
    metrics::counter!("dac_node_storage_refusals_total", "cause" => cause).increment(1);
    Reason::StorageFailed.status(message)
}

//! The rule about who may read a secret file, taken from PostgreSQL's rule for its keys.
//!
//! A file that belongs to the process's user must be closed to all other users. A file that belongs
//! to root may be readable for one of the process's groups: this is how Kubernetes mounts a Secret
//! volume under `fsGroup`, and how Debian stores TLS keys for the group `ssl-cert`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid, getgroups};

/// With this flag, opening a pipe returns at once and does not wait for a writer.
pub(crate) const NO_WAITING: i32 = OFlags::NONBLOCK.bits().cast_signed();

const ROOT: u32 = 0;
/// All permission bits of the group and of others.
const NOT_OWNER: u32 = 0o077;
/// The permission bit that lets the group read.
const GROUP_READ: u32 = 0o040;

/// The owner of a file and its permission bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) mode: u32,
}

impl Owner {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() }
    }
}

/// The user and the groups of the process that reads.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) user: u32,
    pub(crate) groups: Vec<u32>,
}

impl Process {
    pub(crate) fn this() -> Self {
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        Self { user: geteuid().as_raw(), groups }
    }
}

/// Returns whether only the process and the machine's administrator can read or change the file.
pub(crate) fn is_private(file: &Owner, process: &Process) -> bool {
    let others = file.mode & NOT_OWNER;
    let is_handed_out = file.user == ROOT && process.user != ROOT && process.groups.contains(&file.group);
    others == 0 || is_handed_out && others == GROUP_READ
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_hands_out_secrets_by_groups_and_nobody_else_does() {
        let process = Process { user: 10_001, groups: vec![7, 10_001] };
        for (user, group, mode, private) in [
            // The file belongs to the process's user.
            (10_001, 10_001, 0o600, true),
            (10_001, 10_001, 0o400, true),
            (10_001, 10_001, 0o440, false),
            (10_001, 7, 0o640, false),
            (10_001, 10_001, 0o604, false),
            // These are a Secret volume with and without fsGroup, /etc/ssl/private, and a secret of
            // Compose.
            (0, 10_001, 0o440, true),
            (0, 7, 0o640, true),
            (0, 0, 0o400, true),
            (0, 0, 0o444, false),
            (0, 10_001, 0o444, false),
            // The process is not in the group, or the group may do more than read.
            (0, 8, 0o640, false),
            (0, 7, 0o660, false),
            (0, 7, 0o650, false),
            // The file belongs to another user.
            (1000, 7, 0o440, false),
        ] {
            let file = Owner { user, group, mode: 0o100_000 | mode };
            assert_eq!(is_private(&file, &process), private, "{file:?}");
        }
        // Root can read its own files without a group, so access for a group is refused.
        let root = Process { user: 0, groups: vec![0] };
        assert!(!is_private(&Owner { user: 0, group: 0, mode: 0o100_640 }, &root));
    }
}

//! Who may read a secret file: PostgreSQL's rule for its keys.
//!
//! What belongs to the process's user is closed to everybody else. What belongs to root may be readable for one of the process's
//! groups: a Secret volume of Kubernetes looks so under `fsGroup`, as do Debian's TLS keys of the group `ssl-cert`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid, getgroups};

/// Opening a pipe returns at once instead of waiting for a writer.
pub(crate) const NO_WAITING: i32 = OFlags::NONBLOCK.bits().cast_signed();

const ROOT: u32 = 0;
/// Any permission bit of group or others.
const NOT_OWNER: u32 = 0o077;
/// The permission of the group to read.
const GROUP_READ: u32 = 0o040;

/// Whose a file is, and who else may do what.
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

/// Who reads.
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

/// Whether nobody but the process and the machine's administrator may read or change the file.
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
            // One's own.
            (10_001, 10_001, 0o600, true),
            (10_001, 10_001, 0o400, true),
            (10_001, 10_001, 0o440, false),
            (10_001, 7, 0o640, false),
            (10_001, 10_001, 0o604, false),
            // A Secret volume with and without fsGroup, /etc/ssl/private, a secret of Compose.
            (0, 10_001, 0o440, true),
            (0, 7, 0o640, true),
            (0, 0, 0o400, true),
            (0, 0, 0o444, false),
            (0, 10_001, 0o444, false),
            // For groups that this process is not in, and for more than reading.
            (0, 8, 0o640, false),
            (0, 7, 0o660, false),
            (0, 7, 0o650, false),
            // Another user's.
            (1000, 7, 0o440, false),
        ] {
            let file = Owner { user, group, mode: 0o100_000 | mode };
            assert_eq!(is_private(&file, &process), private, "{file:?}");
        }
        // Root itself has no use for a group.
        let root = Process { user: 0, groups: vec![0] };
        assert!(!is_private(&Owner { user: 0, group: 0, mode: 0o100_640 }, &root));
    }
}

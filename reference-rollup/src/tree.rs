//! The accounts tree: 4 children for each node, hashed with Poseidon. Empty places are hashed like
//! all others, but only nodes that differ from an empty tree are kept.

use std::collections::HashMap;
use std::sync::LazyLock;

use ark_bn254::Fr;

use crate::account::{Account, AccountIndex};
use crate::poseidon;
use crate::shape::{TREE_ARITY, TREE_DEPTH};

/// The hash of an empty subtree of each height; height 0 is an empty place.
static EMPTY: LazyLock<[Fr; TREE_DEPTH + 1]> = LazyLock::new(|| {
    let mut hashes = [Account::default().leaf(); TREE_DEPTH + 1];
    for height in 1..=TREE_DEPTH {
        hashes[height] = poseidon::hash(&[hashes[height - 1]; TREE_ARITY]);
    }
    hashes
});

/// All children of each node on the path from an account to the root, the lowest node first. The
/// account's own branch is among them.
pub type Path = [[Fr; TREE_ARITY]; TREE_DEPTH];

/// A sparse tree of accounts.
#[derive(Clone, Default)]
pub struct AccountTree {
    accounts: HashMap<u32, Account>,
    /// The nodes by height and position.
    nodes: HashMap<(usize, u32), Fr>,
}

impl AccountTree {
    fn node(&self, height: usize, place: u32) -> Fr {
        self.nodes.get(&(height, place)).copied().unwrap_or(EMPTY[height])
    }

    /// The root.
    pub fn root(&self) -> Fr {
        self.node(TREE_DEPTH, 0)
    }

    /// The account at a place; the default account if the place is empty.
    pub fn get(&self, index: AccountIndex) -> Account {
        self.accounts.get(&index.0).copied().unwrap_or_default()
    }

    /// Sets the account at a place.
    pub fn set(&mut self, index: AccountIndex, account: Account) {
        self.accounts.insert(index.0, account);
        let mut hash = account.leaf();
        let mut place = index.0;
        for height in 0..=TREE_DEPTH {
            self.nodes.insert((height, place), hash);
            place = parent(place);
            if height < TREE_DEPTH {
                hash = poseidon::hash(&self.children(height, place));
            }
        }
    }

    /// The children of the node at `place` on the level above `height`.
    fn children(&self, height: usize, place: u32) -> [Fr; TREE_ARITY] {
        [0, 1, 2, 3].map(|child| self.node(height, place << 2 | child))
    }

    /// The path from an account to the root.
    pub fn path(&self, index: AccountIndex) -> Path {
        let mut place = index.0;
        std::array::from_fn(|height| {
            place = parent(place);
            self.children(height, place)
        })
    }

    /// Every place that was ever set, in no particular order.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountIndex, &Account)> {
        self.accounts.iter().map(|(index, account)| (AccountIndex(*index), account))
    }
}

/// The position of a node's parent, one level up.
const fn parent(place: u32) -> u32 {
    place >> 2
}

/// The child that an account's path goes through on each level, from the lowest up.
pub fn digits(index: AccountIndex) -> [usize; TREE_DEPTH] {
    std::array::from_fn(|height| (index.0 >> (2 * height)) as usize % TREE_ARITY)
}

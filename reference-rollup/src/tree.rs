//! The accounts tree: 4 children a node, Poseidon, empty places hashed like all others. Only what
//! differs from an empty tree is kept.

use std::collections::HashMap;
use std::sync::LazyLock;

use ark_bn254::Fr;

use crate::account::{Account, AccountIndex};
use crate::poseidon;
use crate::shape::{TREE_ARITY, TREE_DEPTH};

/// Hash of an empty subtree of each height; height 0 is an empty place.
static EMPTY: LazyLock<[Fr; TREE_DEPTH + 1]> = LazyLock::new(|| {
    let mut hashes = [Account::default().leaf(); TREE_DEPTH + 1];
    for height in 1..=TREE_DEPTH {
        hashes[height] = poseidon::hash(&[hashes[height - 1]; TREE_ARITY]);
    }
    hashes
});

/// All children of each node on the way from an account to the root, the lowest first; the
/// account's own side is among them.
pub type Path = [[Fr; TREE_ARITY]; TREE_DEPTH];

/// A sparse tree of accounts.
#[derive(Clone, Default)]
pub struct AccountTree {
    accounts: HashMap<u32, Account>,
    /// By height and place.
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

    /// The account there, empty if nobody's.
    pub fn get(&self, index: AccountIndex) -> Account {
        self.accounts.get(&index.0).copied().unwrap_or_default()
    }

    /// Puts an account in its place.
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

    /// Children of the node at `place` of the level above `height`.
    fn children(&self, height: usize, place: u32) -> [Fr; TREE_ARITY] {
        [0, 1, 2, 3].map(|child| self.node(height, place << 2 | child))
    }

    /// The way from an account to the root.
    pub fn path(&self, index: AccountIndex) -> Path {
        let mut place = index.0;
        std::array::from_fn(|height| {
            place = parent(place);
            self.children(height, place)
        })
    }

    /// Every place that was ever set, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountIndex, &Account)> {
        self.accounts.iter().map(|(index, account)| (AccountIndex(*index), account))
    }
}

/// The place of a node's parent, one level up.
const fn parent(place: u32) -> u32 {
    place >> 2
}

/// Which child an account's path goes through, from the lowest level up.
pub fn digits(index: AccountIndex) -> [usize; TREE_DEPTH] {
    std::array::from_fn(|height| (index.0 >> (2 * height)) as usize % TREE_ARITY)
}

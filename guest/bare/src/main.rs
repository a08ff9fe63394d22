//! The guest's function as a program without the standard library, as in a zkVM, but compiled for
//! this machine.
//!
//! It tests that `dac-types` and `dac-coding` need no `std`: this crate defines the panic handler
//! and the allocator, which `std` would define too, so the build fails as soon as any dependency
//! uses it ("found duplicate lang item `panic_impl`"). `tools/guest-instructions` counts the
//! instructions of this program.
//!
//! Standard input has the length of the claim and the length of the payload (u32, little-endian),
//! the claim, and the payload. Standard output gets the bytes that a guest commits to. The exit
//! status is 0 for yes, 1 for no, and 2 for input that does not have this form.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::alloc::{GlobalAlloc, Layout};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

#[link(name = "c")]
unsafe extern "C" {
    fn read(file: c_int, buffer: *mut c_void, count: usize) -> isize;
    fn write(file: c_int, buffer: *const c_void, count: usize) -> isize;
    fn abort() -> !;
}

/// Memory for the largest payload and for everything else, in bytes.
const ARENA_BYTES: usize = 80 << 20;

/// An allocator like that of a zkVM: it hands out memory once, in order, and frees nothing.
struct Bump {
    arena: UnsafeCell<[u8; ARENA_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: this program has one thread.
unsafe impl Sync for Bump {}

// SAFETY: pieces lie within the arena, are aligned, and never overlap, because `used` only grows.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.arena.get().addr();
        let used = self.used.load(Ordering::Relaxed);
        let piece = (start + used).next_multiple_of(layout.align()) - start;
        let end = piece.saturating_add(layout.size());
        if end > ARENA_BYTES {
            return core::ptr::null_mut();
        }
        self.used.store(end, Ordering::Relaxed);
        self.arena.get().cast::<u8>().wrapping_add(piece)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`. Memory that was never handed out is
        // zero.
        unsafe { self.alloc(layout) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static MEMORY: Bump = Bump { arena: UnsafeCell::new([0; ARENA_BYTES]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: `abort` has no preconditions.
    unsafe { abort() }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    let Some((claim, payload)) = read_input() else { return 2 };
    match dac_guest::verify(&payload, &claim) {
        Ok(claim) if write_all(&claim.encode()) => 0,
        Ok(_) => 2,
        Err(_) => 1,
    }
}

fn read_input() -> Option<(Vec<u8>, Vec<u8>)> {
    let mut lengths = [[0; 4]; 2];
    read_exactly(lengths.as_flattened_mut())?;
    let [claim, payload] = lengths.map(u32::from_le_bytes).map(|length| length as usize);
    if claim.saturating_add(payload) > ARENA_BYTES - (1 << 20) {
        return None;
    }
    let (mut claim, mut payload) = (vec![0; claim], vec![0; payload]);
    read_exactly(&mut claim)?;
    read_exactly(&mut payload)?;
    read_exactly(&mut [0]).is_none().then_some((claim, payload))
}

fn read_exactly(mut buffer: &mut [u8]) -> Option<()> {
    while !buffer.is_empty() {
        // SAFETY: the buffer has `buffer.len()` writable bytes.
        let count = unsafe { read(0, buffer.as_mut_ptr().cast(), buffer.len()) };
        let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
        buffer = &mut buffer[count..];
    }
    Some(())
}

fn write_all(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: the buffer has `bytes.len()` readable bytes.
        let count = unsafe { write(1, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            _ => return false,
        }
    }
    true
}

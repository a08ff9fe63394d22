//! The services' allocator. The C library's keeps what one thread freed for that thread: under load
//! the aggregator had a quarter more memory than it used. How this one is built is said in
//! `.cargo/config.toml`.

/// For `#[global_allocator]`.
pub use tikv_jemallocator::Jemalloc as Allocator;

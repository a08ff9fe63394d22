//! The services' allocator. The C library's allocator keeps memory that one thread freed for that
//! thread: under load, the aggregator had a quarter more memory than it used. The build options of
//! this allocator are in `.cargo/config.toml`.

/// The type for `#[global_allocator]`.
pub use tikv_jemallocator::Jemalloc as Allocator;

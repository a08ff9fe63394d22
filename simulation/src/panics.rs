//! A task that panics takes nothing with it but itself: here it is a breach.

use std::sync::{LazyLock, Mutex, Once};

static SEEN: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);
static HOOK: Once = Once::new();

/// From now on every panic is written down.
pub(crate) fn watch() {
    HOOK.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Ok(mut seen) = SEEN.lock() {
                seen.push(format!("a panic: {info}"));
            }
            former(info);
        }));
    });
    drop(seen());
}

/// What was written down since.
pub(crate) fn seen() -> Vec<String> {
    SEEN.lock().map(|mut seen| std::mem::take(&mut *seen)).unwrap_or_default()
}

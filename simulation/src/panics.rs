//! Panics count as breaches. Without this a panic would end only its own task and stay unnoticed.

use std::sync::{LazyLock, Mutex, Once};

static SEEN: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);
static HOOK: Once = Once::new();

/// Forgets earlier panics and records every panic from now on.
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

/// Takes the panics that were recorded.
pub(crate) fn seen() -> Vec<String> {
    SEEN.lock().map(|mut seen| std::mem::take(&mut *seen)).unwrap_or_default()
}

//! Fail points: named places in the programs where tests make a process die, wait or fail at a
//! chosen pass.
//!
//! They exist only in development builds with the feature `failpoints`, which only the whole-system
//! tests enable. In every other build, including every optimised one,
//! [`failpoint!`](crate::failpoint!) compiles to nothing. The environment variable `DAC_FAILPOINT`
//! sets them, as a list separated by commas of
//!
//! ```text
//! NAME=N            the process kills itself with SIGKILL at the N-th pass, from 1
//! NAME=N:sleep:MS   the N-th pass takes so many milliseconds more, blocking its thread
//! NAME=N:error      the N-th pass fails, where the place has an error to fail with
//! NAME=N:errors     the N-th pass fails, and all after it
//! ```

/// A fail point, and what makes a program pass it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailPoint {
    /// The name that `DAC_FAILPOINT` uses.
    pub name: &'static str,
    /// The event that makes a program pass it.
    pub passed: Passed,
}

/// The event that makes a program pass a fail point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Every batch passes it.
    EachBatch,
    /// Each batch passes it whose shard (for the aggregator: whose payload) is larger than one
    /// transaction takes.
    EachLargeBatch,
    /// Every start of the process passes it.
    EachStart,
    /// Each start passes it of a process that was killed during the upload of a large batch.
    EachStartAfterUploads,
    /// Each batch that expires passes it, once its time and the slack have passed.
    EachExpiry,
    /// Each batch that settles passes it.
    EachSettlement,
    /// Each renewal of coverage passes it.
    EachRenewal,
    /// Each stored shard passes it that was found corrupt and is replaced by an intact one.
    EachRepair,
    /// No program passes it: it serves this crate's own tests.
    Never,
}

/// All fail points. A name that is not listed here does not compile, and the kill suite demands
/// that each is reached.
pub const ALL: &[FailPoint] = &[
    // dac-node
    at("node.store.opened", Passed::EachStart),
    at("node.store.swept", Passed::EachStartAfterUploads),
    at("node.store.stage_before_commit", Passed::EachLargeBatch),
    at("node.store.stage_after_commit", Passed::EachLargeBatch),
    at("node.store.rows_written", Passed::EachBatch),
    at("node.store.before_commit", Passed::EachBatch),
    at("node.store.after_commit", Passed::EachBatch),
    at("node.attest.before_sign", Passed::EachBatch),
    at("node.attest.after_sign", Passed::EachBatch),
    at("node.ledger.learn_before_commit", Passed::EachBatch),
    at("node.ledger.learn_after_commit", Passed::EachBatch),
    at("node.store.replace_before_commit", Passed::EachRepair),
    at("node.renewal.before_commit", Passed::EachRenewal),
    at("node.renewal.before_sign", Passed::EachRenewal),
    at("node.renewal.after_sign", Passed::EachRenewal),
    at("node.store.certificate_before_commit", Passed::EachBatch),
    at("node.store.certificate_after_commit", Passed::EachBatch),
    at("node.store.delete_before_commit", Passed::EachExpiry),
    at("node.store.delete_after_commit", Passed::EachExpiry),
    // dac-aggregator
    at("aggregator.upload.begun", Passed::EachLargeBatch),
    at("aggregator.upload.staged", Passed::EachLargeBatch),
    at("aggregator.batch.before_create", Passed::EachBatch),
    at("aggregator.batch.created", Passed::EachBatch),
    at("aggregator.batch.before_save", Passed::EachBatch),
    at("aggregator.batch.saved", Passed::EachBatch),
    at("aggregator.header.persisted", Passed::EachBatch),
    at("aggregator.shard.before_send", Passed::EachBatch),
    at("aggregator.shard.delivered", Passed::EachBatch),
    at("aggregator.signatures.persisted", Passed::EachBatch),
    at("aggregator.certificate.persisted", Passed::EachBatch),
    at("aggregator.certificate.delivered", Passed::EachBatch),
    at("aggregator.payload.before_drop", Passed::EachBatch),
    at("aggregator.payload.dropped", Passed::EachBatch),
    at("aggregator.poster.before_commit", Passed::EachBatch),
    at("aggregator.poster.after_commit", Passed::EachBatch),
    at("aggregator.poster.before_send", Passed::EachBatch),
    at("aggregator.poster.after_send", Passed::EachBatch),
    at("aggregator.record.persisted", Passed::EachBatch),
    at("aggregator.proof.persisted", Passed::EachSettlement),
    at("aggregator.settlement.persisted", Passed::EachSettlement),
    // Fail points of this crate's own tests.
    at("runtime.test.first", Passed::Never),
    at("runtime.test.second", Passed::Never),
];

const fn at(name: &'static str, passed: Passed) -> FailPoint {
    FailPoint { name, passed }
}

/// Whether a fail point of this name exists.
pub const fn is_known(name: &str) -> bool {
    let mut index = 0;
    while index < ALL.len() {
        if equal(ALL[index].name.as_bytes(), name.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// Marks a place where a test may end the process: `failpoint!("node.store.before_commit")`. With a
/// second argument it may also return that error from the enclosing function. See
/// [`failpoint`](mod@crate::failpoint).
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{
        const { assert!($crate::failpoint::is_known($name), "not in the table of fail points") };
        let _ = $crate::failpoint::pass($name);
    }};
    ($name:literal, $error:expr) => {{
        const { assert!($crate::failpoint::is_known($name), "not in the table of fail points") };
        if $crate::failpoint::pass($name) {
            return ::core::result::Result::Err(::core::convert::From::from($error));
        }
    }};
}

/// Passes a fail point; returns whether the pass must fail.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[inline(always)]
pub const fn pass(_name: &str) -> bool {
    false
}

#[cfg(all(feature = "failpoints", debug_assertions))]
pub use enabled::pass;

#[cfg(all(feature = "failpoints", debug_assertions))]
mod enabled {
    use std::collections::HashMap;
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    const VARIABLE: &str = "DAC_FAILPOINT";

    static SET: LazyLock<HashMap<String, Trap>> = LazyLock::new(|| match std::env::var(VARIABLE) {
        Ok(text) => parse(&text).unwrap_or_else(|problem| panic!("{VARIABLE}: {problem}")),
        Err(_) => HashMap::new(),
    });

    #[derive(Debug)]
    struct Trap {
        at: u64,
        action: Action,
        passes: AtomicU64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Kill,
        Sleep(Duration),
        Error,
        Errors,
    }

    fn parse(text: &str) -> Result<HashMap<String, Trap>, String> {
        text.split(',').filter(|entry| !entry.is_empty()).map(parse_entry).collect()
    }

    fn parse_entry(entry: &str) -> Result<(String, Trap), String> {
        let wrong = || format!("{entry:?} is not NAME=N[:sleep:MS|:error|:errors]");
        let (name, rest) = entry.split_once('=').ok_or_else(wrong)?;
        if !super::is_known(name) {
            return Err(format!("there is no fail point {name:?}"));
        }
        let words: Vec<&str> = rest.split(':').collect();
        let (at, action) = match words[..] {
            [at] => (at, Action::Kill),
            [at, "error"] => (at, Action::Error),
            [at, "errors"] => (at, Action::Errors),
            [at, "sleep", ms] => (at, Action::Sleep(Duration::from_millis(ms.parse().map_err(|_| wrong())?))),
            _ => return Err(wrong()),
        };
        let at = at.parse().map_err(|_| wrong())?;
        Ok((name.to_owned(), Trap { at, action, passes: AtomicU64::new(0) }))
    }

    /// Passes a fail point; returns whether the pass must fail.
    pub fn pass(name: &str) -> bool {
        let Some(trap) = SET.get(name) else { return false };
        let pass = trap.passes.fetch_add(1, Ordering::SeqCst) + 1;
        match trap.action {
            Action::Errors => pass >= trap.at,
            _ if pass != trap.at => false,
            Action::Error => true,
            Action::Sleep(time) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "what stops is the whole worker, as with a slow disk; only in tests"
                )]
                std::thread::sleep(time);
                false
            }
            Action::Kill => {
                // Tests read this line; nothing that follows it happens. Lines that were logged
                // before are written before it.
                crate::telemetry::flush(std::time::Duration::from_secs(1));
                let _ = writeln!(std::io::stderr(), "fail point {name}: killed at pass {pass}");
                kill_self();
            }
        }
    }

    fn kill_self() -> ! {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal needs time to arrive in a process with several threads.
        loop {
            std::thread::park();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_set_is_read_and_what_is_misspelt_is_named() {
            let traps = parse("runtime.test.first=2:sleep:30,runtime.test.second=1").unwrap();
            let read = |name: &str| (traps[name].at, traps[name].action);
            assert_eq!(read("runtime.test.first"), (2, Action::Sleep(Duration::from_millis(30))));
            assert_eq!(read("runtime.test.second"), (1, Action::Kill));
            for wrong in
                ["runtime.test.first", "runtime.test.first=x", "runtime.test.first=1:explode", "no.such=1"]
            {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }
    }
}

#[cfg(all(test, feature = "failpoints", debug_assertions))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Output};

    /// Marks, in the environment, that this test program runs as a child.
    const CHILD: &str = "DAC_FAILPOINT_CHILD";

    /// The work of the child.
    fn passes() -> Result<(), String> {
        for _ in 0..3 {
            crate::failpoint!("runtime.test.first");
            println!("passed");
            crate::failpoint!("runtime.test.second", "failed on purpose");
        }
        Ok(())
    }

    fn run_child(set: &str) -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "failpoint::tests::the_child", "--nocapture", "--include-ignored"])
            .env(CHILD, "1")
            .env("DAC_FAILPOINT", set)
            .output()
            .unwrap()
    }

    fn count(output: &Output) -> usize {
        String::from_utf8_lossy(&output.stdout).matches("passed\n").count()
    }

    #[test]
    fn the_child() {
        if std::env::var_os(CHILD).is_some() {
            passes().unwrap();
        }
    }

    #[test]
    fn a_process_kills_itself_at_the_pass_that_is_named() {
        let output = run_child("runtime.test.first=3");
        assert_eq!(output.status.signal(), Some(9), "{output:?}");
        assert_eq!(count(&output), 2);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("fail point runtime.test.first: killed at pass 3"), "{said}");
    }

    #[test]
    fn a_pass_fails_with_the_error_of_its_place() {
        let output = run_child("runtime.test.second=2:error");
        assert!(!output.status.success() && output.status.signal().is_none(), "{output:?}");
        assert_eq!(count(&output), 2);
    }

    #[test]
    fn without_the_variable_nothing_happens() {
        passes().unwrap();
    }

    #[test]
    fn names_are_given_once() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|point| point.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(is_known("runtime.test.first") && !is_known("runtime.test") && !is_known(""));
    }
}

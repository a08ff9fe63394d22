//! Runs some seeds, each twice in a process of its own, and worlds with a planted flaw, which the
//! check must find.

use std::process::Command;

fn live_through(n: u16, seed: u64, flaw: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dac-simulation"));
    command.args(["--n", &n.to_string(), "--one", &seed.to_string()]);
    if let Some(flaw) = flaw {
        command.args(["--flaw", flaw]);
    }
    let output = command.env_remove("RUST_LOG").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.stdout.is_empty(), "seed {seed} of {n} members: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn all_is_well_and_the_same_again(n: u16, seeds: std::ops::RangeInclusive<u64>) {
    for seed in seeds {
        let report = live_through(n, seed, None);
        assert!(report.contains(r#""breaches":[]"#), "seed {seed} of {n} members: {report}");
        assert_eq!(report, live_through(n, seed, None), "seed {seed} of {n} members, run twice");
    }
}

#[test]
fn sixteen_members_live_through_seeds_and_each_is_the_same_again() {
    let seeds = 6 * dac_measure::scale();
    let _counted = dac_measure::counted!(SameTrace, seeds);
    all_is_well_and_the_same_again(16, 1..=seeds);
}

#[test]
fn sixty_four_members_live_through_seeds_and_each_is_the_same_again() {
    let seeds = 2 * dac_measure::scale();
    let _counted = dac_measure::counted!(SameTrace, seeds);
    all_is_well_and_the_same_again(64, 1..=seeds);
}

#[test]
fn seeds_differ() {
    assert_ne!(live_through(7, 1, None), live_through(7, 2, None));
}

/// Checks that at least one of a few seeds reports this breach.
fn is_found(flaw: &str, breach: &str) {
    let found = (1..=10).any(|seed| live_through(16, seed, Some(flaw)).contains(breach));
    assert!(found, "{flaw}: no seed shows that a member {breach}");
}

#[test]
fn a_store_that_forgets_its_last_commit_is_found() {
    let _counted = dac_measure::counted!(SameTrace, 1);
    is_found("forgets-last-commit", "was killed and lacks");
}

#[test]
fn a_store_that_answers_before_it_commits_is_found() {
    let _counted = dac_measure::counted!(SameTrace, 1);
    is_found("answers-before-commit", "before it was stored");
}

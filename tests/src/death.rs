//! Kills services with SIGKILL at fail points and at random times.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use dac_runtime::failpoint::{ALL, FailPoint, Passed};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::failure::{Context, Failure, Result};
use crate::network::{Member, Service};
use crate::wait;

/// The number of SIGKILL.
const SIGKILL: i32 = 9;
/// The longest pause before a killed process is started again.
const REST_MAX_MS: u64 = 120;
/// The longest time for which a process runs before it is killed at random.
const LIFE_MAX_MS: u64 = 700;
/// The largest number of the pass at which a fail point kills.
const PASSES_MAX: u64 = 3;
/// The fail point that leaves staged rows, which the next start deletes.
const LEAVES_UPLOADS: &str = "node.store.stage_after_commit";

/// Returns the fail points of a program that are passed in one of these ways.
pub fn points(program: &str, passed: &[Passed]) -> Vec<FailPoint> {
    let mine = ALL.iter().filter(|point| point.name.starts_with(program) && passed.contains(&point.passed));
    mine.copied().collect()
}

/// Starts a service, which must not be running, so that it dies at this pass of a fail point, and
/// waits for its death.
pub async fn dies_at(service: &mut Service, name: &str, pass: u64) -> Result<()> {
    launch_to_die(service, name, pass).await?;
    died_at(service, name, pass).await
}

/// Starts a service so that it dies at this pass of a fail point. It may be dead when this returns.
pub async fn launch_to_die(service: &mut Service, name: &str, pass: u64) -> Result<()> {
    service.set_environment(&[("DAC_FAILPOINT", format!("{name}={pass}"))]);
    service.launch()?;
    if let Err(failure) = service.await_ready().await
        && service.is_running()
    {
        return Err(failure);
    }
    Ok(())
}

/// Waits for the death that [`launch_to_die`] set up.
pub async fn died_at(service: &mut Service, name: &str, pass: u64) -> Result<()> {
    let what = format!("{} to die at {name}", service.name());
    let process = service.process()?;
    let status = wait::until(&what, wait::LIMIT, async || process.exited()).await;
    let status =
        status.map_err(|failure| Failure::new(format!("{failure}\n{}", service.log_end()))).context(name)?;
    let process = service.process()?;
    let said = format!("fail point {name}: killed at pass {pass}");
    if status.signal() != Some(SIGKILL) || !process.log().contains(&said) {
        let end = process.log_end();
        return Err(Failure::new(format!(
            "{} ended with {status}, not at {name}: are programs built with fail points?\n{end}",
            process.name()
        )));
    }
    service.kill();
    Ok(())
}

async fn rest(dice: &mut impl Rng, longest: u64) {
    let time = Duration::from_millis(dice.random_range(0..=longest));
    tokio::time::sleep(time).await;
}

/// Lets a service die at each of these fail points in a random order, and starts it again at the
/// end. Returns the number of deaths.
pub async fn dies_everywhere(
    service: &mut Service,
    points: &[FailPoint],
    dice: &mut impl Rng,
) -> Result<u64> {
    let mut points = points.to_vec();
    points.shuffle(dice);
    let mut deaths = 0;
    service.kill();
    for point in points {
        if point.passed == Passed::EachStartAfterUploads {
            dies_at(service, LEAVES_UPLOADS, 1).await?;
            dies_at(service, point.name, 1).await?;
            deaths += 2;
        } else {
            // Fail points of a start are passed once for each process.
            let passes = if point.passed == Passed::EachStart { 1 } else { PASSES_MAX };
            dies_at(service, point.name, dice.random_range(1..=passes)).await?;
            deaths += 1;
        }
        rest(dice, REST_MAX_MS).await;
    }
    service.set_environment(&[]);
    service.start().await?;
    Ok(deaths)
}

/// Lets a service run for a random time, kills it, and starts it again.
pub async fn dies_at_any_time(service: &mut Service, dice: &mut impl Rng) -> Result<()> {
    rest(dice, LIFE_MAX_MS).await;
    service.kill();
    rest(dice, REST_MAX_MS).await;
    service.start().await
}

/// Kills members at random times, one after the other, each chosen at random.
pub async fn members_die_at_any_time(members: &mut [Member], deaths: u64, dice: &mut impl Rng) -> Result<()> {
    for _ in 0..deaths {
        let chosen = dice.random_range(0..members.len());
        dies_at_any_time(&mut members[chosen].service, dice).await?;
    }
    Ok(())
}

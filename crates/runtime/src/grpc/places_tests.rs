use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// The places of a port, and a clock that tests move.
struct World {
    places: Places,
    now: Instant,
}

impl World {
    fn new(places: u32, share: u32) -> Self {
        Self { places: Places::new(places, share, PATIENCE), now: Instant::now() }
    }

    fn try_enter(&mut self, address: &str) -> (Entry, CancellationToken) {
        self.now += Duration::from_millis(1);
        let close = CancellationToken::new();
        (self.places.enter(address.parse().unwrap(), close.clone(), self.now), close)
    }

    fn enter(&mut self, address: &str) -> (ConnectionId, CancellationToken) {
        match self.try_enter(address) {
            (Entry::Admitted { id, .. }, close) => (id, close),
            (refused, _) => panic!("{address}: {refused:?}"),
        }
    }

    /// Begins a call whose request has arrived.
    fn work(&mut self, id: ConnectionId) {
        self.places.call_began(id);
        self.places.call_arrived(id, self.now);
    }
}

#[test]
fn a_newcomer_takes_the_place_of_the_one_that_has_been_idle_longest() {
    let mut world = World::new(4, 3);
    let first: Vec<_> = (0..3).map(|_| world.enter("10.0.0.1")).collect();
    let (_, other) = world.enter("10.1.0.1");
    // The oldest connection was used since.
    world.work(first[0].0);
    world.places.call_answered(first[0].0, world.now);
    world.places.call_ended(first[0].0, world.now);
    let (entry, _) = world.try_enter("10.2.0.1");
    assert!(matches!(entry, Entry::Admitted { is_instead: true, .. }), "{entry:?}");
    assert!(first[1].1.is_cancelled(), "idle since it was opened, of the client that holds most");
    assert!(!first[0].1.is_cancelled() && !first[2].1.is_cancelled() && !other.is_cancelled());
    assert_eq!(world.places.len(), 4);
}

#[test]
fn nobody_takes_the_place_of_a_client_that_holds_no_more() {
    let mut world = World::new(2, 2);
    let (_, one) = world.enter("10.1.0.1");
    world.enter("10.2.0.1");
    let (entry, _) = world.try_enter("10.3.0.1");
    assert!(matches!(entry, Entry::Admitted { is_instead: true, .. }), "it holds none: {entry:?}");
    assert!(one.is_cancelled());
    let (entry, _) = world.try_enter("10.3.0.1");
    assert!(matches!(entry, Entry::Admitted { is_instead: true, .. }), "in place of its own: {entry:?}");
    let mut held = Vec::new();
    for connection in world.places.connections.keys() {
        held.push(*connection);
    }
    for id in held {
        world.work(id);
    }
    assert_eq!(world.try_enter("10.4.0.1").0, Entry::Full, "all of them work");
}

#[test]
fn a_client_replaces_its_own_idle_connections() {
    let mut world = World::new(100, 2);
    let (first, first_closes) = world.enter("10.0.0.1");
    let (_, second_closes) = world.enter("10.0.0.1");
    world.work(first);
    let (third, _) = world.enter("10.0.0.1");
    assert!(second_closes.is_cancelled() && !first_closes.is_cancelled());
    world.work(third);
    let client = Network::client("10.0.0.1".parse().unwrap());
    assert_eq!(world.try_enter("10.0.0.1").0, Entry::Share(client));
    world.places.left(first);
    world.enter("10.0.0.1");
}

#[test]
fn half_a_request_keeps_no_place() {
    let mut world = World::new(2, 2);
    let (half, closes) = world.enter("10.0.0.1");
    world.places.call_began(half);
    let (whole, _) = world.enter("10.0.0.1");
    world.work(whole);
    world.enter("10.9.0.1");
    assert!(closes.is_cancelled());
}

#[test]
fn a_client_that_takes_nothing_is_closed_and_one_that_is_slow_is_not() {
    let mut world = World::new(4, 4);
    let (mute, mute_closes) = world.enter("10.0.0.1");
    let (slow, slow_closes) = world.enter("10.0.0.2");
    world.places.handed_over(mute, 1000, world.now);
    let pieces: Vec<_> = (0..40).map(|_| world.places.handed_over(slow, 256 << 10, world.now)).collect();
    for piece in pieces {
        world.now += Duration::from_secs(1);
        world.places.taken(slow, piece, world.now);
        world.places.close_stalled(world.now);
    }
    assert!(mute_closes.is_cancelled() && !slow_closes.is_cancelled());
    world.now += PATIENCE * 10;
    assert_eq!(world.places.close_stalled(world.now), 0, "nothing is left to read");
}

#[test]
fn reading_one_answer_does_not_keep_the_others() {
    let mut world = World::new(4, 4);
    let (id, closes) = world.enter("10.0.0.1");
    world.places.handed_over(id, 1 << 20, world.now);
    let mut seconds = 0;
    while !closes.is_cancelled() {
        let small = world.places.handed_over(id, 100, world.now);
        world.now += Duration::from_secs(1);
        seconds += 1;
        world.places.taken(id, small, world.now);
        world.places.close_stalled(world.now);
        assert!(seconds < 60);
    }
    assert!(seconds >= 30, "{seconds}");
}

#[test]
fn the_fullest_goes_when_memory_is_short() {
    let mut world = World::new(4, 4);
    let (small, small_closes) = world.enter("10.0.0.1");
    let (large, large_closes) = world.enter("10.0.0.1");
    assert!(!world.places.close_fullest(), "nothing is unread");
    world.places.handed_over(small, 10, world.now);
    world.places.handed_over(large, 20, world.now);
    assert!(world.places.close_fullest());
    assert!(large_closes.is_cancelled() && !small_closes.is_cancelled());
}

proptest! {
    /// An attacker opens and uses as many connections as it likes from 7 addresses. An honest
    /// client always gets a place, and keeps it while it works.
    #[test]
    fn an_honest_client_gets_in_beside_idle_ones(
        moves in proptest::collection::vec((0_u8..7, any::<bool>()), 1..200),
    ) {
        let mut world = World::new(16, 8);
        for (host, begins) in moves {
            if let (Entry::Admitted { id, .. }, _) = world.try_enter(&format!("10.{host}.0.1")) && begins {
                world.places.call_began(id);
            }
            prop_assert!(world.places.len() <= 16);
            prop_assert_eq!(world.places.budget.used(), world.places.len() as u64);
            let (entry, closes) = world.try_enter("192.0.2.1");
            let Entry::Admitted { id, .. } = entry else { panic!("{entry:?}") };
            world.work(id);
            for host in 0..7 {
                world.try_enter(&format!("10.{host}.0.1"));
            }
            prop_assert!(!closes.is_cancelled());
            world.places.left(id);
        }
    }
}

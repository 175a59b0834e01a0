//! Single decisions, and whole boots behind a simulated user network: how many attempts they take, and how soon the guest is found.

use super::*;

const BOOTING: GuestSight = GuestSight::Booting { restarts: 0, spoke: false };
const ADDRESSED: GuestSight = GuestSight::Addressed { restarts: 0 };

fn at(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

#[test]
fn a_watched_guest_is_left_alone_until_it_has_an_address() {
    let start = Instant::now();
    let mut pace = Pace::new(start, BOOTING, false);
    assert_eq!(pace.next(&[]), Some(start + UNSEEN_ADDRESS));
    let in_case = Open { started: start + UNSEEN_ADDRESS, restarts: Some(0), connected: true };
    assert_eq!(pace.next(&[in_case]), None, "one is enough");
    pace.see(at(start, 25.0), ADDRESSED);
    assert_eq!(pace.next(&[]), Some(at(start, 25.2)));
    assert_eq!(pace.next(&[in_case, in_case]), None, "never more than two");
}

#[test]
fn a_closed_port_is_asked_often_at_first_and_for_long_rarely() {
    let paces =
        [0.0, 0.5, 1.5, 4.0, 8.0, 59.9, 60.0, 600.0].map(|s| refused_pace(Duration::from_secs_f64(s)).as_millis());
    assert_eq!(paces, [150, 166, 450, 450, 450, 450, 3000, 5000]);
}

#[test]
fn what_the_server_thinks_of_us_is_respected() {
    let start = Instant::now();
    let mut pace = Pace::new(start, ADDRESSED, false);
    pace.ended(at(start, 3.0), End::TurnedAway);
    assert_eq!(pace.next(&[]), Some(at(start, 8.0)));
}

#[test]
fn attempts_of_an_earlier_start_count_no_more() {
    let start = Instant::now();
    let mut pace = Pace::new(start, ADDRESSED, true);
    let open = Open { started: at(start, 1.0), restarts: Some(0), connected: true };
    assert_eq!(
        pace.next(&[open]),
        Some(open.started + PATIENCE_AFTER_CONTACT),
        "it answered before: it may be going down"
    );
    pace.see(at(start, 2.0), GuestSight::Addressed { restarts: 1 });
    assert_eq!(pace.next(&[open, open]), Some(at(start, 2.2)));
}

/// libslirp's times, from a connection's start, at which its request goes into the guest; then it gives up.
const REQUESTS: [f64; 4] = [0.0, 6.0, 18.0, 42.0];
const GIVES_UP: f64 = 75.0;

/// A guest behind a user network, in seconds from the machine's start.
#[derive(Clone)]
struct Guest {
    /// From when on it has an address; requests before are lost.
    address: f64,
    /// Whether the host sees that it has.
    watched: bool,
    /// From when on its server listens; requests before are refused.
    server: f64,
    /// From a request to the banner.
    serves_in: f64,
    /// When it goes down for a restart, and when it restarts; the times above count from then.
    restart: Option<(f64, f64)>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Boot {
    attempts: usize,
    /// The most connections that lived in the network at one time, those dropped by us included.
    most_under_way: usize,
    /// Connections that the server took, the one that won included.
    taken: usize,
    /// When the banner came.
    found: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Asking,
    Taken { at: f64 },
    Refused,
}

impl Guest {
    fn debian() -> Self {
        Self { address: 20.0, watched: true, server: 24.0, serves_in: 1.0, restart: None }
    }

    /// Since when it runs, at `now`; `None` while it is down.
    fn up_for(&self, now: f64) -> Option<f64> {
        match self.restart {
            Some((down, restart)) if now >= down => (now >= restart).then_some(now - restart),
            // It was up before, for as long as need be.
            Some(_) => Some(f64::MAX),
            None => Some(now),
        }
    }

    fn sight(&self, now: f64) -> GuestSight {
        let restarts = u32::from(self.restart.is_some_and(|(_, restart)| now >= restart));
        // A guest that goes down says no farewell.
        let addressed = self.up_for(now).is_none_or(|up| up >= self.address);
        match (self.watched, addressed) {
            (false, _) => GuestSight::Unwatched,
            (true, true) => GuestSight::Addressed { restarts },
            (true, false) => GuestSight::Booting { restarts, spoke: self.up_for(now) >= Some(self.address - 0.5) },
        }
    }

    /// Answers a request that arrives now.
    fn answer(&self, now: f64) -> Fate {
        match self.up_for(now) {
            Some(up) if up >= self.server => Fate::Taken { at: now },
            Some(up) if up >= self.address => Fate::Refused,
            _ => Fate::Asking,
        }
    }

    /// Boots it in steps of 10 ms, trying from `from` on.
    fn boot(&self, from: f64, contacted: bool) -> Boot {
        let epoch = Instant::now();
        let mut pace = Pace::new(at(epoch, from), self.sight(from), contacted);
        let mut boot = Boot::default();
        // Start, sight at the start, fate; those we have dropped live on without us.
        let mut ours: Vec<(f64, Open, Fate)> = Vec::new();
        let mut dropped: Vec<(f64, Fate)> = Vec::new();
        for tick in 0..100_000_u32 {
            let now = from + f64::from(tick) * 0.01;
            let requested = |start: f64| REQUESTS.iter().any(|after| (start + after - now).abs() < 0.005);
            if self.sight(now) != pace.sight() {
                pace.see(at(epoch, now), self.sight(now));
            }
            let advance = |start: f64, fate: &mut Fate| {
                if *fate == Fate::Asking && requested(start) {
                    *fate = self.answer(now);
                    return matches!(fate, Fate::Taken { .. });
                }
                false
            };
            for (start, fate) in &mut dropped {
                boot.taken += usize::from(advance(*start, fate));
            }
            dropped.retain(|(start, fate)| *fate == Fate::Asking && now - start < GIVES_UP);
            let mut ended = Vec::new();
            for (index, (start, open, fate)) in ours.iter_mut().enumerate() {
                boot.taken += usize::from(advance(*start, fate));
                match *fate {
                    Fate::Taken { at } if now - at >= self.serves_in => {
                        boot.found = now;
                        return boot;
                    }
                    Fate::Refused => ended.push((index, *open, End::Refused)),
                    Fate::Asking if now - *start >= GIVES_UP => ended.push((index, *open, End::Other)),
                    _ => {}
                }
            }
            for (index, open, end) in ended.into_iter().rev() {
                ours.remove(index);
                if open.restarts == pace.sight().restarts() {
                    pace.ended(at(epoch, now), end);
                }
            }
            let open: Vec<Open> = ours.iter().map(|(_, open, _)| *open).collect();
            if pace.next(&open).is_some_and(|due| due <= at(epoch, now)) {
                if ours.len() >= MAX_UNDER_WAY {
                    let (start, _, fate) = ours.remove(0);
                    dropped.push((start, fate));
                }
                let open = Open { started: at(epoch, now), restarts: pace.sight().restarts(), connected: true };
                let fate = self.answer(now);
                boot.taken += usize::from(matches!(fate, Fate::Taken { .. }));
                boot.attempts += 1;
                ours.push((now, open, fate));
            }
            boot.most_under_way = boot.most_under_way.max(ours.len() + dropped.len());
        }
        panic!("never found: {boot:?}");
    }

    /// From the first moment at which a banner was to be had to the one at which it came.
    fn late(&self, boot: &Boot) -> f64 {
        boot.found - self.serves_in - self.server - self.restart.map_or(0.0, |(_, restart)| restart)
    }
}

#[test]
fn a_watched_guest_is_found_within_half_a_second_by_few_attempts_however_long_it_boots() {
    for boots_in in [5.0, 20.0, 26.0, 60.0, 180.0, 600.0] {
        for (server_after, serves_in, attempts) in
            [(0.3, 0.2, 14), (1.0, 1.0, 14), (2.5, 3.0, 14), (4.0, 1.0, 14), (15.0, 1.0, 45), (58.0, 1.0, 140)]
        {
            let address = boots_in - server_after;
            if address < 0.0 {
                continue;
            }
            let guest = Guest { address, server: boots_in, serves_in, ..Guest::debian() };
            let boot = guest.boot(0.0, false);
            assert!(guest.late(&boot) < 0.5, "{boots_in} {server_after}: {} late, {boot:?}", guest.late(&boot));
            // One in case the address is never told, for each 75 s that it takes; the rest once the address is known.
            let in_case = (boots_in / GIVES_UP).ceil() as usize;
            assert!(boot.attempts <= attempts + in_case, "{boots_in} {server_after}: {boot:?}");
            assert!(boot.most_under_way <= 2 && boot.taken <= 2, "{boots_in} {server_after}: {boot:?}");
        }
    }
}

#[test]
fn a_guest_that_runs_no_server_for_long_is_asked_ever_more_rarely() {
    let installer = Guest { address: 20.0, server: 620.0, ..Guest::debian() };
    let boot = installer.boot(0.0, false);
    assert!(boot.attempts < 265, "{boot:?}");
    assert!(installer.late(&boot) <= REFUSED_LONG.as_secs_f64() + 0.1, "{boot:?}");
}

#[test]
fn a_guest_is_found_again_after_a_restart() {
    // It is tried from right before it goes down; requests into a guest that is down are lost.
    for down_for in [0.5, 3.0, 10.0, 20.0] {
        for boots_in in [5.0, 26.0, 60.0] {
            let guest = Guest {
                address: boots_in - 2.0,
                server: boots_in,
                restart: Some((10.0, 10.0 + down_for)),
                ..Guest::debian()
            };
            let boot = guest.boot(10.0, true);
            assert!(guest.late(&boot) < 0.5, "{down_for} {boots_in}: {} late, {boot:?}", guest.late(&boot));
            assert!(
                boot.attempts <= 14 && boot.most_under_way <= 2 && boot.taken <= 2,
                "{down_for} {boots_in}: {boot:?}"
            );
        }
    }
}

#[test]
fn a_guest_that_cannot_be_watched_is_not_flooded_either() {
    for boots_in in [1.0, 26.0, 60.0, 180.0] {
        let guest = Guest { address: boots_in, server: boots_in, watched: false, ..Guest::debian() };
        let boot = guest.boot(0.0, false);
        assert!(boot.attempts <= 8 && boot.most_under_way <= 2 && boot.taken <= 2, "{boots_in}: {boot:?}");
        // As late as two requests that are repeated ever more rarely are.
        assert!(guest.late(&boot) < 33.1, "{boots_in}: {} late, {boot:?}", guest.late(&boot));
    }
}

#[test]
fn a_closed_port_of_a_host_that_cannot_be_watched_is_found_open_within_half_a_second() {
    for server in [2.0, 9.0, 30.0, 59.0] {
        let host = Guest { address: 0.0, server, watched: false, ..Guest::debian() };
        let boot = host.boot(0.0, false);
        assert!(host.late(&boot) < 0.5, "{server}: {} late, {boot:?}", host.late(&boot));
        assert!(boot.most_under_way <= 2 && boot.taken <= 2, "{server}: {boot:?}");
    }
}

#[test]
fn a_guest_that_never_tells_its_address_is_found_all_the_same() {
    // A fixed address, and not one packet with it: the host sees a guest without an address.
    let epoch = Instant::now();
    let mut pace = Pace::new(epoch, BOOTING, false);
    assert_eq!(pace.next(&[]), Some(epoch + UNSEEN_ADDRESS));
    pace.see(at(epoch, 8.0), GuestSight::Booting { restarts: 0, spoke: true });
    assert_eq!(pace.next(&[]), Some(at(epoch, 8.0) + UNSEEN_ADDRESS_OF_SPEAKER));
    pace.ended(at(epoch, 13.1), End::Refused);
    assert_eq!(pace.next(&[]), Some(at(epoch, 13.1) + REFUSED_MIN), "it answers: the address does not matter any more");
}

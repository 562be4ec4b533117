//! Any schedule is one that ends in time or is refused.

use plexspaces_testkit::fuzz;
use plexspaces_types::Clock;

use super::{LONGEST, Schedule};

#[test]
fn any_schedule_says_in_time_when_it_fires_or_is_refused() {
    let clock = Clock::manual(1_700_000_000_000);
    fuzz!(["*/5 * * * *", "0 0 29 2 *", "@hourly", "0 0 12 L * MON#2", "30 4 1,15 * 5-7", "0 0 0 1 1 ? 2099"], |bytes: &Vec<u8>| {
        let text = String::from_utf8_lossy(bytes);
        for schedule in
            [Schedule::cron(&text).ok(), Schedule::parse(&text), Schedule::parse(&format!("every {text}"))].into_iter().flatten()
        {
            let began = std::time::Instant::now();
            assert!(schedule.wait(&clock, false).is_none_or(|wait| wait <= LONGEST));
            assert!(began.elapsed() < std::time::Duration::from_secs(10), "{text:?} took {:?}", began.elapsed());
            let _ = (schedule.check(), schedule.print());
        }
    });
}

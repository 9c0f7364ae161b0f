//! The timing loop on a clock on which only steps take time.

use inferena_worker::Result;
use inferena_worker::timing::{Clock, Loop, interval, measure};
use serde_json::Value;

struct Played {
    now: u64,
    runs: Vec<(u64, u64)>,
    done: u64,
}

impl Clock for Played {
    fn now(&mut self) -> u64 {
        self.now
    }

    fn cpu(&mut self) -> u64 {
        self.now
    }

    fn steps(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            let mut before = 0;
            let run = self.runs.iter().find(|(steps, _)| {
                before += steps;
                self.done < before
            });
            self.now += run.unwrap_or(&self.runs[self.runs.len() - 1]).1;
            self.done += 1;
        }
        Ok(())
    }
}

#[test]
fn every_case_of_the_page_is_timed_as_it_says() {
    // asked when the test runs: what was built in another checkout may be taken from a shared target folder
    let file = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../tests/timing_vectors.json";
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let limits: Loop = serde_json::from_value(case["loop"].clone()).unwrap();
        let runs = serde_json::from_value(case["durations"].clone()).unwrap();
        let timing = measure(&mut Played { now: 0, runs, done: 0 }, &limits).unwrap();
        assert_eq!(case["samples"], timing.ns.len(), "{case}");
        assert_eq!(case["first_sample"].as_f64(), Some(timing.ns[0]), "{case}");
        assert_eq!(case["steps_per_sample"], timing.steps_per_sample, "{case}");
        assert_eq!(case["warmups"], timing.warmups, "{case}");
        assert_eq!(case["few"], timing.few, "{case}");
    }
}

#[test]
fn the_interval_lies_where_the_page_puts_it() {
    let samples: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!((40.0, 61.0), interval(&samples));
    assert_eq!((2.0, 9.0), interval(&samples[..10]));
    assert_eq!((1.0, 5.0), interval(&samples[..5]));
}

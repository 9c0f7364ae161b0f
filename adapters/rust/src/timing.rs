//! The one timing loop, as docs/worker-protocol.md describes it. `tests/timing_vectors.json` holds it to that page.

use crate::Result;
use serde::{Deserialize, Serialize};

const SECOND: f64 = 1e9;
const MILLISECOND: f64 = 1e6;

/// When to stop. Times are in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loop {
    min_rounds: usize,
    max_rounds: usize,
    max_time: f64,
    give_up: f64,
    few: usize,
    precision: f64,
    warmup: bool,
}

impl Default for Loop {
    fn default() -> Self {
        Self { min_rounds: 10, max_rounds: 100, max_time: 10.0, give_up: 30.0, few: 3, precision: 0.01, warmup: true }
    }
}

#[derive(Debug, Serialize)]
pub struct Timing {
    /// The samples: ns of one step, or of the mean step of a batch.
    pub ns: Vec<f64>,
    pub steps_per_sample: u64,
    pub warmups: u64,
    pub few: bool,
    pub cpu_per_wall: f64,
}

/// Where the loop reads the time, in ns.
pub trait Clock {
    fn now(&mut self) -> u64;
    /// CPU time of the process, all its threads.
    fn cpu(&mut self) -> u64;
    /// Run that many steps and wait for their results.
    fn steps(&mut self, count: u64) -> Result<()>;
}

/// Warm up, then time steps until their median is known well enough.
pub fn measure(clock: &mut impl Clock, limits: &Loop) -> Result<Timing> {
    let first = if limits.warmup { warm_up(clock)? } else { Vec::new() };
    let mut warmups = first.len() as u64;
    let mut batch = if first.is_empty() { 1 } else { batch_of(median(&first[first.len().saturating_sub(3)..])) };
    let mut samples = Vec::new();
    let (cpu, start) = (clock.cpu(), clock.now());
    loop {
        let duration = once(clock, batch)?;
        samples.push(duration / batch as f64);
        if batch > 1 && duration > SECOND {
            // The step was fast only while it was warmed up. Start over with smaller batches; the time goes on.
            warmups += batch * samples.len() as u64;
            batch = (batch - 1).min(batch_of(samples[samples.len() - 1]));
            samples.clear();
        } else if enough(&samples, (clock.now() - start) as f64 / SECOND, limits) {
            break;
        }
    }
    let wall = (clock.now() - start).max(1);
    let cpu_per_wall = (clock.cpu() - cpu) as f64 / wall as f64;
    Ok(Timing { few: samples.len() < limits.min_rounds, ns: samples, steps_per_sample: batch, warmups, cpu_per_wall })
}

fn once(clock: &mut impl Clock, batch: u64) -> Result<f64> {
    let begin = clock.now();
    clock.steps(batch)?;
    Ok((clock.now() - begin) as f64)
}

/// Run at least 3 steps and at least 0.2 s of them, but stop after one that took over 2 s.
fn warm_up(clock: &mut impl Clock) -> Result<Vec<f64>> {
    let start = clock.now();
    let mut durations = vec![once(clock, 1)?];
    while durations[durations.len() - 1] <= 2.0 * SECOND
        && (durations.len() < 3 || ((clock.now() - start) as f64) < SECOND / 5.0)
    {
        durations.push(once(clock, 1)?);
    }
    Ok(durations)
}

/// How many steps make a sample, by the duration of one.
fn batch_of(duration: f64) -> u64 {
    if duration >= MILLISECOND {
        return 1;
    }
    ((MILLISECOND / duration.max(1.0)).round_ties_even() as u64).min(1000)
}

fn enough(samples: &[f64], elapsed: f64, limits: &Loop) -> bool {
    if samples.len() >= limits.max_rounds.max(limits.min_rounds) {
        return true;
    }
    if samples.len() < limits.min_rounds {
        return elapsed >= limits.give_up && samples.len() >= limits.few;
    }
    let middle = median(samples);
    let (low, high) = interval(samples);
    elapsed >= limits.max_time || (samples.len() >= 6 && (high - middle).max(middle - low) <= limits.precision * middle)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(samples: &[f64]) -> f64 {
    let (sorted, half) = (sorted(samples), samples.len() / 2);
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// The median's 95 % interval, between order statistics.
#[must_use]
pub fn interval(samples: &[f64]) -> (f64, f64) {
    let (sorted, count) = (sorted(samples), samples.len() as f64);
    let (mut cut, mut tail, mut term) = (0, 0.0, -count * 2f64.ln()); // term: ln of C(n, cut) / 2ⁿ
    loop {
        tail += term.exp();
        if 2.0 * tail > 0.05 {
            break;
        }
        term += ((count - f64::from(cut)) / f64::from(cut + 1)).ln();
        cut += 1;
    }
    let cut = (cut as usize).saturating_sub(1);
    (sorted[cut], sorted[sorted.len() - 1 - cut])
}

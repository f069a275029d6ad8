use std::sync::Arc;

use super::*;

/// Clerk's own count: so many in any window.
struct Clerk {
    rate: usize,
    seen: VecDeque<Instant>,
    refused: usize,
    left: usize,
    random: u32,
}

impl Clerk {
    fn arrival(&mut self) {
        let now = Instant::now();
        while self.seen.front().is_some_and(|at| *at + WINDOW <= now) {
            self.seen.pop_front();
        }
        if self.seen.len() < self.rate {
            self.seen.push_back(now);
        } else {
            self.refused += 1;
        }
    }

    /// A part of a duration, another one each time.
    fn part_of(&mut self, whole: Duration) -> Duration {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        whole * (self.random >> 16) / (1 << 16)
    }
}

/// Takes all of the rate for so many requests, with so many at a time. Each arrives at a moment of its own and is
/// counted there by Clerk's own rule. Gives the refusals, and the share of the rate that was used.
async fn take_all(rate: u32, requests: usize, at_a_time: usize, slowest: Duration) -> (usize, f64) {
    let limiter = Arc::new(Limiter::new(rate));
    let clerk = Clerk { rate: rate as usize, seen: VecDeque::new(), refused: 0, left: requests, random: 7 };
    let clerk = Arc::new(Mutex::new(clerk));
    let began = Instant::now();
    let workers: Vec<_> = (0..at_a_time)
        .map(|_| {
            let (limiter, clerk) = (limiter.clone(), clerk.clone());
            tokio::spawn(async move {
                loop {
                    let way = {
                        let mut clerk = clerk.lock().unwrap();
                        let Some(left) = clerk.left.checked_sub(1) else { break };
                        clerk.left = left;
                        clerk.part_of(slowest / 2)
                    };
                    let permit = limiter.acquire(Lane::Background).await.unwrap();
                    tokio::time::sleep(way).await;
                    clerk.lock().unwrap().arrival();
                    tokio::time::sleep(way).await;
                    drop(permit);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let windows = began.elapsed().as_secs_f64() / WINDOW.as_secs_f64();
    let refused = clerk.lock().unwrap().refused;
    (refused, f64::from(u32::try_from(requests).unwrap()) / (f64::from(rate) * windows))
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_at_the_whole_limit_see_no_refusal() {
    for (at_a_time, slowest) in [(16, 40), (64, 200), (400, 400)] {
        let (refused, used) = take_all(1_000, 10_000, at_a_time, Duration::from_millis(slowest)).await;
        assert_eq!(refused, 0, "{at_a_time} at a time");
        assert!(used >= 0.95, "{at_a_time} at a time used {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn small_rates_are_used_up_too() {
    for rate in [1, 2, 3, 50] {
        let (refused, used) = take_all(rate, 30 * rate as usize, 4, Duration::from_millis(100)).await;
        assert_eq!(refused, 0, "{rate}");
        assert!(used >= 0.95, "{rate} used {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_of_the_slots_are_there_at_once_and_the_rest_is_spread() {
    let limiter = Limiter::new(50);
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for taken in 0..500 {
        let before = Instant::now();
        drop(limiter.acquire(Lane::Background).await.unwrap());
        if taken < 25 {
            assert_eq!(began.elapsed(), Duration::ZERO);
        }
        longest = longest.max(before.elapsed());
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn urgent_calls_go_before_a_pass() {
    let limiter = Arc::new(Limiter::new(50));
    let pass = tokio::spawn({
        let limiter = limiter.clone();
        async move {
            loop {
                drop(limiter.acquire(Lane::Background).await.unwrap());
            }
        }
    });
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(3_333)).await;
        let began = Instant::now();
        for _ in 0..3 {
            drop(limiter.acquire(Lane::Urgent).await.unwrap());
        }
        assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    }
    pass.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_for_everybody_and_a_long_one_is_an_answer() {
    let limiter = Limiter::new(50);
    limiter.hold(Duration::from_secs(7));
    limiter.hold(Duration::from_secs(2));
    let began = Instant::now();
    drop(limiter.acquire(Lane::Urgent).await.unwrap());
    assert!(began.elapsed() >= Duration::from_secs(7), "{:?}", began.elapsed());
    limiter.hold(Duration::from_mins(10));
    assert!(limiter.acquire(Lane::Background).await.is_err());
    limiter.hold(Duration::MAX);
    tokio::time::sleep(LONGEST_HOLD).await;
    assert!(limiter.acquire(Lane::Background).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_leaves_no_trace() {
    let limiter = Limiter::new(1);
    let first = limiter.acquire(Lane::Background).await.unwrap();
    for lane in [Lane::Background, Lane::Urgent] {
        let waiting = tokio::time::timeout(Duration::from_secs(1), limiter.acquire(lane)).await;
        assert!(waiting.is_err());
    }
    drop(first);
    let began = Instant::now();
    drop(limiter.acquire(Lane::Background).await.unwrap());
    assert!(began.elapsed() >= WINDOW && began.elapsed() < WINDOW + Duration::from_millis(5));
}

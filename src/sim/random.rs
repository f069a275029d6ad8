//! Chance that can be repeated: the same seed gives the same ids, the same order and the same faults.

use aws_lc_rs::digest::{SHA256, digest};

/// A counter, hashed with its seed.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    drawn: u64,
}

/// The moment from which a KSUID counts its seconds.
const KSUID_EPOCH_S: i64 = 1_400_000_000;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl Random {
    /// Starts over from a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let input = [self.seed.to_be_bytes(), self.drawn.to_be_bytes()].concat();
        let mut block = [0; 32];
        block.copy_from_slice(digest(&SHA256, &input).as_ref());
        block
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.block().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// A number below `limit`; 0 when the limit is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % limit).unwrap_or(0)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        // 32 bits fit into a float without loss.
        let drawn = u32::try_from(self.number() >> 32).unwrap_or(u32::MAX);
        f64::from(drawn) < p * 4_294_967_296.0
    }

    /// An id as Clerk makes them: a prefix and a KSUID, 27 characters that sort by the second.
    pub fn id(&mut self, prefix: &str, at_ms: i64) -> String {
        let seconds = u32::try_from(at_ms.div_euclid(1000) - KSUID_EPOCH_S).unwrap_or(0);
        let mut number = [0_u8; 20];
        for (to, from) in number.iter_mut().zip(seconds.to_be_bytes().into_iter().chain(self.block())) {
            *to = from;
        }
        format!("{prefix}_{}", base62(number))
    }
}

/// Long division of a 160 bit number by 62, 27 times.
fn base62(mut number: [u8; 20]) -> String {
    let mut digits = Vec::with_capacity(27);
    for _ in 0..27 {
        let mut rest = 0_u16;
        for byte in &mut number {
            let value = rest << 8 | u16::from(*byte);
            // The rest is below 62, so the quotient fits into a byte.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        digits.push(BASE62.get(usize::from(rest)).copied().unwrap_or(b'0'));
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_another_seed_others() {
        let id = |seed| Random::new(seed).id("user", 1_760_000_000_000);
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
        assert_eq!(id(1).len(), "user_".len() + 27);
    }

    #[test]
    fn ids_sort_by_time() {
        let mut random = Random::new(3);
        let early = random.id("org", 1_760_000_000_000);
        let late = random.id("org", 1_760_000_001_000);
        assert!(early < late, "{early} {late}");
        assert!(early.starts_with("org_3"), "{early}");
    }

    #[test]
    fn base62_knows_its_ends() {
        assert_eq!(base62([0; 20]), "0".repeat(27));
        assert_eq!(base62([0xff; 20]), "aWgEPTl1tmebfsQzFP4bxwgy80V");
    }

    #[test]
    fn chance_keeps_to_its_odds() {
        let mut random = Random::new(4);
        let hits = (0..1000).filter(|_| random.chance(0.3)).count();
        assert!((250..350).contains(&hits), "{hits}");
        assert!(!random.chance(0.0) && random.chance(1.0));
        assert!((0..100).all(|_| random.below(5) < 5));
    }
}

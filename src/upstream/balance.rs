//! Which of several: three ways to choose, over positions. Pure; what may be chosen is asked of the
//! caller, so that an address that is out costs the others nothing but its share.

/// An order in which each position comes up as often as its weight says, spread evenly.
pub struct Wheel(Box<[u32]>);

impl Wheel {
    pub fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
        let mut slots: Vec<(f64, u32)> = Vec::new();
        for (position, weight) in (0..).zip(weights) {
            let turns = weight / divisor.max(1);
            slots.extend((0..turns).map(|turn| (moment(turn, turns), position)));
        }
        slots.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        Self(slots.into_iter().map(|(_, position)| position).collect())
    }

    /// The first that may be chosen, from this turn on.
    pub fn pick(&self, turn: usize, may: impl Fn(usize) -> bool) -> Option<usize> {
        let start = turn.checked_rem(self.0.len())?;
        let (before, after) = self.0.split_at(start);
        let mut slots = after.iter().chain(before).map(|slot| *slot as usize);
        slots.find(|position| may(*position))
    }
}

/// When a turn comes, between 0 and 1.
fn moment(turn: u32, turns: u32) -> f64 {
    (f64::from(turn) + 0.5) / f64::from(turns)
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    match other {
        0 => one,
        _ => greatest_common_divisor(other, one % other),
    }
}

/// The one with the fewest requests for its weight; among equals they take turns.
/// `load`: requests and weight of a position.
pub fn least(
    count: usize,
    turn: usize,
    load: impl Fn(usize) -> (u32, u32),
    may: impl Fn(usize) -> bool,
) -> Option<usize> {
    let start = turn.checked_rem(count)?;
    let mut best: Option<(usize, u64, u64)> = None;
    for position in (start..count).chain(0..start).filter(|one| may(*one)) {
        let (requests, weight) = load(position);
        // One more than there are, so that weights count among the idle too.
        let (requests, weight) = (u64::from(requests) + 1, u64::from(weight.max(1)));
        let better = best.is_none_or(|(_, least, its)| requests * its < least * weight);
        if better {
            best = Some((position, requests, weight));
        }
    }
    best.map(|(position, ..)| position)
}

/// The same one for the same key, as long as it may be chosen (rendezvous hashing): when one is out
/// its keys spread over the others, and nobody else's move. `member`: hash and weight of a position.
pub fn by_key(
    key: u64,
    count: usize,
    member: impl Fn(usize) -> (u64, u32),
    may: impl Fn(usize) -> bool,
) -> Option<usize> {
    let score = |position: usize| {
        let (hash, weight) = member(position);
        // Exact where it matters: 53 bits are more than enough to tell members apart.
        #[allow(clippy::cast_precision_loss)]
        let share = ((mix(key ^ hash) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(weight) / share.ln()
    };
    (0..count)
        .filter(|position| may(*position))
        .map(|position| (position, score(position)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(position, _)| position)
}

/// A hash that is the same in every process, so that all gateways of a fleet choose alike (FNV-1a,
/// then mixed).
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads every bit over all others (the last step of splitmix64).
fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 30;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 27;
    bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_and_are_spread() {
        let wheel = Wheel::new(&[4, 2, 2]);
        assert_eq!(*wheel.0, [0, 1, 2, 0]);
        let mut counts = [0; 3];
        for turn in 0..800 {
            counts[wheel.pick(turn, |_| true).unwrap()] += 1;
        }
        assert_eq!(counts, [400, 200, 200]);
        let turns: Vec<_> = (0..4)
            .map(|turn| wheel.pick(turn, |one| one != 0))
            .collect();
        assert_eq!(turns, [Some(1), Some(1), Some(2), Some(1)]);
        assert_eq!(wheel.pick(7, |_| false), None);
        assert_eq!(Wheel::new(&[]).pick(7, |_| true), None);
        assert_eq!(Wheel::new(&[100; 500]).0.len(), 500);
    }

    #[test]
    fn the_least_busy_for_its_weight_is_next() {
        let loads = [(3, 1), (5, 2), (9, 4)];
        let pick = |loads: &[(u32, u32)], turn, may: &dyn Fn(usize) -> bool| {
            least(loads.len(), turn, |one| loads[one], may)
        };
        assert_eq!(pick(&loads, 0, &|_| true), Some(2));
        assert_eq!(pick(&loads, 1, &|one| one != 2), Some(1));
        assert_eq!(pick(&[(0, 1); 3], 4, &|_| true), Some(1));
        assert_eq!(pick(&[(0, 1), (0, 5)], 0, &|_| true), Some(1));
        assert_eq!(pick(&loads, 0, &|_| false), None);
        assert_eq!(pick(&[], 0, &|_| true), None);
    }

    fn members(count: usize) -> Vec<(u64, u32)> {
        let name = |number| format!("10.0.0.{number}:80");
        (0..count)
            .map(|number| (hash(name(number).as_bytes()), 1))
            .collect()
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..10_000_u32).map(|number| hash(number.to_string().as_bytes()))
    }

    #[test]
    fn keys_stay_where_they_are_when_another_member_goes() {
        let members = members(5);
        let pick = |key, may: &dyn Fn(usize) -> bool| {
            by_key(key, members.len(), |one| members[one], may).unwrap()
        };
        let mut counts = [0; 5];
        let mut moved = [0; 5];
        for key in keys() {
            let chosen = pick(key, &|_| true);
            counts[chosen] += 1;
            let without = pick(key, &|one| one != 3);
            match chosen {
                3 => moved[without] += 1,
                _ => assert_eq!(chosen, without),
            }
        }
        for count in counts {
            assert!((1850..2150).contains(&count), "{counts:?}");
        }
        assert_eq!(moved[3], 0);
        assert!(
            moved.iter().filter(|keys| **keys > 400).count() == 4,
            "{moved:?}"
        );
        assert_eq!(by_key(1, 5, |one| members[one], |_| false), None);
    }

    #[test]
    fn keys_follow_the_weights() {
        let mut members = members(3);
        members[1].1 = 2;
        let mut counts = [0; 3];
        for key in keys() {
            counts[by_key(key, 3, |one| members[one], |_| true).unwrap()] += 1;
        }
        assert!((2300..2700).contains(&counts[0]), "{counts:?}");
        assert!((4800..5200).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn hashes_are_the_same_everywhere() {
        assert_eq!(hash(b"10.0.0.1"), hash(b"10.0.0.1"));
        assert_eq!(hash(b""), mix(0xcbf2_9ce4_8422_2325));
    }
}

//! The canonical order of keys: by the dimensions' values, not by the codes that these were given as they came.
use super::dictionary::Dictionary;
use super::index::Numbered;

/// So many values and combinations are ranked whole, and again only when there are more of them.
const RANKED_WHOLE: usize = 1 << 16;

/// The rank of each key: the number of the combination of all dimensions but the last, and the code of the last.
#[derive(Debug, Default)]
pub struct Order {
    high: Ranks,
    low: Ranks,
    low_bits: u32,
    /// Of how many values it is the order; 0: of some keys only.
    whole: usize,
    version: u64,
}

impl Order {
    /// Brings it up to date for `keys`, which are walked only if there are very many values.
    pub fn update<'a>(
        &mut self,
        dictionaries: &[Dictionary],
        combinations: &[Numbered<8>],
        keys: impl Iterator<Item = &'a u64>,
    ) {
        let sizes = dictionaries.iter().map(|d| d.values().len()).chain(combinations.iter().map(|c| c.keys().len()));
        let size = sizes.sum::<usize>() + 1;
        if size == self.whole {
            return;
        }
        let mut used = Used::new(dictionaries, combinations, size <= RANKED_WHOLE);
        if size > RANKED_WHOLE {
            keys.for_each(|key| used.mark(*key));
            used.spread(combinations);
        }
        let mut ranked: Vec<Ranks> =
            dictionaries.iter().zip(&used.codes).map(|(d, u)| Ranks::new(d.values(), u)).collect();
        self.low = ranked.pop().unwrap_or_else(Ranks::of_one);
        let mut ranked = ranked.into_iter();
        self.high = ranked.next().unwrap_or_else(Ranks::of_one);
        for ((combinations, last), used) in combinations.iter().zip(ranked).zip(&used.numbers) {
            let rank = |key: &u64| pair(self.high.by_code[(key >> 32) as usize], last.by_code[*key as u32 as usize]);
            let keys: Vec<u64> = combinations.keys().iter().map(rank).collect();
            self.high = Ranks::new(&keys, used);
        }
        self.low_bits = self.low.codes.len().next_power_of_two().trailing_zeros();
        self.whole = if size <= RANKED_WHOLE { size } else { 0 };
        self.version += 1;
    }
    /// Another one whenever ranks may have changed.
    pub fn version(&self) -> u64 {
        self.version
    }
    /// The key's rank, of which some may be no key's.
    #[inline]
    pub fn rank(&self, key: u64) -> u64 {
        let (high, low) = (self.high.by_code[(key >> 32) as usize], self.low.by_code[key as u32 as usize]);
        u64::from(high) << self.low_bits | u64::from(low)
    }
    /// The key of that rank, which is one's.
    #[inline]
    pub fn key(&self, rank: u64) -> u64 {
        let low = rank & ((1 << self.low_bits) - 1);
        pair(self.high.codes[(rank >> self.low_bits) as usize], self.low.codes[low as usize])
    }
    /// All ranks are below this.
    pub fn end(&self) -> u64 {
        (self.high.codes.len().max(1) as u64) << self.low_bits
    }
}

/// A key of a high and a low half.
#[inline]
pub fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Which codes and which numbers of combinations are in use.
struct Used {
    codes: Vec<Vec<bool>>,
    numbers: Vec<Vec<bool>>,
}

impl Used {
    fn new(dictionaries: &[Dictionary], combinations: &[Numbered<8>], all: bool) -> Used {
        Used {
            codes: dictionaries.iter().map(|d| vec![all; d.values().len()]).collect(),
            numbers: combinations.iter().map(|c| vec![all; c.keys().len()]).collect(),
        }
    }
    fn mark(&mut self, key: u64) {
        let (high, low) = ((key >> 32) as usize, key as u32 as usize);
        match (self.codes.as_mut_slice(), self.numbers.last_mut()) {
            ([.., last], Some(numbers)) => (last[low], numbers[high]) = (true, true),
            ([first, last], None) => (first[high], last[low]) = (true, true),
            ([only], None) => only[low] = true,
            (_, None) | ([], _) => {}
        }
    }
    /// From the combinations in use to the codes that they are made of.
    fn spread(&mut self, combinations: &[Numbered<8>]) {
        for level in (0..combinations.len()).rev() {
            for (number, key) in combinations[level].keys().iter().enumerate() {
                if self.numbers[level][number] {
                    self.codes[level + 1][*key as u32 as usize] = true;
                    let before = if level == 0 { &mut self.codes[0] } else { &mut self.numbers[level - 1] };
                    before[(key >> 32) as usize] = true;
                }
            }
        }
    }
}

/// The ranks of values among those in use.
#[derive(Debug, Default)]
struct Ranks {
    /// The rank by code; anything where the code is not in use.
    by_code: Vec<u32>,
    /// The code by rank.
    codes: Vec<u32>,
}

impl Ranks {
    fn new<T: Ord>(values: &[T], used: &[bool]) -> Ranks {
        let mut codes: Vec<u32> = (0..).zip(used).filter(|(_, used)| **used).map(|(code, _)| code).collect();
        codes.sort_unstable_by(|&a: &u32, &b: &u32| values[a as usize].cmp(&values[b as usize]));
        let mut by_code = vec![0; values.len()];
        (0..).zip(&codes).for_each(|(rank, code)| by_code[*code as usize] = rank);
        Ranks { by_code, codes }
    }
    /// Of the one value that a missing dimension has.
    fn of_one() -> Ranks {
        Ranks { by_code: vec![0], codes: vec![0] }
    }
}

//! A growing set of dense ids: one bit each.

#[derive(Debug, Default, Clone)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    #[inline]
    pub fn get(&self, id: u32) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Adds `id`; true if it was not in before.
    #[inline]
    pub fn insert(&mut self, id: u32) -> bool {
        let word = id as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let mask = 1u64 << (id % 64);
        let fresh = self.words[word] & mask == 0;
        self.words[word] |= mask;
        fresh
    }

    #[inline]
    pub fn remove(&mut self, id: u32) {
        if let Some(word) = self.words.get_mut(id as usize / 64) {
            *word &= !(1u64 << (id % 64));
        }
    }

    /// Forgets ids from `len` on and gives their memory back.
    pub fn truncate(&mut self, len: usize) {
        let words = len.div_ceil(64);
        if words < self.words.len() {
            self.words.truncate(words);
        }
        if words == self.words.len() && len % 64 != 0 {
            self.words[words - 1] &= (1u64 << (len % 64)) - 1;
        }
        self.words.shrink_to(self.words.len() * 2);
    }

    /// All ids, ascending; the set is empty afterwards.
    pub fn drain(&mut self) -> Vec<u32> {
        let mut ids = vec![];
        for (index, word) in self.words.iter_mut().enumerate() {
            let mut rest = std::mem::take(word);
            while rest != 0 {
                ids.push(index as u32 * 64 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        ids
    }

    pub fn memory_bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

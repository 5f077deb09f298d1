use std::hash::{BuildHasher, RandomState};

/// Makes call ids shaped like version 4 UUIDs. They tell calls apart; they are no secrets.
#[derive(Debug, Default)]
pub struct CallIds {
    /// Keyed by the operating system's randomness, one key for each of these.
    random: RandomState,
    next: u64,
}

impl CallIds {
    /// Longest call id that is taken over from a caller, in bytes.
    pub const LONGEST: usize = 128;

    /// The next id, 36 characters.
    pub fn make(&mut self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.next += 1;
        let high = self.random.hash_one(self.next);
        let low = self.random.hash_one(!self.next);
        // Version 4, variant 10.
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        let bits = (u128::from(high) << 64) | u128::from(low);
        let mut text = *b"00000000-0000-0000-0000-000000000000";
        let mut shift = 128;
        for byte in &mut text {
            if *byte != b'-' {
                shift -= 4;
                *byte = HEX[(bits >> shift) as usize & 0xf];
            }
        }
        text
    }

    /// Whether a caller's id is taken over: 1 to 128 visible characters of ASCII.
    pub fn accepts(id: &[u8]) -> bool {
        !id.is_empty() && id.len() <= Self::LONGEST && id.iter().all(u8::is_ascii_graphic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shaped_like_version_4_and_differ() {
        let mut ids = CallIds::default();
        let (one, two) = (ids.make(), ids.make());
        assert_ne!(one, two);
        assert_eq!(one[14], b'4');
        assert!(b"89ab".contains(&one[19]));
        let dashes: Vec<_> = (0..36).filter(|at| one[*at] == b'-').collect();
        assert_eq!(dashes, [8, 13, 18, 23]);
    }
}

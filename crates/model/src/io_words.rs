use std::{fmt, io};

/// What an error of the file system means to the owner of the machine: the system's own words, and
/// where a disk is full the cure in place of a number.
#[derive(Debug, Clone, Copy)]
pub struct IoWords<'e>(pub &'e io::Error);

/// Whether there is no room left, for anybody or for this user.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl fmt::Display for IoWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::StorageFull => {
                f.write_str("the disk is full: free some space and try again")
            }
            io::ErrorKind::QuotaExceeded => {
                f.write_str("the disk quota is used up: free some space and try again")
            }
            _ => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_cure_and_all_else_is_the_systems() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_disk_full(&full));
        let words = IoWords(&full).to_string();
        assert!(words.contains("full: free some space"), "{words}");
        let other = io::Error::from(io::ErrorKind::NotFound);
        assert!(!is_disk_full(&other));
        assert_eq!(IoWords(&other).to_string(), other.to_string());
    }
}

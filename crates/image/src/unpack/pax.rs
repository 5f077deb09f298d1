use super::error::Rule;

/// Before the name of an extended attribute.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of a POSIX extended header, in their order. The reader of entries splits them at
/// newlines, which values may hold, hence they are read again here.
///
/// See <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_03>.
#[derive(Debug, Default)]
pub(super) struct PaxRecords<'a>(Vec<(&'a [u8], &'a [u8])>);

// === impl PaxRecords ===

impl<'a> PaxRecords<'a> {
    /// # Errors
    /// [`Rule::ExtendedHeader`] unless all of `body` is `LENGTH KEY=VALUE\n`.
    pub(super) fn parse(mut body: &'a [u8]) -> Result<Self, Rule> {
        let mut records = Vec::new();
        while !body.is_empty() {
            let (record, rest) = split_record(body).ok_or(Rule::ExtendedHeader)?;
            records.push(record);
            body = rest;
        }
        Ok(Self(records))
    }

    /// All in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.iter().copied()
    }

    /// The value that counts for `key`: the last, and none if that is empty.
    pub(super) fn get(&self, key: &str) -> Option<&'a [u8]> {
        let of_key = |(name, _): &&(&[u8], &[u8])| *name == key.as_bytes();
        let (_, value) = self.0.iter().rev().find(of_key)?;
        (!value.is_empty()).then_some(*value)
    }

    /// The value that counts for `key`, as a decimal number.
    ///
    /// # Errors
    /// [`Rule::Field`] with `field` when it is none.
    pub(super) fn number(&self, key: &str, field: &'static str) -> Result<Option<u64>, Rule> {
        self.get(key)
            .map(|value| decimal(value).ok_or(Rule::Field(field)))
            .transpose()
    }

    /// The names and values of the extended attributes.
    pub(super) fn xattrs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?, value)))
    }
}

/// Digits only: no sign, no blanks.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn split_record(body: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let blank = body.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&body[..blank])?).ok()?;
    let (record, rest) = body.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty()).then_some(((key, value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_newlines_and_what_looks_like_records() {
        let body = b"40 SCHILY.xattr.user.a=x\n12 path=evil\ny\n11 path=ok\n";
        let records = PaxRecords::parse(body).expect("it is valid");
        assert_eq!(records.get("path"), Some(&b"ok"[..]));
        let xattrs: Vec<_> = records.xattrs().collect();
        assert_eq!(xattrs, [(&b"user.a"[..], &b"x\n12 path=evil\ny"[..])]);
    }

    #[test]
    fn the_last_record_counts_and_an_empty_one_takes_it_back() {
        let records = PaxRecords::parse(b"9 size=1\n9 size=2\n9 mtime=\n").expect("it is valid");
        assert_eq!(records.number("size", "size"), Ok(Some(2)));
        assert_eq!(records.get("mtime"), None);
    }

    #[test]
    fn damaged_records_are_refused() {
        for body in [
            &b"x"[..],
            b"9 size=1",
            b"8 size=1\n",
            b"11 size=1\n",
            b"+9 size=1\n",
            b"5 =1\n\n",
            b"7 size\n",
            b"2 ",
            b"0 ",
            b"99999999999999999999999 a=b\n",
            b"9 size=1\n\0\0",
        ] {
            let refused = PaxRecords::parse(body).expect_err("it is not valid");
            assert_eq!(refused, Rule::ExtendedHeader, "{}", body.escape_ascii());
        }
        let records = PaxRecords::parse(b"11 size=-1\n").expect("it is valid");
        assert_eq!(records.number("size", "size"), Err(Rule::Field("size")));
    }
}

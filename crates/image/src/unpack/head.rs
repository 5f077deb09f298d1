use rustix::fs::Timespec;
use tar::{EntryType, Header};

use super::{
    UnpackLimits,
    attributes::{Attributes, Xattr},
    error::{Fault, Rule, shown},
    name::LayerPath,
    pax::PaxRecords,
    sparse::SparseFile,
    stream::{BLOCK, Between},
};

const NANOSECOND_DIGITS: usize = 9;
/// The largest user or group: the one above means none to the kernel.
const LAST_ID: u64 = u32::MAX as u64 - 1;

/// What stands before the header of an entry and describes it further.
#[derive(Debug, Default)]
pub(super) struct Extensions<'a> {
    long_name: Option<&'a [u8]>,
    long_link: Option<&'a [u8]>,
    records: PaxRecords<'a>,
}

/// All that a tar says about an entry beside its content.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) kind: EntryType,
    /// Bytes of content in the tar.
    pub(super) stored: u64,
    /// Where a hard link or a symlink leads to.
    pub(super) link: Option<Vec<u8>>,
    pub(super) attributes: Attributes,
    /// Those that are to be set, and no other.
    pub(super) xattrs: Vec<Xattr<'a>>,
    pub(super) sparse: Option<SparseFile>,
}

// === impl Extensions ===

impl<'a> Extensions<'a> {
    /// From what was read before the header at `header_position`.
    pub(super) fn parse(between: &'a Between, header_position: u64) -> Result<Self, Rule> {
        let mut extensions = Self::default();
        let length = header_position.checked_sub(between.start);
        let length = length.and_then(|length| usize::try_from(length).ok());
        let mut rest = length
            .and_then(|length| between.blocks.get(..length))
            .ok_or(Rule::ExtendedHeader)?;
        while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
            let header = Header::from_byte_slice(block);
            let size = usize::try_from(honest_size(header)?).map_err(|_| Rule::Size)?;
            let body = behind.get(..size).ok_or(Rule::Size)?;
            match header.entry_type() {
                EntryType::GNULongName => extensions.long_name = Some(without_end(body)),
                EntryType::GNULongLink => extensions.long_link = Some(without_end(body)),
                EntryType::XHeader => extensions.records = PaxRecords::parse(body)?,
                _ => return Err(Rule::ExtendedHeader),
            }
            rest = behind
                .get(size.next_multiple_of(BLOCK)..)
                .ok_or(Rule::Size)?;
        }
        Ok(extensions)
    }

    /// The path of the entry with this header, as it stands in the tar.
    pub(super) fn path(&self, header: &Header) -> Vec<u8> {
        let sparse = self.records.get("GNU.sparse.name");
        let sparse = sparse.filter(|_| SparseFile::is_meant_by(&self.records));
        let path = self.long_name.or(sparse).or(self.records.get("path"));
        path.map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec)
    }

    fn link(&self, header: &Header) -> Option<Vec<u8>> {
        let link = self.long_link.or(self.records.get("linkpath"));
        link.map(<[u8]>::to_vec)
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()))
    }
}

fn without_end(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"\0").unwrap_or(name)
}

// === impl Head ===

impl<'a> Head<'a> {
    /// `size` is what the reader of entries takes for the length of the content.
    pub(super) fn parse(
        header: &Header,
        size: u64,
        extensions: &Extensions<'a>,
        limits: &UnpackLimits,
    ) -> Result<Self, Rule> {
        let records = &extensions.records;
        let mut kind = header.entry_type();
        let path = extensions.path(header);
        if header.as_old().linkflag == [0] && path.ends_with(b"/") {
            kind = EntryType::Directory; // as tars before POSIX had them
        }
        let stored = stored_size(header, size, records)?;
        let (mut link, mut sparse) = (None, None);
        match kind {
            EntryType::Regular | EntryType::Continuous => sparse = SparseFile::parse(records)?,
            EntryType::GNUSparse | EntryType::XGlobalHeader => {}
            EntryType::Link | EntryType::Symlink => link = extensions.link(header),
            EntryType::Directory | EntryType::Fifo | EntryType::Char | EntryType::Block => {}
            other => return Err(Rule::UnknownType(other.as_byte())),
        }
        let empty = !matches!(
            kind,
            EntryType::Regular
                | EntryType::Continuous
                | EntryType::GNUSparse
                | EntryType::XGlobalHeader
        );
        if empty && stored != 0 {
            return Err(Rule::Size); // readers disagree whether content follows
        }
        Ok(Self {
            kind,
            stored,
            link,
            attributes: attributes(header, records)?,
            xattrs: Xattr::parse_all(records, limits)?,
            sparse,
        })
    }

    /// Refuses devices where they do not belong, or skips them.
    ///
    /// # Errors
    /// [`Rule::Device`], and [`Rule::ForgedWhiteout`] anywhere.
    pub(super) fn is_device_to_skip(
        &self,
        header: &Header,
        path: &LayerPath,
    ) -> Result<bool, Rule> {
        if !matches!(self.kind, EntryType::Char | EntryType::Block) {
            return Ok(false);
        }
        if self.kind == EntryType::Char && device(header)? == (0, 0) {
            return Err(Rule::ForgedWhiteout);
        }
        if path.is_below_dev() {
            Ok(true)
        } else {
            Err(Rule::Device)
        }
    }

    /// Where the hard link leads to.
    pub(super) fn hard_link(&self, limits: &UnpackLimits) -> Result<LayerPath, Fault> {
        let link = self.link.as_deref().ok_or(Rule::LinkTarget)?;
        LayerPath::parse(link, limits).map_err(|_| Rule::LinkOutside(shown(link)).into())
    }

    /// Where the symlink leads to: any text, since nobody here follows it.
    pub(super) fn symlink(&self, limits: &UnpackLimits) -> Result<&[u8], Fault> {
        let link = self.link.as_deref().ok_or(Rule::LinkTarget)?;
        let fits = !link.is_empty() && link.len() <= limits.path_bytes && !link.contains(&0);
        fits.then_some(link).ok_or_else(|| Rule::LinkTarget.into())
    }
}

/// The size in the header, when it is a number that all readers read alike.
fn honest_size(header: &Header) -> Result<u64, Rule> {
    // In base 256 the first byte is 0x80, or 0xff when negative; the last eight are the number.
    let [first, second, third, fourth, ..] = header.as_old().size;
    if first >= 0x80 && [first, second, third, fourth] != [0x80, 0, 0, 0] {
        return Err(Rule::Size);
    }
    let size = header.entry_size().map_err(|_| Rule::Size)?;
    match i64::try_from(size) {
        Ok(_) => Ok(size),
        Err(_) => Err(Rule::Size),
    }
}

/// Bytes of content in the tar, on which header, extended header and reader must agree.
fn stored_size(header: &Header, size: u64, records: &PaxRecords<'_>) -> Result<u64, Rule> {
    let in_header = honest_size(header)?;
    let in_records = records.number("size", "size")?;
    if header.entry_type() == EntryType::GNUSparse {
        // Here `size` is that of the file with its holes.
        return match in_records {
            None => Ok(in_header),
            Some(_) => Err(Rule::Size),
        };
    }
    let stored = in_records.unwrap_or(in_header);
    if stored == size && i64::try_from(stored).is_ok() {
        Ok(stored)
    } else {
        Err(Rule::Size)
    }
}

fn attributes(header: &Header, records: &PaxRecords<'_>) -> Result<Attributes, Rule> {
    let old = header.as_old();
    let id = |number: u64, field| match number {
        0..=LAST_ID => Ok(number as u32),
        _ => Err(Rule::Field(field)),
    };
    let uid = match records.number("uid", "owner")? {
        Some(uid) => uid,
        None => number(&old.uid, || header.uid().ok()).ok_or(Rule::Field("owner"))?,
    };
    let gid = match records.number("gid", "group")? {
        Some(gid) => gid,
        None => number(&old.gid, || header.gid().ok()).ok_or(Rule::Field("group"))?,
    };
    let mode = number(&old.mode, || header.mode().ok().map(u64::from));
    let mtime = match records.get("mtime") {
        Some(text) => timestamp(text),
        None => number(&old.mtime, || header.mtime().ok()).map(|seconds| Timespec {
            tv_sec: seconds.cast_signed(), // the times before 1970 are negative in base 256
            tv_nsec: 0,
        }),
    };
    Ok(Attributes {
        mode: mode.ok_or(Rule::Field("mode"))? as u32 & Attributes::MODE_BITS,
        uid: id(uid, "owner")?,
        gid: id(gid, "group")?,
        mtime: Some(mtime.ok_or(Rule::Field("time"))?),
    })
}

/// Major and minor.
fn device(header: &Header) -> Result<(u64, u64), Rule> {
    let bad = Rule::Field("device");
    let Some(fields) = header.as_gnu().map(|gnu| (gnu.dev_major, gnu.dev_minor)) else {
        let Some(fields) = header.as_ustar() else {
            return Ok((0, 0)); // a header without these fields
        };
        let major = number(&fields.dev_major, || {
            fields.device_major().ok().map(u64::from)
        });
        let minor = number(&fields.dev_minor, || {
            fields.device_minor().ok().map(u64::from)
        });
        return major.zip(minor).ok_or(bad);
    };
    let major = number(&fields.0, || header.device_major().ok()?.map(u64::from));
    let minor = number(&fields.1, || header.device_minor().ok()?.map(u64::from));
    major.zip(minor).ok_or(bad)
}

/// A blank field is zero.
fn number(field: &[u8], read: impl FnOnce() -> Option<u64>) -> Option<u64> {
    let blank = field.iter().all(|byte| matches!(byte, 0 | b' '));
    if blank { Some(0) } else { read() }
}

/// Seconds since 1970 as a decimal fraction, maybe negative.
fn timestamp(text: &[u8]) -> Option<Timespec> {
    let text = str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = &fraction[..fraction.len().min(NANOSECOND_DIGITS)];
    let nanoseconds: i64 = format!("{digits:0<NANOSECOND_DIGITS$}").parse().ok()?;
    // The kernel counts the nanoseconds upwards from the second below.
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Timespec {
            tv_sec: seconds.checked_sub(1)?,
            tv_nsec: 1_000_000_000 - nanoseconds,
        });
    }
    Some(Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_fraction() {
        let time = |text: &str| timestamp(text.as_bytes()).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("0.0000000019"), Some((0, 1)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("-0.25"), Some((-1, 750_000_000)));
        for bad in ["", "x", "1.x", "1.-5", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_that_readers_read_differently_are_refused() {
        let size = |field: [u8; 12]| {
            let mut header = Header::new_gnu();
            header.as_old_mut().size = field;
            honest_size(&header)
        };
        assert_eq!(size(*b"00000000010\0"), Ok(8));
        assert_eq!(size([0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Ok(2 << 32));
        assert_eq!(
            size([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
            Err(Rule::Size)
        );
        assert_eq!(
            size([0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]),
            Err(Rule::Size)
        );
        assert_eq!(size([0xff; 12]), Err(Rule::Size));
        assert_eq!(size(*b"-0000000010\0"), Err(Rule::Size));
    }
}

use bytes::BufMut;

/// Writes a number as people do. By hand: every call comes by here, more than once.
pub(crate) fn put_digits(out: &mut impl BufMut, value: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), value);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

//! A digest is taken as a whole or not at all, and its digits are fit for the name of a file.
#![no_main]

use hob_image::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.as_str(), text);
        assert_eq!(digest.hex().len(), 64);
        assert!(digest.hex().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    let digest = Digest::of(text.as_bytes());
    assert_eq!(digest.as_str().parse(), Ok(digest));
});

//! A name of an image is read as it is written out, and names no file outside of anything.
#![no_main]

use hob_image::{Digest, ImageRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(image) = text.parse::<ImageRef>() else {
        return;
    };
    assert!(image.tag().is_some() || image.digest().is_some());
    for part in [image.registry(), image.repository()] {
        assert!(!part.is_empty() && !part.contains(".."), "{part}");
        assert!(!part.contains([' ', '?', '#', '%', '\\', '\n']), "{part}");
    }
    let full = image.to_string();
    assert_eq!(full.parse::<ImageRef>(), Ok(image.clone()), "{full}");
    let pinned = image.at(&Digest::of(text.as_bytes()));
    assert_eq!(pinned.to_string().parse(), Ok(pinned));
});

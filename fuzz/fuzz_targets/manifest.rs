//! Whatever a registry sends as a manifest or a configuration is refused or has only digests.
#![no_main]

use hob_image::{Manifest, Platform, choose, digest_of, parse_config};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Two documents with a zero between them: the manifest, and the configuration.
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let Ok(manifest) = Manifest::parse(first) else {
        return;
    };
    for part in manifest.parts() {
        let digest = digest_of(part).expect("parsed manifests have digests only");
        assert_eq!(digest.hex().len(), 64);
    }
    assert!(!manifest.media_type().is_empty());
    match manifest {
        Manifest::Index(index) => {
            let _ = choose(&index, &Platform::host());
        }
        Manifest::Image(image) => {
            if let Some(config) = second
                && let Ok(config) = parse_config(config, &image)
            {
                assert_eq!(config.rootfs().diff_ids().len(), image.layers().len());
            }
        }
    }
});

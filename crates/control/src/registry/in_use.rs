use std::collections::BTreeSet;

use hob_image::Digest;

use crate::Control;

impl Control {
    /// The manifests that functions run. Functions are made of folders so far, so there is none.
    #[expect(clippy::unused_self, reason = "functions of images are looked up here")]
    pub(crate) fn manifests_in_use(&self) -> BTreeSet<Digest> {
        BTreeSet::new()
    }
}

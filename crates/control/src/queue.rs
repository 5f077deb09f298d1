use hob_store::{NewCall, StoreError};

use crate::Control;

impl Control {
    /// Takes a call that is to be made later; on return it is on the disk.
    pub(crate) async fn enqueue(&self, call: NewCall) -> Result<(), StoreError> {
        self.stored(move |store| store.add_call(&call)).await
    }
}

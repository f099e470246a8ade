use super::{body::*, error::ApiError, service::Service};
use crate::wire::put_media::PutMediaHead;
use std::sync::Arc;
pub(crate) struct S;
pub(crate) fn open(_s: &Arc<Service>, _h: &PutMediaHead) -> Result<S, ApiError> {
    Ok(S)
}
impl S {
    pub(crate) fn run(self, _b: RequestBody) -> ReplyBody {
        full("")
    }
}

use super::{body::*, error::ApiError, service::Service};
use crate::wire::control::GetMediaInput;
use std::sync::Arc;
pub(crate) fn open(_s: &Arc<Service>, _h: GetMediaInput) -> Result<ReplyBody, ApiError> {
    Ok(full(""))
}

//! The description of the API, made of the code that answers.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{api, limits, moves, watermarks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "streamweir",
        description = "State of the pipelines of one process, and what can be done with them. GET needs no \
                       token; everything else needs the one of service.admin_token."
    ),
    paths(
        api::pipelines,
        api::pipeline,
        api::validate,
        api::create,
        api::replace,
        moves::start,
        moves::pause,
        moves::resume,
        moves::drain,
        moves::stop,
        moves::restart,
        moves::checkpoint,
        limits::limits,
        watermarks::watermarks,
        api::remove,
        api::description,
    ),
    modifiers(&Token)
)]
pub(super) struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

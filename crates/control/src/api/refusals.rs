//! How requests are refused, for the OpenAPI document: what [`ApiError`](super::error::ApiError)
//! becomes, one type for each status. A handler names those that it may answer with.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{
        Components, Content, Header, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder,
        schema::{ObjectBuilder, Type},
    },
};

type Responses = BTreeMap<String, RefOr<Response>>;

macro_rules! refusals {
    ($($name:ident = $status:literal, $text:literal;)*) => {
        $(
            #[doc = $text]
            pub(super) enum $name {}

            impl IntoResponses for $name {
                fn responses() -> Responses {
                    let here = Ref::from_response_name(stringify!($name));
                    BTreeMap::from([($status.to_owned(), here.into())])
                }
            }
        )*

        /// Name and description of each.
        const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}

refusals! {
    Bad = "400", "The request makes no sense as it is";
    Unauthorized = "401", "The password or token is missing or wrong";
    Forbidden = "403", "The token lacks the scope, or a web page sent the request";
    Missing = "404", "There is nothing of that name";
    TooSlow = "408", "The body stopped coming";
    Conflict = "409", "Not as things stand: the line says what is in the way";
    TooLarge = "413", "The body is over its limit";
    Unreadable = "422", "The keys of the query make no sense";
    Crowded = "429", "Too many logins at once";
    TooOften = "429", "The caller has called the function more often than its rate lets it";
    Failed = "500", "The machine or hob could not";
    Stopping = "503", "hob is stopping, or the queue is full";
    DiskFull = "507", "The disk is full; nothing was changed";
    TooDeep = "508", "Too many functions call each other";
}

/// What every request may get that is not open to everybody.
pub(super) fn by_the_guard() -> Responses {
    let all = [
        Unauthorized::responses(),
        Forbidden::responses(),
        Crowded::responses(),
        Failed::responses(),
        Stopping::responses(),
        DiskFull::responses(),
    ];
    all.into_iter().flatten().collect()
}

/// Puts what the types here refer to into the document.
pub(super) fn describe(components: &mut Components) {
    for (name, text) in ALL {
        let line = match *name {
            "Unauthorized" => line(text).header("WWW-Authenticate", header(Type::String)),
            "Crowded" | "TooOften" => line(text).header("Retry-After", header(Type::Integer)),
            _ => line(text),
        };
        let line = line.build().into();
        components.responses.insert((*name).to_owned(), line);
    }
}

/// One line of text.
fn line(description: &str) -> ResponseBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    ResponseBuilder::new()
        .description(description)
        .content("text/plain", Content::new(Some(text)))
}

fn header(kind: Type) -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(kind)))
        .build()
}

//! What the OpenAPI document says of types that are not in JSON what they are in Rust: the grammar
//! that their parsers take.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type},
    },
};

use crate::{
    Auth, CallIds, Cors, Cpu, Domain, Freeze, FunctionName, Label, Memory, Rate, RateBy, ReplicaId,
    Schedule, Scope, SecretName, Share, Timespan,
    guard::{auth, rate},
    schedule::Written,
};

/// The id of a call in a request; in JSON it is a text.
pub enum CallId {}

/// A namespace in a request of OpenFaaS's; the empty text means the default one.
pub enum MaybeNamespace {}

/// An RFC 1123 label.
const LABEL: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
/// Units of [`Memory`].
const BYTES: &str = "b|B|k|kb|kB|K|KB|m|mb|M|MB|g|gb|G|GB|Ki|KiB|Mi|MiB|Gi|GiB";
/// The usual units of a [`Timespan`].
const TIMES: &str = "ns|us|ms|s|m|h|d|days?|w|weeks?|M|months?|y|years?";
/// A host name.
const HOST: &str = "[A-Za-z0-9-]{1,63}(\\.[A-Za-z0-9-]{1,63})+";
/// A web origin.
const ORIGIN: &str = "[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]+)?";

macro_rules! schemas {
    ($($kind:ident => $schema:expr;)*) => {$(
        impl PartialSchema for $kind {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
        impl ToSchema for $kind {}
    )*};
}

schemas! {
    Label => text("hello", LABEL);
    FunctionName => text("hello", &format!("{LABEL}(\\.{LABEL})?"))
        .description(Some("`NAME`, or `NAME.NAMESPACE` outside the default namespace"));
    MaybeNamespace => text("openfaas-fn", &format!("({LABEL})?"))
        .description(Some("A namespace; the empty text means the default one"));
    CallId => text("a-call", &format!("[!-~]{{1,{}}}", CallIds::LONGEST))
        .description(Some("Visible characters of ASCII"));
    SecretName => text("api-key", &format!("{LABEL}(\\.{LABEL})*")).max_length(Some(251));
    ReplicaId => ObjectBuilder::new().schema_type(Type::String);
    Memory => OneOfBuilder::new()
        .description(Some("Bytes, or a text with a unit"))
        .item(whole())
        .item(text("64Mi", &format!("[0-9]{{1,9}}({BYTES})?")));
    Cpu => OneOfBuilder::new()
        .description(Some("Cores, or a text that may count thousandths of one"))
        .item(ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.001)).maximum(Some(4096)))
        .item(text("500m", "[0-9]{1,3}(\\.[0-9]{1,3})?|[1-9][0-9]{0,6}m"));
    Timespan => OneOfBuilder::new()
        .description(Some("Seconds, or a text with units"))
        .item(whole())
        .item(text("1h30m", &time()));
    Freeze => OneOfBuilder::new()
        .description(Some("Seconds, a text with units, or `never`"))
        .item(whole())
        .item(text("30s", &format!("{}|never", time())));
    Share => text("10%", "[0-9]{1,2}(\\.[0-9]{1,2})?%")
        .description(Some("A part of the calls: percents over 0 and under 100"));
    Cors => OneOfBuilder::new()
        .description(Some("`*`, a web origin, or several"))
        .item(text("*", &format!("\\*|{ORIGIN}")))
        .item(ArrayBuilder::new().items(text("https://app.example.net", ORIGIN)));
    Domain => text("covers.example.net", &format!("{HOST}(/[A-Za-z0-9._~/-]*)?"))
        .description(Some("A host name, and perhaps the beginning of a path"));
    RateBy => text("address", "address|caller|header:[A-Za-z0-9-]+");
    Scope => text("invoke:hello", &format!(
        "functions:read|functions:write|secrets:write|admin|invoke:(\\*|{LABEL}(\\.{LABEL})?)"
    ));
    Schedule => Written::schema();
}

macro_rules! as_written {
    ($($kind:ident => $written:ty;)*) => {$(
        impl PartialSchema for $kind {
            fn schema() -> RefOr<Schema> {
                <$written>::schema()
            }
        }
        impl ToSchema for $kind {
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                <$written>::schemas(schemas);
            }
        }
    )*};
}

as_written! {
    Auth => auth::Written;
    Rate => rate::Written;
}

/// A text that matches `grammar` from its beginning to its end.
fn text(example: &str, grammar: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^({grammar})$")))
        .examples([example])
}

/// What a [`Timespan`] is written with.
fn time() -> String {
    format!("[0-9]{{1,9}}|([0-9]{{1,6}}({TIMES}))+")
}

fn whole() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
}

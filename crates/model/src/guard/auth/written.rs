use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Auth, BasicAuth, HmacAuth, IntrospectionAuth, JwtAuth, TokenAuth};

/// As people write it: a word where a word says it all, else a table.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Written {
    Word(Word),
    Table(Table),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    None,
    Token,
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Table {
    Basic(BasicAuth),
    Token(TokenAuth),
    Hmac(HmacAuth),
    Jwt(JwtAuth),
    Introspection(IntrospectionAuth),
}

/// What each `type` needs at least, as people write it.
const NEEDS: [(&str, &str); 5] = [
    ("basic", "{ type = \"basic\", secret = \"NAME\" }"),
    ("token", "\"token\""),
    ("hmac", "{ type = \"hmac\", secret = \"NAME\" }"),
    (
        "jwt",
        "{ type = \"jwt\", issuer = \"https://ISSUER\", audience = \"NAME\" }",
    ),
    (
        "introspection",
        "{ type = \"introspection\", url = \"https://ISSUER/oauth2/introspect\", client = \"ID\", secret = \"NAME\" }",
    ),
];
const KINDS: &str = "`none`, `basic`, `token`, `hmac`, `jwt` or `introspection`";

impl From<Auth> for Written {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::None => Self::Word(Word::None),
            Auth::Token(auth) if auth.rules.is_empty() => Self::Word(Word::Token),
            Auth::Basic(auth) => Self::Table(Table::Basic(auth)),
            Auth::Token(auth) => Self::Table(Table::Token(auth)),
            Auth::Hmac(auth) => Self::Table(Table::Hmac(auth)),
            Auth::Jwt(auth) => Self::Table(Table::Jwt(auth)),
            Auth::Introspection(auth) => Self::Table(Table::Introspection(auth)),
        }
    }
}

// By hand: of an untagged enum, serde says no more than that nothing fitted.
impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOrTable)
    }
}

struct WordOrTable;

impl<'de> Visitor<'de> for WordOrTable {
    type Value = Auth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"none\", \"token\", or a table with a `type`")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Auth, E> {
        if let "none" | "token" = word {
            return Ok(match word {
                "none" => Auth::None,
                _ => Auth::Token(TokenAuth::default()),
            });
        }
        Err(E::custom(
            match NEEDS.iter().find(|(kind, _)| *kind == word) {
                Some((kind, table)) => {
                    format!("auth `{kind}` needs more than its name: write auth = {table}")
                }
                None => format!("auth `{word}` is unknown: there is {KINDS}"),
            },
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Auth, A::Error> {
        let mut table: Map<String, Value> =
            Deserialize::deserialize(MapAccessDeserializer::new(map))?;
        let kind = match table.remove("type") {
            Some(Value::String(kind)) => kind,
            Some(_) => return Err(de::Error::custom("`auth.type` has to be a text")),
            None => {
                return Err(de::Error::custom(format!(
                    "auth has no `type`: there is {KINDS}"
                )));
            }
        };
        match kind.as_str() {
            "none" if table.is_empty() => Ok(Auth::None),
            "none" => Err(de::Error::custom("auth `none` has nothing but its type")),
            "basic" => read(&kind, table).map(Auth::Basic),
            "token" => read(&kind, table).map(Auth::Token),
            "hmac" => read(&kind, table).map(Auth::Hmac),
            "jwt" => read(&kind, table).map(Auth::Jwt),
            "introspection" => read(&kind, table).map(Auth::Introspection),
            _ => Err(de::Error::custom(format!(
                "auth.type `{kind}` is unknown: there is {KINDS}"
            ))),
        }
    }
}

/// The rest of a table, whose mistakes are named.
fn read<T: DeserializeOwned, E: de::Error>(kind: &str, table: Map<String, Value>) -> Result<T, E> {
    T::deserialize(Value::Object(table))
        .map_err(|error| E::custom(format!("auth of type `{kind}`: {error}")))
}

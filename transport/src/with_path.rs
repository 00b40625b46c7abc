//! A body of JSON and the fields in the path, read as one message. All that is kept of the body meanwhile is where in it the fields
//! are that the message has: a tree of what a client sends would be many times as large, and no budget counts it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;
use serde_json::{Error, Result};

/// A deserializer of both. A field that is in the path is not read from the body, and of one that is in the body twice the last
/// counts, as ever on routes with a path.
#[derive(Clone, Copy)]
pub(crate) struct WithPath<'de> {
    pub(crate) body: &'de [u8],
    pub(crate) path: &'de [(&'de str, Box<RawValue>)],
}

/// Fails if `body` is no object.
pub(crate) fn check_object(body: &[u8]) -> Result<()> {
    fields(body, Wanted(Some(&[]))).map(drop)
}

fn fields(body: &[u8], wanted: Wanted) -> Result<BTreeMap<String, &RawValue>> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = wanted.deserialize(&mut json)?;
    json.end()?;
    Ok(fields)
}

impl<'de> WithPath<'de> {
    fn visit<V: Visitor<'de>>(self, wanted: Wanted, visitor: V) -> Result<V::Value> {
        let mut fields = fields(self.body, wanted)?;
        fields.extend(self.path.iter().map(|(name, value)| ((*name).to_owned(), &**value)));
        visitor.visit_map(MapDeserializer::new(fields.into_iter()))
    }
}

impl<'de> Deserializer<'de> for WithPath<'de> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.visit(Wanted(Some(fields)), visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(Wanted(None), visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The fields of an object that are kept: those that a message has, by all their names. A map has none, and wants everything.
struct Wanted(Option<&'static [&'static str]>);

impl<'de> DeserializeSeed<'de> for Wanted {
    type Value = BTreeMap<String, &'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted {
    type Value = BTreeMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Self::Value, A::Error> {
        let mut kept = BTreeMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            if self.0.is_none_or(|wanted| wanted.contains(&name.as_str())) {
                kept.insert(name, entries.next_value()?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(kept)
    }
}

//! A number in JSON, which may also be a text. pbjson reads one as serde does an untagged enum: whatever is there is put together
//! before it is looked at. Of a client's list of objects that would be many times as large as the body that the budget counts.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use pbjson::private::NumberDeserialize;
use serde::de::value::Error as Wrong;
use serde::de::{Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Read as pbjson reads it, but that what cannot be a number is passed over, and then refused in pbjson's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number<T>(pub T);

impl<'de, T: FromStr<Err: std::error::Error> + Deserialize<'de>> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(OneValue(PhantomData))?;
        number.map(|number| Self(number.0)).map_err(D::Error::custom)
    }
}

/// Reads a value to its end, whatever it is.
struct OneValue<T>(PhantomData<T>);

fn read<'de, T>(value: impl IntoDeserializer<'de, Wrong>) -> Result<NumberDeserialize<T>, Wrong>
where
    T: FromStr<Err: std::error::Error> + Deserialize<'de>,
{
    NumberDeserialize::deserialize(value.into_deserializer())
}

impl<'de, T: FromStr<Err: std::error::Error> + Deserialize<'de>> Visitor<'de> for OneValue<T> {
    type Value = Result<NumberDeserialize<T>, Wrong>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text of one")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(read(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(read(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(read(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(read(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(read(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(read(()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(elements)?;
        Ok(read(()))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(entries)?;
        Ok(read(()))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn told<T: DeserializeOwned, U>(json: &str, value: fn(T) -> U) -> Result<Vec<U>, String> {
        let read = serde_json::from_str::<Vec<T>>(json).map_err(|error| error.to_string());
        read.map(|read| read.into_iter().map(value).collect())
    }

    fn assert_is_read_as_pbjson_does<T>(json: &str)
    where
        T: FromStr<Err: std::error::Error> + DeserializeOwned + PartialEq + fmt::Debug,
    {
        let theirs = told(json, |number: NumberDeserialize<T>| number.0);
        assert_eq!(told(json, |number: Number<T>| number.0), theirs, "{json}");
    }

    #[test]
    fn a_number_is_read_or_refused_as_pbjson_does() {
        let values = "0 -1 1.5 1e3 1e999 4294967296 18446744073709551615 \"7\" \"-7\" \"1.5\" \"x\" \"\" \"Infinity\" null true \
                      [] [1] [1,{\"a\":[]}] {} {\"a\":1} [1 {\"a\" x";
        for json in values.split(' ').map(|value| format!("[{value}, 1]")) {
            assert_is_read_as_pbjson_does::<i32>(&json);
            assert_is_read_as_pbjson_does::<u64>(&json);
            assert_is_read_as_pbjson_does::<f32>(&json);
            assert_is_read_as_pbjson_does::<f64>(&json);
        }
    }
}

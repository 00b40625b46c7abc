//! An rpc as clients need it: JSON in a plan, a message on the wire, JSON in a reply.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use transport::{Method, Streaming};

/// Why a client could not make anything of what it has.
pub(crate) type Trouble = Box<dyn Error>;

/// A message that has a JSON form: what the generator writes for each.
pub trait JsonMessage: Message + Default + Serialize + DeserializeOwned + 'static {}

impl<T: Message + Default + Serialize + DeserializeOwned + 'static> JsonMessage for T {}

/// A streamed request or answer, by the messages that it consists of.
pub trait StreamOf {
    /// One of them.
    type Item: JsonMessage;
}

impl<T: JsonMessage> StreamOf for Streaming<T> {
    type Item = T;
}

/// An rpc, without its types.
pub(crate) trait Rpc: Send + Sync {
    /// The messages of the request that a plan spells as `argument`, made by the call with this id, in protobuf: one, unless
    /// it is a stream.
    fn messages(&self, argument: &str, id: String) -> Result<Vec<Bytes>, Trouble>;
    /// Its one message as JSON.
    fn json(&self, argument: &str, id: String) -> Result<Value, Trouble>;
    /// The JSON of an answer in protobuf.
    fn answer(&self, message: &[u8]) -> Result<String, Trouble>;
    /// The JSON of the whole answer, of which `field` came, or all.
    fn answer_of_json(&self, body: &[u8], field: Option<&str>) -> Result<String, Trouble>;
}

type SetId<T> = Box<dyn Fn(&mut T, String) + Send + Sync>;

/// The rpc with request `T` and answer `A`, or with streams of these.
struct Typed<T, A> {
    set_id: Option<SetId<T>>,
    /// Whether a plan spells a list of requests, which is a stream.
    asks_many: bool,
    answer: std::marker::PhantomData<fn() -> A>,
}

/// The rpc `M`, whose answer consists of `A`; `set_id` puts the id of a call into its request.
pub(crate) fn of<M, A>(set_id: Option<SetId<M::Request>>) -> Box<dyn Rpc>
where
    M: Method<Request: JsonMessage>,
    A: JsonMessage,
{
    Box::new(Typed::<M::Request, A> { set_id, asks_many: false, answer: std::marker::PhantomData })
}

/// The rpc `M`, whose request is a stream, and whose answer consists of `A`.
pub(crate) fn of_many<M, A>() -> Box<dyn Rpc>
where
    M: Method<Request: StreamOf>,
    A: JsonMessage,
{
    let answer = std::marker::PhantomData;
    Box::new(Typed::<<M::Request as StreamOf>::Item, A> { set_id: None, asks_many: true, answer })
}

impl<T: JsonMessage, A> Typed<T, A> {
    fn request(&self, argument: &str, id: String) -> Result<T, Trouble> {
        let mut message: T = serde_json::from_str(argument)?;
        if let Some(set_id) = &self.set_id {
            set_id(&mut message, id);
        }
        Ok(message)
    }
}

impl<T: JsonMessage, A: JsonMessage> Rpc for Typed<T, A> {
    fn messages(&self, argument: &str, id: String) -> Result<Vec<Bytes>, Trouble> {
        let messages = match self.asks_many {
            true => serde_json::from_str(argument)?,
            false => vec![self.request(argument, id)?],
        };
        Ok(messages.iter().map(|message| message.encode_to_vec().into()).collect())
    }

    fn json(&self, argument: &str, id: String) -> Result<Value, Trouble> {
        Ok(serde_json::to_value(self.request(argument, id)?)?)
    }

    fn answer(&self, message: &[u8]) -> Result<String, Trouble> {
        Ok(serde_json::to_string(&A::decode(message)?)?)
    }

    fn answer_of_json(&self, body: &[u8], field: Option<&str>) -> Result<String, Trouble> {
        let whole: A = match field {
            Some(field) => serde_json::from_value(json!({ field: serde_json::from_slice::<Value>(body)? }))?,
            None => serde_json::from_slice(body)?,
        };
        Ok(serde_json::to_string(&whole)?)
    }
}

impl fmt::Debug for dyn Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rpc")
    }
}

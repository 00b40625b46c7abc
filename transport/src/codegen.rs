//! What generated code names, so that the crate of a contract needs no other dependency.

pub use {actix, prost, serde};

/// As the crate of this name, but for how it reads numbers.
pub mod pbjson {
    #[doc(hidden)]
    pub mod private {
        pub use pbjson::private::{BytesDeserialize, base64};

        pub use crate::number::Number as NumberDeserialize;
    }
}

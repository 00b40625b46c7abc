//! The `google.api.http` option, so that contracts can import `google/api/annotations.proto` with
//! nothing to install. Numbers and names are those of the public definition; what the REST edge
//! does not serve (`custom`) is not declared and so does not parse.

use protox::Error;
use protox::file::{File, FileResolver};

const ANNOTATIONS: (&str, &str) = (
    "google/api/annotations.proto",
    r#"
syntax = "proto3";
package google.api;
import "google/api/http.proto";
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions {
  HttpRule http = 72295728;
}
"#,
);

const HTTP: (&str, &str) = (
    "google/api/http.proto",
    r#"
syntax = "proto3";
package google.api;
message HttpRule {
  string selector = 1;
  oneof pattern {
    string get = 2;
    string put = 3;
    string post = 4;
    string delete = 5;
    string patch = 6;
  }
  string body = 7;
  string response_body = 12;
  repeated HttpRule additional_bindings = 11;
}
"#,
);

/// Finds the two files by the names under which contracts import them.
pub(crate) struct AnnotationsResolver;

impl FileResolver for AnnotationsResolver {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        [ANNOTATIONS, HTTP].iter().find(|(known, _)| *known == name).map_or_else(
            || Err(Error::file_not_found(name)),
            |(name, source)| File::from_source(name, source),
        )
    }
}

//! What becomes of contracts that are wrong: one sentence that says where, what, and what was expected.

use std::path::Path;

use crate::error::Error;
use crate::generate::generate;

/// What comes of one file with these services and messages, which may name Google's.
fn compiled(contract: &str) -> Result<String, String> {
    let imports =
        ["api/annotations", "protobuf/timestamp", "protobuf/empty", "protobuf/struct", "protobuf/wrappers"]
            .map(|file| format!("import \"google/{file}.proto\"; "));
    let messages = "message Req { string name = 1; Sub sub = 2; repeated string tags = 3; map<string, Sub> subs = 4; } \
                    message Sub { int32 x = 1; } message Res {}";
    files(&[("desk/a.proto", &format!("package desk; {} {messages} {contract}", imports.concat()))])
}

/// What comes of these files: the module of the package desk.
fn files(files: &[(&str, &str)]) -> Result<String, String> {
    let (root, out) = (folder(), folder());
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
        std::fs::write(path, format!("syntax = \"proto3\"; {text}")).expect("a file can be written");
    }
    match generate(root.path(), "::transport", out.path()) {
        Ok(()) => Ok(std::fs::read_to_string(out.path().join("desk.rs")).unwrap_or_default()),
        Err(error) => Err(error.to_string()),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn refused(contract: &str) -> String {
    compiled(contract).expect_err("the contract is wrong")
}

/// Why a route of the rpc `desk.A.Go` is refused.
fn route_refused(rule: &str) -> String {
    let contract =
        format!("service A {{ rpc Go(Req) returns (Res) {{ option (google.api.http) = {{ {rule} }}; }} }}");
    let error = refused(&contract);
    error.strip_prefix("desk.A.Go: google.api.http: ").expect("it names the rpc").to_owned()
}

#[test]
fn a_type_of_google_that_has_no_rust_is_refused_by_the_name_of_its_field() {
    let expected = "is not supported: expected Timestamp, Duration or a wrapper of google.protobuf, or a message of your own";
    for (field, name, what) in [
        ("google.protobuf.Struct at = 1", "at", "Struct"),
        ("repeated google.protobuf.Value at = 1", "at", "Value"),
        ("map<string, google.protobuf.Empty> all = 1", "all", "Empty"),
        ("oneof one { google.protobuf.NullValue none = 1; }", "none", "NullValue"),
    ] {
        let error = refused(&format!("message Odd {{ {field}; }}"));
        assert_eq!(error, format!("desk.Odd.{name}: google.protobuf.{what} {expected}"));
    }
    let inside = refused("message Outer { message Odd { google.protobuf.Struct at = 1; } }");
    assert!(inside.starts_with("desk.Outer.Odd.at: google.protobuf.Struct is not supported"), "{inside}");
    assert_eq!(
        refused("service A { rpc Go(google.protobuf.StringValue) returns (Res); }"),
        "desk.A.Go: the request is google.protobuf.StringValue: expected google.protobuf.Empty, or a message of your own"
    );
    assert_eq!(
        refused("service A { rpc Go(Req) returns (stream google.protobuf.Timestamp); }"),
        "desk.A.Go: the answer is google.protobuf.Timestamp: expected google.protobuf.Empty, or a message of your own"
    );
}

#[test]
fn names_that_rust_could_not_tell_apart_are_refused() {
    let rpc = |service: &str, rpcs: &[&str]| {
        let rpcs = rpcs.iter().map(|rpc| format!("rpc {rpc}(Req) returns (Res); ")).collect::<String>();
        refused(&format!("service {service} {{ {rpcs} }}"))
    };
    for (error, expected) in [
        (
            rpc("Search", &["Search"]),
            "desk.Search.Search: the rpc Search has the name of its service: expected another",
        ),
        (
            rpc("Client", &["Go"]),
            "desk.Client: each service has a type Client in Rust: expected another name",
        ),
        (
            rpc("A", &["Client"]),
            "desk.A.Client: each service has a type Client in Rust: expected another name",
        ),
        (rpc("A", &["Inner"]), "desk.A.Inner: each client has a method inner in Rust: expected another name"),
        (
            rpc("A", &["go", "Go"]),
            "desk.A.Go: the rpc Go is the same name in Rust as the rpc go: expected another",
        ),
        (rpc("Super", &["Go"]), "desk.Super: Rust has no module of this name: expected another"),
        (rpc("A", &["_"]), "desk.A._: expected a name that begins with a letter"),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn modules_that_rust_could_not_tell_apart_are_refused() {
    let service = "rpc Go(Req) returns (Res);";
    assert_eq!(
        refused(&format!("service Search {{ {service} }} message SEARCH {{ enum Kind {{ NONE = 0; }} }}")),
        "service desk.Search: in Rust it is the module search, and so is message desk.SEARCH: expected another name"
    );
    assert_eq!(
        refused(&format!("service Search {{ {service} }} service search {{ {service} }}")),
        "service desk.search: in Rust it is the module search, and so is service desk.Search: expected another name"
    );
    assert_eq!(
        refused(&format!("service Serde {{ {service} }}")),
        "service desk.Serde: in Rust it is the module serde, and so is a crate that its JSON needs: expected another name"
    );
    let of_package = [
        ("a.proto", "package desk; message Req {} service Search { rpc Go(Req) returns (Req); }"),
        ("b.proto", "package desk.search.v1; message Req {}"),
    ];
    assert_eq!(
        files(&of_package).expect_err("two modules have a name"),
        "service desk.Search: in Rust it is the module search, and so is package desk.search: expected another name"
    );
}

#[test]
fn names_that_are_keywords_in_rust_or_used_by_what_is_generated_are_right() {
    let code = compiled(
        "service A { rpc Type(Req) returns (Res); rpc self(Req) returns (Res); } service Move { rpc A(Req) returns (Res); }",
    );
    let code = code.expect("the contract is right");
    for expected in
        ["pub struct Type;", "fn r#type(&self", "pub struct Self_;", "fn self_(&self", "pub mod r#move {"]
    {
        assert!(code.contains(expected), "{expected} is not in {code}");
    }
}

#[test]
fn nothing_of_a_message_has_the_order_of_a_hash() {
    let code = compiled("message Sums { map<string, int64> sums = 1; map<string, bytes> blobs = 2; }");
    let code = code.expect("the contract is right");
    assert!(code.contains("BTreeMap") && !code.contains("HashMap"), "{code}");
}

#[test]
fn routes_that_cannot_be_right_are_refused() {
    for (rule, expected) in [
        (r#"get: "/a" body: "*""#, "get has no body: expected no body, or post, put, patch"),
        (
            r#"get: "/a/{sub}""#,
            "path \"/a/{sub}\": desk.Req.sub is a message: expected a field with one scalar value",
        ),
        (
            r#"get: "/a/{tags}""#,
            "path \"/a/{tags}\": desk.Req.tags is repeated: expected a field with one scalar value",
        ),
        (
            r#"get: "/a/{subs}""#,
            "path \"/a/{subs}\": desk.Req.subs is a map: expected a field with one scalar value",
        ),
        (
            r#"get: "/{name}/{name}""#,
            "path \"/{name}/{name}\": the field name is there twice: expected it once",
        ),
        (r#"get: "/a/{nme}""#, "path \"/a/{nme}\": desk.Req has no field nme"),
        (r#"get: "/a?b""#, "path \"/a?b\": expected literal or {field} segments"),
        (r#"get: "/healthz""#, "path \"/healthz\": this is the node's own: expected another"),
        (r#"post: "/readyz" body: "*""#, "path \"/readyz\": this is the node's own: expected another"),
        (
            r#"post: "/a" additional_bindings { get: "/metrics" }"#,
            "path \"/metrics\": this is the node's own: expected another",
        ),
    ] {
        assert_eq!(route_refused(rule), expected);
    }
}

#[test]
fn two_paths_that_match_the_same_requests_are_one_route() {
    let route = |rpc: &str, field: &str| {
        format!(
            "rpc {rpc}(Key) returns (Res) {{ option (google.api.http) = {{ get: \"/a/{{{field}}}\" }}; }}"
        )
    };
    let contract = format!(
        "message Key {{ string a = 1; string b = 2; }} service A {{ {} {} }}",
        route("Go", "a"),
        route("No", "b")
    );
    assert_eq!(
        refused(&contract),
        "GET /a/{b} is claimed by desk.A.Go and by desk.A.No: expected a route of its own for each"
    );
}

#[test]
fn a_file_without_a_package_is_refused_by_its_name() {
    assert_eq!(
        files(&[("desk/a.proto", "message Req {}")]).expect_err("it has no package"),
        "desk/a.proto: the file has no package: expected one, as in `package shop;`"
    );
}

#[test]
fn folders_need_not_mirror_packages() {
    let files = files(&[
        ("one.proto", "package desk.one; message Req {}"),
        ("other/two.proto", "package desk; import \"one.proto\"; message Two { desk.one.Req req = 1; }"),
    ]);
    assert!(files.expect("the contracts are right").contains("one::Req"));
}

#[test]
fn a_folder_without_contracts_is_refused_and_one_that_is_not_there_is_named() {
    let root = folder();
    let compile = |root: &Path| generate(root, "::transport", root).expect_err("there is none").to_string();
    let shown = root.path().display();
    assert_eq!(
        compile(root.path()),
        format!("{shown}: expected .proto files in this folder or below, found none")
    );
    let missing = compile(&root.path().join("protos"));
    assert!(missing.starts_with(&format!("{shown}/protos: No such file or directory")), "{missing}");
}

#[test]
fn what_cargo_shows_of_an_error_is_its_sentence() {
    let error = Error::contract("desk.A", "expected another name");
    assert_eq!(format!("{error:?}"), "desk.A: expected another name");
}

#[test]
fn what_is_no_protobuf_is_told_with_its_place() {
    for (text, expected) in [
        (
            "package desk;\nmessage Req { string name = 1 }",
            "desk/a.proto:2:31: expected ';' or '[', but found '}'",
        ),
        ("package desk;\nmessage Req { Nothing name = 1; }", "desk/a.proto:2:15: "),
        ("package desk;\nimport \"b.proto\";", "desk/a.proto:2:1: import 'b.proto' not found"),
    ] {
        let error = files(&[("desk/a.proto", text)]).expect_err("it is wrong");
        assert!(error.starts_with(expected), "{error}");
    }
}

//! The OpenAPI document says what is served: all of it, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::admin::endpoints::{self, OPENAPI};

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

fn served() -> BTreeSet<(String, String)> {
    let endpoints = endpoints::all();
    let pairs = endpoints
        .iter()
        .map(|each| (each.path.to_owned(), each.method.to_owned()));
    let served: BTreeSet<_> = pairs.collect();
    assert_eq!(served.len(), endpoints.len(), "an endpoint is served twice");
    served
}

#[test]
fn the_document_and_the_router_have_the_same_endpoints() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((path.clone(), method.clone()));
        }
    }
    assert_eq!(described, served());
}

#[test]
fn every_route_constant_is_served() {
    let source = include_str!("../../../../shared/src/api/route.rs");
    let constants: BTreeSet<String> = source
        .lines()
        .filter(|line| line.starts_with("pub const "))
        .map(|line| line.split('"').nth(1).unwrap().to_owned())
        .collect();
    let paths: BTreeSet<String> = served().into_iter().map(|(path, _)| path).collect();
    assert_eq!(constants, paths);
}

#[test]
fn every_reference_has_a_target_and_every_path_its_parameters() {
    let document = document();
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            let none = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&none);
            let named = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .count();
            assert_eq!(named, path.matches('{').count(), "{path}");
        }
    }
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                found.insert(reference.clone());
            }
            map.values()
                .for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

#[test]
fn schemas_have_the_fields_that_the_types_have() {
    use shared::api::{ApiError, ErrorKind, RealmDocument, SessionsKill, UserPatch};
    let document = document();
    let check = |name: &str, sample: Value| {
        let schema = &document["components"]["schemas"][name]["properties"];
        for field in sample.as_object().unwrap().keys() {
            assert!(
                schema.get(field).is_some(),
                "{name}.{field} is not described"
            );
        }
    };
    check(
        "RealmDocument",
        serde_json::to_value(RealmDocument::default()).unwrap(),
    );
    check(
        "SessionsKill",
        serde_json::to_value(SessionsKill::default()).unwrap(),
    );
    check(
        "UserPatch",
        serde_json::to_value(UserPatch::default()).unwrap(),
    );
    let error = ApiError::new(ErrorKind::NotFound, "x");
    check("ApiError", serde_json::to_value(error).unwrap());
}

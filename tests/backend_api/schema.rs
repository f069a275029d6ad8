//! A small validator for the schemas of an `OpenAPI` 3.0 file: as much of it as Clerk's uses. What it does not know
//! it refuses, so that it cannot pass over a rule.

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// An `OpenAPI` document.
pub(super) struct Document(Value);

impl Document {
    pub(super) fn parse(text: &str) -> Self {
        let documents = YamlLoader::load_from_str(text).unwrap();
        Self(json(documents.first().unwrap()))
    }

    /// The schema of an answer in JSON, and nothing when the file does not name the status.
    pub(super) fn answer(&self, path: &str, status: u16) -> Option<&Value> {
        let responses = &self.0["paths"][path]["get"]["responses"];
        assert!(responses.is_object(), "{path} is not in the file");
        let response = self.follow(responses.get(status.to_string())?);
        Some(&response["content"]["application/json"]["schema"])
    }

    /// The names of the parameters of a call.
    pub(super) fn parameters(&self, path: &str) -> Vec<&str> {
        let parameters = self.0["paths"][path]["get"]["parameters"].as_array();
        parameters.into_iter().flatten().map(|one| self.follow(one)["name"].as_str().unwrap()).collect()
    }

    fn follow<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.follow(self.0.pointer(reference.trim_start_matches('#')).unwrap()),
            None => schema,
        }
    }

    /// What is wrong with a value, each with its place.
    pub(super) fn problems(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        self.check(schema, value, "", &mut problems);
        problems
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, problems: &mut Vec<String>) {
        let schema = self.follow(schema).as_object().unwrap();
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return;
        }
        for (rule, wanted) in schema {
            let broken = broken(rule, wanted, schema, value);
            problems.extend(broken.into_iter().map(|what| format!("{place}: {what}")));
        }
        if let (Some(properties), Some(object)) = (schema.get("properties"), value.as_object()) {
            for (name, inner) in object {
                if let Some(schema) = properties.get(name) {
                    self.check(schema, inner, &format!("{place}/{name}"), problems);
                }
            }
        }
        if let (Some(items), Some(array)) = (schema.get("items"), value.as_array()) {
            for (index, item) in array.iter().enumerate() {
                self.check(items, item, &format!("{place}/{index}"), problems);
            }
        }
        for all in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.check(all, value, place, problems);
        }
        for any in ["anyOf", "oneOf"].into_iter().filter_map(|rule| schema.get(rule)?.as_array()) {
            if !any.iter().any(|one| self.problems(one, value).is_empty()) {
                problems.push(format!("{place}: fits none of the choices"));
            }
        }
    }
}

/// What a value breaks of one rule, as far as the rule is about itself and not about what it holds.
fn broken(rule: &str, wanted: &Value, schema: &Map<String, Value>, value: &Value) -> Vec<String> {
    let unless = |right: bool, what: String| if right { Vec::new() } else { vec![what] };
    match rule {
        "type" => unless(is_of_type(value, wanted.as_str().unwrap()), format!("not a {wanted}: {value}")),
        "enum" => unless(wanted.as_array().unwrap().contains(value), format!("{value} is none of {wanted}")),
        "minimum" => {
            let right = !value.is_number() || value.as_f64() >= wanted.as_f64();
            unless(right, format!("{value} is below {wanted}"))
        }
        "required" => {
            let names = wanted.as_array().unwrap().iter().filter_map(Value::as_str);
            let missing = names.filter(|name| value.is_object() && value.get(name).is_none());
            missing.map(|name| format!("{name} is missing")).collect()
        }
        "additionalProperties" if *wanted == Value::Bool(false) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let names = value.as_object().into_iter().flat_map(Map::keys);
            let more = names.filter(|name| !known.is_some_and(|known| known.contains_key(*name)));
            more.map(|name| format!("{name} is not in the schema")).collect()
        }
        // These are looked at where the rest of the schema is.
        "properties" | "items" | "allOf" | "anyOf" | "oneOf" | "additionalProperties" | "nullable"
        // These are for people, or speak of a format that is not checked.
        | "description" | "example" | "format" | "deprecated" | "default" | "title" | "discriminator" => Vec::new(),
        extension if extension.starts_with("x-") => Vec::new(),
        other => panic!("the rule {other} is not known here"),
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the type {other} is not known here"),
    }
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(text) => text.parse::<f64>().map_or(Value::Null, Value::from),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Boolean(flag) => Value::from(*flag),
        Yaml::Array(items) => items.iter().map(json).collect(),
        Yaml::Hash(entries) => {
            let name = |key: &Yaml| match json(key) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(entries.iter().map(|(key, value)| (name(key), json(value))).collect())
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_validator_sees_what_is_wrong() {
        let document =
            Document(json!({"components": {"schemas": {"Name": {"type": "string", "nullable": true}}}}));
        let schema = json!({
            "type": "object", "required": ["id", "kind"], "additionalProperties": false,
            "properties": {
                "id": {"type": "integer", "minimum": 1}, "kind": {"enum": ["a"]},
                "name": {"$ref": "#/components/schemas/Name"}, "list": {"type": "array", "items": {"type": "boolean"}},
                "choice": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            },
        });
        let right = json!({"id": 1, "kind": "a", "name": null, "list": [true], "choice": 2});
        assert!(document.problems(&schema, &right).is_empty());
        for wrong in [
            json!([]),
            json!({"id": 1}),
            json!({"id": 0, "kind": "a"}),
            json!({"id": "1", "kind": "a"}),
            json!({"id": 1, "kind": "b"}),
            json!({"id": 1, "kind": "a", "more": 1}),
            json!({"id": 1, "kind": "a", "name": 1}),
            json!({"id": 1, "kind": "a", "list": [1]}),
            json!({"id": 1, "kind": "a", "choice": true}),
        ] {
            assert_eq!(document.problems(&schema, &wrong).len(), 1, "{wrong}");
        }
    }
}

//! What a new description takes away from callers of the old one.

use serde_json::{Map, Value};

/// One line for each thing that callers may rely on and that is gone, or asked of them anew.
pub fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, broken: Vec::new() };
    for (path, item) in object(&old["paths"]) {
        for (method, operation) in object(item) {
            comparison.operation(&format!("{method} {path}"), operation, &new["paths"][path][method]);
        }
    }
    comparison.broken
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    broken: Vec<String>,
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Follows a reference into the components of its document.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(value, |pointer| document.pointer(pointer).unwrap_or(&Value::Null))
}

impl<'a> Comparison<'a> {
    fn check(&mut self, holds: bool, what: String) -> bool {
        if !holds {
            self.broken.push(what);
        }
        holds
    }

    fn operation(&mut self, name: &str, old: &'a Value, new: &'a Value) {
        if !self.check(!new.is_null(), format!("{name} is gone")) {
            return;
        }
        let place = |parameter: &Value| (parameter["name"].clone(), parameter["in"].clone());
        for parameter in array(&old["parameters"]) {
            let same = array(&new["parameters"]).find(|other| place(other) == place(parameter));
            let what = format!("{name}: parameter {}", parameter["name"]);
            if let Some(same) = same {
                let values = array(&parameter["schema"]["enum"]);
                let kept =
                    values.into_iter().all(|value| array(&same["schema"]["enum"]).any(|one| one == value));
                self.check(kept, format!("{what} takes fewer values"));
                self.check(
                    parameter["schema"]["type"] == same["schema"]["type"],
                    format!("{what}: other type"),
                );
            }
            self.check(same.is_some(), format!("{what} is gone"));
        }
        for parameter in array(&new["parameters"]).filter(|parameter| parameter["required"] == true) {
            let before = array(&old["parameters"]).find(|other| place(other) == place(parameter));
            let needed = before.is_some_and(|before| before["required"] == true);
            self.check(needed, format!("{name}: parameter {} is needed now", parameter["name"]));
        }
        for (status, response) in object(&old["responses"]) {
            let (before, after) = (resolve(self.old, response), resolve(self.new, &new["responses"][status]));
            let name = format!("{name} {status}");
            if self.check(!after.is_null(), format!("{name} is gone")) {
                self.response(&name, before, after);
            }
        }
    }

    fn response(&mut self, name: &str, old: &'a Value, new: &'a Value) {
        for (header, _) in object(&old["headers"]) {
            self.check(!new["headers"][header].is_null(), format!("{name}: header {header} is gone"));
        }
        for (media, content) in object(&old["content"]) {
            let after = &new["content"][media];
            if self.check(!after.is_null(), format!("{name}: {media} is gone")) {
                self.schema(&format!("{name} {media}"), &content["schema"], &after["schema"]);
            }
        }
    }

    fn schema(&mut self, name: &str, old: &'a Value, new: &'a Value) {
        let (old, new) = (resolve(self.old, old), resolve(self.new, new));
        self.check(old["type"] == new["type"], format!("{name}: another type"));
        for (key, property) in object(&old["properties"]) {
            let after = &new["properties"][key];
            let name = format!("{name} .{key}");
            if self.check(!after.is_null(), format!("{name} is gone")) {
                self.schema(&name, property, after);
            }
        }
        for key in array(&old["required"]) {
            self.check(
                array(&new["required"]).any(|one| one == key),
                format!("{name} .{key} may be absent now"),
            );
        }
        if !old["items"].is_null() {
            self.schema(&format!("{name}[]"), &old["items"], &new["items"]);
        }
    }
}

#[test]
fn what_is_taken_away_is_found() {
    let document: Value = serde_json::from_str(roster::api::openapi::json()).unwrap();
    assert_eq!(breaks(&document, &document), [""; 0]);
    let users = "/paths/~1api~1v1~1entities~1users/get";
    let user = "/components/schemas/User";
    for (parent, key, expected) in [
        ("/paths", "/healthz", "get /healthz is gone"),
        (users, "parameters", "parameter \"ids\" is gone"),
        (&format!("{users}/responses"), "403", "get /api/v1/entities/users 403 is gone"),
        (&format!("{users}/responses/200/headers"), "ETag", "200: header ETag is gone"),
        (&format!("{user}/properties"), "clerkOrgId", "json[] .clerkOrgId is gone"),
        (user, "required", ".\"email\" may be absent now"),
        (&format!("{user}/properties/email"), "type", ".email: another type"),
        ("/components/schemas/Problem/properties", "code", "problem+json .code is gone"),
    ] {
        let mut poorer = document.clone();
        let removed = poorer.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert!(removed.is_some(), "{parent} {key}");
        let broken = breaks(&document, &poorer);
        assert!(broken.iter().any(|line| line.contains(expected)), "{key}: {broken:#?}");
        // What is new breaks nobody.
        assert!(!breaks(&poorer, &document).iter().any(|line| line.ends_with("is gone")), "{key}");
    }
    let mut harder = document.clone();
    harder.pointer_mut(users).unwrap()["parameters"][0]["required"] = true.into();
    assert_eq!(breaks(&document, &harder), ["get /api/v1/entities/users: parameter \"limit\" is needed now"]);
}

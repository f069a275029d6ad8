//! What the filters find, on people with names of many kinds.

use super::people::{ADMIN, Person, USERS, ada, empty};
use crate::reading::site::Site;

async fn town() -> Site {
    let site = empty().await;
    let people = [
        Person::new("user_1", 1).name("Ada Maria", "O'Neill-Straße").username("countess_42"),
        Person::new("user_2", 2).name("Łukasz", "Żółć").email("lukasz.z@Example.com").role("admin"),
        Person::new("user_3", 3).name("李", "小龙").email("bruce+film@kung.fu"),
        Person::new("user_4", 4).name("ΟΔΥΣΣΕΥΣ", "Παπαδόπουλος").email("odys@ithaca.gr").role("editor"),
        Person::new("user_5", 5).email("ada.l@example.com").metadata(
            r#"{"team":"core","level":3,"lead":true,"a.b":"dotted","none":null,"list":["core"],"in":{"x":1},
                "empty":"","rate":1.50,"big":9007199254740993,"text":"3",
                "large":1e308,"beyond":123456789012345678901234567890,"below":-9223372036854775808}"#,
        ),
        Person::new("user_6", 6).username("adam"),
        Person::new("user_7", 7),
    ];
    site.apply(people.into_iter().flat_map(Person::changes).collect()).await;
    site
}

/// The numbers of the users that a query finds.
async fn found(site: &Site, path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    ada(site, &format!("{path}?{}", query.finish())).await.ids().join(" ").replace("user_", "")
}

#[tokio::test]
async fn words_begin_words_and_an_address_is_begun_as_a_whole() {
    let site = town().await;
    for (query, expected) in [
        ("ada", "1 5 6"),
        ("ADA", "1 5 6"),
        ("ada mar", "1"),
        ("mar ada", "1"),
        ("ada,mar;ONEILL", ""),
        ("o neill", "1"),
        ("strasse", "1"),
        ("STRASSE", "1"),
        ("straß", "1"),
        ("42 countess", "1"),
        ("łuk", "2"),
        ("ŻÓŁĆ", "2"),
        ("luk", "2"),
        ("李", "3"),
        ("龙", ""),
        ("小", "3"),
        ("οδυσσευς", "4"),
        ("film", "3"),
        ("kung", ""),
        ("bruce+film@k", "3"),
        ("BRUCE+FILM@KUNG.FU", "3"),
        ("bruce film", "3"),
        ("lukasz.z@example", "2"),
        ("example", ""),
        ("da", ""),
        ("user", ""),
        ("", "1 2 3 4 5 6 7"),
        (" ", "1 2 3 4 5 6 7"),
        ("@.-", "1 2 3 4 5 6 7"),
        ("%", "1 2 3 4 5 6 7"),
        ("ada_", "1 5 6"),
        ("' OR '1'='1", ""),
    ] {
        assert_eq!(found(&site, USERS, &[("query", query)]).await, expected, "{query:?}");
    }
}

#[tokio::test]
async fn metadata_is_compared_with_scalars_only() {
    let site = town().await;
    for (field, value, is_found) in [
        ("team", "core", true),
        ("team", "Core", false),
        ("team", "\"core\"", false),
        ("level", "3", true),
        ("level", "3.0", false),
        ("level", "03", false),
        ("text", "3", true),
        ("lead", "true", true),
        ("lead", "1", false),
        ("a.b", "dotted", true),
        ("a", "", false),
        ("none", "null", false),
        ("none", "", false),
        ("list", "core", false),
        ("list", "[\"core\"]", false),
        ("in", "{\"x\":1}", false),
        ("in.x", "1", false),
        ("empty", "", true),
        ("absent", "", false),
        ("rate", "1.5", true),
        ("big", "9007199254740993", true),
        ("big", "9007199254740992", false),
        // Integers and fractions are two kinds; within one it does not matter how a number is written.
        ("rate", "1.50", true),
        ("rate", "15e-1", true),
        ("rate", " 1.5", false),
        ("large", "1e308", true),
        ("large", "1E+308", true),
        ("large", "1e309", false),
        ("below", "-9223372036854775808", true),
        // Beyond 64 bits a number is what JavaScript takes it for, in the answer too.
        ("beyond", "123456789012345678901234567890", true),
        ("beyond", "1.2345678901234568e+29", true),
    ] {
        let name = format!("metadata.{field}");
        let expected = if is_found { "5" } else { "" };
        assert_eq!(found(&site, ADMIN, &[(&name, value)]).await, expected, "{field}={value}");
    }
}

#[tokio::test]
async fn everything_asked_must_hold_together() {
    let site = town().await;
    for (parameters, expected) in [
        (&[("role", "admin")][..], "2"),
        (&[("role", "org:admin")], "2"),
        (&[("role", "org:editor"), ("query", "ody")], "4"),
        (&[("role", "admin"), ("query", "ody")], ""),
        (&[("role", "Admin")], ""),
        (&[("metadata.team", "core"), ("metadata.level", "3")], "5"),
        (&[("metadata.team", "core"), ("metadata.team", "web")], ""),
        (&[("metadata.team", "core"), ("metadata.team", "core"), ("query", "ada")], "5"),
        (&[("ids", "user_6,user_1,user_2"), ("query", "ada")], "1 6"),
        (&[("ids", "user_6,user_1,user_2"), ("query", "ada"), ("limit", "1")], "1"),
        // Unknown parameters are ignored, however often.
        (&[("Role", "admin"), ("x", ""), ("x", ""), ("ids", "user_7")], "7"),
    ] {
        assert_eq!(found(&site, ADMIN, parameters).await, expected, "{parameters:?}");
    }
    // The first list knows neither role nor metadata, nor does it look at them.
    assert_eq!(found(&site, USERS, &[("role", ""), ("metadata.", "x"), ("query", "ody")]).await, "4");
}

use super::*;

fn rules(toml: &str) -> Guardrails {
    #[derive(Deserialize)]
    struct File {
        guardrails: Vec<Rule>,
    }
    let file: File = toml::from_str(toml).unwrap();
    Guardrails {
        context: "prod-eu".into(),
        rules: file.guardrails,
    }
}

fn kill(realms: &[&str], count: u64) -> Deed {
    Deed {
        action: "sessions.kill",
        realms: Names::all(realms),
        nodes: Names::Unknown,
        count,
    }
}

#[test]
fn the_strongest_level_and_the_smallest_bounds_win() {
    let rails = rules(
        r#"
        [[guardrails]]
        action = "sessions.*"
        level = "plain"
        max_bulk = 50
        max_rate = 10
        [[guardrails]]
        context = ["prod-*", "stage"]
        level = "type-context"
        reason = "this is production"
        max_bulk = 500
        [[guardrails]]
        context = "lab"
        level = "deny"
        [[guardrails]]
        min_count = 40
        require_reason = true
        "#,
    );
    let verdict = rails.judge(&kill(&["acme"], 20));
    assert_eq!(verdict.level, Level::TypeContext);
    assert_eq!((verdict.max_bulk, verdict.max_rate), (Some(50), Some(10)));
    assert_eq!(verdict.reasons, ["this is production"]);
    assert!(!verdict.require_reason && verdict.allows(20).is_ok());
    let many = rails.judge(&kill(&["acme"], 60));
    assert!(many.require_reason && many.allows_reason(" ").is_err());
    assert!(many.allows(60).unwrap_err().contains("allows 50 at once"));
    assert!(many.allows_rate(10).is_ok() && many.allows_rate(11).is_err());
}

#[test]
fn realms_and_nodes_that_are_not_known_match() {
    let rails = rules("[[guardrails]]\nrealm = \"acme\"\nlevel = \"deny\"\nreason = \"VIP\"");
    assert_eq!(rails.judge(&kill(&["acme", "x"], 1)).level, Level::Deny);
    assert_eq!(rails.judge(&kill(&["x"], 1)).level, Level::None);
    let unknown = Deed {
        realms: Names::Unknown,
        ..kill(&[], 1)
    };
    let verdict = rails.judge(&unknown);
    assert_eq!(verdict.allows(1).unwrap_err(), "denied by a guardrail: VIP");
    // A change that is about no realm is not about this one either.
    assert_eq!(
        rails.judge(&Deed::of_cluster("token.create")).level,
        Level::None
    );
}

#[test]
fn a_rule_that_could_never_match_is_refused() {
    let rule = |action: &str| Rule {
        action: Patterns(vec![action.to_owned()]),
        ..Rule::default()
    };
    assert!(rule("realm.*").checked().is_ok());
    let error = rule("session.kil").checked().unwrap_err();
    assert!(error.contains("did you mean 'session.kill'"), "{error}");
    assert!(toml::from_str::<Rule>("levl = \"deny\"").is_err());
}

#[test]
fn stars_stand_for_any_text() {
    for (pattern, name, hit) in [
        ("*", "", true),
        ("prod-*", "prod-eu", true),
        ("prod-*", "prod", false),
        ("*-eu", "prod-eu", true),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "aXc", false),
        ("", "x", false),
    ] {
        assert_eq!(glob(pattern, name), hit, "{pattern} {name}");
    }
}

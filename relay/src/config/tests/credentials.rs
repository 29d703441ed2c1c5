use super::*;

const USER: &str = "[[realm]]\nname = \"acme\"\nusers = [{ name = \"alice\", password = \"wonderland-wonder\" }]\n";
const SECRET: &str =
    "[[realm]]\nname = \"acme\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n";

#[test]
fn either_kind_of_credentials_is_taken_unless_the_file_names_one() {
    use crate::config::CredentialKinds;
    let kinds = |line: &str| Setup::new(line).load().credentials;
    assert_eq!(kinds(""), CredentialKinds::Both);
    for (line, users, secrets) in [
        ("credentials = \"both\"", true, true),
        ("credentials = \"users\"", true, false),
        ("credentials = \"secrets\"", false, true),
    ] {
        let kinds = kinds(line);
        assert_eq!((kinds.has_users(), kinds.has_secrets()), (users, secrets));
    }
    let errors = Setup::new("credentials = \"rest\"").errors();
    assert!(
        errors[0].contains("write \"both\", \"users\" or \"secrets\""),
        "{errors:?}"
    );
}

#[test]
fn credentials_of_the_file_that_open_nothing_are_told_of() {
    let told = |kind: &str, realm: &str| {
        let config = Setup::new(&format!("credentials = \"{kind}\"\n{realm}")).load();
        let mut warnings = config.warnings.into_iter();
        warnings.find(|line| line.contains(": credentials = "))
    };
    let users = told("secrets", USER).unwrap();
    assert!(users.contains("users of the file are refused"), "{users}");
    let secrets = told("users", SECRET).unwrap();
    assert!(
        secrets.contains("secrets of the file are refused"),
        "{secrets}"
    );
    assert_eq!(told("both", USER), None);
    assert_eq!(told("users", USER), None);
    assert_eq!(told("secrets", SECRET), None);
}

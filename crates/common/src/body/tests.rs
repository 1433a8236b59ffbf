use super::*;
use proptest::prelude::*;

#[test]
fn an_error_names_line_and_column() {
    let error = json(b"{\n  \"name\": Annie\n}").unwrap_err();
    assert_eq!(error.status, StatusCode::BAD_REQUEST);
    for part in ["2", "11"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    assert!(json(&b"[".repeat(MAX_BYTES)).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_json_or_one_line_of_reason(bytes: Vec<u8>) {
        if let Err(error) = json(&bytes) {
            prop_assert_eq!(error.status, StatusCode::BAD_REQUEST);
            prop_assert!(!error.message.contains(['\n', '\r']));
        }
    }

    #[test]
    fn any_text_survives_json(name: String) {
        let body = serde_json::json!({ "name": name }).to_string();
        let parsed = json(body.as_bytes()).unwrap();
        prop_assert_eq!(parsed["name"].as_str(), Some(&*name));
    }
}

//! The workspace's own README; each lesson's tests check that lesson's.

#[test]
fn the_root_readmes_are_true() {
    testkit::readme::check_root(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
}

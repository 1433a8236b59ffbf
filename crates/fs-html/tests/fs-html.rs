//! Lesson 2 over the wire.

const BIN: &str = env!("CARGO_BIN_EXE_fs-html");

testkit::every_lesson!(super::BIN);

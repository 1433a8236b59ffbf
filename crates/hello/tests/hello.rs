//! Lesson 1 over the wire.

const BIN: &str = env!("CARGO_BIN_EXE_hello");

testkit::bare_lesson!(super::BIN);

# Every recipe is one line that can be typed by hand; the READMEs give the cargo line too.

# The recipes, in groups
_default:
    @{{ quote(just_executable()) }} --list --unsorted

# Start a lesson and print its URL: just run rest
[group('learn')]
run LESSON:
    cargo run -p {{ LESSON }}

# Start a lesson anew at every saved change (cargo install --locked bacon)
[group('learn')]
watch LESSON:
    bacon lesson -- -p {{ LESSON }}

# All tests, or those of one lesson: just test rest
[group('learn')]
test LESSON="":
    cargo test {{ if LESSON == "" { "" } else { "-p " + LESSON } }}

# A lesson's tests against any server: just check rest http://localhost:3000/
[group('learn')]
check LESSON URL:
    TEST_URL='{{ URL }}' cargo test -p {{ LESSON }} --test {{ LESSON }} parity

# What is new from one lesson to the next: just diff cookie-login session
[group('learn')]
diff A B:
    -@git diff --no-index crates/{{ A }}/src/main.rs crates/{{ B }}/src/main.rs

# Formatting and warnings, as CI looks at them
[group('keep')]
lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings

# Everything that CI checks (installs what it needs; as root, by apt)
[group('keep')]
ci:
    bash .ci/run

# Make a local authority and a certificate for localhost in certs/
[group('keep')]
certs:
    cargo run -p certs

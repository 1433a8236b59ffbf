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

# Which exercises are solved, and which is next
[group('learn')]
progress:
    cargo run --quiet -p progress

# Judge a lesson's exercises at every save, or one by its name (cargo install --locked bacon)
[group('learn')]
exercise LESSON NAME="":
    bacon exercise -- -p {{ LESSON }} --test {{ LESSON }} -- --ignored {{ NAME }}

# Show how a lesson's exercises can be solved, or one by its name: just solution rest
[group('learn')]
solution LESSON NAME="*":
    @cat crates/{{ LESSON }}/solutions/{{ NAME }}.patch

# A lesson's tests against any server; they write to it: just check rest http://localhost:3000/
[group('learn')]
check LESSON URL:
    @echo '테스트가 {{ URL }} 서버에 사용자를 더하고 지우고 로그인합니다.'
    @echo 'These tests write to the server at {{ URL }}: users, logins.'
    TEST_URL='{{ URL }}' cargo test -p {{ LESSON }} --test {{ LESSON }} parity

# A lesson beside bare hyper, Node and nginx (Linux, with wrk): just bench rest "PUT /user" 100
[group('learn')]
bench LESSON REQUEST="GET /" USERS="0":
    bash examples/bench/bench.sh {{ LESSON }} '{{ REQUEST }}' {{ USERS }}

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

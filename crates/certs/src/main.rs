//! `just certs`: makes the certificate if it is not there, and says how it becomes trusted.

use common::error::CannotStart;
use common::ko_en;
use common::language::is_korean;
use common::log::say;

fn main() -> Result<(), CannotStart> {
    let files = certs::files()?;
    let limits = if files.are_ours {
        ko_en!(
            "이름이 localhost, 127.0.0.1, ::1로 제한되어 있고\n   \
             개인 키는 남아 있지 않아, 다른 사이트의 인증서를 만드는 데 쓸 수 없습니다.",
            "It is constrained to localhost, 127.0.0.1\n   \
             and ::1, and its private key is gone: nobody can sign for another site with it."
        )
    } else {
        ko_en!(
            "이 인증기관은 직접 넣은 것이라,\n   어디에 쓰일 수 있는지는 만든 사람만 압니다.",
            "It is your own:\n   only whoever made it knows what else it can sign."
        )
    };
    let korean = include_str!("trust.ko.txt");
    let text = if is_korean() { korean } else { include_str!("trust.en.txt") };
    let mut text = text.replace("{limits}", &limits);
    let ca = files.ca.as_ref().unwrap_or(&files.cert);
    for (name, path) in [("cert", &files.cert), ("path", ca)] {
        let shown = certs::shown(path).display().to_string();
        text = text.replace(&format!("{{{name}}}"), &shown);
        text = text.replace(&format!("{{{name}_print}}"), &certs::fingerprint(path)?);
    }
    say(text.trim_end());
    Ok(())
}

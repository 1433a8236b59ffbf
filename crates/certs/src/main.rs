//! `just certs`: makes the certificate if it is not there, and says how it becomes trusted.

use common::error::CannotStart;
use common::log::say;
use common::tls::Certificate;

fn main() -> Result<(), CannotStart> {
    let files = certs::files()?;
    Certificate::read(&files.cert, &files.key, files.ca.as_deref())?;
    let ca = files.ca.as_ref().unwrap_or(&files.cert);
    let path = certs::shown(ca);
    let path = path.display();
    say(format_args!(
        "\
인증서    {}
          SHA-256 {}
인증기관  {path}
          SHA-256 {}

1. 터미널에서는 인증기관 파일을 알려 줍니다.
   curl --cacert {path} https://localhost:8443/

2. 브라우저에서는 경고 화면에서 고급 → localhost(으)로 이동을 누릅니다.
   그 전에 인증서 보기에서 위의 SHA-256 값과 같은지 확인하세요.

3. 이 컴퓨터가 인증기관을 믿게 합니다. 이름이 localhost, 127.0.0.1, ::1로 제한되어 있고
   비밀키는 남아 있지 않아, 다른 사이트의 인증서를 만드는 데 쓸 수 없습니다.
   Linux    sudo cp {path} /usr/local/share/ca-certificates/http-lessons.crt
            sudo update-ca-certificates
            Chrome: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n http-lessons -i {path}
   macOS    security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {path}
   Windows  certutil -user -addstore Root {path}
   Firefox  설정 → 개인 정보 및 보안 → 인증서 보기 → 인증 기관 → 가져오기",
        certs::shown(&files.cert).display(),
        certs::fingerprint(&files.cert)?,
        certs::fingerprint(ca)?,
    ));
    Ok(())
}

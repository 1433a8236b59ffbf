//! `production --check`: whether it would start, and what would stand in its way, in words.

use std::process::ExitCode;
use std::time::Duration;

use common::error::CannotStart;
use common::ko_en;
use common::listen::listen_beside;
use common::log::say;
use common::settings::cannot_start;

use crate::admin;
use crate::settings::{Settings, certificate};
use crate::tickets::Tickets;

/// How long Redis may take to answer.
const LIMIT: Duration = Duration::from_secs(4);

/// Looks at everything, whatever fails, and says what it has found.
pub async fn check(settings: Result<Settings, CannotStart>) -> ExitCode {
    let mut good = true;
    let mut line = |what: &str, result: Result<String, CannotStart>| match result {
        Ok(found) => say(format_args!("ok    {what}: {found}")),
        Err(CannotStart(why)) => {
            say(format_args!("wrong {what}: {why}"));
            good = false;
        }
    };
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            line("settings", Err(error));
            return ExitCode::FAILURE;
        }
    };
    let workers = settings.cluster.workers;
    line("settings", Ok(ko_en!("워커 {workers}개", "{workers} workers")));
    let https = listen_beside("PORT", 443).await;
    // Where the port is taken that is said, and nothing about a certificate that it may not need.
    let loopback = https.as_ref().map_or(true, |https| https.loopback);
    line("PORT", https.map(|https| https.url("https")));
    line("HTTP_PORT", listen_beside("HTTP_PORT", 80).await.map(|http| http.url("http")));
    line(
        "ADMIN_PORT",
        admin::listen(settings.admin).await.map(|admin| admin.url("http")),
    );
    line(
        "certificate",
        certificate(loopback).map(|_| ko_en!("유효합니다", "valid today")),
    );
    let tickets = Tickets::new(settings.ticket_keys.as_deref(), None);
    line("TICKET_KEY_FILE", tickets.map(|_| ko_en!("읽었습니다", "read")));
    let redis = match settings.redis() {
        Ok(None) => {
            Ok(ko_en!("없음, 메모리에 보관합니다", "none, all is kept in memory"))
        }
        Ok(Some(redis)) => match redis.wait(LIMIT).await {
            Ok(()) => Ok(ko_en!("답합니다", "answers")),
            Err(why) => Err(cannot_start(why, "REDIS_URL", "redis://localhost:6379")),
        },
        Err(error) => Err(error),
    };
    line("REDIS_URL", redis);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
